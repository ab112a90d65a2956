"""What defects of the published evaluation do to an accuracy: paired differences on the same episodes."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from anrot_lib.core.statistics import Interval, compare_paired
from anrot_lib.experiments.columns import name_noise_column
from anrot_lib.experiments.consequences import ALONE, AUGMENTED, name_unclipped
from anrot_lib.records.results import compute_accuracies
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import figures
from anrot_lib.reports.tables import Table, format_column, sort_records, title_row

FIGURE = "consequences.png"
FEW = 100  # tasks of the published evaluation


def list_pairs(record: AccuracyRecord) -> dict[str, tuple[str, str]]:
    """What is changed -> (the right column, the published one), of the pairs that a record has."""
    sigma = record["protocol"]["sigma"]
    pairs = {
        "training augmentation in the test": ("clean", AUGMENTED),
        f"noise of {sigma:g} clipped at 255": (name_noise_column(sigma), name_unclipped(sigma)),
        "queries in batches, against one by one": (ALONE, "clean"),
    }
    return {title: pair for title, pair in pairs.items() if all(name in record["columns"] for name in pair)}


def make_table(record: AccuracyRecord) -> Table:
    """One line a consequence: right, as published, their paired difference, and how many tasks change their count."""
    rows = []
    for title, (right, as_published) in list_pairs(record).items():
        first, second = (record["columns"][name] for name in (right, as_published))
        difference = _compare(record, right, as_published)
        changed = float(np.mean(np.not_equal(first["correct"], second["correct"])))
        cells = [format_column(first), format_column(second), f"{difference.mean:+z.1f} ± {difference.half_width:.1f}"]
        rows.append([title, *cells, f"{100 * changed:.0f} %"])
    return [title_row(record), "right, %", "as published, %", "difference, points", "tasks whose count changes"], rows


def _compare(record: AccuracyRecord, right: str, as_published: str) -> Interval:
    first, second = (compute_accuracies(record["columns"][name]) for name in (right, as_published))
    return compare_paired(first, second, bootstrap=False)


def draw(records: Sequence[AccuracyRecord]) -> Figure:
    """The difference of every consequence with its 95 % interval, one colour a net."""
    ordered = sort_records(records)
    titles = list(dict.fromkeys(title for record in ordered for title in list_pairs(record)))
    others = [record["row"] for record in ordered]
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(6.8, 1.7 + 0.5 * len(titles)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color="black", linewidth=0.8)
        for k, record in enumerate(ordered):
            pairs = list_pairs(record)
            gains = [_compare(record, *pairs[title]) for title in pairs]
            places = [titles.index(title) + 0.2 * (k - (len(ordered) - 1) / 2) for title in pairs]
            axes.errorbar(
                [gain.mean for gain in gains],
                places,
                xerr=[gain.half_width for gain in gains],
                fmt="o",
                capsize=3,
                color=figures.pick_colour(record["row"], others),
                label=title_row(record),
            )
        axes.set_yticks(range(len(titles)), titles, fontsize=8)
        axes.set_ylim(len(titles) - 0.5, -0.5)
        axes.set_xlabel("as published - right, points")
        figure.legend(*axes.get_legend_handles_labels(), fontsize=8, loc="outside lower center")
    return figure


def describe_few_tasks(record: AccuracyRecord) -> str:
    """What a hundred tasks can say, from the blocks of a hundred of the clean column; "" for fewer than two blocks."""
    values = 100 * compute_accuracies(record["columns"]["clean"])
    blocks = values[: len(values) // FEW * FEW].reshape(-1, FEW).mean(1)
    if len(blocks) < 2:
        return ""
    return (
        f"{len(blocks)} evaluations of {FEW} tasks each, as the published one: from {blocks.min():.1f} to "
        f"{blocks.max():.1f} %, standard deviation {blocks.std(ddof=1):.1f}"
    )
