"""Slides of the notebooks for a lecture: nbconvert's slides, which are shown without a network.

What is shown follows from the source of a notebook. Each heading begins a slide with its first sentence, its lists,
tables and formulas; each figure and each piece of code that is the notebook's subject has a slide below it. The prose
goes to the speaker's notes, and so does the solution of an exercise.
"""

import ast
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from anrot_lib.core import packages, paths
from anrot_lib.course import catalogue, copies
from anrot_lib.publish import formulas, website

TEMPLATE = website.SETTINGS / "slides" / "slides.html.j2"
REVEAL = "reveal"  # the folder of reveal.js beside the slides
# What slides ask of reveal.js, in the package sphinx-revealjs, which brings it.
PARTS = (
    "LICENSE",
    "dist/reset.css",
    "dist/reveal.css",
    "dist/reveal.js",
    "dist/theme/white.css",
    "dist/theme/fonts",
    "plugin/notes/notes.js",
    "plugin/notes/speaker-view.html",
)
PACKAGES = ("nbconvert", "latex2mathml", "sphinx_revealjs")
SLIDE, BELOW, SAME, NOTES = "slide", "subslide", "-", "notes"
HEADING = re.compile(r"^(#{1,3}) (.+)$", re.MULTILINE)
FENCE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
FORMULA = re.compile(r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+?)\$", re.DOTALL)
FOLDED = re.compile(r"<details>.*?</details>\s*", re.DOTALL)
EXERCISE = re.compile(r"^### \d+\.\d+ ")
SHOWN = re.compile(r"^(- |\* |\d+\. |\||>|\$\$|<div|```)")  # how a paragraph begins that is shown whole
SENTENCE = re.compile(r".+?[.?!:](?=\s+[A-Z*`$]|\s*$)", re.DOTALL)
RESULTS = {"image/png", "text/markdown"}  # of a cell whose code is not shown: figures and tables
NAVIGATION = ("[←", "[Contents]", "[Loading and splits →]")  # the last cell of a notebook
LEFT_OUT = ("## References", "## Contents")


def check_packages() -> None:
    """UserError if something is missing that slides are made with."""
    packages.check_packages("slides need", PACKAGES, "course")


def write(folder: Path) -> None:
    """Write slides of every notebook to a new folder, with the parts of reveal.js that show them.

    UserError for a folder that holds something, or if a package is missing (`check_packages`).
    """
    check_packages()
    copies.refuse_filled(folder)
    for notebook in catalogue.list_ready():
        book = copies.read_notebook(copies.find_notebooks() / f"{notebook.stem}.ipynb")
        paths.write_text(folder / f"{notebook.stem}.html", convert(book, f"{notebook.number:02d} {notebook.title}"))
    copy_reveal(folder / REVEAL)


def copy_reveal(folder: Path) -> None:
    """Copy what slides need of reveal.js, with its licence."""
    source = Path(str(files("sphinx_revealjs"))) / "_static" / "revealjs"
    for part in PARTS:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (source / part).is_dir() else shutil.copyfile
        copy(source / part, folder / part)


def convert(book: Any, title: str) -> str:
    """HTML of a notebook's slides."""
    from nbconvert.exporters import SlidesExporter

    book = choose_slides(book)
    book["metadata"]["title"] = title
    exporter = SlidesExporter(  # type: ignore[no-untyped-call]
        extra_template_paths=[str(TEMPLATE.parent)],
        template_file=TEMPLATE.name,
        reveal_url_prefix=REVEAL,
        reveal_theme="white",
    )
    text, _ = exporter.from_notebook_node(book)
    return str(text)


def choose_slides(book: Any) -> Any:
    """The same notebook, cut into what is shown and what is said, with the place of each piece in its metadata."""
    cells, heading = list[Any](), ""
    for cell in book.cells:
        for piece, place in _cut_text(cell.source) if cell.cell_type == "markdown" else _place_code(cell, heading):
            piece["metadata"]["slideshow"] = {"slide_type": place}
            cells.append(piece)
            if place == SLIDE and (named := HEADING.match(piece.source)):
                heading = named[2]
    book["cells"] = cells
    return book


