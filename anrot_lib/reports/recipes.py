"""The study of the robust recipe: a table of what each part is worth, and clean against robust accuracy."""

from collections.abc import Callable, Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from anrot_lib.core import palette
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import adjust_holm, compare_paired, compute_paired_p
from anrot_lib.fewshot.methods import RECIPES, list_variants
from anrot_lib.fewshot.row_names import split_row, title_method
from anrot_lib.records.parts import ColumnRecord
from anrot_lib.records.results import compute_accuracies
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import figures, sizes, tables

FIGURE = "recipes.png"


def get_columns(record: AccuracyRecord) -> tuple[ColumnRecord, ColumnRecord]:
    """(clean, strong attack) of a record; UserError if one was not measured."""
    strong = figures.find_strong_column(record)
    if strong is None or "clean" not in record["columns"]:
        raise UserError(f"the record of {record['row']!r} lacks the clean column or the strong attack")
    return record["columns"]["clean"], record["columns"][strong]


def find_base(record: AccuracyRecord, records: Sequence[AccuracyRecord]) -> AccuracyRecord | None:
    """The record of the unchanged recipe with the same seed and the same episodes; None if there is none."""
    base, seed = next(iter(list_variants(RECIPES))), split_row(record["row"])[1]
    same = (r for r in records if split_row(r["row"]) == (base, seed))
    return next((r for r in same if r["manifest"]["hash"] == record["manifest"]["hash"]), None)


def make_table(records: Sequence[AccuracyRecord]) -> tables.Table:
    """One line a variant: both accuracies, their paired differences to the unchanged recipe, minutes of training.

    A star marks a difference whose paired t-test stays below 5 % after Holm's correction for all in its column.
    """
    sizes.check_one_size(records)
    ordered = tables.sort_records(records)
    name = figures.name_strong_attack(ordered)
    headings = ["recipe", "clean", name, "clean, difference", f"{name}, difference", "minutes"]
    pairs = [match_base(record, records) for record in ordered]
    stars = [mark_significant([pair[k] for pair in pairs if pair]) for k in (0, 1)]
    rows = []
    for record, pair in zip(ordered, pairs, strict=True):
        cells = [tables.format_column(column) for column in get_columns(record)]
        for (base, changed), marks in zip(pair, stars, strict=True) if pair else ():
            gain = compare_paired(base, changed, bootstrap=False)
            cells.append(f"{gain.mean:+z.1f} ± {gain.half_width:.1f}{next(marks)}")
        rows.append(
            [
                title_method(record["row"]),
                *cells,
                *([] if pair else ["-", "-"]),
                f"{(tables.count_seconds(record) or 0) / 60:.0f}",
            ]
        )
    return headings, rows


Pair = tuple[np.ndarray, np.ndarray]  # accuracies (E,) of the unchanged and of the changed recipe


def match_base(record: AccuracyRecord, records: Sequence[AccuracyRecord]) -> list[Pair]:
    """Of the clean column and the strong attack; [] for the base itself and for a record without one."""
    base = find_base(record, records)
    if base is None or base is record:
        return []
    columns = zip(get_columns(base), get_columns(record), strict=True)
    n = [min(len(a["correct"]), len(b["correct"])) for a, b in zip(get_columns(base), get_columns(record), strict=True)]
    return [(compute_accuracies(a)[:k], compute_accuracies(b)[:k]) for (a, b), k in zip(columns, n, strict=True)]


def mark_significant(pairs: Sequence[Pair]) -> Iterator[str]:
    """A star for each pair whose difference is significant at 5 % after Holm's correction, else nothing."""
    return iter(" *" if p < 0.05 else "" for p in adjust_holm([compute_paired_p(a, b) for a, b in pairs]))


def write_caption(records: Sequence[AccuracyRecord]) -> str:
    """What the table is about, and how many recipes were tried."""
    first = records[0]
    steps, batch = first["budget"]["pretrain_steps"], first["budget"].get("pretrain_batch", 64)
    return (
        f"{tables.write_caption(first)}; {len(records)} recipes tried, {steps} steps of {batch} images each; "
        "differences on the same episodes; * p < 0.05 after Holm's correction for all in the column"
    )


def find_front(points: np.ndarray) -> np.ndarray:
    """Which of the points (n, 2) no other one beats in both coordinates: bool (n,)."""
    at_least, more = points[None] >= points[:, None], points[None] > points[:, None]
    beaten = np.all(at_least, axis=-1) & np.any(more, axis=-1)
    front: np.ndarray = ~np.any(beaten, axis=1)
    return front


def draw(records: Sequence[AccuracyRecord]) -> Figure:
    """Clean accuracy over accuracy under the strong attack, on validation classes."""
    return draw_trade_off(records, get_columns, "validation classes; orange: not beaten in both")


def draw_trade_off(
    records: Sequence[AccuracyRecord],
    get_pair: Callable[[AccuracyRecord], tuple[ColumnRecord, ColumnRecord]],
    title: str,
) -> Figure:
    """The first column of each pair over the second, with 95 % intervals; a line joins what no row beats in both. Rows
    are numbered, and named beside."""
    ordered = tables.sort_records(records)
    columns = [get_pair(record) for record in ordered]
    points = np.array([(strong["mean"], clean["mean"]) for clean, strong in columns])
    front = find_front(points)
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        axes, names = figure.subplots(1, 2, width_ratios=(3, 2))
        order = np.argsort(points[front][:, 0])
        axes.plot(*points[front][order].T, color=palette.GREY, linewidth=1, zorder=1)
        lines = []
        for number, (record, (clean, strong), leads) in enumerate(zip(ordered, columns, front, strict=True), 1):
            colour = palette.ORANGE if leads else palette.BLUE
            at = (strong["mean"], clean["mean"])
            widths = {"xerr": strong["half_width"], "yerr": clean["half_width"]}
            axes.errorbar(*at, **widths, fmt="o", markersize=4, elinewidth=0.6, color=colour)
            axes.annotate(str(number), at, textcoords="offset points", xytext=(4, 4), fontsize=8)
            minutes = (tables.count_seconds(record) or 0) / 60
            lines.append(f"{number}  {title_method(record['row'])} ({minutes:.0f} min)")
        axes.set(xlabel=f"accuracy under {name_column(ordered[0], columns[0][1])}, %", ylabel="clean accuracy, %")
        axes.set_title(title, fontsize=9)
        names.axis("off")
        names.text(0, 1, "\n".join(lines), va="top", fontsize=8, linespacing=1.5)
    return figure


def name_column(record: AccuracyRecord, column: ColumnRecord) -> str:
    """The name of a column of a record, without the word query."""
    return next(name for name, other in record["columns"].items() if other is column).removesuffix(" query")
