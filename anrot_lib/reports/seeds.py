"""Rows that were trained with several seeds: means over trainings, whose intervals are not those over episodes."""

from collections.abc import Sequence

import numpy as np

from anrot_lib.core.statistics import compute_t_quantile
from anrot_lib.fewshot.row_names import split_row, title_method
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import tables


def group_seeds(records: Sequence[AccuracyRecord]) -> dict[str, list[AccuracyRecord]]:
    """Method -> its records, of the methods that were trained with two seeds or more."""
    groups: dict[str, list[AccuracyRecord]] = {}
    for record in tables.sort_records(records):
        groups.setdefault(split_row(record["row"])[0], []).append(record)
    return {method: group for method, group in groups.items() if len(group) > 1}


def select_first_seeds(records: Sequence[AccuracyRecord]) -> list[AccuracyRecord]:
    """The records without those of further seeds: one a method."""
    return [record for record in records if split_row(record["row"])[1] is None]


def make_table(records: Sequence[AccuracyRecord]) -> tables.Table:
    """One line a method: the mean over its nets, with the 95 % t-interval over nets and their standard deviation.

    The nets of a method are tested on the same episodes, so what varies is the training alone: initial weights, the
    order of images, the random starts of attacks.
    """
    columns = tables.list_main_columns(records[0]["protocol"])
    groups = group_seeds(records)
    used = {
        heading: name
        for heading, name in columns.items()
        if any(name in record["columns"] for group in groups.values() for record in group)
    }
    rows = []
    for method, group in groups.items():
        cells = []
        for name in used.values():
            means = np.array([r["columns"][name]["mean"] for r in group if name in r["columns"]])
            if len(means) < 2:
                cells.append("-")
                continue
            spread = means.std(ddof=1)
            half = compute_t_quantile(len(means)) * spread / len(means) ** 0.5
            cells.append(f"{means.mean():.1f} ± {half:.1f} ({spread:.1f})")
        rows.append([title_method(method), str(len(group)), *cells])
    return ["mean over seeds ± 95 % interval (standard deviation)", "seeds", *used], rows
