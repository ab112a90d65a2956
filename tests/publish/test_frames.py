"""Frames of sliders: which states are drawn, in which order, and what stands on the page."""

import html
import json
import re

import pytest
from matplotlib.figure import Figure
from PIL import Image

from anrot_lib.publish import frames


def places(**choices):
    return {name: [(str(value), value) for value in values] for name, values in choices.items()}


def test_few_states_are_all_drawn_the_last_slider_fastest():
    choices = places(eps=[0.0, 0.1], net=["a", "b", "c"])
    assert frames.reduce_choices(choices, {"eps": 0.1, "net": "b"}) == choices
    states = list(frames.list_states(choices))
    assert states[:4] == [{"eps": 0.0, "net": n} for n in "abc"] + [{"eps": 0.1, "net": "a"}] and len(states) == 6


def test_of_many_states_the_last_sliders_keep_their_start():
    choices = places(eps=range(20), step=range(5), image=range(3))
    thinned = frames.reduce_choices(choices, {"eps": 4, "step": 2, "image": 1})
    assert thinned == {name: choices[name] for name in ("eps", "step")}  # 300 states become 100
    choices = places(eps=range(40), step=range(5))
    assert frames.reduce_choices(choices, {"eps": 4, "step": 2}) == {"eps": choices["eps"]}


@pytest.fixture
def folder(tmp_path):
    """The frames of one figure with two sliders."""
    choices = places(mean=[0, 1], deviation_of_q=["<1", "2"])
    writer = frames.FrameWriter(tmp_path / "1", choices, {"mean": 1, "deviation_of_q": "<1"})
    for state in frames.list_states(choices):
        figure = Figure(figsize=(1, 1))
        figure.subplots().set_title(f"{state['mean']} and {state['deviation_of_q']}")
        figure.axes[0].plot([0, 1])
        writer.add(figure)
    writer.close()
    return tmp_path


def test_frames_are_small_pictures_with_their_texts(folder):
    plan = json.loads((folder / "1" / "plan.json").read_text("utf-8"))
    assert [(s["name"], s["start"]) for s in plan["sliders"]] == [("mean", 1), ("deviation of q", 0)]
    assert [text.partition(":")[0] for text in plan["texts"]] == ["0 and <1", "0 and 2", "1 and <1", "1 and 2"]
    assert all(Image.open(folder / "1" / f"{k}.png").mode == "P" for k in range(4))


def test_controls_stand_behind_the_cell_whose_frames_exist(folder):
    explore = {"cell_type": "code", "source": ["lesson.explore(\n", "    draw)"]}
    text = {"cell_type": "markdown", "source": "about lesson.explore(draw)"}
    book = {"cells": [text, explore, explore, text]}
    frames.attach_frames(book, folder, "../frames/06")
    first, _, second, controls, last = book["cells"]
    assert first == last == text and second == explore
    shown = controls["source"]
    assert 'data-frames="../frames/06/1" hidden' in shown and "\n" not in shown
    assert re.findall(r'max="(\d+)" value="(\d+)"', shown) == [("1", "1"), ("1", "0")]
    assert "<output>&lt;1</output>" in shown
    data = re.search(r'<script type="application/json">(.*?)</script>', shown)[1]
    assert "<" not in data and json.loads(data)["labels"] == [["0", "1"], ["<1", "2"]]
    assert html.unescape(shown).count("deviation of q") == 1


def test_a_notebook_without_frames_stays(tmp_path):
    book = {"cells": [{"cell_type": "code", "source": "lesson.explore(draw)"}]}
    frames.attach_frames(book, tmp_path, "../frames/06")
    assert len(book["cells"]) == 1
