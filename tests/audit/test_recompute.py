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
from anrot_lib.audit.recompute import arithmetic, printed
from anrot_lib.cli import main
from anrot_lib.cli.commands import recompute as command
from anrot_lib.core.statistics import adjust_holm, compare_paired, describe_bound
from anrot_lib.data import image_set
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.records import results

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = "mini-imagenet-32px-5way-5shot-laptop"
COUNTS_ALONE = "fgsm-only"  # a row without the answers of its queries, which would not be read with other counts
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


def test_p_values_and_lines_are_those_of_other_libraries():
    rng = np.random.default_rng(3)
    first, second = rng.normal(0, 1, 30), rng.normal(0.3, 1, 30)
    p = arithmetic.compute_p((second - first).tolist())
    assert p == pytest.approx(scipy.stats.ttest_rel(second, first).pvalue)
    assert arithmetic.compute_p([0.0] * 5) == 1.0 and arithmetic.compute_p([0.5] * 5) == 0.0
    values = [0.04, 0.01, 0.03, 0.01, 0.9]
    assert arithmetic.adjust_p(values) == pytest.approx(adjust_holm(values))
    assert arithmetic.adjust_p([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.04, 0.04]), (
        "no p falls below a smaller one"
    )
    x, y = rng.normal(0, 1, (2, 9))
    assert arithmetic.compute_slope(x.tolist(), y.tolist()) == pytest.approx(tuple(np.polyfit(x, y, 1)))
    for asked in (20, 100, 500, 1000, 5000, 75_000):
        assert printed.format_bound(asked, none=True) == describe_bound(0, asked)
        assert printed.format_bound(asked, none=False) == describe_bound(asked, asked)
        limit = scipy.stats.binomtest(0, asked).proportion_ci(0.9, "exact").high
        assert float(printed.format_bound(asked, none=True)[2:]) == pytest.approx(100 * limit, abs=0.1)


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
    counts = {kind: n for kind, n in found.counts.items() if kind not in ("manifest", "layout")}
    assert counts == {kind: n for kind, n in expected.items() if n}, "manifests need the image set"


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
    alter(folder / EXPERIMENT / f"{COUNTS_ALONE}.json", lambda record: change(record["columns"]["clean"]))
    found = recompute.recompute_folder(folder)
    assert {deviation.what.partition(" of ")[0] for deviation in found.deviations} == what
    where = f"{EXPERIMENT}/{COUNTS_ALONE}.json, {COUNTS_ALONE}"
    assert all(d.where == where and d.what.endswith("clean") for d in found.deviations)


def test_scores_of_rankings_follow_from_their_queries(tmp_path):
    path = tmp_path / "row.json"
    shutil.copy(ROOT / "data/results/ranking/fashion-28px/rc2f2-ptripletN-seed0.rob28.json", path)
    assert not recompute.recompute_folder(path).deviations
    alter(path, lambda record: record["ers"].update(value=record["ers"]["value"] + 0.1))
    deviations = recompute.recompute_folder(path).deviations
    assert [deviation.what for deviation in deviations] == ["mean of ERS", "score of ten numbers"]


DRAWN = "omniglot-300-28px-5way-5shot-smoke/prototypes.json"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda record: record["manifest"].update(hash="0" * 64), "manifest of the episodes"),
        (lambda record: record["manifest"].update(seed=8), "manifest of the episodes"),
        (lambda record: record["manifest"].update(layout=[19] + 59 * [20]), "layout of the episodes"),
    ],
)
def test_the_episodes_of_a_manifest_are_drawn_again(tmp_path, monkeypatch, change, what):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    path = tmp_path / "row.json"
    shutil.copy(ROOT / "data" / "results" / DRAWN, path)
    found = recompute.recompute_folder(path)
    assert found.counts["manifest"] == 1 and not found.deviations, "from the labels that ship with the kit"
    alter(path, change)
    assert what in {deviation.what for deviation in recompute.recompute_folder(path).deviations}


