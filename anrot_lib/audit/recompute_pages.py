"""What pages print of records, computed again from the counts: single numbers in sentences, and the cells of tables."""

import functools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtri

from anrot_lib.audit.arithmetic import Recomputation, compute_difference, compute_mean
from anrot_lib.audit.printed import (
    compute_gap,
    compute_gap_of_seeds,
    find_column,
    find_row,
    format_counts,
    list_parts,
    read_cells,
)
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.records import results

MARK = re.compile(r"<!-- (table|number): ([^>]+?) -->(.*?)<!-- end -->", re.DOTALL)
OVERSTATES = re.compile(r"\(PGD overstates by ([\d.]+)\)")
Cells = Iterator[tuple[str, str, str | None]]  # what it is, as printed, as computed; None where nothing can be said


class Shelf:
    """The records below a folder; those of an experiment are read once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.read_rows = functools.cache(self._read_rows)

    def _read_rows(self, name: str) -> dict[str, Any]:
        """The name of a row -> its record, of an experiment."""
        return {record["row"]: record for record in results.read_all(self.folder / name, "accuracy")}


def recompute_page(page: Path, folder: Path, again: Recomputation) -> None:
    """The numbers that a page prints, from the counts of the records that its marks name."""
    shelf = Shelf(folder)
    for sort, what, text in MARK.findall(page.read_text("utf-8")):
        kind, *arguments = shlex.split(what)
        if sort == "number" and kind in NUMBERS:
            printed: Cells = iter([(" ".join(arguments[1:]), text, NUMBERS[kind](shelf, *arguments))])
        elif sort == "table" and kind in TABLES:
            printed = TABLES[kind](shelf, text, *arguments)
        elif sort == "table" and shelf.read_rows(kind):
            printed = list_main_cells(shelf, text, kind)
        else:
            continue
        for name, stored, computed in printed:
            if computed is not None:
                again.compare_text(f"{page.name}, {' '.join((kind, *arguments[:1]))}", name, stored, computed)


# Numbers in sentences


def compute_accuracy(shelf: Shelf, name: str, row: str, column: str) -> str | None:
    record = shelf.read_rows(name)[row]
    return format_counts(record["columns"][find_column(record, column)])


def compute_gain(shelf: Shelf, name: str, row: str, reference: str, column: str) -> str:
    return compute_gap(shelf.read_rows(name), row, reference, column)


def compute_part(shelf: Shelf, name: str, variant: str, column: str) -> str:
    return compute_gap_of_seeds(shelf.read_rows(name), variant, column)


def compute_judge_gap(shelf: Shelf, file: str, attack: str, library: str) -> str:
    judges = results.read(shelf.folder / f"{file}.json", "judges")["judges"]
    (judged,) = (one for one in judges if (one["attack"], one["library"]) == (attack, library))
    mean, half = compute_difference(judged["ours"], judged["judge"])
    return f"{mean:+z.1f} ± {half:.1f}"


def compute_suite_gap(shelf: Shelf, name: str, row: str) -> str:
    columns = shelf.read_rows(name)[row]["columns"].values()
    suites = {c["suite"]: c for c in columns if "suite" in c and c["threat"]["target"] == "query"}
    mean, half = compute_difference(suites["aa-lite"], suites["aa"])
    return f"{mean:+z.1f} ± {half:.1f}"


def find_right(record: Mapping[str, Any], answers: str) -> np.ndarray:
    """Which queries (E, n) a certificate's answers name rightly: they stand class by class."""
    way, queries = record["protocol"]["way"], record["queries"]
    right: np.ndarray = np.array(record[answers]) == np.arange(queries) // (queries // way)
    return right


def format_share(hits: np.ndarray) -> str:
    """ "58.4 ± 1.9" of hits (E, n)."""
    mean, half = compute_mean((100 * hits.mean(1)).tolist())
    return f"{mean:.1f} ± {half:.1f}"


