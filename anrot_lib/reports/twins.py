"""Twins: the same rows of two experiments, such as trainings in bf16 and in fp32, on the same episodes."""

from collections.abc import Sequence

import numpy as np

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import interval
from anrot_lib.fewshot.row_names import split_row, title_method
from anrot_lib.records import results
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import tables

Pair = tuple[AccuracyRecord, AccuracyRecord]


def match_rows(first: Sequence[AccuracyRecord], second: Sequence[AccuracyRecord]) -> dict[str, list[Pair]]:
    """Method -> the records of each seed that both experiments have. UserError for tests on other episodes."""
    others = {record["row"]: record for record in second}
    pairs: dict[str, list[Pair]] = {}
    for record in tables.sort_records(first):
        if (other := others.get(record["row"])) is None:
            continue
        if record["manifest"]["hash"] != other["manifest"]["hash"]:
            raise UserError(f"the two records of {record['row']!r} are of other episodes, and no pair")
        pairs.setdefault(split_row(record["row"])[0], []).append((record, other))
    return pairs


def compute_difference(pairs: Sequence[Pair], column: str) -> tuple[float, float, float | None]:
    """(mean, half-width over episodes, half-width over nets or None for a single one) of second - first, in points.

    The nets of all seeds are tested on the same episodes: of each episode the mean over the nets counts.
    """
    each = []
    for pair in pairs:
        a, b = (results.compute_accuracies(record["columns"][column]) for record in pair)
        each.append(b - a)
    differences = np.stack(each)
    over_episodes = interval(differences.mean(0), bootstrap=False)
    over_nets = interval(differences.mean(1), bootstrap=False).half_width if len(pairs) > 1 else None
    return over_episodes.mean, over_episodes.half_width, over_nets


def make_table(first: Sequence[AccuracyRecord], second: Sequence[AccuracyRecord], title: str) -> tables.Table:
    """One line a method and column: second - first in points, with 95 % intervals over episodes and over nets."""
    rows = []
    for method, pairs in match_rows(first, second).items():
        shared = [c for c in pairs[0][0]["columns"] if all(c in record["columns"] for pair in pairs for record in pair)]
        for column in shared:
            mean, half, over_nets = compute_difference(pairs, column)
            n = len(pairs[0][0]["columns"][column]["correct"])
            wide = "-" if over_nets is None else f"± {over_nets:.2f}"
            cells = [column, f"{n:,}", str(len(pairs)), f"{mean:+z.2f} ± {half:.2f}", wide]
            rows.append([title_method(method), *cells])
    return [title, "column", "episodes", "nets of each", "difference, points", "over nets"], rows


def write_table(first: str, second: str, title: str) -> str:
    """The table of two experiments below data/results, or a line that they were not measured yet."""
    folders = [paths.results_dir() / name for name in (first, second)]
    if not all(folder.is_dir() for folder in folders):
        return "Not measured yet."
    records, others = (results.read_all(folder) for folder in folders)
    return tables.format_markdown(*make_table(records, others, title))
