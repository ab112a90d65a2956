"""The picture at the top of the README: one network trained two ways, under attack and under noise."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anrot_lib.core import palette, paths
from anrot_lib.records import results
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import figures

EXPERIMENT = "omniglot-300-28px-5way-5shot-smoke"
ROWS = {"anrot": "trained on clean, attacked\nand noisy images", "anrot-clean": "trained on clean images"}
FILE = Path("docs") / "images" / "robustness.png"


def draw_figure(records: list[AccuracyRecord]) -> Figure:
    """Accuracy over eps (PGD-10 on the queries) beside accuracy over sigma (Gaussian noise), with 95 % bands."""
    chosen = {record["row"]: record for record in records if record["row"] in ROWS}
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(7.5, 3.1), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, kind in ((left, "eps"), (right, "sigma")):
            for row in ROWS:
                _draw_curve(axes, chosen[row], kind)
            way = records[0]["protocol"]["way"]
            axes.axhline(100 / way, linestyle=":", color="black", linewidth=1)
            axes.set(ylim=(0, 100), xlim=(0, None))
        right.text(0.3, 100 / way - 1.5, "chance", ha="right", va="top", fontsize=8)
        left.set(xlabel="size of the attack, eps (PGD-10, L-inf), pixels in [0, 1]", ylabel="accuracy, %")
        right.set(xlabel="sigma of Gaussian noise, pixels in [0, 1]")
        left.set_title("under attack", fontsize=9.5, loc="left")
        right.set_title("under noise", fontsize=9.5, loc="left")
        for row, height in (("anrot", 96), ("anrot-clean", 66)):
            colour = figures.pick_colour(row)
            left.text(0.3, height, ROWS[row], color=palette.adjust_text(colour), weight="bold", ha="right", va="top")
        protocol, data = records[0]["protocol"], records[0]["data"]["name"]
        episodes = f"{protocol['way']}-way {protocol['shot']}-shot"
        figure.suptitle(f"handwritten characters ({data}), {episodes}: one network, trained two ways")
    return figure


def _draw_curve(axes: Axes, record: AccuracyRecord, kind: str) -> None:
    x, mean, half, _ = figures.select_curve(record, kind)
    colour = figures.pick_colour(record["row"])
    axes.plot(x, mean, marker="o", markersize=4, linewidth=2.2, color=colour)
    axes.fill_between(x, mean - half, mean + half, color=colour, alpha=0.18, linewidth=0)


def save(checkout: Path) -> None:
    """Draw the picture from the records; nothing is drawn where they are not."""
    records = results.read_all(paths.results_dir() / EXPERIMENT)
    if set(ROWS) <= {record["row"] for record in records}:
        figures.save(draw_figure(records), checkout / FILE)