def find_held(record: Mapping[str, Any], kind: str, replaced: int) -> np.ndarray:
    """Which queries (E, n) are right and stay so."""
    held: np.ndarray = find_right(record, "answers") & (np.array(record[f"{kind}_class"]) >= replaced)
    return held


def compute_held(shelf: Shelf, file: str, kind: str, replaced: str) -> str:
    return format_share(find_held(results.read(shelf.folder / f"{file}.json", "poisoning"), kind, int(replaced)))


def format_part(record: Mapping[str, Any], kind: str, replaced: int) -> str:
    """ "69": what is held, in per cent of what is right."""
    return f"{100 * find_held(record, kind, replaced).sum() / max(find_right(record, 'answers').sum(), 1):.0f}"


def compute_held_part(shelf: Shelf, file: str, kind: str, replaced: str) -> str:
    return format_part(results.read(shelf.folder / f"{file}.json", "poisoning"), kind, int(replaced))


def compute_certified(shelf: Shelf, file: str, radius: str) -> str:
    return format_certified(results.read(shelf.folder / f"{file}.json", "smoothing"), float(radius))


def format_certified(record: Mapping[str, Any], radius: float) -> str:
    """ "64.0 ± 5.9": right queries whose radius is at least so large, by the exact limit of a share: the root of the
    incomplete beta function at alpha."""
    settings, hits = record["smoothing"], np.array(record["hits"], float)
    limit = betaincinv(np.maximum(hits, 1), settings["draws"] - hits + 1, settings["alpha"]) * (hits > 0)
    radii = np.where(limit > 0.5, settings["sigma"] * ndtri(limit), 0.0)
    return format_share(find_right(record, "chosen") & (radii > 0) & (radii >= radius))


def compute_broken(shelf: Shelf, file: str) -> str:
    attack = results.read(shelf.folder / f"{file}.json", "smoothing")["attacks"][0]
    return f"{attack['broken']} of {attack['queries']}"


NUMBERS: dict[str, Callable[..., str | None]] = {
    "ablation": compute_part,
    "accuracy": compute_accuracy,
    "broken": compute_broken,
    "certified-part": compute_held_part,
    "certified-radius": compute_certified,
    "certified-shots": compute_held,
    "difference": compute_gain,
    "judge-gap": compute_judge_gap,
    "suite-gap": compute_suite_gap,
}


# Tables


def list_main_cells(shelf: Shelf, text: str, name: str, _: str = "") -> Cells:
    """Every accuracy of a main table, and how much PGD overstates it."""
    rows = shelf.read_rows(name)
    for title, heading, cell in read_cells(text):
        record = rows[find_row(title, rows)]
        if column := find_column(record, heading):
            yield f"{title}, {heading}", cell, format_counts(record["columns"].get(column))
        if (printed := OVERSTATES.search(title)) and heading == "clean":
            yield f"{title}, overstatement", printed[1], f"{measure_overstatement(record):.1f}"


def measure_overstatement(record: Mapping[str, Any]) -> float:
    """PGD minus the worst of strong attacks on the same episodes, in points."""
    strong = record["columns"][find_column(record, "PGD")]
    worst = [c for n, c in record["columns"].items() if "suite" in c and n.endswith(" query")]
    return max(-compute_difference(strong, one)[0] for one in worst)


def list_differences(shelf: Shelf, text: str, name: str, reference: str) -> Cells:
    rows = shelf.read_rows(name)
    for title, heading, cell in read_cells(text):
        if cell != "-":
            row = find_row(title, rows)
            yield f"{row} - {reference}, {heading}", cell, compute_gap(rows, row, reference, heading)


def list_ablation(shelf: Shelf, text: str, name: str) -> Cells:
    rows = shelf.read_rows(name)
    for variant, column, cell in list_parts(text):
        yield f"{variant}, {column}", cell, compute_gap_of_seeds(rows, variant, column)


