"""The price of robustness: two rows that differ in their training, clean or robust, on the same clean test episodes."""

from collections.abc import Sequence

from anrot_lib.core.statistics import compare_paired
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.records.results import compute_accuracies
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import figures, tables

Pair = tuple[Sequence[AccuracyRecord], str, str]  # records of an experiment; its rows trained clean, trained robustly
HEADINGS = ["images", "trained robustly", "clean images: clean training", "robust training", "difference", "attack"]


def make_table(pairs: Sequence[Pair]) -> tables.Table:
    """One line a pair: accuracies in per cent on clean images, their paired difference in points, and what it buys.

    The last cell holds the strong attack with the accuracies of both rows under it. A pair is left out if one of its
    rows has no record, or if the two were not tested on the same episodes.
    """
    rows = []
    for records, plain, robust in pairs:
        by_row = {record["row"]: record for record in records}
        if plain not in by_row or robust not in by_row:
            continue
        both = [by_row[plain], by_row[robust]]
        if both[0]["manifest"]["hash"] != both[1]["manifest"]["hash"]:
            continue
        clean = [record["columns"]["clean"] for record in both]
        n = min(len(column["correct"]) for column in clean)  # the first tasks of a manifest are the same
        first, second = (compute_accuracies(column)[:n] for column in clean)
        gain = compare_paired(first, second, bootstrap=False)
        rows.append(
            [
                both[0]["data"]["name"],
                title_method(robust),
                *map(tables.format_column, clean),
                f"{gain.mean:+z.1f} ± {gain.half_width:.1f}",
                describe_attack(both),
            ]
        )
    return HEADINGS, rows


def describe_attack(both: Sequence[AccuracyRecord]) -> str:
    """ "PGD-20 8/255: 0.1 ± 0.1, 32.0 ± 1.6", or "-" where the strong attack was not run."""
    name = figures.find_strong_column(both[0])
    if name is None or name not in both[1]["columns"]:
        return "-"
    accuracies = ", ".join(tables.format_column(record["columns"][name]) for record in both)
    return f"{name.removesuffix(' query')}: {accuracies}"
