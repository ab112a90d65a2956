"""Every mean, interval and paired difference of records, computed again from their counts. It needs no torch.

The arithmetic is written here a second time, in plain Python, so that it does not rest on `core.statistics`, which
wrote the records. Only what draws at random is shared, the bootstrap and the episodes: the stream is part of it.
"""

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy.special import stdtrit

from anrot_lib.core.statistics import bootstrap_means, measure_image_variance
from anrot_lib.core.units import format_pixels
from anrot_lib.fewshot.recipes import ABLATION
from anrot_lib.fewshot.row_names import split_row, title_method
from anrot_lib.records import results
from anrot_lib.records.answers import draw_layout, unpack_answers
from anrot_lib.records.parts import ManifestRecord
from anrot_lib.records.schema import Record

ROUNDING = 0.51e-4  # records keep four decimals
QUERY_ROUNDING = 0.005  # and two of the score of each query
DIFFERENCE = ", difference"  # the end of a heading in the table of the ablation
MARK = re.compile(r"<!-- (table|number): (differences?|accuracy|ablation) ([^>]+?) -->(.*?)<!-- end -->", re.DOTALL)


@dataclass(frozen=True)
class Deviation:
    """A number that is not the one that its counts give."""

    where: str
    what: str
    stored: str
    computed: str


@dataclass
class Recomputation:
    """How much was computed again, by kind, and what differs."""

    counts: dict[str, int] = field(default_factory=dict)
    deviations: list[Deviation] = field(default_factory=list)

    def compare(self, where: str, what: str, stored: float, computed: float, tolerance: float = ROUNDING) -> None:
        """Count a number, and keep it if it deviates."""
        kind = what.partition(" of ")[0]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if not abs(stored - computed) <= tolerance:
            self.deviations.append(Deviation(where, what, f"{stored:.4f}", f"{computed:.4f}"))

    def compare_text(self, where: str, what: str, stored: str, computed: str) -> None:
        """The same of a printed number."""
        self.counts["printed number"] = self.counts.get("printed number", 0) + 1
        if stored.strip() != computed:
            self.deviations.append(Deviation(where, what, stored.strip(), computed))


