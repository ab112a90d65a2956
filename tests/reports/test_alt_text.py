"""Alternative texts say what stands in a figure: titles, axes, and where each series goes."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from anrot_lib.reports.alt_text import describe_figure


@pytest.fixture
def figure():
    return Figure()


def test_lines_are_told_from_their_ends_and_extremes(figure):
    axes = figure.subplots()
    axes.plot([0, 0.1, 0.2], [90, 95, 3], label="clean")
    axes.plot([0, 0.1, 0.2], [80, 70, 60])
    axes.axhline(20, label="chance")
    axes.set(xlabel=r"$\varepsilon$, L-inf", ylabel="accuracy, %", title="under attack", ylim=(0, 100), xlim=(0, 0.2))
    text = describe_figure(figure)
    assert text.startswith("under attack: accuracy, % (0 to 100) over epsilon, L-inf (0 to 0.2); ")
    assert "clean: from 90 to 3, highest 95 at 0.1; a line: from 80 to 60; chance: level at 20." in text


def test_a_tail_that_nobody_sees_is_zero_but_on_a_logarithmic_axis(figure):
    for axes, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        axes.plot([0, 1, 2], [1e-9, 1, 3e-5], label="density")
        axes.set_yscale(scale)
    text = describe_figure(figure)
    assert "density: from 0 to 0, highest 1 at 1" in text and "density: from 1e-09 to 3e-05, highest 1 at 1" in text


def test_bars_have_the_names_of_their_ticks(figure):
    left, right = figure.subplots(1, 2)
    left.bar(["x", "y"], [1, 2.5], label="times")
    right.barh(["true", "false"], [0.2, 0.8])
    text = describe_figure(figure)
    assert "2 panels" in text and "times: x 1, y 2.5" in text and "bars: true 0.2, false 0.8" in text


def test_many_bars_are_counted_and_the_longest_told(figure):
    figure.subplots().hist([1, 2, 2, 2, 9], bins=10)
    assert "10 bars, longest 3 at 2.2" in describe_figure(figure)


def test_pictures_are_counted_and_named_once(figure):
    for k, axes in enumerate(figure.subplots(2, 3).ravel()):
        axes.imshow(np.eye(4))
        axes.set(xticks=[], yticks=[], title=f"class {k % 3}")
    assert describe_figure(figure) == "6 pictures: class 0, class 1, class 2."


def test_a_heat_map_has_its_range_and_its_colour_bar_is_no_panel(figure):
    axes = figure.subplots()
    shown = axes.imshow([[1.0, 2.0], [np.nan, 7.5]])
    axes.set_xticks(range(2), ["one", "two"])
    figure.colorbar(shown)
    text = describe_figure(figure)
    assert "2 by 2 fields from 1 to 7.5" in text and "panels" not in text and "(one, two)" in text


def test_points_are_counted_and_placed(figure):
    figure.subplots().scatter([1, 2, 3], [4, -5, 6], label="images")
    assert "images: 3, 1 to 3 across, -5 to 6 up" in describe_figure(figure)


def test_what_is_hidden_or_missing_is_not_told(figure):
    first, second = figure.subplots(1, 2)
    first.plot([0, 1], [np.nan, np.nan], label="nowhere")
    second.plot([0, 1], [1, 2], label="hidden")
    second.set_visible(False)
    text = describe_figure(figure)
    assert "nowhere" not in text and "hidden" not in text
    assert describe_figure(Figure()) == "An empty figure."


def test_a_long_figure_has_a_text_that_ends(figure):
    for axes in figure.subplots(3, 3).ravel():
        for k in range(20):
            axes.plot([0, 1], [k, k + 1], label=f"line {k}")
        axes.set_title("panel")
    text = describe_figure(figure)
    assert "and 12 more" in text and len(text) < 2500