def _place_code(cell: Any, heading: str) -> Iterator[tuple[Any, str]]:
    """A figure or table without its code, or code with what it prints, below the heading that it belongs to.

    Left out are setting up, assertions alone, and what an exercise says before it is attempted.
    """
    if "lesson.set_up(" in cell.source or "parameters" in cell.metadata.get("tags", ()):
        return
    if any(RESULTS & set(output.get("data", {})) for output in cell.outputs):
        cell["metadata"]["transient"] = {"remove_source": True}
    elif 'check("' in cell.source:
        cell["outputs"] = []
        yield cell, SAME
        return
    elif not cell.outputs and not _teaches(cell.source):
        return
    yield _write_cell(f'<p class="where">{heading}</p>'), BELOW
    yield cell, SAME


def _teaches(source: str) -> bool:
    """Whether code without an output is worth a slide: it defines a function, and no figure is drawn by it."""
    statements = ast.parse(source).body
    return "plt." not in source and any(isinstance(s, ast.FunctionDef | ast.ClassDef) for s in statements)


def _write_cell(text: str) -> Any:
    from nbformat.v4 import new_markdown_cell

    return new_markdown_cell(draw_formulas(text))  # type: ignore[no-untyped-call]


def _cut_text(text: str) -> Iterator[tuple[Any, str]]:
    """The pieces of a cell of text: from each heading to the next, what is shown and what is said."""
    starts = [0, *(match.start() for match in HEADING.finditer(FENCE.sub(lambda m: "x" * len(m[0]), text)))]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        piece = text[start:end].strip()
        if not piece or piece.startswith(NAVIGATION):
            continue
        if piece.startswith(LEFT_OUT):
            yield _write_cell(piece), NOTES
            continue
        shown, said = split_prose(piece)
        heading = HEADING.match(piece)
        if shown:
            place = SLIDE if heading is not None and heading[1] != "###" else BELOW
            yield _write_cell(shown), place
        if said:
            yield _write_cell(said), NOTES


def split_prose(piece: str) -> tuple[str, str]:
    """(what a slide shows, what the notes hold) of a piece of text between two headings.

    Of an exercise all of the task is shown, and its solution noted.
    """
    folded = FOLDED.findall(piece)
    rest = FOLDED.sub("", piece).strip()
    if EXERCISE.match(rest):
        return rest, folded[-1].strip() if folded else ""
    shown, said = [], list[str]()
    for paragraph in re.split(r"\n\n+", rest):
        if HEADING.match(paragraph):
            heading, _, paragraph = paragraph.partition("\n")
            shown.append(heading)
        listed = re.search(r"^- ", paragraph, re.MULTILINE)
        if SHOWN.match(paragraph):
            shown.append(paragraph)
            continue
        if len(shown) == 1 and (first := SENTENCE.match(paragraph[: listed.start() if listed else None])):
            shown.append(first[0])
        if listed:
            shown.append(paragraph[listed.start() :].strip())
        said += [paragraph] * bool(paragraph)
    return "\n\n".join(shown), "\n\n".join([*said, *folded[-1:]])


def draw_formulas(text: str) -> str:
    """Markdown with its formulas as MathML, outside of code."""
    parts = FENCE.split(text)
    return "".join(part if k % 2 else FORMULA.sub(_draw_formula, part) for k, part in enumerate(parts))


def _draw_formula(match: re.Match[str]) -> str:
    kind = "block" if match["block"] else "inline"
    drawn = formulas.convert(match[kind].strip(), kind)
    for mark in "*_`[]\\":  # Markdown shall not read them
        drawn = drawn.replace(mark, f"&#{ord(mark)};")
    return f'<div class="math">{drawn}</div>' if kind == "block" else drawn