def compute_mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of the 95 % t-interval of numbers: t sd / sqrt(n), sd with n - 1. Pure Python sums."""
    n = len(values)
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, float(stdtrit(n - 1, 0.975)) * math.sqrt(variance / n)


def compute_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[float, float]:
    """second - first of two columns over the episodes that both have, paired, in points, with its half-width."""
    pairs = zip(first["correct"], second["correct"], strict=False)  # the first tasks of a manifest are the same
    return compute_mean([100 * (b / second["queries"] - a / first["queries"]) for a, b in pairs])


def recompute_column(
    name: str, column: Mapping[str, Any], where: str, again: Recomputation, manifest: Mapping[str, Any] | None = None
) -> None:
    """Mean, t-interval and bootstrap interval of a column; its open interval, too, if it holds one."""
    values = [100 * count / column["queries"] for count in column["correct"]]
    mean, half = compute_mean(values)
    again.compare(where, f"mean of {name}", column["mean"], mean)
    again.compare(where, f"half-width of {name}", column["half_width"], half)
    for stored, computed in zip(column["bootstrap"], compute_bootstrap(values), strict=True):
        again.compare(where, f"bootstrap limit of {name}", stored, computed)
    if "open_half_width" in column and manifest is not None:
        computed = compute_open(column, manifest)
        again.compare(where, f"open half-width of {name}", column["open_half_width"], computed)
    for kind, by_severity in column.get("kinds", {}).items():
        if not all(0 <= value <= 100 for value in by_severity):
            again.deviations.append(Deviation(where, f"{kind} of {name}", str(by_severity), "0 to 100"))


def compute_bootstrap(values: Sequence[float]) -> list[float]:
    """The 95 % percentile interval of resampled episodes, of the stream with seed 0."""
    limits: list[float] = np.percentile(bootstrap_means(np.array(values), 0), [2.5, 97.5]).tolist()
    return limits


def compute_open(column: Mapping[str, Any], manifest: Mapping[str, Any]) -> float:
    """Half-width of the 95 % interval over other classes and query images, from the answers of a column.

    The episodes are drawn again from the numbers of images of the classes. What a class adds to the accuracy of its
    episodes is fitted by least squares; only the draws of halves of the images are shared with what wrote the record.
    """
    n, way = len(column["correct"]), manifest["n_way"]
    rows = draw_layout(manifest["layout"], cast(ManifestRecord, manifest))[:n].with_queries(column["queries"] // way)
    right = unpack_answers(column["answers"], n, column["queries"])
    names, places = np.unique(rows.classes, return_inverse=True)
    accuracies, classes = 100 * right.mean(1), len(names)
    shares = np.zeros((n, classes))
    for share, members in zip(shares, places.reshape(n, way), strict=True):
        share[members] = 1 / way
    effects, residual, _, _ = np.linalg.lstsq(shares, accuracies, rcond=None)
    covariance = float(residual[0]) / (n - classes) * np.linalg.pinv(shares.T @ shares)
    centred = np.eye(classes) - 1 / classes  # of their spread, the part that is no chance of episodes
    spread = float(effects @ centred @ effects - np.trace(centred @ covariance)) / (classes - 1)
    of_class = np.repeat(rows.classes, rows.query.shape[2], axis=1)
    images = measure_image_variance(right, rows.query.reshape(right.shape), of_class)
    square = max(spread, 0.0) / classes + float(covariance.mean()) + images
    return float(stdtrit(classes - 1, 0.975)) * math.sqrt(square)


def recompute_score(record: Mapping[str, Any], where: str, again: Recomputation) -> None:
    """The robustness score of a ranking model from the scores of its queries, which are kept to two decimals."""
    mean, half = compute_mean(record["queries"])
    again.compare(where, "mean of ERS", record["ers"]["value"], mean, QUERY_ROUNDING)
    again.compare(where, "half-width of ERS", record["ers"]["half_width"], half, QUERY_ROUNDING)


def recompute_record(record: Record, where: str, again: Recomputation) -> None:
    """All numbers of a record that follow from counts it holds."""
    columns: dict[str, Any] = {}
    manifest: Mapping[str, Any] | None = None
    if record["kind"] == "accuracy":
        columns, manifest = dict(record["columns"]), record["manifest"]
    elif record["kind"] == "ranking":
        recompute_score(record, where, again)
        if "few_shot" in record:
            columns = dict(record["few_shot"]["columns"])
    for name, column in columns.items():
        recompute_column(name, column, where, again, manifest)


def recompute_folder(folder: Path, pages: Sequence[Path] = ()) -> Recomputation:
    """All records below a folder, and the paired differences and accuracies that some pages print of them."""
    again = Recomputation()
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
    for path in files:
        for record in results.read_all(path, None):
            where = path.name if folder.is_file() else path.relative_to(folder).as_posix()
            again.counts["record"] = again.counts.get("record", 0) + 1
            recompute_record(record, f"{where}, {record.get('row', record['kind'])}", again)
    for page in pages:
        recompute_page(page, folder, again)
    return again


def recompute_page(page: Path, folder: Path, again: Recomputation) -> None:
    """The accuracies and paired differences that a page prints, from the counts of the records that it names."""
    for _, kind, words, text in MARK.findall(page.read_text("utf-8")):
        name, *arguments = shlex.split(words)
        rows = {record["row"]: record for record in results.read_all(folder / name, "accuracy")}
        where = f"{page.name}, {kind} {name}"
        if kind == "accuracy":
            row, column = arguments
            chosen = rows[row]["columns"][find_column(rows[row], column)]
            mean, half = compute_mean([100 * count / chosen["queries"] for count in chosen["correct"]])
            if text.strip()[0] not in "<>":  # a bound, where all queries were right or none was
                again.compare_text(where, f"{row}, {column}", text, f"{mean:.1f} ± {half:.1f}")
        elif kind == "difference":
            row, reference, column = arguments
            again.compare_text(where, f"{row} - {reference}, {column}", text, _subtract(rows, row, reference, column))
        elif kind == "ablation":
            for variant, column, cell in _list_parts(text, arguments):
                again.compare_text(where, f"{variant}, {column}", cell, _subtract_seeds(rows, variant, column))
        else:
            (reference,) = arguments
            titles = {title_method(row): row for row in rows}
            for title, heading, cell in _read_cells(text):
                if cell != "-":
                    computed = _subtract(rows, titles[title], reference, heading)
                    again.compare_text(where, f"{titles[title]} - {reference}, {heading}", cell, computed)


def _subtract(rows: Mapping[str, Any], row: str, reference: str, column: str) -> str:
    name = find_column(rows[reference], column)
    mean, half = compute_difference(rows[reference]["columns"][name], rows[row]["columns"][name])
    return f"{mean:+z.1f} ± {half:.1f}"


def _list_parts(text: str, arguments: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(variant, column, "mean ± half-width") of what a mark of the ablation prints: one number, or a table."""
    if arguments:
        yield arguments[0], arguments[1], text
        return
    titles = {variant.title: variant.name for variant in ABLATION}
    for title, heading, cell in _read_cells(text.partition("\n\n")[0]):
        if heading.endswith(DIFFERENCE) and cell != "-":
            yield titles[title], heading.removesuffix(DIFFERENCE), cell.partition(" (")[0].removesuffix(" *")


def _subtract_seeds(rows: Mapping[str, Any], variant: str, column: str) -> str:
    """A variant of the ablation minus its reference: of each episode the mean over the seeds that both have."""
    (reference,) = (one.reference for one in ABLATION if one.name == variant)
    bases = {row: reference + row.removeprefix(variant) for row in rows if split_row(row)[0] == variant}
    pairs = [(rows[base], rows[row]) for row, base in bases.items() if base in rows]
    name = find_column(pairs[0][0], column)
    seeds = []
    for first, second in pairs:
        before, after = first["columns"][name], second["columns"][name]
        counts = zip(before["correct"], after["correct"], strict=True)
        seeds.append([100 * (b / after["queries"] - a / before["queries"]) for a, b in counts])
    mean, half = compute_mean([math.fsum(episode) / len(episode) for episode in zip(*seeds, strict=True)])
    return f"{mean:+z.1f} ± {half:.1f}"


def find_column(record: Mapping[str, Any], heading: str) -> str:
    """The column of a heading or of its first word: "PGD-20 8/255" or "PGD" is "PGD-20 8/255 query"."""
    protocol = record["protocol"]
    eps, word = format_pixels(protocol["eps"]), heading.split()[0].partition("-")[0]
    return {
        "clean": "clean",
        "FGSM": f"FGSM {eps} query",
        "PGD": f"PGD-{protocol['steps']} {eps} query",
        "transfer": f"transfer FGSM {eps} query",
        "noise": f"noise {protocol['sigma']:.2f} query",
    }[word]


def _read_cells(table: str) -> Iterator[tuple[str, str, str]]:
    """(first cell of the line, heading, cell) of a Markdown table."""
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.strip().splitlines()]
    for line in lines[2:]:
        for heading, cell in zip(lines[0][1:], line[1:], strict=True):
            yield line[0], heading, cell
