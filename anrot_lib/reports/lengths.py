"""Time to accuracy: recipes that were trained at several lengths, and which of them reached an accuracy first."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

from anrot_lib.core import palette
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.records import results
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import figures, recipes, tables

FIGURE = "lengths.png"
STEP, TARGETS = 5, 3  # per cent between the accuracies to be reached, and how many of them

Curves = dict[str, list[AccuracyRecord]]  # title of a recipe -> its records, from the shortest training on


def list_folders(parent: Path, name: str) -> list[Path]:
    """The folders of a study, which are called NAME-LENGTH, from the shortest length to the longest."""
    lengths = {f.name.removeprefix(f"{name}-"): f for f in parent.glob(f"{name}-*")}
    return [lengths[length] for length in sorted(filter(str.isdecimal, lengths), key=int)]


def read_lengths(parent: Path, name: str) -> list[AccuracyRecord]:
    """The records of all lengths of a study. UserError if there are none."""
    records = [record for folder in list_folders(parent, name) for record in results.read_all(folder)]
    if not records:
        raise UserError(f"there are no records of several lengths in {parent / name}-*; run anrot lengths first")
    return records


def count_minutes(record: AccuracyRecord) -> float:
    """Minutes of training, pre-training included. UserError for a net that was trained elsewhere."""
    seconds = tables.count_seconds(record)
    if not seconds:
        raise UserError(f"the record of {record['row']!r} does not say how long the training took")
    return seconds / 60


def count_length(record: AccuracyRecord) -> int:
    """Episodes of the training, or its steps if it has no episodes."""
    return record["training"].get("pretraining_steps") or record["budget"]["episodes"]


def sort_curves(records: Iterable[AccuracyRecord]) -> Curves:
    """The records by the recipe, in the order of tables, each from the shortest training to the longest.

    UserError for records of different episodes or devices: their accuracies or minutes are no curve.
    """
    ordered = tables.sort_records(list(records))
    settings = {(r["manifest"]["hash"], r["run"]["device"], r["budget"]["encoder"]) for r in ordered}
    if len(settings) > 1:
        raise UserError("these trainings differ in episodes, device or encoder, so their minutes cannot be compared")
    curves: Curves = {}
    for record in sorted(ordered, key=count_length):
        curves.setdefault(title_method(record["row"]), []).append(record)
    return {title: curves[title] for title in dict.fromkeys(title_method(r["row"]) for r in ordered)}


def choose_targets(means: Iterable[float]) -> list[int]:
    """The accuracies in per cent that are asked for: multiples of STEP, up to the best that any training reached."""
    best = int(max(means) // STEP) * STEP
    return [target for target in range(best - STEP * (TARGETS - 1), best + 1, STEP) if target > 0]


def find_first(curve: Sequence[AccuracyRecord], column: int, target: float) -> float | None:
    """Minutes of the shortest of these trainings whose mean accuracy reaches the target; None if none does."""
    reached = [count_minutes(r) for r in curve if recipes.get_columns(r)[column]["mean"] >= target]
    return min(reached, default=None)


def make_table(records: Sequence[AccuracyRecord]) -> tables.Table:
    """One line a training: its length, its minutes, both accuracies."""
    rows = [
        [
            title,
            f"{count_length(record):,}",
            f"{count_minutes(record):.1f}",
            *(tables.format_column(c) for c in recipes.get_columns(record)),
        ]
        for title, curve in sort_curves(records).items()
        for record in curve
    ]
    return ["recipe", "length", "minutes", "clean", figures.name_strong_attack(records)], rows


def make_targets_table(records: Sequence[AccuracyRecord]) -> tables.Table:
    """One line an accuracy: the minutes after which each recipe first reached it, with the quickest in bold."""
    curves, rows = sort_curves(records), []
    for column, name in enumerate(("clean", figures.name_strong_attack(records))):
        for target in choose_targets(recipes.get_columns(record)[column]["mean"] for record in records):
            minutes = [find_first(curve, column, target) for curve in curves.values()]
            first = min(m for m in minutes if m is not None)
            cells = ["-" if m is None else f"**{m:.1f}**" if m == first else f"{m:.1f}" for m in minutes]
            rows.append([f"{target} %, {name}", *cells])
    return ["minutes to reach", *curves], rows


def write_caption(records: Sequence[AccuracyRecord]) -> str:
    """On what the nets were tested, and what the lengths and the minutes are."""
    batch = records[0]["budget"].get("pretrain_batch", 64)
    return (
        f"{tables.write_caption(records[0], trained='')}; length: episodes, or steps of {batch} images of the "
        "recipes that classify the training classes; each length is a training of its own, with the whole schedule; "
        "minutes of training, without packing the images and without the test"
    )


def draw(records: Sequence[AccuracyRecord]) -> Figure:
    """Accuracy over minutes of training, one line a recipe: clean on the left, under the strong attack on the right."""
    curves = sort_curves(records)
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        panels = figure.subplots(1, 2)
        for column, (axes, name) in enumerate(zip(panels, ("clean", figures.name_strong_attack(records)), strict=True)):
            for title, curve in curves.items():
                minutes = [count_minutes(record) for record in curve]
                columns = [recipes.get_columns(record)[column] for record in curve]
                means, half = (np.array([c[key] for c in columns]) for key in ("mean", "half_width"))
                colour = figures.pick_colour(curve[0]["row"])
                axes.errorbar(minutes, means, half, marker="o", markersize=3, color=colour, label=title, elinewidth=0.6)
            chance = 100 / records[0]["protocol"]["way"]
            axes.axhline(chance, color=palette.GREY, linewidth=0.8, linestyle=":")
            axes.annotate("chance", (0, chance), xycoords=("axes fraction", "data"), fontsize=8, va="bottom")
            axes.set(xlabel="minutes of training", ylabel=f"accuracy, {name}, %", xscale="log")
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=2)
    return figure
