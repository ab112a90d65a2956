"""Build the notebooks: `python notebooks/build.py [NUMBER ...]` runs notebooks/src/NN_name.py and writes NN_name.ipynb.

The sources are py:percent files; the notebooks are executed at the smoke preset without widgets, which is what is
committed and what the tests compare with. The links between notebooks and to publications are written here.
"""

import base64
import io
import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from anrot_lib.core import paths
from anrot_lib.course import catalogue, displays, exercises
from anrot_lib.publish import citations, sources

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {"ANROT_PRESET": "smoke", "ANROT_HEADLESS": "1", "ANROT_DATA": "embedded"}


def links(notebook: catalogue.Notebook) -> str:
    """Where to go from here, in Markdown."""
    ready = catalogue.list_ready()
    at = ready.index(notebook)
    parts = []
    if at > 0:
        parts.append(f"[← {ready[at - 1].title}]({ready[at - 1].stem}.ipynb)")
    if at > 0:
        parts.append(f"[Contents]({ready[0].stem}.ipynb#Contents)")
    if at + 1 < len(ready):
        parts.append(f"[{ready[at + 1].title} →]({ready[at + 1].stem}.ipynb)")
    return " · ".join(parts)


def from_source(notebook: catalogue.Notebook) -> nbformat.NotebookNode:
    """The notebook of a source, not run: cell numbers are the cells' ids, so that two builds are equal.

    Hints and solutions of exercises are written in where the source has their mark, `<!-- help 3.1 -->`.
    """
    book = jupytext.read(HERE / "src" / f"{notebook.stem}.py", fmt="py:percent")
    book.cells.append(nbformat.v4.new_markdown_cell(links(notebook)))
    for k, cell in enumerate(book.cells):
        if cell.cell_type == "markdown":
            cell["source"] = exercises.fill_in_help(citations.attach_links(cell["source"]))
        cell["id"] = f"cell-{k:02d}"
        cell["metadata"] = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code" and only_plots(cell["source"]):
            cell["metadata"]["jupyter"] = {"source_hidden": True}
    book["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    book["nbformat"], book["nbformat_minor"] = 4, 5
    return book


def only_plots(source: str) -> bool:
    """Whether a cell of code does nothing but draw a figure: JupyterLab shows it folded."""
    return bool(sources.PLOTS.search(source)) and "plt.show()" in source and "print(" not in source


def merged_streams(outputs: list) -> list:
    """Neighbouring pieces of the same stream as one, because where a stream is cut depends on the clock."""
    merged: list = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last["text"] += output.text
        else:
            merged.append(output)
    return merged


def pack_picture(encoded: str) -> str:
    """A PNG (base64) without a channel of opacity that says nothing, and packed as tightly as it goes: equal pixels."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        opaque = picture.mode != "RGBA" or picture.getextrema()[3] == (255, 255)
        packed = io.BytesIO()
        (picture.convert("RGB") if opaque else picture).save(packed, "png", optimize=True)
    return base64.b64encode(packed.getvalue()).decode("ascii")


def build(notebook: catalogue.Notebook) -> float:
    """Run one notebook and write it; returns the seconds that it took."""
    book = from_source(notebook)
    started = time.perf_counter()
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}).execute()
    seconds = time.perf_counter() - started
    for cell in book.cells:
        cell["metadata"].pop("execution", None)
        if cell.cell_type == "code":
            cell["outputs"] = merged_streams(cell.outputs)
            for output in cell.outputs:
                if "metadata" in output:  # of a figure its alternative text stays
                    output["metadata"] = {k: v for k, v in output.metadata.items() if k == displays.PNG}
                if displays.PNG in output.get("data", {}):
                    output["data"][displays.PNG] = pack_picture(output["data"][displays.PNG])
    book["metadata"]["language_info"] = {"name": "python"}
    with paths.write_atomically(HERE / f"{notebook.stem}.ipynb") as temporary:
        nbformat.write(book, temporary)
    return seconds


def main(numbers: list[str]) -> int:
    os.environ.update(ENVIRONMENT)
    chosen = [n for n in catalogue.list_ready() if not numbers or f"{n.number:02d}" in numbers]
    for notebook in chosen:
        try:
            seconds = build(notebook)
        except CellExecutionError as error:
            print(f"{notebook.stem}: {error}", file=sys.stderr)
            return 1
        print(f"{notebook.stem}: {seconds:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
