"""The reviewer's report, and the intervals in it: closed, over classes, paired, over seeds."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest

from anrot_lib.audit import defects
from anrot_lib.cli import main
from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import interval, measure_open_interval
from anrot_lib.data import image_set as image_sets
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.records import results
from anrot_lib.reports import intervals, review

RESULTS = Path(__file__).resolve().parents[2] / "data" / "results"
WAY, CLASSES, EPISODES = 5, 20, 400


def simulate(seed, class_sd):
    """Accuracies of episodes of 20 classes that are draws of a population with mean 0.6."""
    rng = np.random.default_rng(seed)
    of_class = rng.normal(0.6, class_sd, CLASSES)
    classes = np.array([rng.choice(CLASSES, WAY, replace=False) for _ in range(EPISODES)])
    return of_class[classes].mean(1) + rng.normal(0, 0.08, EPISODES), classes


def test_the_open_interval_covers_the_population_where_the_closed_one_does_not():
    covered = {"open": 0, "closed": 0}
    for seed in range(300):
        accuracies, classes = simulate(seed, 0.12)
        open_one, closed = measure_open_interval(accuracies, classes), interval(accuracies, bootstrap=False)
        covered["open"] += abs(open_one.mean - 60) <= open_one.half_width
        covered["closed"] += abs(closed.mean - 60) <= closed.half_width
    assert 0.92 <= covered["open"] / 300 <= 0.98 and covered["closed"] / 300 < 0.5


def test_without_a_spread_of_classes_both_are_about_equal():
    ratios, spreads = [], []
    for seed in range(50):
        accuracies, classes = simulate(seed, 0.0)
        open_one = measure_open_interval(accuracies, classes)
        ratios.append(open_one.half_width / interval(accuracies, bootstrap=False).half_width)
        spreads.append(open_one.class_sd)
    assert np.median(ratios) == pytest.approx(1.1, abs=0.1) and np.median(spreads) < 1.5


def test_the_spread_of_classes_is_that_of_the_population():
    spreads = [measure_open_interval(*simulate(seed, 0.12)).class_sd for seed in range(100)]
    assert np.sqrt(np.mean(np.square(spreads))) == pytest.approx(12, abs=0.6)


def test_too_few_episodes_say_nothing_of_classes():
    accuracies, classes = simulate(0, 0.1)
    with pytest.raises(ValueError, match="15 episodes"):
        measure_open_interval(accuracies[:15], classes[:15])
    with pytest.raises(ValueError, match="of 2 classes"):
        measure_open_interval(accuracies, classes % 2)


@pytest.fixture
def records(small_set, tmp_path, monkeypatch):
    """Two rows, one of them with three seeds, on episodes of the small set, which is prepared."""
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    image_sets.save(small_set, paths.packed_dir() / small_set.name)
    manifest = EpisodeManifest.make(small_set, "test", 3, 2, 4, 60, 0)
    (template,) = results.read_all(
        review.Path(__file__).resolve().parents[2] / "data/results/fc100-32px-5way-5shot-laptop/anrot.json"
    )
    rng = np.random.default_rng(0)

    def make(row):
        record = copy.deepcopy(template)
        counts = rng.binomial(12, 0.6, 60)
        column = results.make_column(counts, 12, 1.0)
        data = record["data"] | {"name": small_set.name, "sha256": small_set.sha256}
        return record | {"row": row, "data": data, "manifest": manifest.recipe(), "columns": {"clean": column}}

    return [make(row) for row in ("prototypes", "anrot", "anrot-seed1", "anrot-seed2")]


def test_the_four_intervals_of_a_row(records, small_set):
    first, second = intervals.measure_intervals("there", records)
    assert (first.row, first.column, first.paired, first.seeds) == ("prototypes", "clean", None, None)
    means = [record["columns"]["clean"]["mean"] for record in records[1:]]
    assert second.seeds == pytest.approx(4.3027 * np.std(means, ddof=1) / 3**0.5, rel=1e-4)
    difference = interval(
        (np.array(records[1]["columns"]["clean"]["correct"]) - records[0]["columns"]["clean"]["correct"]) / 12
    )
    assert second.paired == pytest.approx(difference.half_width)
    classes = intervals.draw_classes(records[1], small_set, 60)
    assert classes.shape == (60, 3) and set(classes.ravel()) == set(np.unique(small_set.labels[small_set.rows("test")]))
    assert second.open is None and second.classes == pytest.approx(
        measure_open_interval(results.compute_accuracies(records[1]["columns"]["clean"]), classes).half_width
    )
    assert second.factor == pytest.approx(second.classes / second.closed)
    headings, rows = intervals.make_table([first, second])
    assert len(headings) == len(rows[0]) and rows[0][-2:] == ["-", "-"] and "-" not in rows[1][3:]


def test_other_episodes_or_images_have_no_open_interval(records, small_set):
    other = copy.deepcopy(records[0])
    other["manifest"]["hash"] = "0" * 64
    with pytest.raises(UserError, match="cannot be drawn again"):
        intervals.draw_classes(other, small_set, 5)
    assert intervals.measure_intervals("there", [other])[0].classes is None
    unknown = copy.deepcopy(records[0])
    unknown["data"]["name"] = "nowhere"
    assert intervals.measure_intervals("there", [unknown])[0].classes is None


@pytest.mark.slow
def test_the_report_is_written_whole(home_with_results, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        defects, "show_defect", lambda defect: defects.Shown(defect, {"shown": 1}, None, 0.0)
    )  # the demos have tests of their own
    path = tmp_path / "review.md"
    path.write_text("a paper of somebody")
    assert main.main(["report", "--review", str(path)]) == 2
    assert "holds no review, and is not overwritten" in capsys.readouterr().err
    path.write_text("# Review of ANROT-HELANet, MML and RobDML\n\nan older one")
    assert main.main(["report", "--review", str(path)]) == 0
    text = path.read_text("utf-8")
    assert "review.md" in capsys.readouterr().out and defects.UNKNOWN in text
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "Claims beside measurements",
        "What the released code does",
        "Four intervals of one number",
        "Checklist for a claim of robustness",
    ]
    assert all(f"| {d.id} |" in text for d in defects.list_defects())
    assert text.count("- [ ] ") == len(review.QUESTIONS) > 12
    assert "cifar-fs-32px-5way-5shot-laptop, anrot | PGD-20 8/255 | 32.3 | 1.7 |" in text
    whole, older = text.partition("### Rows that say")[2].split("### Older rows")
    assert "not kept" not in whole and "not kept" in older
    assert "laptop, robust-attacked-mirror | PGD-20 8/255 | 43.0 | 1.9 |" in whole
    widths = {json.dumps(line.count("|")) for line in text.splitlines() if line.startswith("| cifar-fs")}
    assert len(widths) == 1


def test_without_records_the_report_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    assert review.write_intervals() == "There are no records here."
