"""Every committed notebook is whole, run in order, equal to its source; and the check itself can fail."""

import base64
import copy
import io
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from anrot_lib.course import catalogue
from tests.notebooks.columns import MOST_COLUMNS, find_wide_lines

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
READY = catalogue.list_ready()
ids = [notebook.stem for notebook in READY]
LEAST_COMPARED = 8  # cells whose text nbval compares; a stripped notebook passes nbval without comparing anything
MOST_IGNORED = 3
MOST_BYTES = 800_000
MOST_LINES, MOST_LINES_OF_ALL = 40, 570  # of code in a cell, and in a notebook
MOST_TRUTHS = 40  # printed lines of the whole course that say True or False: numbers and figures tell more
MACHINE_PATHS, COMMANDS = r"/(work|tmp|root|home|Users)/|\bC:\\", r"^\s*[%!](cd|pip|conda|matplotlib|git|wget|curl)"
SMALL_LETTERS = r"fontsize\W{1,3}[1-8]\b"  # a page shows a figure at nine tenths of its size or more
FORBIDDEN = re.compile(rf"{MACHINE_PATHS}|{COMMANDS}|{SMALL_LETTERS}|pip install |sys\.path|os\.chdir", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|#|mailto:|attachment:)([^)#\s]+)(?:#[^)]*)?\)")


def source_of(cell) -> str:
    return "".join(cell.source)


def ignored(cell) -> bool:
    return "nbval-ignore-output" in cell.metadata.get("tags", ())


def text_of(output) -> str:
    """What nbval compares of an output, but for the words that only name a figure."""
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    if "image/png" in data:
        return ""
    return "".join(data.get("text/plain", "")) + "".join(data.get("text/markdown", ""))


def compared(book) -> list:
    return [
        cell
        for cell in book.cells
        if cell.cell_type == "code"
        and not ignored(cell)
        and cell.execution_count
        and any(text_of(output).strip() for output in cell.outputs)
    ]


def faults(path: Path) -> list[str]:
    """Everything that is wrong with a notebook file, in words; empty for a good one."""
    book = nbformat.read(path, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    found = [*_form(path, book), *_outputs(code), *_captions(book), *_text(path, book)]
    if (n := len(compared(book))) < LEAST_COMPARED:
        found.append(f"only {n} cells have a text output that is compared, at least {LEAST_COMPARED} must")
    if (n := sum(map(ignored, code))) > MOST_IGNORED:
        found.append(f"{n} cells are not compared, at most {MOST_IGNORED} may be")
    return found


def _form(path: Path, book) -> list[str]:
    found = []
    try:
        nbformat.validate(book)
    except nbformat.ValidationError as error:
        found.append(f"not a valid notebook: {error}")
    if book.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel is not python3")
    if "widgets" in book.metadata:
        found.append("it stores the state of widgets")
    if (size := path.stat().st_size) > MOST_BYTES:
        found.append(f"{size} bytes, more than {MOST_BYTES}")
    return found


def _outputs(code: list) -> list[str]:
    found = []
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        found.append("cells were not run once each, in order, from a fresh kernel")
    for k, cell in enumerate(code, 1):
        for output in cell.outputs:
            kind = output.output_type
            mimes = output.get("data", {}).keys()
            if kind == "error" or (kind == "stream" and output.name == "stderr"):
                found.append(f"code cell {k} ends in an error or a warning")
            if any("widget" in mime or mime in ("image/svg+xml", "application/javascript") for mime in mimes):
                found.append(f"code cell {k} shows {sorted(mimes)}; only text and PNG can be compared everywhere")
            if "image/png" in mimes and not output.metadata.get("image/png", {}).get("alt"):
                found.append(f"code cell {k} shows a figure without an alternative text")
    return found


def _captions(book) -> list[str]:
    """Figures that no text reads before the next one is shown, or the notebook ends."""
    found, unread = [], None
    for k, cell in enumerate(book.cells):
        shown = cell.cell_type == "code" and any("image/png" in output.get("data", {}) for output in cell.outputs)
        if unread is not None and (shown or k + 1 == len(book.cells)):
            found.append(f"no text follows the figure of cell {unread}")
        if cell.cell_type == "markdown":
            unread = None
        elif shown:
            unread = k
    return found


def _text(path: Path, book) -> list[str]:
    found = []
    for k, cell in enumerate(book.cells):
        outputs = "".join(text_of(o) for o in cell.get("outputs", ()))
        if hit := FORBIDDEN.search(source_of(cell) + "\n" + outputs):
            found.append(f"cell {k} says {hit[0]!r}")
        if cell.cell_type == "code" and len(source_of(cell).splitlines()) > MOST_LINES:
            found.append(f"code cell {k} is longer than {MOST_LINES} lines")
        for line in find_wide_lines(source_of(cell), cell.cell_type == "code"):
            found.append(f"cell {k} has a line of code with more than {MOST_COLUMNS} columns: {line}")
    words = "\n".join(source_of(cell) for cell in book.cells if cell.cell_type == "markdown")
    prose = re.sub(r"```.*?```", "", words, flags=re.DOTALL)
    if (n := len(re.findall(r"^# ", prose, re.MULTILINE))) != 1:
        found.append(f"{n} headings of the first level, not one")
    for target in LINK.findall(words):
        if not (path.parent / target).exists():
            found.append(f"the link to {target} leads nowhere")
    lines = sum(len(source_of(cell).splitlines()) for cell in book.cells if cell.cell_type == "code")
    if lines > MOST_LINES_OF_ALL:
        found.append(f"{lines} lines of code; what is not the notebook's own subject belongs into the library")
    return found


@pytest.mark.parametrize("notebook", READY, ids=ids)
def test_a_committed_notebook_has_no_faults(notebook):
    assert faults(FOLDER / f"{notebook.stem}.ipynb") == []


@pytest.mark.parametrize("notebook", READY, ids=ids)
def test_source_and_notebook_are_equal(notebook, build):
    book = nbformat.read(FOLDER / f"{notebook.stem}.ipynb", as_version=4)
    fresh = build.from_source(notebook)
    assert [(c.cell_type, source_of(c), c.metadata) for c in book.cells] == [
        (c.cell_type, source_of(c), c.metadata) for c in fresh.cells
    ]


def test_a_packed_picture_has_the_same_pixels(build):
    figure, opaque = io.BytesIO(), Image.new("RGBA", (40, 30), (9, 99, 199, 255))
    opaque.putpixel((3, 4), (1, 2, 3, 255))
    opaque.save(figure, "png", compress_level=0)
    packed = base64.b64decode(build.pack_picture(base64.b64encode(figure.getvalue()).decode()))
    assert len(packed) < len(figure.getvalue()) / 10
    assert Image.open(io.BytesIO(packed)).convert("RGBA").tobytes() == opaque.tobytes()


def test_code_that_only_draws_is_folded_in_jupyterlab(build):
    folded = [
        source_of(cell)
        for notebook in READY
        for cell in nbformat.read(FOLDER / f"{notebook.stem}.ipynb", as_version=4).cells
        if cell.metadata.get("jupyter", {}).get("source_hidden")
    ]
    assert len(folded) > 60 and not any("check(" in source or "print(" in source for source in folded)
    drawn = "fig, axes = plt.subplots()\naxes.plot(x)\nplt.show()"
    assert build.only_plots(drawn) and not build.only_plots(f"{drawn}\nprint(1)") and not build.only_plots("x = 1")


@pytest.mark.parametrize("notebook", READY, ids=ids)
def test_the_title_is_the_question(notebook, build):
    first = source_of(build.from_source(notebook).cells[0]).splitlines()[0]
    assert first.startswith("# ") and first.endswith("?")


def count_truths(book) -> int:
    """Printed lines that hold a truth value."""
    streams = [o.text for cell in book.cells if cell.cell_type == "code" for o in cell.outputs if "text" in o]
    return sum(bool(re.search(r"\b(True|False)\b", line)) for text in streams for line in text.splitlines())


def test_the_course_prints_numbers_instead_of_truth_values():
    books = {n.stem: nbformat.read(FOLDER / f"{n.stem}.ipynb", as_version=4) for n in READY}
    counts = {stem: count_truths(book) for stem, book in books.items()}
    assert sum(counts.values()) <= MOST_TRUTHS, counts
    book = copy.deepcopy(books[READY[0].stem])
    cell = next(c for c in book.cells if c.cell_type == "code")
    cell["outputs"] = [nbformat.v4.new_output("stream", name="stdout", text="equal: True\nTruelove: 1\nno: False")]
    assert count_truths(book) == counts[READY[0].stem] + 2


def test_no_notebook_lies_about_that_is_not_in_the_table_of_contents():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(ids)
    assert sorted(path.stem for path in (FOLDER / "src").glob("*.py")) == sorted(ids)


def test_numbers_count_up_and_names_are_plain():
    assert [n.number for n in catalogue.NOTEBOOKS] == list(range(15))
    assert all(n.stem.replace("_", "").isalnum() and n.stem.isascii() for n in catalogue.NOTEBOOKS)


def _spoiled(change, tmp_path) -> list[str]:
    book = copy.deepcopy(nbformat.read(FOLDER / f"{READY[-1].stem}.ipynb", as_version=4))
    change(book)
    folder = tmp_path / "notebooks"
    folder.mkdir(exist_ok=True)
    (tmp_path / "docs").symlink_to(FOLDER.parent / "docs") if not (tmp_path / "docs").exists() else None
    for target in READY:
        (folder / f"{target.stem}.ipynb").touch()
    path = folder / f"{READY[-1].stem}.ipynb"
    nbformat.write(book, path)
    return faults(path)


def _strip(book):
    for cell in book.cells:
        if cell.cell_type == "code":
            cell["outputs"], cell["execution_count"] = [], None


def _clear_outputs_only(book):
    for cell in book.cells:
        if cell.cell_type == "code":
            cell["outputs"] = []


def _run_twice(book):
    next(c for c in book.cells if c.cell_type == "code")["execution_count"] = 99


def _warn(book):
    cell = next(c for c in book.cells if c.cell_type == "code")
    cell["outputs"].append(nbformat.v4.new_output("stream", name="stderr", text="UserWarning: hm"))


def _show_a_mute_figure(book):
    outputs = [
        output for cell in book.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
    ]
    outputs[0]["metadata"] = {}


def _leave_a_figure_unread(book):
    first = next(
        k for k, cell in enumerate(book.cells) if any("image/png" in o.get("data", {}) for o in cell.get("outputs", ()))
    )
    for cell in book.cells[first:]:
        cell["cell_type"] = "raw" if cell.cell_type == "markdown" else "code"


def _store_widgets(book):
    book.metadata["widgets"] = {"state": {}}


def _say_a_path(book):
    book.cells[0]["source"] += "\nlook into /" + "home/me/data"


def _link_nowhere(book):
    book.cells[0]["source"] += "\n[more](99_nothing.ipynb)"


def _widen_code(book):
    next(c for c in book.cells if c.cell_type == "code")["source"] += "\n# " + "w" * (MOST_COLUMNS - 1)


def _widen_a_solution(book):
    cell = next(c for c in book.cells if "```python" in c.source)
    cell["source"] = cell.source.replace("```python\n", "```python\n" + "w" * (MOST_COLUMNS + 1) + "\n")


def _ignore_everything(book):
    for cell in compared(book):
        cell.metadata["tags"] = ["nbval-ignore-output"]


@pytest.mark.parametrize(
    "spoil",
    [
        _strip,
        _clear_outputs_only,
        _run_twice,
        _warn,
        _show_a_mute_figure,
        _leave_a_figure_unread,
        _store_widgets,
        _say_a_path,
        _link_nowhere,
        _widen_code,
        _widen_a_solution,
        _ignore_everything,
    ],
)
def test_a_spoiled_notebook_is_found_out(spoil, tmp_path):
    assert _spoiled(lambda book: None, tmp_path) == []
    assert _spoiled(spoil, tmp_path) != []
