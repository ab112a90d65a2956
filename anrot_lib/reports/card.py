"""The masking card as a table, a caption and a figure."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from anrot_lib.core import palette
from anrot_lib.core.units import format_pixels
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.records.measures import CheckRecord
from anrot_lib.records.schema import AccuracyRecord, CardRecord
from anrot_lib.reports import figures
from anrot_lib.reports.tables import Table, title_row


def make_table(record: CardRecord) -> Table:
    """One line a check: what was measured, and whether it was passed."""
    rows = [
        [name, describe_check(name, check), "passed" if check["passed"] else "FAILED"]
        for name, check in record["checks"].items()
    ]
    return [f"card of {title_method(record['row'])}", "measured", ""], rows


def add_verdicts(table: Table, records: Sequence[AccuracyRecord], cards: Sequence[CardRecord]) -> Table:
    """The table with a column "card", where a card of one of its nets exists: what the card of that very net says.

    records: those of the table's lines, in any order; a line without a record of its own has no card.
    """
    headings, rows = table
    verdicts = {card["net"]["sha256"]: "passed" if card["passed"] else "FAILED" for card in cards}
    by_title = {title_row(r): verdicts.get(r["training"].get("checkpoint", ""), "-") for r in records}
    cells = [by_title.get(row[0], "-") for row in rows]
    if set(cells) == {"-"}:
        return table
    return [*headings, "card"], [[*row, cell] for row, cell in zip(rows, cells, strict=True)]


def describe_check(name: str, check: CheckRecord) -> str:
    """What a check measured, in a few words."""
    if name == "alone":
        return f"{check['changed']} of {check['queries']} predictions change beside other queries"
    if name == "gradient":
        return f"no gradient at {max(check['dead'].values()):.1f} % of {check['queries']} right queries"
    if name == "eps":
        return ", ".join(f"{score:.1f} % at {eps}" for eps, score in check["scores"].items())
    if name == "eot":
        against = f"one draw in place of {check['draws']}"
        return f"{check['score']:.1f} %, {check['difference']:+z.1f} ± {check['half_width']:.1f} to {against}"
    return f"{check['score']:.1f} %, {check['difference']:+z.1f} ± {check['half_width']:.1f} to the attack of the table"


def write_caption(record: CardRecord) -> str:
    """On what the card was made."""
    protocol, data = record["protocol"], record["data"]
    verdict = "passed" if record["passed"] else "FAILED: its accuracy under attack may rest on a useless gradient"
    seen = "SEEN CLASSES, no few-shot accuracy; " if "seen" in record else ""
    return (
        f"{seen}{data['name']}, {protocol['way']}-way {protocol['shot']}-shot, PGD-{protocol['steps']} "
        f"{format_pixels(protocol['eps'])} on {record['tasks']} episodes; the card is {verdict}; "
        f"manifest {record['manifest']['hash'][:10]}; {record['run']['device']}, {record['seconds']:.0f} s"
    )


def draw_card(record: CardRecord) -> Figure:
    """Accuracy over the radius beside the margin around one query: rows of the surface go along its gradient."""
    eps = record["protocol"]["eps"]
    scores = record["checks"]["eps"]["scores"]
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(7.4, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(range(len(scores)), list(scores.values()), marker="o", color=palette.ORANGE)
        left.set_xticks(range(len(scores)), [f"{255 * float(text):.3g}" for text in scores])
        left.axhline(100 / record["protocol"]["way"], linestyle=":", color="black", linewidth=1)
        left.set(xlabel="eps of PGD, k/255", ylabel="accuracy, %", ylim=(0, 100))
        left.set_title("accuracy over the radius; dotted: chance", fontsize=9)
        surface = np.array(record["surface"])
        span = np.linspace(-2, 2, len(surface))
        limit = max(float(np.abs(surface).max()), 1e-9)
        shown = right.contourf(span, span, surface, levels=21, cmap="RdBu_r", vmin=-limit, vmax=limit)
        right.contour(span, span, surface, levels=[0.0], colors="black", linewidths=1)
        figure.colorbar(shown, ax=right, label="margin of the best wrong class")
        right.set(xlabel="random signs, in eps", ylabel="sign of the gradient, in eps")
        right.set_title(f"one query, eps {format_pixels(eps)}; black: where it is beaten", fontsize=9)
    return figure
