"""Records: nothing but the schema is written or read, and journals survive a kill."""

import copy
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from anrot_lib.attacks.gradient import pgd
from anrot_lib.core.configs import to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import interval
from anrot_lib.records import describe, results, schema
from anrot_lib.records.describe import count_parameters, describe_data, describe_run, describe_threat
from anrot_lib.records.journal import Journal
from anrot_lib.settings import SMOKE, Protocol, Recipe

SIZES = {"n_way": 5, "n_shot": 5, "n_query": 15, "n_tasks": 5, "seed": 0}
MANIFEST = {"hash": "0" * 64, "image_set_hash": "1" * 64, "split": "test", **SIZES}


HISTORY = [{"step": 10, "shares": {"pixel": 1.2}}]


@pytest.fixture
def record(small_set):
    counts = np.array([40, 50, 60, 75, 0])
    return {
        "schema": schema.SCHEMA_VERSION,
        "kind": "accuracy",
        "row": "anrot",
        "run": describe_run("CPU, 1 threads"),
        "data": describe_data(small_set),
        "protocol": to_dict(Protocol()),
        "recipe": to_dict(Recipe()),
        "budget": to_dict(SMOKE),
        "manifest": MANIFEST,
        "parameters": 1_547_498,
        "transductive": False,
        "training": {"seconds": 1.5},
        "columns": {
            "clean": results.make_column(counts, 75, 1.234),
            "noise": results.make_column(counts // 3, 25, 0.5, sigma=0.1),
        },
    }


TIMING = {
    "schema": schema.SCHEMA_VERSION,
    "kind": "timing",
    "what": "training step",
    "run": {"command": "anrot bench", "commit": "x", "versions": {}, "device": "CPU"},
    "settings": {"reference": "a"},
    "seconds": {"a": {"median": 1.0, "low": 0.9, "high": 1.1}},
}


def test_a_record_comes_back_as_it_was_written(record, tmp_path):
    for name, written in (("a.json", record), ("b.json", TIMING)):
        results.write(tmp_path / name, written)
        assert results.read(tmp_path / name) == written
        assert json.loads((tmp_path / name).read_text("utf-8")) == written


def test_columns_of_the_former_weaker_attacks_on_support_sets_are_not_read(record, tmp_path):
    counts = np.arange(5)

    def column(target, **about):
        threat = describe_threat(pgd(0.1, 20, 0.025, 1, target=target))
        return results.make_column(counts, 25, 1.0, threat=threat, **about)

    record["columns"] |= {"q": column("query"), "both": column("both", objective="beaten queries")}
    kept = set(record["columns"])
    record["columns"] |= {"old both": column("both"), "old support": column("support")}
    results.write(tmp_path / "a.json", record)
    assert set(results.read(tmp_path / "a.json")["columns"]) == kept
    assert [set(r["columns"]) for r in results.read_all(tmp_path)] == [kept]


def test_the_file_is_made_for_reading_and_for_diffs(record, tmp_path):
    results.write(tmp_path / "a.json", record)
    text = (tmp_path / "a.json").read_text("utf-8")
    assert '"correct": [40, 50, 60, 75, 0],\n' in text
    assert text.endswith("}\n")
    results.write(tmp_path / "b.json", dict(reversed(record.items())))
    assert (tmp_path / "b.json").read_text("utf-8") == text, "the order of the keys is sorted"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b.json"]


def change(record, path, value):
    changed = copy.deepcopy(record)
    *way, last = path
    place = changed
    for key in way:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["schema"], 99, "schema"),
        (["kind"], "acuracy", "unknown kind 'acuracy'"),
        (["kind"], None, "unknown kind None"),
        (["row"], 7, "row"),
        (["parameters"], 1.5, "parameters"),
        (["transductive"], "no", "transductive"),
        (["columns"], None, r"record\.columns: Field required"),
        (["manifest"], None, r"record\.manifest: Field required"),
        (["colums"], {}, r"record\.colums: Extra inputs are not permitted"),
        (["data", "sha256"], "abc", r"record\.data\.sha256"),
        (["data", "split_hash"], None, r"record\.data\.split_hash: Field required"),
        (["data", "path"], "/home/me", r"record\.data\.path: Extra inputs are not permitted"),
        (["run", "commit"], None, r"record\.run\.commit: Field required"),
        (["columns", "clean", "correct"], [1.5, 2], r"record\.columns\.clean\.correct\[0\]"),
        (["columns", "clean", "correct"], [-1, 2], r"record\.columns\.clean\.correct\[0\]"),
        (["columns", "clean", "correct"], [3], r"record\.columns\.clean\.correct"),
        (["columns", "clean", "correct"], [3, 76], "'clean' has more correct answers than queries"),
        (
            ["training"],
            {"history": [{"step": 10, "shares": {"pixel": 1.2}}]},
            r"record\.training\.history\[0\]\.shares\.pixel",
        ),
        (["columns", "clean", "queries"], 0, r"record\.columns\.clean\.queries"),
        (["columns", "clean", "mean"], 101, r"record\.columns\.clean\.mean"),
        (["columns", "clean", "half_width"], -1, r"record\.columns\.clean\.half_width"),
        (["columns", "clean", "half_width"], None, r"record\.columns\.clean\.half_width: Field required"),
        (["columns", "clean", "bootstrap"], [1], r"record\.columns\.clean\.bootstrap"),
        (["columns", "noise", "sigma"], "0.1", r"record\.columns\.noise\.sigma"),
        (["columns", "noise", "eps"], 0.1, r"record\.columns\.noise\.eps: Extra inputs are not permitted"),
    ],
)
def test_a_fault_is_refused_and_its_place_named(record, tmp_path, path, value, named):
    schema.validate(record)
    bad = change(record, path, value)
    with pytest.raises(ValueError, match=f"the record: .*{named}"):
        schema.validate(bad)
    with pytest.raises(ValueError, match=named):
        results.write(tmp_path / "a.json", bad)
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.json").write_text(json.dumps(bad), "utf-8")
    with pytest.raises(UserError, match=rf"b\.json is not a result record: .*{named}"):
        results.read(tmp_path / "b.json")


