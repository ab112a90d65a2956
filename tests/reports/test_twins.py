"""Twins: differences of two experiments, episode by episode, over the nets of all seeds."""

import numpy as np
import pytest

from anrot_lib.core.errors import UserError
from anrot_lib.reports import twins


def make_record(row: str, correct: list[int], episodes: str = "a") -> dict:
    columns = {"clean": {"correct": correct, "queries": 10}}
    return {"row": row, "manifest": {"hash": episodes}, "columns": columns}


def test_the_difference_of_an_episode_is_the_mean_over_the_nets_that_were_tested_on_it():
    first = [make_record("anrot", [5, 6, 7, 5]), make_record("anrot-seed1", [4, 4, 6, 6])]
    second = [make_record("anrot-seed1", [5, 3, 6, 6]), make_record("anrot", [5, 8, 7, 5]), make_record("nnc", [1] * 4)]
    pairs = twins.match_rows(first, second)
    assert [[a["row"] for a, _ in some] for some in pairs.values()] == [["anrot", "anrot-seed1"]]
    mean, half, over_nets = twins.compute_difference(pairs["anrot"], "clean")
    differences = [0.05, 0.05, 0.0, 0.0]  # (0 + 0.1) / 2, (0.2 - 0.1) / 2, ...
    assert mean == pytest.approx(2.5) and half == pytest.approx(318.2446 * np.std(differences, ddof=1) / 2, rel=1e-4)
    assert over_nets == pytest.approx(12.7062 * np.std([5.0, 0.0], ddof=1) / 2**0.5, rel=1e-4)
    headings, rows = twins.make_table(first, second, "bf16 - fp32")
    assert rows[0][1:4] == ["clean", "4", "2"] and rows[0][4].startswith("+2.50 ± ") and len(rows[0]) == len(headings)


def test_a_single_net_has_no_interval_over_nets():
    pairs = twins.match_rows([make_record("anrot", [5, 6])], [make_record("anrot", [6, 8])])
    assert twins.compute_difference(pairs["anrot"], "clean")[2] is None


def test_other_episodes_make_no_pair():
    with pytest.raises(UserError, match="'anrot' are of other episodes"):
        twins.match_rows([make_record("anrot", [5, 6])], [make_record("anrot", [5, 6], "b")])


def test_twins_that_are_not_measured_are_said_to_be_missing():
    assert twins.write_table("none-there", "nor-there", "x") == "Not measured yet."
