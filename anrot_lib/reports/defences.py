"""The study of defences: what each way of training holds against attacks and corruptions, and what it costs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from anrot_lib.core.configs import from_dict
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.episode_loss import FULL
from anrot_lib.fewshot.pretraining import count_passes
from anrot_lib.records.parts import ColumnRecord
from anrot_lib.records.results import compute_accuracies
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import figures, recipes, sizes, tables
from anrot_lib.settings import Recipe

FIGURE = "defences.png"
WORST = 0.05  # part of the episodes that counts as the worst


def find_suite_column(record: AccuracyRecord) -> ColumnRecord | None:
    """The worst case of strong attacks on queries; None if it was not measured."""
    names = list(tables.list_suite_columns([record]).values())
    return record["columns"][names[0]] if names else None


def get_columns(record: AccuracyRecord) -> tuple[ColumnRecord, ColumnRecord]:
    """(clean, worst case of strong attacks); UserError if one was not measured."""
    worst = find_suite_column(record)
    if worst is None or "clean" not in record["columns"]:
        raise UserError(f"the record of {record['row']!r} lacks the clean column or the strong attacks")
    return record["columns"]["clean"], worst


def measure_worst_episodes(column: ColumnRecord) -> float:
    """Mean accuracy in per cent of the worst 5 % of the episodes, of one at least."""
    accuracies = np.sort(compute_accuracies(column))
    return 100 * float(accuracies[: max(1, round(WORST * len(accuracies)))].mean())


def count_clean_steps(record: AccuracyRecord) -> float:
    """What a training cost at least, in episodes of clean training: passes of the encoder over an image are counted."""
    budget, training, protocol = record["budget"], record["training"], record["protocol"]
    recipe = from_dict(Recipe, dict(record["recipe"]))
    images = protocol["way"] * (protocol["shot"] + budget["train_query"])
    pretrained = training.get("pretraining_steps", 0) * budget.get("pretrain_batch", 64) * count_passes(recipe)
    return budget["episodes"] * recipe.episodic * training.get("cost_limit", 1.0) + pretrained / (FULL * images)


def make_table(records: Sequence[AccuracyRecord]) -> tables.Table:
    """One line a defence: accuracies clean, attacked and corrupted, of the worst episodes, calibration, and cost."""
    ordered = tables.sort_records(records)
    strong = figures.find_strong_column(ordered[0]) or "the attack"
    suite = recipes.name_column(ordered[0], get_columns(ordered[0])[1])
    headings = ["defence", "clean", strong.removesuffix(" query"), suite, "corruptions", "worst 5 %, clean"]
    headings += ["calibration error", "cost, episodes", "minutes"]
    rows = []
    for record in ordered:
        columns = record["columns"]
        clean, worst = get_columns(record)
        attacked, corrupted = columns.get(strong), columns.get("corruptions query")
        error = clean.get("calibration_error")
        rows.append(
            [
                tables.title_row(record),
                *map(tables.format_column, (clean, attacked, worst, corrupted)),
                f"{measure_worst_episodes(clean):.1f}",
                "-" if error is None else f"{100 * error:.1f}",
                f"{count_clean_steps(record):.0f}",
                f"{(tables.count_seconds(record) or 0) / 60:.1f}",
            ]
        )
    return headings, rows


def write_caption(records: Sequence[AccuracyRecord]) -> str:
    """What the table is about."""
    columns = [column for record in records for column in get_columns(record)]
    return (
        f"{tables.write_caption(records[0])}{sizes.describe_lengths(records)}"
        f"; strong attacks and corruptions of the queries on {len(columns[1]['correct'])} episodes"
        "; calibration error: expected, on clean queries, in points"
        f"; cost in episodes of clean training{tables.explain_bounds(columns)}"
    )


def draw(records: Sequence[AccuracyRecord]) -> Figure:
    """Clean accuracy over accuracy under the worst of strong attacks."""
    return recipes.draw_trade_off(records, get_columns, "orange: not beaten in both")