def test_a_refused_record_leaves_the_former_one(record, tmp_path):
    results.write(tmp_path / "a.json", record)
    with pytest.raises(ValueError, match="parameters"):
        results.write(tmp_path / "a.json", change(record, ["parameters"], "many"))
    assert results.read(tmp_path / "a.json") == record


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"kind"', "null", "{}"])
def test_what_is_no_record_is_a_users_error(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json is not a result record"):
        results.read(tmp_path / "a.json")
    with pytest.raises(UserError, match=r"gone\.json is not a result record"):
        results.read(tmp_path / "gone.json")


def test_a_cut_file_is_a_users_error(record, tmp_path):
    results.write(tmp_path / "a.json", record)
    whole = (tmp_path / "a.json").read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 3):
        (tmp_path / "a.json").write_bytes(whole[:cut])
        with pytest.raises(UserError, match="not a result record"):
            results.read(tmp_path / "a.json")


def test_all_records_of_a_kind_are_read_in_order(record, tmp_path):
    for name, row in (("b/x", "two"), ("a/z", "one"), ("c", "three")):
        results.write(tmp_path / f"{name}.json", record | {"row": row})
    results.write(tmp_path / "a" / "bench.json", TIMING)
    assert [r["row"] for r in results.read_all(tmp_path)] == ["one", "two", "three"]
    assert [r["kind"] for r in results.read_all(tmp_path, "timing")] == ["timing"]


def test_means_and_intervals_can_be_computed_again_from_the_counts():
    counts = np.random.default_rng(0).binomial(75, 0.6, 50)
    column = results.make_column(counts, 75, 1.239, sigma=0.3)
    stats = interval(results.compute_accuracies(column))
    assert column["correct"] == counts.tolist()
    assert np.allclose(results.compute_accuracies(column), counts / 75)
    assert column["mean"] == pytest.approx(100 * counts.mean() / 75, abs=1e-4)
    assert column["half_width"] == pytest.approx(stats.half_width, abs=1e-4)
    assert column["bootstrap"] == pytest.approx([stats.bootstrap_low, stats.bootstrap_high], abs=1e-4)
    assert (column["seconds"], column["sigma"]) == (1.24, 0.3)
    assert all(type(c) is int for c in column["correct"])


# --- what ran, on what ---


