"""Cells of the tables that pages print, and which records and columns they are of."""

import functools
import math
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any, NamedTuple

from anrot_lib.audit.recompute.arithmetic import compute_difference, compute_mean
from anrot_lib.core.units import format_pixels
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.records import results

DIFFERENCE = ", difference"  # the end of a heading in the table of the ablation
DECIMALS = 4  # that a record keeps of a mean and of a half-width
Rows = Mapping[str, Any]  # the name of a row -> its record


class Cell(NamedTuple):
    """A printed number beside what the records say.

    taken: whether the record holds the final number alone, so that it is compared and cannot be computed.
    """

    what: str
    printed: str
    computed: str
    taken: bool = False


Cells = Iterator[Cell]


class Shelf:
    """The records below a folder; those of an experiment are read once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.read_all = functools.cache(self._read_all)

    def _read_all(self, name: str, kind: str = "accuracy") -> list[Any]:
        """The records of a kind in a folder, in the order of their files."""
        return [record for record in results.read_all(self.folder / name, None) if record["kind"] == kind]

    def read_rows(self, name: str) -> dict[str, Any]:
        """The name of a row -> its record, of an experiment."""
        return {record["row"]: record for record in self.read_all(name)}

    def read_file(self, file: str) -> Any:
        """The one record of a file, named without its ending."""
        return results.read(self.folder / f"{file}.json")


def format_counts(column: Mapping[str, Any] | None) -> str:
    """ "58.4 ± 1.9" from the counts of a column, "-" without one; a bound where all queries were right or none was."""
    if column is None:
        return "-"
    hits, asked = sum(column["correct"]), column["queries"] * len(column["correct"])
    if hits in (0, asked):
        return format_bound(asked, none=hits == 0)
    mean, half = compute_mean(list_accuracies(column))
    return f"{round(mean, DECIMALS):.1f} ± {round(half, DECIMALS):.1f}"


def format_bound(asked: int, none: bool) -> str:
    """ "< 0.3": the share that gives no hit in so many with a probability of 5 %, in per cent, rounded outwards to one
    decimal, or to two digits below 0.1; "> 99.7" for as many hits as were asked."""
    limit = Decimal(100 * (1 - math.exp(math.log(0.05) / asked)))
    place = -1 if limit >= Decimal("0.1") else limit.adjusted() - 1
    outwards = limit.quantize(Decimal(1).scaleb(place), ROUND_CEILING)
    return f"< {outwards}" if none else f"> {100 - outwards}"


def list_accuracies(column: Mapping[str, Any]) -> list[float]:
    """Per cent of right queries in each episode of a column."""
    return [100 * count / column["queries"] for count in column["correct"]]


def round_like(value: float, printed: str) -> str:
    """A value with one decimal. At a tie, where the last binary digit of a sum decides, the side that is printed."""
    sides = {f"{value + side:.1f}" for side in (-1e-9, 1e-9)}
    return printed if printed in sides else f"{value:.1f}"


def find_row(cell: str, rows: Rows) -> str:
    """The row whose title a cell begins with; what follows is a mark in brackets, such as " (transductive)"."""
    titles = {title_method(row): row for row in rows}
    return titles[max((t for t in titles if cell == t or cell.startswith(f"{t} (")), key=len)]


def compute_gap(rows: Rows, row: str, reference: str, column: str) -> str:
    """ "-2.2 ± 0.4": row - reference in the column of a heading."""
    name = find_column(rows[reference], column)
    return format_gap(rows[reference]["columns"][name], rows[row]["columns"][name])


def format_gap(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """ "-2.2 ± 0.4": second - first of two columns, paired."""
    mean, half = compute_difference(first, second)
    return f"{mean:+z.1f} ± {half:.1f}"


def find_column(record: Mapping[str, Any], heading: str) -> str:
    """The column of a heading or of its first word: "PGD-20 8/255" or "PGD" is "PGD-20 8/255 query". "" for a heading
    that is none of a column, such as the seconds of training."""
    protocol = record["protocol"]
    eps, word = format_pixels(protocol["eps"]), heading.split()[0].partition("-")[0]
    if word == "AA":
        return f"{heading} query"
    return {
        "clean": "clean",
        "FGSM": f"FGSM {eps} query",
        "PGD": f"PGD-{protocol['steps']} {eps} query",
        "transfer": f"transfer FGSM {eps} query",
        "noise": f"noise {protocol['sigma']:.2f} query",
        "corruptions": "corruptions query",
    }.get(word, "")


def split_table(text: str) -> list[list[str]]:
    """The cells of the first Markdown table of a text, line by line, the headings first."""
    table = text.strip().partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table[:1] + table[2:]]


def read_lines(text: str) -> list[dict[str, str]]:
    """The lines of the first Markdown table of a text, each as heading -> cell; the first cell stands under "", that of
    another column without a heading under "verdict"."""
    headings, *lines = split_table(text) or [[]]
    named = ["", *(heading or "verdict" for heading in headings[1:])]
    return [dict(zip(named, line, strict=True)) for line in lines]


def read_cells(text: str) -> Iterator[tuple[str, str, str]]:
    """(first cell of the line, heading, cell) of the first Markdown table of a text."""
    headings, *lines = split_table(text) or [[]]
    for line in lines:
        for heading, cell in zip(headings[1:], line[1:], strict=True):
            yield line[0], heading, cell
