"""What the split of the release is worth: the table, the mean over nets, the figure."""

import copy

import numpy as np
import pytest

from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import interval
from anrot_lib.records import results
from anrot_lib.reports import leaky_split
from tests.reports.test_tables import record


def make(seed, counts, trained=None):
    made = record(f"split-{seed}")
    made["training"]["checkpoint"] = f"{seed:x}" * 64
    made["columns"] = {"clean": results.make_column(np.array(counts), 80, 1.0)}
    if trained is not None:
        made["data"] = made["data"] | {"classes": {"test": 18}}
        made["seen"] = {"trained_classes": trained, "selected_classes": 3, "images": 900}
    return made


SPLITS = [make(0, (40, 50, 60)), make(10, (50, 52, 60)), make(2, (44, 50, 61))]
RELEASED = [make(0, (60, 66, 70), 11), make(2, (60, 70, 71), 12), make(10, (58, 62, 66), 9)]


def test_a_line_holds_both_accuracies_of_one_net_and_the_last_their_mean_difference():
    pairs = leaky_split.match_splits(SPLITS, RELEASED)
    assert list(pairs) == [0, 2, 10]
    headings, rows = leaky_split.make_split_table(pairs)
    assert [row[0] for row in rows] == ["0", "2", "10", "mean"] and len(headings) == len(rows[0]) == len(rows[-1])
    assert rows[1][1:3] == ["12 of 18", "3"]
    gains = [
        100 * np.mean(np.subtract(b["columns"]["clean"]["correct"], a["columns"]["clean"]["correct"])) / 80
        for a, b in pairs.values()
    ]
    assert [row[5] for row in rows[:3]] == [f"{gain:+.1f}" for gain in gains]
    over_nets = interval(np.array(gains) / 100, bootstrap=False)
    assert rows[-1][5] == f"{over_nets.mean:+.1f} ± {over_nets.half_width:.1f}" and over_nets.n == 3
    assert "64 classes trained a net" in leaky_split.write_split_caption(pairs)


def test_one_net_has_no_mean_over_nets():
    pairs = leaky_split.match_splits(SPLITS[:1], RELEASED)
    assert leaky_split.measure_gain(pairs) is None and len(leaky_split.make_split_table(pairs)[1]) == 1


def test_records_of_two_nets_are_no_pair():
    other = copy.deepcopy(RELEASED)
    other[1]["training"]["checkpoint"] = "f" * 64
    with pytest.raises(UserError, match="the two records of split-2 are of different nets"):
        leaky_split.match_splits(SPLITS, other)
    with pytest.raises(UserError, match="run anrot consequences first"):
        leaky_split.match_splits(SPLITS, [])


def test_the_figure_has_a_line_for_each_net_and_one_for_their_mean():
    pairs = leaky_split.match_splits(SPLITS, RELEASED)
    *lines, mean = leaky_split.draw_splits(pairs).axes[0].lines
    values = [line.get_ydata() for line in lines]
    assert len(values) == 3 and np.allclose(mean.get_ydata(), np.mean(values, axis=0))
    assert all(line[1] > line[0] for line in values), "from unseen classes to those of the release"


def test_draws_of_two_encoders_are_not_averaged():
    other = make(4, (40, 50, 60))
    other["budget"] = other["budget"] | {"encoder": "conv4"}
    with pytest.raises(UserError, match="stand in one study and differ in encoder"):
        leaky_split.match_splits([*SPLITS, other], [*RELEASED, make(4, (60, 66, 70), 11)])