def test_a_record_says_what_ran_but_not_where_on_a_disk(monkeypatch):
    words = ["/opt/x/anrot", "run", "--data", "/mnt/my sets/cifar", "--out=/tmp/there/a.pt", "--eps", "8/255"]
    monkeypatch.setattr(sys, "argv", words)
    run = describe_run("CPU, 2 threads")
    assert run["command"] == "anrot run --data .../cifar --out=.../a.pt --eps 8/255"
    assert run["device"] == "CPU, 2 threads"
    assert re.fullmatch(r"[0-9a-f]{40}\+?|release .*", run["commit"])
    assert {"anrot_lib", "python", "torch", "numpy", "easyfsl"} <= set(run["versions"])
    assert not any("+" in v for v in run["versions"].values())


def test_a_package_installed_in_somebody_elses_repository_has_no_commit_of_theirs(tmp_path, monkeypatch):
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (("init", "-q"), (*identity, "commit", "-q", "--allow-empty", "-m", "theirs")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    package = tmp_path / "site-packages" / "anrot_lib" / "records"
    package.mkdir(parents=True)
    monkeypatch.setattr(describe, "__file__", str(package / "describe.py"))
    assert describe.describe_run("CPU")["commit"].startswith("release ")


def test_the_data_are_named_by_their_hashes(small_set):
    about = describe_data(small_set)
    assert about["sha256"] == small_set.sha256
    assert about["split_hash"] == small_set.split_hash
    assert about["size"] == 16
    assert about["images"] == 25 * 24
    assert about["classes"] == {"train": 15, "val": 5, "test": 5}


def test_a_threat_is_stored_with_every_field_and_its_name():
    threat = pgd(8 / 255, 20, 2 / 255, 1, target="query")
    found = describe_threat(threat)
    assert found["name"] == "PGD-20 8/255 query"
    assert (found["eps"], found["step"], found["steps"], found["restarts"]) == (8 / 255, 2 / 255, 20, 1)
    assert {"norm", "start", "target"} <= set(found)
    json.dumps(found)


# --- the journal of an unfinished evaluation ---

SETTINGS = {"net": "abc", "rows": "def", "sizes": (5, 15)}


def test_a_journal_keeps_its_parts_over_a_restart(tmp_path):
    path = tmp_path / "new folder" / "j.jsonl"
    journal = Journal(path, SETTINGS)
    assert "clean / 0" not in journal
    journal["clean / 0"] = {"correct": [1, 2], "seconds": 0.123456789}
    journal["PGD / 20"] = {"correct": [3], "seconds": 1e-9}
    again = Journal(path, SETTINGS)
    assert again["clean / 0"] == {"correct": [1, 2], "seconds": 0.123456789}
    assert again["PGD / 20"] == {"correct": [3], "seconds": 1e-9}
    again.remove()
    again.remove()
    assert not path.exists()


def test_every_cut_of_the_last_line_loses_that_line_only(tmp_path):
    path = tmp_path / "j.jsonl"
    journal = Journal(path, SETTINGS)
    journal["a"], journal["b"] = [1], [2]
    whole = path.read_bytes()
    last = len(whole) - len(whole.splitlines(keepends=True)[-1])
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        found = Journal(path, SETTINGS)
        assert found["a"] == [1], cut
        assert ("b" in found) == (cut == len(whole) - 1), cut  # only the line's end is missing
        found["c"] = [3]  # goes on a line of its own
        assert Journal(path, SETTINGS).parts == found.parts, cut


def test_a_journal_of_other_settings_starts_empty(tmp_path):
    path = tmp_path / "j.jsonl"
    Journal(path, SETTINGS)["a"] = [1]
    assert "a" in Journal(path, SETTINGS)
    assert "a" not in Journal(path, SETTINGS | {"net": "other"})
    assert "a" not in Journal(path, SETTINGS), "what did not belong was dropped"


def test_a_ruined_journal_starts_empty(tmp_path):
    path = tmp_path / "j.jsonl"
    for text in ("", "\n", "no json\n", '{"belongs_to": 1}\n'):
        path.write_text(text)
        journal = Journal(path, SETTINGS)
        assert not journal.parts
        journal["a"] = [1]
        assert Journal(path, SETTINGS)["a"] == [1]


def test_the_parameters_of_a_net_are_all_of_its_numbers():
    assert count_parameters(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))) == 3 * 2 + 2 + 2 * 2
