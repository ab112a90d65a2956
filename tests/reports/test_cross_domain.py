"""Nets on another set than that of their training."""

import numpy as np
import pytest

from anrot_lib.publish import marks
from anrot_lib.records import results
from anrot_lib.reports import cross_domain
from tests.reports.test_tables import record


def make_record(data, origin, row="robust-classes", shift=0, without=(), **changes):
    made = record(row, shift, **changes)
    made["data"] |= {"name": data} | ({"without": list(without)} if without else {})
    known = {"data": origin, "sha256": "a" * 64, "split_hash": "b" * 64, "classes": 80, "images": 100}
    made["training"] |= {"origin": known}
    made["columns"]["AA-lite 8/255 query"] = results.make_column(np.array([10, 20, 15]), 80, 1.0, suite="aa-lite")
    return made


def test_a_net_from_another_set_stands_above_the_one_that_was_trained_there():
    foreign = [make_record("mini", "cifar", shift=-4, without=["lion"]), make_record("mini", "cifar", "clean-classes")]
    native = [
        make_record("mini", "mini"),
        make_record("mini", "mini", "clean-classes"),
        make_record("cifar", "cifar"),
    ]
    other = {**native[0], "protocol": native[0]["protocol"] | {"shot": 1}}
    pairs = cross_domain.match_nets(foreign, [other, *native])
    assert [(r["row"], n and n["row"], n and cross_domain.find_origin(n)) for r, n in pairs] == [
        ("robust-classes", "robust-classes", "mini"),
        ("clean-classes", "clean-classes", "mini"),
    ]
    assert pairs[0][1] is native[0]
    headings, rows = cross_domain.make_table(pairs)
    assert headings[:6] == ["tested on", "trained on", "net", "clean", "PGD-20 8/255", "AA-lite 8/255"]
    assert headings[6:] == ["clean, difference", "PGD-20 8/255, difference"]
    assert [line[6:] for line in rows] == [["-5.0 ± 0.0"] * 2, ["-", "-"], ["+0.0 ± 0.0"] * 2, ["-", "-"]]
    assert [line[:2] for line in rows] == [["mini", "cifar"], ["mini", "mini"]] * 2
    assert rows[0][3] != rows[1][3] and rows[0][5] == "18.8 ± 15.5"
    caption = cross_domain.write_caption(pairs)
    assert "lion for nets of cifar on mini" in caption and "no test class was seen" not in caption


def test_a_net_without_a_counterpart_stands_alone():
    pairs = cross_domain.match_nets(
        [make_record("mini", "cifar")], [make_record("mini", "cifar"), make_record("mini", "mini", "anrot")]
    )
    assert pairs[0][1] is None and len(cross_domain.make_table(pairs)[1]) == 1
    caption = cross_domain.write_caption(pairs)
    assert "no test class was seen" in caption and "another name" not in caption
    pairs[0][0]["close"] = ["fox (Arctic fox)"]
    assert "under another name: fox (Arctic fox) for nets of cifar on mini" in cross_domain.write_caption(pairs)


def test_other_episodes_are_not_compared():
    foreign, native = make_record("mini", "cifar", shift=-3), make_record("mini", "mini")
    other = {**native, "manifest": native["manifest"] | {"hash": "1" * 64}}
    assert cross_domain.format_difference(foreign, other, "clean") == "-"
    assert cross_domain.format_difference(foreign, native, "noise 0.90 query") == "-"
    shorter = {**foreign, "columns": {"clean": results.make_column(np.array([57, 42, 72, 30]), 80, 1.0)}}
    assert cross_domain.format_difference(shorter, native, "clean").startswith("-2.8 ± "), "on the four that both have"


def test_the_mark_finds_both_by_the_names_of_the_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    assert marks.draw("cross-domain") == "No net has been tested on another set yet."
    folder = tmp_path / "results"
    results.write(folder / "mini-32px-from-cifar" / "robust-classes.json", make_record("mini", "cifar"))
    results.write(folder / "mini-32px" / "robust-classes.json", make_record("mini", "mini"))
    drawn = marks.draw("cross-domain").splitlines()
    assert [line.split(" | ")[1] for line in drawn[2:4]] == ["cifar", "mini"]
    with pytest.raises(Exception, match="marks are"):
        marks.draw("cross-domain NAME")