def list_splits(shelf: Shelf, text: str, name: str) -> Cells:
    """Both accuracies of each draw, and the mean difference over draws."""
    first, second = shelf.read_rows(name), shelf.read_rows(f"{name}-released")
    gains: list[float] = []
    for seed, heading, cell in read_cells(text):
        sides = {"unseen classes, %": first, "classes of the release, %": second}
        if heading in sides and seed != "mean":
            yield f"draw {seed}, {heading}", cell, format_counts(sides[heading][f"split-{seed}"]["columns"]["clean"])
        if heading.startswith("difference"):
            if seed == "mean":
                mean, half = compute_mean(gains)
                yield "mean difference", cell, f"{mean:+z.1f} ± {half:.1f}"
            else:
                columns = [rows[f"split-{seed}"]["columns"]["clean"] for rows in (first, second)]
                a, b = (100 * sum(c["correct"]) / (c["queries"] * len(c["correct"])) for c in columns)
                gains.append(b - a)
                yield f"draw {seed}, difference", cell, f"{b - a:+z.1f}"


def list_consequences(shelf: Shelf, text: str, name: str) -> Cells:
    """The paired difference of each consequence; one table a net, whose first heading is its title."""
    rows = shelf.read_rows(name)
    for part in text.strip().split("\n\n"):
        if not part.startswith("| "):
            continue
        record = rows[find_row(part.split("|")[1].strip(), rows)]
        noise = find_column(record, "noise")
        pairs = {
            "training augmentation": ("clean", "clean, training augmentation"),
            "noise of": (noise, noise.replace(" query", " unclipped query")),
            "queries in batches": ("clean, queries one by one", "clean"),
        }
        for title, heading, cell in read_cells(part):
            (pair,) = (pair for words, pair in pairs.items() if title.startswith(words))
            columns = [record["columns"][column] for column in pair]
            mean, half = compute_difference(*columns)
            computed = {
                "right, %": format_counts(columns[0]),
                "as published, %": format_counts(columns[1]),
                "difference, points": f"{mean:+z.1f} ± {half:.1f}",
            }
            yield f"{record['row']}, {title}, {heading}", cell, computed.get(heading)


def list_poisoning(shelf: Shelf, text: str, name: str) -> Cells:
    """Certified accuracies of each number of replaced shots, and the part of what is right that they are."""
    records = {(r["row"], r["head"]): r for r in results.read_all(shelf.folder / name, "poisoning")}
    replaced = ""
    for title, heading, cell in read_cells(text):
        rows = {row: record for (row, _), record in records.items()}
        record = rows[find_row(title, rows)]
        if heading == "replaced":
            replaced = cell.split()[0]
        kind = {"certified, in one class": "one", "in every class": "every"}.get(heading)
        if kind is not None:
            share = format_share(find_held(record, kind, int(replaced)))
            computed = f"{share} ({format_part(record, kind, int(replaced))} %)"
            yield f"{record['row']}, {replaced} shots, {heading}", cell, computed


def list_smoothing(shelf: Shelf, text: str, name: str) -> Cells:
    """Certified accuracies at each radius, and the broken ones of attacked certificates."""
    carries = {"query": "query", "both": "support and query"}
    records = {}
    for record in results.read_all(shelf.folder / name, "smoothing"):
        settings = record["smoothing"]
        noise = f"sigma {settings['sigma']:g}, noise on {carries[settings['noisy']]}"
        records[f"{title_method(record['row'])}, {noise}"] = record
    for title, heading, cell in read_cells(text):
        attack = records[title]["attacks"][0]
        if heading == "certified" or heading.startswith("at "):
            radius = float(heading.removeprefix("at ")) if heading != "certified" else 0.0
            yield f"{title}, {heading}", cell, format_certified(records[title], radius)
        elif heading == "broken within":
            yield f"{title}, {heading}", cell, f"{attack['broken']} of {attack['queries']}"


TABLES: dict[str, Callable[..., Cells]] = {
    "ablation": list_ablation,
    "consequences": list_consequences,
    "differences": list_differences,
    "leaky-split": list_splits,
    "poisoning": list_poisoning,
    "rows": list_main_cells,
    "smoothing": list_smoothing,
}
