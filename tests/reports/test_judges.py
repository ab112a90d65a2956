"""Judges as a table and a caption."""

import copy

import numpy as np

from anrot_lib.core.configs import to_dict
from anrot_lib.records import results, schema
from anrot_lib.reports import judges
from anrot_lib.settings import Protocol
from tests.reports.test_tables import MANIFEST, record


def make_judge(attack, ours, theirs):
    ours, theirs = np.array(ours), np.array(theirs)
    return {
        "attack": attack,
        "library": "adv-lib",
        "version": "0.2.8",
        "ours": results.make_column(ours, 5, 1.0),
        "judge": results.make_column(theirs, 5, 1.0),
        "difference": {"value": 20 * float((theirs - ours).mean()), "half_width": 1.25},
        "ours_alone": 2,
        "judge_alone": 1,
    }


RECORD = {
    "schema": 1,
    "kind": "judges",
    "row": "anrot",
    "run": record("anrot")["run"],
    "data": record("anrot")["data"],
    "protocol": to_dict(Protocol()),
    "manifest": MANIFEST,
    "net": {"sha256": "a" * 64, "name": "anrot"},
    "columns": {"clean": results.make_column(np.array([4, 5]), 5, 1.0)},
    "judges": [make_judge("PGD-20", [2, 2], [2, 3]), make_judge("Square-300", [3, 3], [2, 3])],
    "missing": {"other": "not installed"},
    "seconds": 12.0,
}


def test_a_table_of_judges():
    schema.validate(RECORD)
    headings, lines = judges.make_table(RECORD)
    assert len(headings) == len(lines[0]) == len(lines[1])
    assert lines[0][:2] == ["PGD-20", "adv-lib 0.2.8"] and lines[0][4:] == ["+10.0 ± 1.2", "2", "1"]
    assert lines[1][4] == "-10.0 ± 1.2"


def test_the_caption_names_the_attacks_that_a_judge_surpasses():
    caption = judges.write_caption(RECORD)
    assert "WEAKER than a judge by more than 0.5 points: Square-300;" in caption
    assert "2 episodes of 5 queries, 90.0 % right on clean images" in caption
    assert "other was not asked (not installed)" in caption
    even = copy.deepcopy(RECORD) | {"judges": RECORD["judges"][:1]}
    assert "no judge is stronger by more than 0.5 points" in judges.write_caption(even)
