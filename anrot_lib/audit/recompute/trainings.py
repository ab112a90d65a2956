"""Tables of several trainings of the same rows, computed again: of several lengths, and of twins in two experiments."""

import math
from collections.abc import Mapping
from typing import Any

from anrot_lib.audit.recompute.arithmetic import compute_mean
from anrot_lib.audit.recompute.few_shot import count_seconds
from anrot_lib.audit.recompute.printed import (
    Cell,
    Cells,
    Shelf,
    find_column,
    format_counts,
    list_accuracies,
    read_lines,
)
from anrot_lib.audit.recompute.studies import list_gaps, measure_mean
from anrot_lib.fewshot.row_names import split_row, title_method


def list_lengths(shelf: Shelf, text: str, name: str) -> Cells:
    """The minutes after which each recipe first reached an accuracy, and all trainings below."""
    folders = [path.name for path in shelf.folder.glob(f"{name}-*") if path.name.rpartition("-")[2].isdecimal()]
    records: dict[tuple[str, str], Any] = {}
    for record in (record for folder in folders for record in shelf.read_all(folder)):
        length = record["training"].get("pretraining_steps") or record["budget"]["episodes"]
        records[title_method(record["row"]), f"{length:,}"] = record
    targets, trainings = text.strip().split("\n\n")[:2]
    for line in read_lines(trainings):
        record = records[line[""], line["length"]]
        for heading, cell in list(line.items())[2:]:
            timed = heading == "minutes"
            column = record["columns"].get(find_column(record, heading))
            computed = f"{count_seconds(record) / 60:.1f}" if timed else format_counts(column)
            yield Cell(f"{line['']}, {line['length']}, {heading}", cell, computed, timed)
    for line in read_lines(targets):
        target, _, column = line[""].partition(" %, ")
        first = {title: find_first(title, records, column, float(target)) for title in list(line)[1:]}
        quickest = min(minutes for minutes in first.values() if minutes is not None)
        for title, minutes in first.items():
            plain = "-" if minutes is None else f"{minutes:.1f}"
            yield Cell(f"{line['']}, {title}", line[title], f"**{plain}**" if minutes == quickest else plain)


def find_first(title: str, records: Mapping[tuple[str, str], Any], column: str, target: float) -> float | None:
    """The fewest minutes of a training of a recipe whose mean reaches a target; None if none does."""
    minutes = [
        count_seconds(record) / 60
        for (recipe, _), record in records.items()
        if recipe == title and round(measure_mean(record["columns"][find_column(record, column)]), 4) >= target
    ]
    return min(minutes, default=None)


def list_twins(shelf: Shelf, text: str, first: str, second: str, _: str) -> Cells:
    """second - first of the rows that both experiments have, of each column, over episodes and over nets."""
    sides = [shelf.read_rows(name) for name in (first, second)]
    for line in read_lines(text):
        rows = [row for row in sides[0] if title_method(split_row(row)[0]) == line[""] and row in sides[1]]
        pairs = [[side[row]["columns"][line["column"]] for side in sides] for row in rows]
        gaps = [list_gaps(*pair) for pair in pairs]
        mean, half = compute_mean([math.fsum(episode) / len(episode) for episode in zip(*gaps, strict=True)])
        nets = [math.fsum(gap) / len(gap) for gap in gaps]
        computed = {
            "episodes": f"{len(list_accuracies(pairs[0][0])):,}",
            "nets of each": str(len(pairs)),
            "difference, points": f"{mean:+z.2f} ± {half:.2f}",
            "over nets": f"± {compute_mean(nets)[1]:.2f}" if len(nets) > 1 else "-",
        }
        for heading, value in computed.items():
            yield Cell(f"{line['']}, {line['column']}, {heading}", line[heading], value)
