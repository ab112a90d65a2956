"""A study in one file: records come back as they were, are added one at a time, and no writer undoes another."""

import copy
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anrot_lib.core.errors import UserError
from anrot_lib.records import results, studies

TIMING = {
    "schema": 1,
    "kind": "timing",
    "what": "training step",
    "run": {"command": "anrot bench", "commit": "x", "versions": {"torch": "2"}, "device": "CPU"},
    "settings": {"reference": "a", "repeats": 3},
    "seconds": {"a": {"median": 1.0, "low": 0.5, "high": 2.0}},
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))


def make_row(what, repeats=3):
    record = copy.deepcopy(TIMING)
    record["what"], record["settings"]["repeats"] = what, repeats
    return record


values = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0]) | st.text("ab", max_size=1)
trees = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(values, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner)),
)


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=2), trees, min_size=1, max_size=4))
def test_any_objects_come_back_exactly(rows):
    """1, 1.0 and true stay apart, and so do an empty object and a missing one."""
    content = json.loads(json.dumps(studies.pack(rows)))
    assert json.dumps(studies.unpack(content), sort_keys=True) == json.dumps(rows, sort_keys=True)


def test_equal_numbers_of_different_types_are_not_shared():
    rows = {"a": {"value": 1}, "b": {"value": 1.0}, "c": {"value": True}}
    unpacked = studies.unpack(studies.pack(rows))
    assert [type(row["value"]) for row in unpacked.values()] == [int, float, bool]


def test_what_all_records_share_stands_in_the_file_once(tmp_path):
    file = tmp_path / "study.json"
    results.write_row(file, "one", make_row("one"))
    results.write_row(file, "two", make_row("two", repeats=5))
    content = json.loads(file.read_text("utf-8"))
    assert content["rows"] == {
        "one": {"what": "one", "settings": {"repeats": 3}},
        "two": {"what": "two", "settings": {"repeats": 5}},
    }
    assert content["shared"]["settings"] == {"reference": "a"} and content["shared"]["run"] == TIMING["run"]
    assert results.read_rows(file) == {"one": make_row("one"), "two": make_row("two", repeats=5)}
    assert results.read_all(tmp_path, "timing") == list(results.read_rows(file).values())


def test_a_row_is_replaced_and_the_others_stay(tmp_path):
    file = tmp_path / "study.json"
    for name in ("b", "a"):
        results.write_row(file, name, make_row(name))
    results.write_row(file, "b", make_row("new", repeats=7))
    assert results.read_rows(file) == {"a": make_row("a"), "b": make_row("new", repeats=7)}
    assert list(results.read_rows(file)) == ["a", "b"], "in the order of their names"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["study.json"]


def test_several_writers_at_once_lose_nothing(tmp_path):
    file = tmp_path / "study.json"
    names = [f"row-{k}" for k in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: results.write_row(file, name, make_row(name)), names))
    assert set(results.read_rows(file)) == set(names)


def test_a_faulty_row_is_refused_and_named(tmp_path):
    file = tmp_path / "study.json"
    results.write_row(file, "one", make_row("one"))
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"two: record\.settings\.repeats: Input should be a valid integer"):
        results.write_row(file, "two", make_row("two", repeats="many"))
    assert file.read_bytes() == before
    results.write_row(file, "two", make_row("two"))
    content = json.loads(file.read_text("utf-8"))
    content["rows"]["two"]["what"] = 3
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(UserError, match=r"study\.json is not a result record: .*two: record\.what"):
        results.read_all(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("shared"),
        lambda content: content.update(schema=2),
        lambda content: content.update(rows=[]),
        lambda content: content["rows"].update(one=3),
        lambda content: content["rows"].update(one={"run": 3}),
        lambda content: content.update(more=1),
    ],
)
def test_a_file_that_is_no_study_is_a_users_error(tmp_path, change):
    file = tmp_path / "study.json"
    results.write_row(file, "one", make_row("one"))
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(UserError, match=r"study\.json is not a result record"):
        results.read_rows(file)


def test_one_record_is_not_read_from_several_nor_from_another_kind(tmp_path):
    file = tmp_path / "study.json"
    assert results.read_rows(file) == {}
    for name in ("one", "two"):
        results.write_row(file, name, make_row(name))
    with pytest.raises(UserError, match="holds 2 records, not one"):
        results.read(file)
    results.write(tmp_path / "timing.json", make_row("one"))
    assert results.read(tmp_path / "timing.json", "timing") == make_row("one")
    with pytest.raises(UserError, match="a record of the kind timing, not accuracy"):
        results.read(tmp_path / "timing.json", "accuracy")


def test_lists_of_numbers_stand_on_one_line_and_keep_their_values(tmp_path):
    seconds = {"low": 1e-07, "median": float(np.float64(0.1)), "high": 1e22}
    results.write(tmp_path / "a.json", make_row("a [\n 1,\n 2\n]") | {"seconds": {"a": seconds}})
    assert results.read(tmp_path / "a.json")["seconds"]["a"] == seconds
    assert results.read(tmp_path / "a.json")["what"] == "a [\n 1,\n 2\n]"
    record = make_row("limits")
    record["settings"]["limits"] = {"b": ["a", 1.5]}
    results.write(tmp_path / "b.json", record)
    assert results.read(tmp_path / "b.json") == record
