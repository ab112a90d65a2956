"""Four intervals of one accuracy, which answer four questions: over episodes, over classes, paired, over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import compare_paired, compute_t_quantile, measure_open_interval
from anrot_lib.data import image_set as image_sets
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.image_set import ImageSet
from anrot_lib.records.answers import measure_open
from anrot_lib.records.results import compute_accuracies
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import seeds, tables

REFERENCES = ("prototypes", "anrot-clean")  # rows that others are compared with, the first that is there


@dataclass(frozen=True)
class FourIntervals:
    """Half-widths of 95 % intervals of one accuracy, in points; None where the records do not hold what it takes.

    closed  over the episodes of these test classes and images.
    open    over other test classes and other query images too, of which these are draws; it takes a record that says
            which queries are right (`records.answers`).
    classes the same over other classes alone, from counts; it takes the prepared image set, whose labels say which
            classes an episode has. None where `open` is known.
    paired  of the difference to the reference row on the same episodes.
    seeds   over trainings with other seeds.
    """

    experiment: str
    row: str
    column: str
    mean: float
    closed: float
    open: float | None
    classes: float | None
    paired: float | None
    seeds: float | None

    @property
    def factor(self) -> float | None:
        """How much wider the open interval is than the closed one, that over classes alone if there is no other."""
        wide = self.open if self.open is not None else self.classes
        return wide / self.closed if wide is not None and self.closed else None


def find_image_set(record: AccuracyRecord) -> ImageSet | None:
    """The prepared set that a record was measured on; None if there is none with its hash."""
    try:
        image_set = image_sets.load(paths.packed_dir() / record["data"]["name"])
    except UserError:
        return None
    return image_set if image_set.sha256 == record["manifest"]["image_set_hash"] else None


def draw_classes(record: AccuracyRecord, image_set: ImageSet, n: int) -> np.ndarray:
    """The classes (n, way) of the first n episodes of a record, drawn again from its manifest.

    UserError if the episodes are not those of the record.
    """
    recipe = record["manifest"]
    manifest = EpisodeManifest.draw_again(image_set, recipe)
    if manifest.hash != recipe["hash"]:
        raise UserError(f"the episodes of {record['row']} cannot be drawn again from {image_set.name}")
    return manifest.rows.classes[:n]


def measure_intervals(experiment: str, records: Sequence[AccuracyRecord]) -> list[FourIntervals]:
    """Clean accuracy and that under PGD of every row of an experiment; one line for all seeds of a row."""
    groups = seeds.group_seeds(records)
    first = {record["row"]: record for record in seeds.select_first_seeds(tables.sort_records(records))}
    reference = next((first[name] for name in REFERENCES if name in first), None)
    lines = []
    for row, record in first.items():
        image_set = find_image_set(record)
        names = list(tables.list_main_columns(record["protocol"]).values())
        for name in (names[0], names[2]):
            if name not in record["columns"]:
                continue
            column = record["columns"][name]
            kept = measure_open(column, record["manifest"])
            by_counts = _measure_classes(record, image_set, name) if image_set and kept is None else None
            lines.append(
                FourIntervals(
                    experiment=experiment,
                    row=row,
                    column=name,
                    mean=column["mean"],
                    closed=column["half_width"],
                    open=None if kept is None else kept.half_width,
                    classes=by_counts,
                    paired=_measure_paired(record, reference, name) if reference else None,
                    seeds=_measure_seeds(groups.get(row, []), name),
                )
            )
    return lines


def _measure_classes(record: AccuracyRecord, image_set: ImageSet, name: str) -> float | None:
    values = compute_accuracies(record["columns"][name])
    try:
        return measure_open_interval(values, draw_classes(record, image_set, len(values))).half_width
    except ValueError:  # too few episodes for the classes, or other episodes
        return None


def _measure_paired(record: AccuracyRecord, reference: AccuracyRecord, name: str) -> float | None:
    base, same = reference["columns"].get(name), record["manifest"]["hash"] == reference["manifest"]["hash"]
    if base is None or record is reference or not same:
        return None
    first, second = (compute_accuracies(column) for column in (base, record["columns"][name]))
    n = min(len(first), len(second))
    return compare_paired(first[:n], second[:n], bootstrap=False).half_width


def _measure_seeds(group: Sequence[AccuracyRecord], name: str) -> float | None:
    means = [r["columns"][name]["mean"] for r in group if name in r["columns"]]
    if len(means) < 2:
        return None
    return float(compute_t_quantile(len(means)) * np.std(means, ddof=1) / len(means) ** 0.5)


def make_table(lines: Sequence[FourIntervals]) -> tables.Table:
    """One line a row and column; "-" or "not kept" where records do not hold what an interval takes."""

    def show(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    def show_open(line: FourIntervals) -> str:
        if line.open is None and line.classes is not None:
            return f"{line.classes:.1f} (classes)"
        return "not kept" if line.open is None else f"{line.open:.1f}"

    rows = [
        [
            f"{line.experiment}, {line.row}",
            line.column.removesuffix(" query"),
            f"{line.mean:.1f}",
            show(line.closed),
            show_open(line),
            *(show(value) for value in (line.factor, line.paired, line.seeds)),
        ]
        for line in lines
    ]
    return ["row", "column", "%", "closed ±", "open ±", "open / closed", "paired ±", "seeds ±"], rows
