"""Pictures draw what they are given."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex

from anrot_lib.core import palette
from anrot_lib.reports import pictures


@pytest.fixture
def axes():
    figure, axes = plt.subplots(1, 3)
    yield axes
    plt.close(figure)


def test_an_image_is_shown_pixel_by_pixel(axes):
    image = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0))
    pictures.show(axes[0], image, "cat", pictures.WRONG)
    shown = axes[0].images[0]
    assert torch.allclose(torch.tensor(shown.get_array()).permute(2, 0, 1), image)
    assert shown.get_interpolation() == "nearest"
    assert {to_hex(s.get_edgecolor()).upper() for s in axes[0].spines.values()} == {pictures.WRONG}
    assert pictures.arrange_pixels(image[:1]).shape == (5, 4)


def test_a_row_switches_left_over_axes_off(axes):
    pictures.row(axes, torch.zeros(2, 1, 4, 4), ["a"])
    assert [a.axison for a in axes] == [True, True, False]
    assert [a.get_title() for a in axes] == ["a", "", ""]


def test_a_change_lies_around_grey(axes):
    pictures.change(axes[0], torch.tensor([[[0.0, 0.1, -0.1]]]), factor=10)
    assert torch.tensor(axes[0].images[0].get_array()).tolist() == [[0.5, 1.0, 0.0]]
    assert "x 10" in axes[0].get_title()


def test_bars_are_green_for_truth_and_red_for_a_wrong_prediction(axes):
    pictures.probabilities(axes[0], torch.tensor([0.2, 0.7, 0.1]), "abc", truth=0)
    seen = [to_hex(bar.get_facecolor()).upper() for bar in axes[0].patches]
    assert seen == [pictures.RIGHT, pictures.WRONG, palette.GREY]
    pictures.probabilities(axes[1], torch.tensor([0.2, 0.7, 0.1]), "abc", truth=1)
    assert to_hex(axes[1].patches[1].get_facecolor()).upper() == pictures.RIGHT


def test_a_frame_lies_around_its_position(axes):
    pictures.frame(axes[0], position=9, side=4, pixels=32)  # row 2, column 1 of 4 x 4
    box = axes[0].patches[0]
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (7.5, 15.5, 8, 8)


def test_an_ellipse_lies_at_two_standard_deviations(axes):
    points = torch.tensor([[0.0, 2, 0, 2], [0, 0, 2, 2]]) * torch.tensor([[1.0], [3.0]]) + 5
    pictures.ellipse(axes[0], points, "black", "cloud")
    ring = torch.tensor(axes[0].lines[0].get_xydata()).T
    inverse = torch.linalg.inv(points.cov()).double()
    gaps = ring - points.mean(1, keepdim=True)
    torch.testing.assert_close(
        ((inverse @ gaps) * gaps).sum(0), torch.full((100,), 4.0, dtype=torch.float64), rtol=1e-5, atol=0
    )
    assert axes[0].lines[0].get_label() == "cloud" and len(axes[0].collections[0].get_offsets()) == 4


def test_corners_of_the_triangle_are_the_pure_mixtures(axes):
    shares = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1 / 3, 1 / 3, 1 / 3)]
    spots = pictures.triangle(axes[0], ("a", "b", "c"), shares, [1, 2, 3, 4], mark=(2, 2, 0))
    height = 3**0.5 / 2
    expected = torch.tensor([[0, 0], [1, 0], [0.5, height], [0.5, height / 3]], dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(spots.get_offsets().data), expected)
    assert spots.get_array().tolist() == [1, 2, 3, 4]
    assert axes[0].collections[1].get_offsets().data.tolist() == [[0.5, 0]]
    pictures.triangle(axes[1], ("a", "b", "c"), shares, [1, 2, 3, 4], mark=(0, 0, 0))
    assert len(axes[1].collections) == 1, "three zeros are no mixture"


def test_strips_show_every_image_with_a_line_around_it(axes):
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    pictures.strips(axes, {"a": images, "b": images[:1], "c": images})
    shown = torch.tensor(axes[0].images[0].get_array())
    assert shown.shape == (6, 18) and torch.equal(shown[1:5, 7:11], images[1, 0])
    assert shown[0].eq(0.5).all() and shown[:, 6].eq(0.5).all()
    assert [a.get_ylabel() for a in axes] == ["a", "b", "c"]


def test_the_plane_marks_the_place(axes):
    pictures.plane(axes[0], 1.0, 0.25)
    assert axes[0].lines[1].get_xydata().tolist() == [[1.0, 0.25]]
    assert [t.get_text() for t in axes[0].get_xticklabels()] == ["A", "B"]
