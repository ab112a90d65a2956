"""The reviewer's report as one HTML file that any browser prints or saves as PDF, without a network.

The Markdown of `reports.review` is rendered by mistune; figures are drawn from the records and lie within the file.
"""

import base64
import html
import io
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from anrot_lib.core import packages, paths
from anrot_lib.experiments.consequences import TAG
from anrot_lib.experiments.leaky_split import SPLIT_TAG
from anrot_lib.fewshot.methods import ABLATION
from anrot_lib.publish.pages import choose_figures
from anrot_lib.reports import review
from anrot_lib.reports.alt_text import describe_figure

TITLE = review.TITLE.removeprefix("# ")
START = f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{TITLE}</title>\n'
# Nothing is asked for from elsewhere, whatever a record says.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STUDIES = (f"-{ABLATION}", f"-{TAG}", f"-{SPLIT_TAG}")  # ends of the names of the folders whose figures are shown
PRESET = "-laptop"  # of photographs; the figures of the smoke preset show what the kit does, not what holds
DPI = 144

STYLE = """
:root { color-scheme: light; }
body { font: 10.5pt/1.45 Georgia, "Times New Roman", serif; color: #111; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1, h2, h3 { font-family: "Helvetica Neue", Arial, sans-serif; line-height: 1.2; break-after: avoid; }
h2 { border-bottom: 1px solid #999; padding-bottom: .15em; margin-top: 2em; }
table { border-collapse: collapse; width: 100%; font: 8.5pt/1.35 "Helvetica Neue", Arial, sans-serif; margin: 1em 0; }
thead { display: table-header-group; }
tr, figure, img, li { break-inside: avoid; }
th, td { border: 1px solid #bbb; padding: .25em .4em; vertical-align: top; overflow-wrap: break-word; }
th { background: #eee; text-align: left; }
code { font-size: .92em; overflow-wrap: anywhere; }
img { display: block; max-width: 100%; max-height: 12cm; margin: .5em auto; }
p:has(> img) { break-after: avoid; }
li.task-list-item { list-style: none; margin: .4em 0 .4em -1.2em; }
li.task-list-item::after { content: ""; display: block; height: 1.5em; border-bottom: 1px dotted #777; }
@page { margin: 16mm 14mm 18mm; @bottom-center { content: counter(page) " / " counter(pages); font: 8pt sans-serif; } }
@media print {
  body { max-width: none; margin: 0; padding: 0; }
  table { font-size: 7.5pt; }
  th, tr:nth-child(even) td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  p { orphans: 3; widows: 3; }
}
"""


def save_page(path: Path, progress: Callable[[int], None] | None = None) -> Path:
    """Write the report to an HTML file, whole or not at all. UserError for a file that is no such report."""
    packages.check_packages("a report to print needs", ["mistune"], "course")
    paths.refuse_other_file(path, START, "review to print")
    paths.write_text(path, render_page(review.write_review(progress), draw_figures()))
    return path


def render_page(text: str, figures: str = "") -> str:
    """A page of HTML of the Markdown of a report, with the Markdown of its figures before the checklist.

    What looks like HTML in the text, such as the name of somebody's record, is shown as it is written.
    """
    import mistune

    before, heading, checklist = text.partition(f"## {review.CHECKLIST}")
    body = mistune.create_markdown(escape=True, plugins=["table", "task_lists"])(before + figures + heading + checklist)
    policy = f'<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">'
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f"{START}{policy}\n{view}\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def draw_figures() -> str:
    """The figures of the main tables and studies of photographs as Markdown that holds them; "" without records."""
    parts = []
    for folder in sorted({path.parent for path in paths.results_dir().rglob("*.json")}):
        if folder.name.endswith((PRESET, *(PRESET + end for end in STUDIES))):
            for name, draw in choose_figures(folder).items():
                parts.append(f"{embed_figure(draw())}\n\n*{folder.name}, {name}*")
    return "\n\n".join(["## Figures", *parts, ""]) if parts else ""


def embed_figure(figure: Figure) -> str:
    """A figure as an image of Markdown that holds its PNG, with what it shows in words."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    words = describe_figure(figure).replace("[", "(").replace("]", ")").replace("\n", " ")
    plt.close(figure)
    return f"![{words}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
