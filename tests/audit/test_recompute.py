"""Numbers of records computed again: by other arithmetic, without torch, and every altered one is named."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from anrot_lib.audit import recompute
from anrot_lib.cli import main
from anrot_lib.core.statistics import compare_paired
from anrot_lib.publish import marks
from anrot_lib.records import results
from anrot_lib.reports.ablation import PartDifference
from tests.reports.test_ablation import CHANGED, WHOLES

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = "mini-imagenet-32px-5way-5shot-laptop"


@pytest.fixture
def folder(tmp_path):
    """The records of one experiment, which can be altered."""
    shutil.copytree(ROOT / "data" / "results" / EXPERIMENT, tmp_path / "results" / EXPERIMENT)
    return tmp_path / "results"


def alter(path, change):
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def test_the_arithmetic_is_that_of_other_libraries():
    values = np.random.default_rng(0).normal(50, 10, 37)
    mean, half = recompute.compute_mean(values.tolist())
    low, high = scipy.stats.t.interval(0.95, 36, loc=values.mean(), scale=scipy.stats.sem(values))
    assert (mean - half, mean + half) == (pytest.approx(low), pytest.approx(high))
    counts = np.random.default_rng(1).binomial(25, 0.5, (2, 60))
    first, second = ({"correct": c.tolist(), "queries": 25} for c in counts)
    difference = compare_paired(counts[0] / 25, counts[1] / 25)
    second["correct"] += [25] * 9  # episodes that only one of them has
    computed = recompute.compute_difference(first, second)
    assert computed == (pytest.approx(difference.mean), pytest.approx(difference.half_width))


def test_records_as_they_are_differ_in_nothing(folder):
    found = recompute.recompute_folder(folder)
    records = results.read_all(folder)
    columns = sum(len(record["columns"]) for record in records)
    answered = sum("open_half_width" in column for record in records for column in record["columns"].values())
    assert answered, "some columns keep the answers of their queries"
    assert not found.deviations
    assert found.counts == {
        "record": len(records),
        "mean": columns,
        "half-width": columns,
        "bootstrap limit": 2 * columns,
        "open half-width": answered,
    }


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda column: column.update(mean=column["mean"] + 0.001), {"mean"}),
        (lambda column: column.update(half_width=column["half_width"] - 0.001), {"half-width"}),
        (lambda column: column["bootstrap"].__setitem__(1, 99.0), {"bootstrap limit"}),
        (lambda column: column["correct"].__setitem__(3, 75), {"mean", "half-width", "bootstrap limit"}),
    ],
)
def test_an_altered_number_is_named(folder, change, what):
    alter(folder / EXPERIMENT / "anrot.json", lambda record: change(record["columns"]["clean"]))
    found = recompute.recompute_folder(folder)
    assert {deviation.what.partition(" of ")[0] for deviation in found.deviations} == what
    assert all(d.where == f"{EXPERIMENT}/anrot.json, anrot" and d.what.endswith("clean") for d in found.deviations)


def test_scores_of_rankings_follow_from_their_queries(tmp_path):
    path = tmp_path / "row.json"
    shutil.copy(ROOT / "data/results/ranking/fashion-28px/rc2f2-ptripletN-seed0.rob28.json", path)
    assert not recompute.recompute_folder(path).deviations
    alter(path, lambda record: record["ers"].update(value=record["ers"]["value"] + 0.1))
    (deviation,) = recompute.recompute_folder(path).deviations
    assert deviation.what == "mean of ERS"


PAGE = ROOT / "docs" / "results" / "mini-imagenet.md"


def test_what_pages_print_is_computed_too(home_with_results):
    found = recompute.Recomputation()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        recompute.recompute_page(page, home_with_results / "results", found)
    assert found.counts["printed number"] > 150 and found.deviations == []


def test_a_difference_that_rounds_to_nothing_has_one_sign():
    assert str(PartDifference(-1e-17, 0.5, (0.0,), 1.0)) == "+0.0 ± 0.5"


def test_an_altered_page_is_named(home_with_results, tmp_path):
    text = PAGE.read_text("utf-8")
    pages = {
        "accuracy": ("anrot PGD -->17.3 ± 1.2", "anrot PGD -->17.8 ± 1.2"),
        "differences": ("| -6.1 ± 0.4 |", "| -6.2 ± 0.4 |"),
    }
    for kind, (printed, altered) in pages.items():
        assert text.count(printed) == 1, printed
        page = tmp_path / "page.md"
        page.write_text(text.replace(printed, altered), "utf-8")
        found = recompute.Recomputation()
        recompute.recompute_page(page, home_with_results / "results", found)
        (deviation,) = found.deviations
        assert kind in deviation.where and deviation.stored in altered and deviation.computed in printed


@pytest.fixture
def ablation_page(tmp_path, monkeypatch):
    """A page whose number and table are drawn from records of two seeds."""
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    for record in (*CHANGED, *WHOLES):
        results.write(tmp_path / "results" / "there" / f"{record['row']}.json", record)
    page = tmp_path / "page.md"
    number = "<!-- number: ablation there ablation-no-hesim PGD --><!-- end -->"
    page.write_text(marks.redraw(f"{number}\n\n<!-- table: ablation there -->\n<!-- end -->\n"), "utf-8")
    return page


def test_the_parts_of_an_ablation_are_computed_over_seeds(ablation_page, tmp_path):
    found = recompute.Recomputation()
    recompute.recompute_page(ablation_page, tmp_path / "results", found)
    assert found.counts["printed number"] == 1 + 3 and not found.deviations
    text = ablation_page.read_text("utf-8")
    printed = text[text.index("PGD -->") + 7 : text.index("<!-- end")]
    ablation_page.write_text(text.replace(printed, "-0.1 ± 0.1", 2), "utf-8")
    again = recompute.Recomputation()
    recompute.recompute_page(ablation_page, tmp_path / "results", again)
    assert {(d.stored, d.computed) for d in again.deviations} == {("-0.1 ± 0.1", printed)}


def test_the_command_needs_no_torch(folder):
    """In a process where torch cannot be imported."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from anrot_lib.cli.main import main\n"
        f"sys.exit(main(['recompute', {str(folder)!r}]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert f"{len(results.read_all(folder))} records" in run.stdout and "none differs" in run.stdout


def test_the_command_says_what_differs(folder, capsys):
    assert main.main(["recompute", str(folder / EXPERIMENT / "anrot.json")]) == 0
    alter(folder / EXPERIMENT / "anrot.json", lambda record: record["columns"]["clean"].update(mean=41.0))
    capsys.readouterr()
    assert main.main(["recompute", str(folder)]) == 1
    assert "mean of clean: 41.0000, computed 41.9160\n1 differ" in capsys.readouterr().out
    assert main.main(["recompute", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["deviations"][0]["stored"] == "41.0000"
    assert main.main(["recompute", str(folder / "nowhere")]) == 2
