"""Move every slider of every notebook through all its places: `python notebooks/sweep.py [NUMBER ...]`.

Runs the sources in this process with `lesson.explore` replaced by a loop over all combinations of the choices, renders
each figure as a notebook would, and writes the seconds of the redraws to data/results/bench/sliders.json. With --frames
the figures are written to data/frames instead, or to the folder of --to=FOLDER; the site finds them there.
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

from anrot_lib.course import catalogue, lesson
from anrot_lib.publish import frames, website
from anrot_lib.records import timing

HERE = Path(__file__).resolve().parent


def rendered() -> int:
    """Render all open figures to PNG as a notebook does, close them, and count them."""
    numbers = plt.get_fignums()
    for number in numbers:
        plt.figure(number).savefig(io.BytesIO(), format="png", bbox_inches="tight")
    plt.close("all")
    return len(numbers)


def combinations(choices: dict[str, Any]) -> list[dict[str, Any]]:
    values = [[value for _, value in lesson.options(choice)] for choice in choices.values()]
    return [dict(zip(choices, combination, strict=True)) for combination in itertools.product(*values)]


def sweep(notebook: catalogue.Notebook, folder: Path | None = None) -> dict[str, list[float]]:
    """Seconds of every redraw, by the name of the draw function. AssertionError if one shows no single figure.

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
        for values in combinations(choices):
            before = time.perf_counter()
            draw(**values)
            shown = rendered()
            seconds.setdefault(draw.__name__, []).append(time.perf_counter() - before)
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
            seconds = sweep(notebook)
        for name, values in seconds.items():
            low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
            found[f"{notebook.number:02d} {name}"] = {
                "median": median,
                "low": low,
                "high": high,
                "largest": max(values),
            }
            print(f"{notebook.number:02d} {name}: {len(values)} places, median {1000 * median:.0f} ms")
    if not numbers:
        timing.write_timing("sliders", "redraw of a slider's figure", {}, found, torch.device("cpu"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
