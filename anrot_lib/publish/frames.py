"""Sliders of the site: every state of a notebook's figure, drawn beforehand, and the controls that choose among them.

`notebooks/sweep.py --frames` writes the frames, a folder a slider; the site shows them by a few lines of plain script.
"""

import html
import io
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from anrot_lib.core import paths
from anrot_lib.reports.alt_text import describe_figure

MOST_FRAMES = 120  # of one figure; sliders that would make more keep their start
COLOURS = 96  # of a frame
PLAN = "plan.json"
Choices = Mapping[str, Sequence[tuple[str, Any]]]  # slider -> (label, value) of each of its places


def reduce_choices(choices: Choices, start: Mapping[str, Any]) -> dict[str, list[tuple[str, Any]]]:
    """The same sliders, the last ones fixed at their start until at most MOST_FRAMES states are left."""
    kept = {name: list(places) for name, places in choices.items()}
    for name in reversed(kept):
        if math.prod(map(len, kept.values())) <= MOST_FRAMES:
            break
        kept[name] = [place for place in kept[name] if place[1] == start[name]]
    return {name: places for name, places in kept.items() if len(places) > 1 or len(kept) == 1}


def list_states(choices: Choices) -> Iterator[dict[str, Any]]:
    """The values of all sliders in every state, the last slider fastest: a frame's number is its place here."""
    for state in itertools.product(*choices.values()):
        yield {name: value for name, (_, value) in zip(choices, state, strict=True)}


class FrameWriter:
    """Takes the figures of one `explore` in the order of `list_states`, and writes them with their plan to a folder."""

    def __init__(self, folder: Path, choices: Choices, start: Mapping[str, Any]):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.texts = folder, list[str]()
        self.sliders = [
            {
                "name": name.replace("_", " "),
                "labels": [label for label, _ in places],
                "start": [value for _, value in places].index(start[name]),
            }
            for name, places in choices.items()
        ]

    def add(self, figure: Figure) -> None:
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", bbox_inches="tight")
        small = Image.open(drawn).convert("RGB").quantize(COLOURS)
        small.save(self.folder / f"{len(self.texts)}.png", optimize=True)
        self.texts.append(describe_figure(figure))

    def close(self) -> None:
        paths.write_text(self.folder / PLAN, json.dumps({"sliders": self.sliders, "texts": self.texts}))


def attach_frames(book: dict[str, Any], folder: Path, address: str) -> None:
    """Put the controls behind every cell of a notebook that explores a figure of which there are frames.

    folder   of the notebook's frames: 0, 1, ... for its first, second, ... such cell.
    address  the same folder as the page names it.
    """
    cells, at = [], 0
    for cell in book["cells"]:
        cells.append(cell)
        if cell["cell_type"] == "code" and "lesson.explore(" in "".join(cell["source"]):
            if (plan := folder / str(at) / PLAN).is_file():
                controls = write_controls(json.loads(plan.read_text("utf-8")), f"{address}/{at}")
                cells.append({"cell_type": "markdown", "id": f"play-{at}", "metadata": {}, "source": controls})
            at += 1
    book["cells"] = cells


def write_controls(plan: Mapping[str, Any], address: str) -> str:
    """HTML of a figure's sliders; hidden until the script of the site finds it."""
    rows = []
    for slider in plan["sliders"]:
        name, last, start = html.escape(slider["name"]), len(slider["labels"]) - 1, slider["start"]
        shown = html.escape(slider["labels"][start])
        control = f'<input type="range" min="0" max="{last}" value="{start}" aria-valuetext="{shown}">'
        rows.append(f"<label><span>{name}</span>{control}<output>{shown}</output></label>")
    labels = [slider["labels"] for slider in plan["sliders"]]
    data = json.dumps({"labels": labels, "texts": plan["texts"]}).replace("<", "\\u003c")
    script = f'<script type="application/json">{data}</script>'
    return f'<div class="play" data-frames="{html.escape(address)}" hidden>{"".join(rows)}{script}</div>'
