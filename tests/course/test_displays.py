"""Figures in notebooks bring an alternative text: in the PNG's metadata, and live also as HTML."""

import base64
import html
import re

from matplotlib.figure import Figure

from anrot_lib.course import displays
from anrot_lib.reports.alt_text import describe_figure


def draw() -> Figure:
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, 1], [1, 2], label='a "line" <b>')
    return figure


def test_a_built_notebook_holds_one_png_with_its_text():
    figure = draw()
    data, metadata = displays.render_figure(figure, live=False)
    assert list(data) == ["image/png"] and base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert metadata == {"image/png": {"alt": describe_figure(figure)}}


def test_a_live_notebook_shows_the_same_png_with_its_text_as_html():
    figure = draw()
    data, _ = displays.render_figure(figure, live=True)
    shown = re.fullmatch(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)">', data["text/html"])
    assert html.unescape(shown[1]) == describe_figure(figure) and shown[2] == data["image/png"]


def test_nothing_is_registered_outside_a_notebook():
    displays.add_alternatives(live=True)  # this is no kernel; it must not fail
