"""How a notebook shows figures: as PNG with an alternative text that is read off the figure."""

import html
from typing import Any

from matplotlib.figure import Figure

from anrot_lib.reports.alt_text import describe_figure

PNG, HTML = "image/png", "text/html"


def render_figure(figure: Figure, live: bool) -> tuple[dict[str, str], dict[str, Any]]:
    """(data, metadata) of a figure for Jupyter: its PNG, with the alternative text as `alt` in the PNG's metadata.

    live  adds the same PNG within HTML, with the text as its `alt`: JupyterLab shows that, as it does not read the
          metadata. Notebooks that are built hold the PNG alone, so that they stay small and show everywhere.
    """
    from IPython.core.pylabtools import print_figure

    drawn = print_figure(figure, fmt="png", base64=True)
    if drawn is None:  # nothing is on it
        return {}, {}
    text = describe_figure(figure)
    data = {PNG: drawn}
    if live:
        data[HTML] = f'<img alt="{html.escape(text)}" src="data:{PNG};base64,{drawn}">'
    return data, {PNG: {"alt": text}}


def add_alternatives(live: bool) -> None:
    """Let this session's notebook show every figure with an alternative text; nothing happens outside of one."""
    from IPython import get_ipython

    if (shell := get_ipython()) is not None and hasattr(shell, "kernel"):
        formatter = shell.display_formatter
        formatter.mimebundle_formatter.for_type(Figure, lambda figure: render_figure(figure, live))
        # The inline backend registers its own PNG printer, which would win over the bundle.
        from matplotlib_inline import backend_inline  # noqa: F401

        formatter.formatters[PNG].pop(Figure, None)
