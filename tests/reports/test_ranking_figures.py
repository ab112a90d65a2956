"""Figures of rankings: they draw what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from anrot_lib.ranking.attacks.lists import AttackedLists
from anrot_lib.ranking.attacks.suite import Subject
from anrot_lib.ranking.gallery import Gallery
from anrot_lib.ranking.score import ers
from anrot_lib.reports import ranking_figures


@pytest.fixture
def axes():
    yield plt.figure().subplots()
    plt.close("all")


def test_a_triplet_ends_on_the_circle(axes):
    route = torch.tensor([[[0.9, 0.5], [0.5, 0.9], [0.2, 0.5]], [[0.95, 0.5], [0.5, 0.8], [0.1, 0.5]]])
    ranking_figures.triplet(axes, route, eps=0.2)
    dots = [line.get_xydata()[0] for line in axes.lines if line.get_label() in ranking_figures.ROLES]
    np.testing.assert_allclose(dots, [[1, 0.5], [0.5, 1], [0, 0.5]], atol=1e-6)
    boxes = [patch.get_bbox().extents for patch in axes.patches[1:]]
    np.testing.assert_allclose(boxes[0], [0.7, 0.3, 1.0, 0.7], atol=1e-6)  # cut at the edge of the range


def test_hardness_is_drawn_dot_by_dot_with_its_mean(axes):
    values = {"easy": torch.tensor([-1.0, -0.5]), "hard": torch.tensor([0.1, 0.3, 0.2])}
    ranking_figures.hardnesses(axes, values, torch.Generator().manual_seed(0))
    dots, means = axes.lines[0::2], axes.lines[1::2]
    for k, found in enumerate(values.values()):
        np.testing.assert_allclose(dots[k].get_xdata(), found)
        np.testing.assert_allclose(means[k].get_xdata(), [found.mean()] * 2)
        assert (np.abs(dots[k].get_ydata() - k) <= 0.25).all()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["easy", "hard"]


def test_a_ladder_marks_where_it_stands(axes):
    ranking_figures.ladder(axes, [0, 4, 8], {"one": [80.0, 50.0, 20.0]}, ["red"], at=8)
    line, marker, ceiling = axes.lines
    assert list(line.get_ydata()) == [80, 50, 20]
    assert marker.get_xydata().tolist() == [[2, 20]]
    assert list(ceiling.get_ydata()) == [80, 80]


def test_bars_are_the_parts_of_the_score(axes):
    row = next(row for row in ers.read_published()["rows"] if "numbers" in row)
    half = {name: value / 2 for name, value in row["numbers"].items()}
    numbers = {"one": row["numbers"], "two": half}
    ranking_figures.parts(axes, numbers, ["red", "blue"], ceilings={"one": half, "two": half})
    for name, bars in zip(numbers, axes.containers, strict=True):
        np.testing.assert_allclose([bar.get_width() for bar in bars], list(ers.compute_parts(numbers[name]).values()))
    *ticks, whole = axes.lines
    np.testing.assert_allclose([line.get_xdata() for line in ticks], [list(ers.compute_parts(half).values())] * 2)
    assert list(whole.get_xdata()) == [100, 100]


@pytest.mark.parametrize(("chance_rank", "end"), [(49.0, 100.0), (55.0, 112.2)])
def test_the_axis_of_the_parts_ends_at_100_or_at_the_longest_part(axes, chance_rank, end):
    row = next(row for row in ers.read_published()["rows"] if "numbers" in row)
    ranking_figures.parts(axes, {"one": row["numbers"] | {"CA+": chance_rank, "TMA": 0.5}}, ["red"])
    assert axes.get_xlim() == pytest.approx((0, end)) and axes.get_xticks().max() == 100


def test_frames_say_which_images_are_of_the_querys_class():
    images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    gallery = Gallery(torch.eye(6), torch.tensor([0, 0, 1, 1, 0, 1]), "N")
    subject = Subject(torch.nn.Identity(), gallery, lambda rows: images[torch.as_tensor(rows)])
    one = torch.tensor([0])
    found = AttackedLists(
        torch.zeros(1, 1, 4, 4), one, one, torch.tensor([[4, 2]]), torch.tensor([3]), torch.tensor([5])
    )
    row = plt.figure().subplots(1, 4)
    ranking_figures.ranks(row, subject, found, 0, "query")
    assert [place.get_title() for place in row] == ["query", "1", "2", "followed: 5"]
    assert (row[0].images[0].get_array() == 0).all()  # the changed image
    colours = [place.spines["left"].get_edgecolor()[:3] for place in row[1:3]]
    assert colours[0][1] > colours[0][0] and colours[1][0] > colours[1][1]  # green, then red
    plt.close("all")
