"""Figures: one style, one colour a method, units on the axes, 95 % bands, the chance line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from anrot_lib.attacks.suite import TITLES
from anrot_lib.attacks.threat import TARGETS
from anrot_lib.core import palette, paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.units import format_pixels
from anrot_lib.fewshot.methods import list_methods
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports.tables import sort_records, title_row

# For methods without a colour of their own.
OTHER_COLOURS = (palette.GREEN, palette.BLACK, palette.PLUM, palette.MAUVE, palette.LAVENDER)
STYLE: dict[RcKeyType, object] = {
    "font.size": 9,
    "figure.dpi": 110,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def list_colours() -> dict[str, str]:
    """Name -> colour of the methods that keep theirs through the whole course."""
    return {method.name: method.colour for method in list_methods() if method.colour}


def pick_colour(row: str, others: Sequence[str] = ()) -> str:
    """The colour of a method, "#RRGGBB"; of one that has none, a free one by its place in `others`."""
    if known := list_colours().get(row):
        return known
    return OTHER_COLOURS[list(others).index(row) % len(OTHER_COLOURS)] if row in others else OTHER_COLOURS[0]


def select_curve(record: AccuracyRecord, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """(x, mean, half-width, episodes) of a robustness curve: kind "eps" (PGD) or "sigma" (noise), in per cent."""
    columns = record["columns"]
    if kind == "eps":
        chosen = {c["threat"]["eps"]: c for name, c in columns.items() if name.startswith("curve ")}
    else:
        chosen = {c["sigma"]: c for name, c in columns.items() if "sigma" in c}
        if chosen:
            chosen[0.0] = columns["clean, attacked tasks"]
    points = sorted(chosen.items())
    if not points:
        raise UserError(f"the record of {record['row']!r} holds no curve over {kind}; test it with all columns")
    n = len(points[0][1]["correct"])
    x, mean, half = (np.array(v) for v in zip(*((x, c["mean"], c["half_width"]) for x, c in points), strict=True))
    return x, mean, half, n


def has_curve(record: AccuracyRecord, kind: str) -> bool:
    """Whether the record holds at least two points of that curve."""
    columns = record["columns"]
    if kind == "eps":
        return sum(name.startswith("curve ") for name in columns) > 1
    return "clean, attacked tasks" in columns and any("sigma" in c for c in columns.values())


def describe_eps(values: np.ndarray) -> tuple[list[str], str]:
    """(ticks, label) of an axis over eps, all in one unit: 255ths where values below 0.1 are whole numbers of them."""
    small = [format_pixels(eps) for eps in values if 0 < eps < 0.1]
    if small and all(text.endswith("/255") for text in small):
        return [f"{255 * eps:.3g}" for eps in values], "eps, L-inf, in 255ths of the pixel range"
    return [f"{eps:g}" for eps in values], "eps, L-inf, pixel range [0, 1]"


def draw_robustness_axes(axes: Axes, records: Sequence[AccuracyRecord], kind: str, way: int) -> None:
    """One curve a record, with its 95 % band."""
    others = [r["row"] for r in records if r["row"] not in list_colours()]
    n, unit = 0, "sigma, pixel range [0, 1]"
    for record in (r for r in sort_records(records) if has_curve(r, kind)):
        x, mean, half, n = select_curve(record, kind)
        if kind == "eps":  # measured at unequal distances over two decades: equal spaces read better
            ticks, unit = describe_eps(x)
            axes.set_xticks(range(len(x)), ticks)
            x = np.arange(len(x))
        shown = pick_colour(record["row"], others)
        axes.plot(x, mean, marker="o", markersize=3, color=shown, label=title_method(record["row"]))
        axes.fill_between(x, mean - half, mean + half, color=shown, alpha=0.18, linewidth=0)
    axes.axhline(100 / way, linestyle=":", color="black", linewidth=1, label="chance")
    axes.set(xlabel=unit, ylabel="accuracy, %", ylim=(0, 100))
    axes.set_title(f"{'PGD-10 on queries' if kind == 'eps' else 'Gaussian noise on queries'}, {n} episodes", fontsize=9)


def draw_bars(
    axes: Axes,
    groups: Mapping[str, Mapping[str, tuple[float, float]]],
    colours: Mapping[str, str],
    chance: float | None = None,
) -> None:
    """Bars side by side with their 95 % intervals and their means in figures.

    groups  group -> column -> (mean, half-width) in per cent; NaN for a column that was not measured. All groups have
            the columns of the first.
    colours of the groups.
    chance  accuracy of guessing in per cent, drawn as a dotted line.
    """
    width = 0.8 / len(groups)
    for k, (name, columns) in enumerate(groups.items()):
        places = np.arange(len(columns)) + width * (k - (len(groups) - 1) / 2)
        means, halves = np.array(list(columns.values())).T
        axes.bar(places, means, 0.92 * width, yerr=halves, capsize=3, color=colours[name], label=name)
        for x, mean, half in zip(places, means, halves, strict=True):
            if np.isfinite(mean):
                axes.text(x, mean + half + 1.5, f"{mean:.0f}", ha="center", fontsize=8)
    first = next(iter(groups.values()))
    axes.set(xticks=range(len(first)), xticklabels=list(first), ylabel="accuracy, %", ylim=(0, 110))
    if chance is not None:
        axes.axhline(chance, linestyle=":", color="black", linewidth=1, label="chance")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def draw_matrix(
    axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str = "", numbers: bool = True
) -> None:
    """A heat map of accuracies (rows, columns) in per cent, from 0 to 100; what was not measured, NaN, is left blank.

    numbers  whether each field shows its value.
    """
    axes.imshow(values, cmap="cividis", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    axes.set(xticks=range(len(columns)), yticks=range(len(rows)))
    axes.set_xticklabels(columns, fontsize=8)
    axes.set_yticklabels(rows, fontsize=8)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=9)
    for (k, j), value in np.ndenumerate(values):
        if numbers and np.isfinite(value):
            letters = palette.pick_letters(to_hex(matplotlib.colormaps["cividis"](float(value) / 100)))
            axes.text(j, k, f"{value:.0f}", ha="center", va="center", fontsize=8, color=letters)


def draw_attack_matrix(records: Sequence[AccuracyRecord]) -> Figure:
    """Accuracy of every row under every white-box attack at the radius of the protocol, on query, support and both.

    Columns that no record has are left out, fields that were not measured stay blank. UserError if nothing is left.
    """
    records = sort_records(records)
    protocol = records[0]["protocol"]
    attacks = ["FGSM", f"PGD-{protocol['steps']}", *TITLES.values()]
    eps = format_pixels(protocol["eps"])
    asked = [f"{attack} {eps} {target}" for target in TARGETS for attack in attacks]
    held = [[record["columns"].get(name) for name in asked] for record in records]
    values = np.array([[c["mean"] if c else np.nan for c in line] for line in held])
    shown = np.isfinite(values).any(0)
    if not shown.any():
        raise UserError("these records hold no attack at the radius of their protocol; test them with all columns")
    names = [name.replace(f" {eps} ", "\n") for name, is_shown in zip(asked, shown, strict=True) if is_shown]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4 + 0.75 * len(names), 0.8 + 0.27 * len(records)), layout="constrained")
        rows = [title_row(record) for record in records]
        draw_matrix(figure.subplots(), values[:, shown], rows, names, f"accuracy, %, eps {eps}")
    return figure


def draw_robustness(records: Sequence[AccuracyRecord]) -> Figure:
    """Accuracy over eps beside accuracy over sigma, as far as they were measured, for all rows of an experiment."""
    kinds = [kind for kind in ("eps", "sigma") if any(has_curve(record, kind) for record in records)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8 if len(kinds) == 2 else 5.5, 3.4), layout="constrained")
        places = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, kind in zip(places, kinds, strict=True):
            draw_robustness_axes(axes, records, kind, records[0]["protocol"]["way"])
        for axes in places[1:]:
            axes.set_ylabel("")
        figure.legend(
            *places[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(kinds) + 1, fontsize=8
        )
    return figure


def find_strong_column(record: AccuracyRecord) -> str | None:
    """Name of the column of the strong attack, PGD on the queries; None if it was not run."""
    start = f"PGD-{record['protocol']['steps']} "
    return next((name for name in record["columns"] if name.startswith(start) and name.endswith("query")), None)


def name_strong_attack(records: Sequence[AccuracyRecord]) -> str:
    """The strong attack of a table, as its heading says it: "PGD-20 8/255"."""
    return (find_strong_column(records[0]) or "the attack").removesuffix(" query")


def draw_trade_off(records: Sequence[AccuracyRecord]) -> Figure:
    """Clean accuracy against accuracy under the strong attack, one point a recipe, with 95 % intervals."""
    strong = find_strong_column(records[0])
    if strong is None:
        raise UserError("these records hold no strong attack, PGD on the queries; test them with all columns")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.4), layout="constrained")
        axes = figure.subplots()
        for record in sort_records(records):
            x, y = record["columns"][strong], record["columns"]["clean"]
            row = record["row"]
            axes.errorbar(
                x["mean"], y["mean"], xerr=x["half_width"], yerr=y["half_width"], fmt="o", color=pick_colour(row)
            )
            recipe = record["recipe"]
            shares = f"{recipe['clean']:g}:{recipe['adversarial']:g}:{recipe['noisy']:g}"
            axes.annotate(shares, (x["mean"], y["mean"]), textcoords="offset points", xytext=(6, 6), fontsize=8)
        axes.set(xlabel=f"accuracy under {strong}, %", ylabel="clean accuracy, %", xlim=(0, None))
        axes.set_title("shares clean : adversarial : noisy", fontsize=9)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG, atomically and without a time stamp, so that equal figures are equal files."""
    with paths.write_atomically(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
    return path
