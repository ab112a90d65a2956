"""What Sphinx reads of a page or a notebook: the same text, with contents, alternative texts and citations added."""

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from anrot_lib.course import catalogue
from anrot_lib.publish import citations, pages
from anrot_lib.publish.frames import attach_frames
from anrot_lib.publish.quizzes import attach_quizzes

TARGET = re.compile(r"\]\((?P<page>[^)\s:#]+)(?:#[^)\s]*)?\)")
HOME, RESULTS, FRAMES = "README.md", "docs/results/", "_static/frames"
ANCHOR = re.compile(r"(?<=\.ipynb)#[^)]+(?=\))")  # in JupyterLab as the heading is spelled, elsewhere in lower case
PLOTS = re.compile(r"plt\.subplot(?:s|_mosaic)\(")  # in the source of a cell that shows a figure: what is folded
MERMAID = re.compile(r"^```mermaid$", re.MULTILINE)


def find_targets(text: str) -> list[str]:
    """The relative paths to which a text links or which it shows, without anchors."""
    return [match["page"] for match in TARGET.finditer(text)]


def prepare_page(text: str) -> str:
    """A Markdown page for Sphinx. Its pictures in Mermaid stay text, as no highlighter knows their language."""
    return citations.attach_links(MERMAID.sub("```text", text))


def prepare_notebook(text: str, frames: Path) -> str:
    """A notebook (JSON) for myst-nb.

    Each figure's alternative text, which its output holds, stands at its cell. The code that draws a figure is folded.
    Behind a figure of which `frames` holds other states stand their controls, behind a question a form for its answer.
    """
    book = json.loads(ANCHOR.sub(lambda anchor: anchor[0].lower(), text))
    for cell in book["cells"]:
        outputs = cell.get("outputs", ())
        if PLOTS.search("".join(cell["source"])) and any("image/png" in output.get("data", {}) for output in outputs):
            cell["metadata"]["tags"] = [*cell["metadata"].get("tags", ()), "hide-input"]
        pictures = [output.get("metadata", {}).get("image/png", {}) for output in outputs]
        if texts := [picture["alt"] for picture in pictures if "alt" in picture]:
            cell["metadata"]["mystnb"] = {"image": {"alt": " ".join(texts)}}
    attach_quizzes(book)
    attach_frames(book, frames, f"../{FRAMES}/{frames.name}")
    return json.dumps(book)


def list_contents() -> str:
    """Tables of contents for the sidebar, as directives that end the first page."""
    course = [(f"{n.number:02d} {n.title}", f"notebooks/{n.stem}") for n in catalogue.list_ready()]
    texts = [(page.title, str(PurePosixPath(page.path).with_suffix(""))) for page in pages.PAGES if page.path != HOME]
    results = [entry for entry in texts if entry[1].startswith(RESULTS)]
    groups = {
        "Course": course,
        "Results": results,
        "Guides": [entry for entry in texts if entry not in results],
        "Reference": [("API reference", "api/index")],
    }
    return "".join(_write_contents(name, entries) for name, entries in groups.items())


def _write_contents(name: str, entries: Iterable[tuple[str, str]]) -> str:
    lines = "\n".join(f"{title} <{document}>" for title, document in entries)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {name}\n\n{lines}\n```\n"
