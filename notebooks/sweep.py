"""Move the sliders of every notebook: `python notebooks/sweep.py [--reference] [NUMBER ...]`.

Runs the sources in this process with `lesson.explore` replaced: each slider is moved to both ends, the others at their
start, and each figure is rendered as a live notebook renders it. The processor time of the redraws goes to
bench/sliders.json in data/runs, with --reference in data/results (all notebooks only), and the exit code is 1 if the
median of a figure is above LONGEST. With --frames the figures are written to data/frames instead, or to the folder of
--to=FOLDER; the site finds them there.
"""

import contextlib
import io
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupytext
import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch

from anrot_lib.course import catalogue, displays, lesson
from anrot_lib.publish import frames, website
from anrot_lib.records import timing

HERE = Path(__file__).resolve().parent
LONGEST = 0.150  # seconds of a redraw
REPEATS = 3  # of a redraw whose time is recorded


def rendered() -> int:
    """Render all open figures as a live notebook does, close them, and count them."""
    numbers = plt.get_fignums()
    for number in numbers:
        displays.render_figure(plt.figure(number), live=True)
    plt.close("all")
    return len(numbers)


def combinations(choices: dict[str, Any]) -> list[dict[str, Any]]:
    values = [[value for _, value in lesson.options(choice)] for choice in choices.values()]
    return [dict(zip(choices, combination, strict=True)) for combination in itertools.product(*values)]


def find_ends(choices: dict[str, Any], start: dict[str, Any]) -> list[dict[str, Any]]:
    """The states with one slider at an end and the others at their start, each REPEATS times."""
    values = {name: [value for _, value in lesson.options(choice)] for name, choice in choices.items()}
    first = {name: places[0] for name, places in values.items()} | start
    return [first | {name: end} for name, places in values.items() for end in (places[0], places[-1])] * REPEATS


def sweep(notebook: catalogue.Notebook, folder: Path | None = None, ends: bool = False) -> dict[str, list[float]]:
    """Processor seconds of every redraw, by the draw function. AssertionError if one shows no single figure.

    ends    only the ends of each slider are drawn, instead of all combinations of places.
    folder  where the figures are written as frames of the site; then only as many states are drawn as it shows.
    """
    seconds: dict[str, list[float]] = {}
    numbers = itertools.count()

    def explore(draw: Callable[..., None], start: dict[str, Any] | None = None, **choices: Any) -> None:
        plt.close("all")
        unknown = set(start or {}) - set(choices)
        assert not unknown, f"{draw.__name__}: start names {unknown}, which is no slider"
        for name, value in (start or {}).items():
            assert value in [v for _, v in lesson.options(choices[name])], (
                f"{draw.__name__}: {name} starts off its slider"
            )
        if folder is not None:
            write_frames(folder / str(next(numbers)), draw, start or {}, choices)
            return
        for values in find_ends(choices, start or {}) if ends else combinations(choices):
            before = time.process_time()
            draw(**values)
            shown = rendered()
            seconds.setdefault(draw.__name__, []).append(time.process_time() - before)
            assert shown == 1, f"{draw.__name__}({values}) shows {shown} figures instead of one"

    namespace = {"__name__": "__main__"}
    show, original = plt.show, lesson.explore
    plt.show, lesson.explore = (lambda *a, **k: None), explore
    try:
        for cell in jupytext.read(HERE / "src" / f"{notebook.stem}.py", fmt="py:percent").cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, notebook.stem, "exec"), namespace)
                rendered()
    finally:
        plt.show, lesson.explore = show, original
    return seconds


def write_frames(folder: Path, draw: Callable[..., None], start: dict[str, Any], choices: dict[str, Any]) -> None:
    """Draw the states of one figure and write them as frames."""
    places = {name: lesson.options(choice) for name, choice in choices.items()}
    first = {name: options[0][1] for name, options in places.items()} | start
    thinned = frames.reduce_choices(places, first)
    writer = frames.FrameWriter(folder, thinned, first)
    for state in frames.list_states(thinned):
        draw(**(first | state))
        writer.add(plt.gcf())
        plt.close("all")
    writer.close()


def main(arguments: list[str]) -> int:
    numbers = [argument for argument in arguments if not argument.startswith("--")]
    if "--frames" in arguments:
        to = next((Path(a.partition("=")[2]) for a in arguments if a.startswith("--to=")), website.FRAMES)
        for notebook in catalogue.list_ready():
            if not numbers or f"{notebook.number:02d}" in numbers:
                with contextlib.redirect_stdout(io.StringIO()):
                    sweep(notebook, to / notebook.stem)
                print(notebook.stem, flush=True)
        return 0
    found: dict[str, dict[str, float]] = {}
    for notebook in catalogue.list_ready():
        if numbers and f"{notebook.number:02d}" not in numbers:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            seconds = sweep(notebook, ends=True)
        for name, values in seconds.items():
            low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
            found[f"{notebook.number:02d} {name}"] = {
                "median": median,
                "low": low,
                "high": high,
                "largest": max(values),
            }
            print(f"{notebook.number:02d} {name}: {len(values)} redraws, median {1000 * median:.0f} ms", flush=True)
    if not numbers:
        what = "redraw of a slider's figure at the ends of its sliders, processor time"
        timing.write_timing("sliders", what, {}, found, torch.device("cpu"), "--reference" in arguments)
    slow = [name for name, times in found.items() if times["median"] > LONGEST]
    if slow:
        print(f"above {1000 * LONGEST:.0f} ms: {', '.join(slow)}")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
