"""Settings of Sphinx for `make site` (anrot_lib/publish/website.py gathers the pages that it reads)."""

from typing import Any

from docutils import nodes
from docutils.utils import new_document
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from anrot_lib import __version__
from anrot_lib.core.errors import UserError
from anrot_lib.publish import citations, formulas, reference

project = "ANROT-HELANet course"
author = "the ANROT-HELANet course authors"
release = version = __version__
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
show_warning_types = True

nb_execution_mode = "off"  # the committed outputs are shown
nb_render_markdown_format = "myst"
nb_merge_streams = True
nb_code_prompt_show = "Show the code of the figure"
nb_code_prompt_hide = "Hide the code of the figure"
myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_use_type_comments = False  # there are none, and looking for them takes a third of the time
add_module_names = False

html_theme = "furo"
html_title = "ANROT-HELANet"
templates_path = ["templates"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_math_renderer = "mathml"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
logger = logging.getLogger(__name__)


def draw_formula(translator: Any, node: nodes.Element, display: str) -> None:
    """Write a formula into the page; a slip in it is a warning, and so an error of the site."""
    try:
        drawn = formulas.convert(node.astext(), display)
    except UserError as error:
        logger.warning(str(error), location=node)
        drawn = ""
    translator.body.append(f'<div class="math">{drawn}</div>' if display == "block" else drawn)
    raise nodes.SkipNode


class Docstring(SphinxDirective):
    """A docstring in Markdown within the reST that autodoc writes."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        document = new_document(self.get_source_info()[0], self.state.document.settings)
        MystParser().parse("\n".join(self.content), document)
        return document.children


class NameCorners(SphinxPostTransform):
    """A word for readers who hear a table, where the heading of its first column is empty."""

    default_priority = 400
    formats = ("html",)

    def run(self, **options: Any) -> None:
        for head in self.document.findall(nodes.thead):
            for entry in head.findall(nodes.entry):
                if not entry.astext().strip():
                    entry.clear()
                    entry += nodes.paragraph("", "", nodes.inline("", "row", classes=["heard-only"]))


def hand_over(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Let MyST read a docstring."""
    if any(line.strip() for line in lines):
        text = citations.attach_links("\n".join(reference.prepare_docstring(lines))).splitlines()
        lines[:] = [".. docstring::", "", *(f"   {line}" if line.strip() else "" for line in text), ""]


def skip_member(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of records that are called by several words: they are no attributes."""
    return None if name.isidentifier() else True


def setup(app: Sphinx) -> None:
    inline = (lambda self, node: draw_formula(self, node, "inline"), None)
    block = (lambda self, node: draw_formula(self, node, "block"), None)
    app.add_html_math_renderer("mathml", inline_renderers=inline, block_renderers=block)
    app.add_directive("docstring", Docstring)
    app.add_post_transform(NameCorners)
    app.connect("autodoc-process-docstring", hand_over)
    app.connect("autodoc-skip-member", skip_member)
