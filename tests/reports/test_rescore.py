"""A challenge as a table and as a verdict."""

import copy
import re

import numpy as np

from anrot_lib.records import results, schema
from anrot_lib.reports import rescore
from anrot_lib.reports.tables import format_markdown
from tests.reports.test_tables import MANIFEST, record

COUNTS = {"clean": [20, 22, 18], "recorded": [10, 12, 8], "challenged": [9, 12, 6]}
RECORD = {
    "schema": 1,
    "kind": "rescore",
    "row": "anrot",
    "run": record("anrot")["run"],
    "data": record("anrot")["data"],
    "manifest": MANIFEST,
    "net": {"sha256": "a" * 64, "name": "anrot"},
    "images": {"sha256": "b" * 64, "attack": "AA 8/255 query", "norm": "linf", "eps": 8 / 255},
    "column": "AA-lite 8/255 query",
    "tasks": [0, 1, 2],
    "columns": {name: results.make_column(np.array(counts), 25, 1.0) for name, counts in COUNTS.items()},
    "difference": {"value": -4.0, "half_width": 9.94},
    "ties": 1,
    "from_record": False,
    "falls": True,
    "seconds": 2.0,
}


def test_a_row_that_falls_says_from_where_to_where():
    schema.validate(RECORD)
    headings, lines = rescore.make_table([RECORD])
    assert len(headings) == len(lines[0])
    assert lines[0][:3] == ["ANROT, trained on the mixture", "AA-lite 8/255 query", "AA 8/255 query"]
    assert lines[0][4].startswith("40.0 ±") and lines[0][5].startswith("36.0 ±")
    assert lines[0][6:] == ["-4.0 ± 9.9", "falls"]
    verdict = rescore.write_verdict(RECORD)
    assert "falls from 40.0 to 36.0 %, paired -4.00 ± 9.94 points on 3 episodes of 25 queries" in verdict
    assert "in the ball linf 8/255; 1 answers are ties" in verdict and "images of the record itself" not in verdict


def test_a_row_that_stands_and_images_of_its_own():
    standing = copy.deepcopy(RECORD) | {"falls": False, "from_record": True}
    assert rescore.make_table([standing])[1][0][-1] == "stands"
    verdict = rescore.write_verdict(standing)
    assert "stands: 40.0 % recorded, 36.0 % now" in verdict and verdict.endswith("the images of the record itself")


def test_images_of_a_part_of_the_episodes_say_so():
    """Whoever sends the episodes on which another random start found more would have any row fall by as much."""
    part = RECORD | {"of": 30}
    schema.validate(part)
    assert rescore.make_table([part])[1][0][-1] == "falls on 3 of 30 episodes"
    verdict = rescore.write_verdict(part)
    assert "images came on 3 of 30 episodes, chosen by the challenger: over all of them -0.40 points" in verdict
    assert rescore.measure_whole(RECORD) == -4.0 and "chosen" not in rescore.write_verdict(RECORD | {"of": 3})


def test_the_name_of_an_attack_cannot_end_a_cell_or_a_table():
    evil = copy.deepcopy(RECORD)
    evil["images"]["attack"] = "mine | 99.9 <!-- end -->\n| stands |"
    text = format_markdown(*rescore.make_table([evil]))
    assert len(text.splitlines()) == 3 and "<!--" not in text
    assert [len(re.split(r"(?<!\\)\|", line)) for line in text.splitlines()] == [10, 10, 10]


def test_a_net_that_has_seen_the_classes_is_marked():
    seen = RECORD | {"seen": {"trained_classes": 3, "selected_classes": 0, "images": 10}}
    schema.validate(seen)
    assert rescore.write_verdict(seen).startswith("SEEN CLASSES, no few-shot accuracy")
