"""Colours of figures: enough contrast on paper, and apart also for colour-blind readers."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from anrot_lib.core import palette
from anrot_lib.fewshot.methods import list_methods

ROOT = Path(__file__).resolve().parents[2]
LEAST_DIFFERENCE = 10  # in CIE 1976 L*a*b*; about 2 can just be told when the fields touch
# Machado, Oliveira & Fernandes 2009: what a reader without one kind of cone sees, in linear RGB.
SIGHT = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def see(colour: str, sight: str) -> np.ndarray:
    """L*a*b* of a colour as a reader sees it."""
    channels = np.array(palette.read_channels(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    x, y, z = TO_XYZ @ np.clip(np.asarray(SIGHT[sight]) @ linear, 0, 1) / TO_XYZ.sum(1)
    root = [v ** (1 / 3) if v > (6 / 29) ** 3 else v / (3 * (6 / 29) ** 2) + 4 / 29 for v in (x, y, z)]
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def test_contrast_is_that_of_wcag():
    """Values of its definition, and of a published example: #777777 just fails, #767676 just passes on white."""
    assert palette.compute_contrast("#000000") == pytest.approx(21)
    assert palette.compute_contrast("#FFFFFF") == 1
    assert palette.compute_contrast("#767676") == pytest.approx(4.54, abs=0.005)
    assert palette.compute_contrast("#777777") == pytest.approx(4.48, abs=0.005)
    assert palette.compute_contrast("#123456", "#FEDCBA") == palette.compute_contrast("#FEDCBA", "#123456")


@pytest.mark.parametrize("colour", palette.PALETTE)
def test_a_mark_stands_out_from_paper_and_letters_even_more(colour):
    assert palette.compute_contrast(colour) >= 3
    assert palette.compute_contrast(palette.adjust_text(colour)) >= 4.5
    assert palette.compute_contrast(palette.pick_letters(colour), colour) >= 4.5


def test_letters_are_darkened_no_more_than_it_takes():
    assert palette.adjust_text(palette.BLUE) == palette.BLUE
    assert 4.5 <= palette.compute_contrast(palette.adjust_text(palette.SKY)) < 4.7


@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_colours_are_apart_for_every_reader(sight):
    seen = {colour: see(colour, sight) for colour in palette.PALETTE}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= LEAST_DIFFERENCE, (one, other)


def test_two_colours_of_the_former_figures_would_fail():
    """Sky blue and amber had 2.3 to 1 on white; orange and a darker amber are one colour without green cones."""
    assert palette.compute_contrast("#56B4E9") < 3 and palette.compute_contrast("#E69F00") < 3
    assert np.linalg.norm(see(palette.ORANGE, "deuteranopia") - see("#B97F00", "deuteranopia")) < 5


def test_methods_have_colours_of_the_palette_and_no_two_the_same():
    colours = [method.colour for method in list_methods() if method.colour]
    assert len(set(colours)) == len(colours) and set(colours) <= set(palette.PALETTE)


def test_every_colour_that_is_written_down_is_of_the_palette():
    """In the sources of notebooks, where marks are drawn; light greys are for backgrounds."""
    backgrounds = {"#BBBBBB", "#EEEEEE", "#FFFFFF"}
    for path in [*ROOT.glob("notebooks/src/*.py"), *ROOT.glob("anrot_lib/reports/*.py")]:
        used = set(re.findall(r"#[0-9A-Fa-f]{6}\b", path.read_text("utf-8")))
        assert used <= {*palette.PALETTE, *backgrounds}, path.name
