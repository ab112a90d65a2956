"""Cells of the tables that pages print, and which records and columns they are of."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from anrot_lib.audit.arithmetic import compute_difference, compute_mean
from anrot_lib.core.units import format_pixels
from anrot_lib.fewshot.recipes import ABLATION
from anrot_lib.fewshot.row_names import split_row, title_method

DIFFERENCE = ", difference"  # the end of a heading in the table of the ablation
DECIMALS = 4  # that a record keeps of a mean and of a half-width
Rows = Mapping[str, Any]  # the name of a row -> its record


def format_counts(column: Mapping[str, Any] | None) -> str | None:
    """ "58.4 ± 1.9" from the counts of a column, "-" without one; None for a bound, where all queries were right or
    none was, which is no interval."""
    if column is None:
        return "-"
    if sum(column["correct"]) in (0, column["queries"] * len(column["correct"])):
        return None
    mean, half = compute_mean([100 * count / column["queries"] for count in column["correct"]])
    return f"{round(mean, DECIMALS):.1f} ± {round(half, DECIMALS):.1f}"


def find_row(cell: str, rows: Rows) -> str:
    """The row whose title a cell begins with; what follows is a mark in brackets, such as " (transductive)"."""
    titles = {title_method(row): row for row in rows}
    return titles[max((t for t in titles if cell == t or cell.startswith(f"{t} (")), key=len)]


def compute_gap(rows: Rows, row: str, reference: str, column: str) -> str:
    """ "-2.2 ± 0.4": row - reference in the column of a heading."""
    name = find_column(rows[reference], column)
    mean, half = compute_difference(rows[reference]["columns"][name], rows[row]["columns"][name])
    return f"{mean:+z.1f} ± {half:.1f}"


def list_parts(text: str) -> Iterator[tuple[str, str, str]]:
    """(variant, column, "mean ± half-width") of the table of an ablation."""
    titles = {variant.title: variant.name for variant in ABLATION}
    for title, heading, cell in read_cells(text):
        if heading.endswith(DIFFERENCE) and cell != "-":
            yield titles[title], heading.removesuffix(DIFFERENCE), cell.partition(" (")[0].removesuffix(" *")


def compute_gap_of_seeds(rows: Rows, variant: str, column: str) -> str:
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
    }.get(word, "")


def read_cells(text: str) -> Iterator[tuple[str, str, str]]:
    """(first cell of the line, heading, cell) of the first Markdown table of a text."""
    table = text.strip().partition("\n\n")[0]
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()]
    for line in lines[2:]:
        for heading, cell in zip(lines[0][1:], line[1:], strict=True):
            yield line[0], heading, cell
