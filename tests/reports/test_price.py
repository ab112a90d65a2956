"""The price of robustness is a difference on the same episodes, and no pair is shown that cannot be compared."""

import numpy as np
import pytest

from anrot_lib.core.statistics import interval
from anrot_lib.reports import price
from tests.reports.test_tables import MANIFEST, record


def test_the_difference_is_paired_and_the_attack_is_named():
    robust = record("anrot")
    for name in ("clean", "PGD-20 8/255 query"):
        correct = np.array(robust["columns"][name]["correct"]) - np.array([4, 2, 4, 2, 4, 2])
        robust["columns"][name] = {**robust["columns"][name], "correct": correct.tolist(), "mean": correct.mean() / 0.8}
    headings, rows = price.make_table([([record("anrot-clean"), robust], "anrot-clean", "anrot")])
    assert headings == price.HEADINGS and len(rows) == 1
    expected = interval(-np.array([4, 2, 4, 2, 4, 2]) / 80)
    assert rows[0][:2] == ["cifar-fs", "ANROT, trained on the mixture"]
    assert rows[0][4] == f"{expected.mean:+.1f} ± {expected.half_width:.1f}" == f"-3.8 ± {expected.half_width:.1f}"
    assert rows[0][5].startswith("PGD-20 8/255: ") and rows[0][5].count("±") == 2


@pytest.mark.parametrize(
    "records",
    [
        [record("anrot")],
        [record("anrot-clean"), record("anrot", manifest={**MANIFEST, "hash": "d" * 64})],
    ],
)
def test_a_pair_without_the_same_episodes_is_left_out(records):
    assert price.make_table([(records, "anrot-clean", "anrot")])[1] == []


def test_without_the_attack_there_is_a_dash():
    bare = record("anrot")
    bare["columns"] = {"clean": bare["columns"]["clean"]}
    assert price.make_table([([record("anrot-clean"), bare], "anrot-clean", "anrot")])[1][0][5] == "-"
