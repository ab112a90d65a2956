"""Other courses beside this one: what a program can count in their notebooks, with the same rules for all.

`python notebooks/count.py` counts in clones of the others and writes docs/courses.json; this course is counted when the
page is drawn.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue, copies
from anrot_lib.reports import tables

FILE = Path(__file__).resolve().parents[2] / "docs" / "courses.json"
CODE = re.compile(r"^```\{\.python[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)  # a cell of a book in Markdown
ASKED = re.compile(r"^#+ (?:Exercises|Quiz)\s*$(.*?)(?=^#|\Z)", re.DOTALL | re.MULTILINE)  # a section of exercises
ITEM = re.compile(r"^(?:\d+\.|[-*]) ", re.MULTILINE)
NUMBERED = re.compile(r"^### \d+\.\d+ .*\d minutes", re.MULTILINE)  # an exercise with a heading of its own
TODO = re.compile(r"#\s*TODO\b")  # a gap in code that is to be filled
SLIDER = re.compile(r"\b(?:interact|explore)\(")


@dataclass(frozen=True)
class CourseCounts:
    """Of all notebooks of a course together. `missing`: files that the copy at hand does not hold."""

    notebooks: int = 0
    words: int = 0
    code_cells: int = 0
    longest_cell: int = 0  # lines
    with_outputs: int = 0  # notebooks whose outputs are stored
    figures: int = 0  # pictures in stored outputs
    described: int = 0  # of these with an alternative text
    exercises: int = 0
    sliders: int = 0
    missing: int = 0


@dataclass(frozen=True)
class Course:
    """A course that was counted: where it is, at which commit, and on which day somebody looked."""

    name: str
    address: str
    commit: str
    looked: str
    counts: CourseCounts


def read_cells(text: str, is_notebook: bool) -> Iterator[tuple[str, str, list[Any]]]:
    """(kind, source, outputs) of each cell of a notebook, or of a page of a book in Markdown."""
    if is_notebook:
        for cell in json.loads(text)["cells"]:
            yield cell["cell_type"], "".join(cell["source"]), cell.get("outputs", [])
        return
    for k, part in enumerate(CODE.split(text)):
        yield "code" if k % 2 else "markdown", part, []


def count_one(text: str, is_notebook: bool = True) -> CourseCounts:
    """The counts of one notebook."""
    cells = list(read_cells(text, is_notebook))
    prose = "\n\n".join(source for kind, source, _ in cells if kind == "markdown")
    code = [source for kind, source, _ in cells if kind == "code" and source.strip()]
    outputs = [output for _, _, outputs in cells for output in outputs]
    figures = [output for output in outputs if any(kind.startswith("image/") for kind in output.get("data", {}))]
    described = [f for f in figures if any(isinstance(m, dict) and m.get("alt") for m in f["metadata"].values())]
    listed = sum(len(ITEM.findall(section)) for section in ASKED.findall(prose))
    return CourseCounts(
        notebooks=1,
        words=len(prose.split()),
        code_cells=len(code),
        longest_cell=max((len(source.strip().splitlines()) for source in code), default=0),
        with_outputs=int(bool(outputs)),
        figures=len(figures),
        described=len(described),
        exercises=listed + len(NUMBERED.findall(prose)) + sum(len(TODO.findall(source)) for source in code),
        sliders=sum(len(SLIDER.findall(source)) for source in code),
    )


def add_counts(counts: list[CourseCounts], missing: int = 0) -> CourseCounts:
    """Sums; of the longest cell the maximum."""
    every = [asdict(one) for one in counts]
    sums = {name: sum(one[name] for one in every) for name in asdict(CourseCounts())}
    return CourseCounts(**sums | {"longest_cell": max((c.longest_cell for c in counts), default=0), "missing": missing})


def count_this() -> CourseCounts:
    """This course, as it is committed."""
    folder = copies.find_notebooks()
    return add_counts([count_one((folder / f"{n.stem}.ipynb").read_text("utf-8")) for n in catalogue.list_ready()])


def read_courses() -> list[Course]:
    """The courses that were counted. UserError if the file is not one that `python notebooks/count.py` wrote."""
    try:
        listed = json.loads(FILE.read_text("utf-8"))
        return [Course(**course | {"counts": CourseCounts(**course["counts"])}) for course in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{FILE.name} is no list of counted courses: {error}; run notebooks/count.py") from None


def draw_courses() -> str:
    """Table: what a program counts in this course and in others, with a line on where the others were looked at."""
    courses = read_courses()
    columns = {"this course": count_this()} | {course.name: course.counts for course in courses}
    titles = {
        "notebooks": "notebooks with code",
        "words": "words of text",
        "code_cells": "cells of code",
        "longest_cell": "longest cell, lines",
        "with_outputs": "notebooks with stored outputs",
        "figures": "figures in stored outputs",
        "described": "of these with an alternative text",
        "exercises": "exercises",
        "sliders": "figures with sliders",
        "missing": "notebooks that could not be read",
    }
    rows = [[title, *(f"{getattr(c, name):,}" for c in columns.values())] for name, title in titles.items()]
    looked = ", ".join(f"[{c.name}]({c.address}) at {c.commit[:7]} on {c.looked}" for c in courses)
    return f"{tables.format_markdown(['', *columns], rows)}\n\nCounted in {looked}."