def test_of_a_prepared_set_the_labels_are_enough(tmp_path, monkeypatch, small_set):
    """Without its images; and of a set that is not here nothing is said."""
    home, path = tmp_path / "data", tmp_path / "row.json"
    monkeypatch.setenv("ANROT_HOME", str(home))
    record = json.loads((ROOT / "data" / "results" / DRAWN).read_text("utf-8"))
    manifest = EpisodeManifest.make(small_set, "test", 3, 1, 2, 30, 5).recipe()
    record["manifest"], record["columns"] = manifest, {"clean": record["columns"]["clean"]}
    record["data"] |= {"name": small_set.name, "sha256": small_set.sha256, "split_hash": small_set.split_hash}
    path.write_text(json.dumps(record), "utf-8")
    assert "manifest" not in recompute.recompute_folder(path).counts
    image_set.save(small_set, home / "packed" / "small")
    (home / "packed" / "small" / "images.npy").unlink()
    found = recompute.recompute_folder(path)
    assert found.counts["manifest"] == 1 and not found.deviations


def test_answers_that_are_not_those_that_were_counted_end_in_a_sentence(folder, capsys):
    path = folder / EXPERIMENT / "robust-attacked-mirror.json"

    def exchange(record):
        column = record["columns"]["clean"]
        column["correct"][0], column["correct"][1] = column["correct"][0] - 1, column["correct"][1] + 1

    alter(path, exchange)
    assert main.main(["recompute", str(path)]) == 2
    assert "has answers that are not those that were counted" in capsys.readouterr().err


def name_attack(name, eps):
    def change(record):
        record["columns"][name]["threat"]["eps"] = eps

    return change


def break_certificate(record):
    record["attacks"][0]["one_class"]["broken"] = 1


def count_more(record):
    record["attacks"][0]["every_class"]["certified"] += 1


ATTACKS = "omniglot-300-28px-5way-5shot-laptop-attacks"
SCORED = "ranking/fashion-28px/rc2f2-ptripletN-seed0.rob28.json"
CHECKED = "ranking/fashion-28px/rc2f2ghmetsm-ptripletN-eta8-seed0.rob28.checks.json"
RECONSTRUCTED = "mini-imagenet-32px-reconstruction-laptop/study.json"


def first_row(study):
    return next(iter(study["rows"].values()))


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
    (SCORED, lambda r: r["ers"].update(ceiling=99.0), "score of ten numbers before attacks"),
    (SCORED, lambda r: r["numbers"]["TMA"].update(attacked=0.5), "score of ten numbers"),
    (SCORED, lambda r: r["ers"].update(collapsed=True), "verdict of a collapse"),
    (SCORED, lambda r: r["clean"].update({"R@1": 86.795}), "count of hits of R@1"),
    (CHECKED, lambda r: r["checks"]["steps"].update(passed=True), "verdict of the check steps"),
    (CHECKED, lambda r: r.update(pgd=40.0), "difference of the check steps"),
    ("bench/growth.json", lambda r: r["rows"]["way"].update(exponent=0.5), "exponent of way"),
    ("bench/notebooks.json", lambda r: r["seconds"]["the whole course"].update(median=9.0), "sum of the notebooks"),
    (RECONSTRUCTED, lambda s: s["shared"]["floor"].update(value=0.1), "floor of the distance"),
    (RECONSTRUCTED, lambda s: first_row(s)["decoded"]["mean"]["frechet"].update(half_width=0.1), "half-width of the"),
    (RECONSTRUCTED, lambda s: first_row(s)["training"]["history"][3].update(loss=1.0), "bound of an epoch"),
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


def test_the_command_says_how_many_numbers_only_the_record_holds(monkeypatch, capsys):
    taken = arithmetic.Recomputation({"record": 1}, {"timing": 202, "reconstruction": 1040})
    monkeypatch.setattr(command, "recompute_folder", lambda folder, pages: taken)
    assert main.main(["recompute", str(ROOT / "data" / "results")]) == 0
    assert "taken from the record: 1,242 numbers" in (said := capsys.readouterr().out)
    assert "(1,040 of reconstruction, 202 of timing)" in said


def test_the_command_says_what_differs(folder, capsys):
    path = folder / EXPERIMENT / "anrot.json"
    assert main.main(["recompute", str(path)]) == 0
    mean = results.read(path)["columns"]["clean"]["mean"]
    alter(path, lambda record: record["columns"]["clean"].update(mean=41.0))
    capsys.readouterr()
    assert main.main(["recompute", str(folder)]) == 1
    assert f"mean of clean: 41.0000, computed {mean:.4f}\n1 differ" in capsys.readouterr().out
    assert main.main(["recompute", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["deviations"][0]["stored"] == "41.0000"
    assert main.main(["recompute", str(folder / "nowhere")]) == 2
