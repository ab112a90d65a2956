"""Numbers of records computed again: by other arithmetic, without torch, and every altered one is named."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from anrot_lib.audit import arithmetic, recompute
from anrot_lib.cli import main
from anrot_lib.core.statistics import compare_paired
from anrot_lib.publish import marks
from anrot_lib.records import results
from anrot_lib.reports.ablation import PartDifference
from tests.reports.test_ablation import CHANGED, WHOLES

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = "mini-imagenet-32px-5way-5shot-laptop"
CERTIFIED = "cifar-fs-32px-5way-5shot-laptop/clean-classes-poisoning-median-cosine"
DEFENCES = "omniglot-300-28px-5way-5shot-smoke-defences"


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
    mean, half = arithmetic.compute_mean(values.tolist())
    low, high = scipy.stats.t.interval(0.95, 36, loc=values.mean(), scale=scipy.stats.sem(values))
    assert (mean - half, mean + half) == (pytest.approx(low), pytest.approx(high))
    counts = np.random.default_rng(1).binomial(25, 0.5, (2, 60))
    first, second = ({"correct": c.tolist(), "queries": 25} for c in counts)
    difference = compare_paired(counts[0] / 25, counts[1] / 25)
    second["correct"] += [25] * 9  # episodes that only one of them has
    computed = arithmetic.compute_difference(first, second)
    assert computed == (pytest.approx(difference.mean), pytest.approx(difference.half_width))


def test_records_as_they_are_differ_in_nothing(folder):
    for path in (folder / EXPERIMENT).glob("*.json"):
        if results.read(path)["kind"] != "accuracy":
            path.unlink()
    found = recompute.recompute_folder(folder)
    records = [record for record in results.read_all(folder, None) if record["kind"] == "accuracy"]
    columns = sum(len(record["columns"]) for record in records)
    answered = sum("open_half_width" in column for record in records for column in record["columns"].values())
    assert answered, "some columns keep the answers of their queries"
    assert not found.deviations
    expected = {
        "record": len(records),
        "mean": columns,
        "half-width": columns,
        "bootstrap limit": 2 * columns,
        "open half-width": answered,
        "name": sum("threat" in column for record in records for column in record["columns"].values()),
        "count": sum("beaten" in column for record in records for column in record["columns"].values()),
    }
    assert found.counts == {kind: n for kind, n in expected.items() if n}


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


def name_attack(name, eps):
    def change(record):
        record["columns"][name]["threat"]["eps"] = eps

    return change


def break_certificate(record):
    record["attacks"][0]["one_class"]["broken"] = 1


def count_more(record):
    record["attacks"][0]["every_class"]["certified"] += 1


ATTACKS = "omniglot-300-28px-5way-5shot-laptop-attacks"
EDITS = [
    (f"{EXPERIMENT}/anrot.json", name_attack("PGD-20 8/255 query", 4 / 255), "name of PGD-20 8/255 query"),
    (
        f"{ATTACKS}/anrot.json",
        lambda r: r["columns"]["AA 0.1 query"]["beaten"].update(clean=0),
        "count of beaten queries of AA",
    ),
    (f"{ATTACKS}/anrot-rescored-3ca14c71.json", lambda r: r.update(falls=True), "verdict of a challenge"),
    (
        f"{ATTACKS}/anrot-rescored-3ca14c71.json",
        lambda r: r["difference"].update(value=0.0),
        "difference of a challenge",
    ),
    (f"{ATTACKS}/anrot-judges.json", lambda r: r["judges"][0]["difference"].update(value=0.0), "difference of PGD-20"),
    (f"{ATTACKS}/anrot-judges.json", lambda r: r["judges"][1].update(judge_alone=3), "count of queries of APGD-CE-20"),
    (
        "cifar-fs-32px-5way-5shot-laptop/clean-classes-card.json",
        lambda r: r.update(passed=False),
        "verdict of all checks",
    ),
    (f"{CERTIFIED}.json", break_certificate, "count of broken certificates of 1 shots, one_class"),
    (f"{CERTIFIED}.json", count_more, "count of certified queries of 1 shots, every_class"),
    (f"{CERTIFIED}.json", lambda r: r["one_class"][0].__setitem__(0, 6), "order of the certificates"),
    (
        f"{DEFENCES}/anrot.json",
        lambda r: r["columns"]["corruptions query"]["kinds"]["fog"].__setitem__(0, 0.0),
        "mean of all corruptions",
    ),
]


@pytest.mark.parametrize(("file", "change", "what"), EDITS)
def test_a_record_that_somebody_edited_is_named(tmp_path, file, change, what):
    path = tmp_path / "edited.json"
    shutil.copy(ROOT / "data" / "results" / file, path)
    assert not recompute.recompute_folder(path).deviations
    alter(path, change)
    assert any(deviation.what.startswith(what) for deviation in recompute.recompute_folder(path).deviations)


PAGE = ROOT / "docs" / "results" / "mini-imagenet.md"


def test_what_pages_print_is_computed_too(home_with_results):
    found = arithmetic.Recomputation()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        recompute.recompute_page(page, home_with_results / "results", found)
    assert found.counts["printed number"] > 600 and found.deviations == []


def test_a_difference_that_rounds_to_nothing_has_one_sign():
    assert str(PartDifference(-1e-17, 0.5, (0.0,), 1.0)) == "+0.0 ± 0.5"


def test_an_altered_page_is_named(home_with_results, tmp_path):
    text = PAGE.read_text("utf-8")
    pages = {
        "accuracy": ("anrot PGD -->17.3 ± 1.2", "anrot PGD -->17.8 ± 1.2"),
        "differences": ("| -6.1 ± 0.4 |", "| -6.2 ± 0.4 |"),
        EXPERIMENT: ("| 48.0 ± 0.5 |", "| 48.9 ± 0.5 |"),
    }
    for kind, (printed, altered) in pages.items():
        assert text.count(printed) == 1, printed
        page = tmp_path / "page.md"
        page.write_text(text.replace(printed, altered), "utf-8")
        found = arithmetic.Recomputation()
        recompute.recompute_page(page, home_with_results / "results", found)
        (deviation,) = found.deviations
        assert kind in deviation.where and deviation.stored in altered and deviation.computed in printed


ALTERED = {
    "certificates.md": [
        ("54.5 ± 2.2", "64.5 ± 2.2"),
        ("(72 %)", "(92 %)"),
        ("64.0 ± 5.9", "74.0 ± 5.9"),
        ("0 of 582", "0 of 682"),
    ],
    "consequences.md": [("-8.5 ± 0.1", "-0.5 ± 0.1"), ("| 50.9 ± 0.6", "| 60.9 ± 0.6"), ("+3.2 ± 2.9", "+9.2 ± 2.9")],
    "attacks.md": [("+0.2 ± 1.3<!--", "+0.0 ± 0.3<!--"), ("-2.5 ± 1.1<!--", "-0.5 ± 1.1<!--")],
    "cifar-fs.md": [("(PGD overstates by 3.4)", "(PGD overstates by 3.0)"), ("| 39.8 ± 4.3", "| 42.8 ± 4.3")],
}


@pytest.mark.parametrize(("page", "printed", "altered"), [(p, a, b) for p, some in ALTERED.items() for a, b in some])
def test_any_printed_number_that_somebody_altered_is_named(home_with_results, tmp_path, page, printed, altered):
    text = (ROOT / "docs" / "results" / page).read_text("utf-8")
    assert printed in text
    (tmp_path / page).write_text(text.replace(printed, altered, 1), "utf-8")
    found = arithmetic.Recomputation()
    recompute.recompute_page(tmp_path / page, home_with_results / "results", found)
    assert found.deviations and all(d.stored != d.computed for d in found.deviations)


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
    found = arithmetic.Recomputation()
    recompute.recompute_page(ablation_page, tmp_path / "results", found)
    assert found.counts["printed number"] == 1 + 3 and not found.deviations
    text = ablation_page.read_text("utf-8")
    printed = text[text.index("PGD -->") + 7 : text.index("<!-- end")]
    ablation_page.write_text(text.replace(printed, "-0.1 ± 0.1", 2), "utf-8")
    again = arithmetic.Recomputation()
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
    assert f"{len(results.read_all(folder, None))} records" in run.stdout and "none differs" in run.stdout


def test_the_command_says_what_differs(folder, capsys):
    assert main.main(["recompute", str(folder / EXPERIMENT / "anrot.json")]) == 0
    alter(folder / EXPERIMENT / "anrot.json", lambda record: record["columns"]["clean"].update(mean=41.0))
    capsys.readouterr()
    assert main.main(["recompute", str(folder)]) == 1
    assert "mean of clean: 41.0000, computed 41.9160\n1 differ" in capsys.readouterr().out
    assert main.main(["recompute", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["deviations"][0]["stored"] == "41.0000"
    assert main.main(["recompute", str(folder / "nowhere")]) == 2
