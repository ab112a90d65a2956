"""Alternative texts: what a figure shows, in words, for readers who do not see it. Read off the figure itself."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

MOST_PANELS, MOST_SERIES, MOST_BARS = 6, 8, 8
DROPPED = re.compile(r"\\(?:mathrm|mathbf|text|left|right|var(?=epsilon)|,|;|!)|[${}\\]")  # of a formula in a title


def describe_figure(figure: Figure) -> str:
    """A text of some sentences: titles, axes with their ranges, and from where to where each series goes.

    Pictures are counted and named by their titles; of a heat map the range is given. Numbers have three digits.
    """
    panels = [
        axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>" and axes.has_data()
    ]
    pictures = [axes for axes in panels if _is_picture(axes)]
    charts = [axes for axes in panels if axes not in pictures]
    parts = [_clean(figure.get_suptitle())] if figure.get_suptitle() else []
    if pictures:
        parts.append(_describe_pictures(pictures))
    if len(charts) > 1:
        parts.append(f"{len(charts)} panels")
    parts += [_describe_chart(axes) for axes in charts[:MOST_PANELS]]
    if left := [_get_title(axes) for axes in charts[MOST_PANELS:]]:
        parts.append(f"Further panels: {_enumerate(left)}")
    if legend := [text.get_text() for shown in figure.legends for text in shown.get_texts()]:
        parts.append(f"Legend: {_enumerate(legend)}")
    return ". ".join(part.rstrip(".") for part in parts if part) + "." if parts else "An empty figure."


def _clean(text: str) -> str:
    return " ".join(DROPPED.sub("", text).split())


def _enumerate(names: Sequence[str]) -> str:
    parts = [cleaned for name in names if (cleaned := _clean(name))]
    return ", ".join(dict.fromkeys(parts))


def _format(value: float) -> str:
    return f"{value:.3g}"


def _get_title(axes: Axes) -> str:
    return next((title for place in ("center", "left", "right") if (title := axes.get_title(loc=place))), "")


def _is_picture(axes: Axes) -> bool:
    """Whether an axes shows an image without ticks: not a chart or a heat map with names at its sides."""
    return bool(axes.images) and not (axes.axison and (len(axes.get_xticks()) or len(axes.get_yticks())))


def _describe_pictures(pictures: Sequence[Axes]) -> str:
    number = len(pictures)
    names = _enumerate([f"{axes.get_ylabel()} {_get_title(axes)}" for axes in pictures])
    if names and number == 1:
        return f"A picture: {names}"
    count = "A picture" if number == 1 else f"{number} pictures"
    return f"{count}: {names}" if names else f"{count} without a title"


def _describe_chart(axes: Axes) -> str:
    parts = [_describe_axes(axes), *_describe_heat(axes)]
    lines = [text for line in axes.lines if (text := _describe_line(axes, line))]
    bars = [text for bars in axes.containers if isinstance(bars, BarContainer) and (text := _describe_bars(axes, bars))]
    spots = [text for c in axes.collections if isinstance(c, PathCollection) and (text := _describe_points(c))]
    series = [*lines, *bars, *spots]
    parts += series[:MOST_SERIES]
    if len(series) > MOST_SERIES:
        parts.append(f"and {len(series) - MOST_SERIES} more")
    return "; ".join(part for part in parts if part)


def _describe_axes(axes: Axes) -> str:
    """Title, and each axis with its label and range; an axis without label and ticks is left out."""
    sides = []
    if axes.axison:
        for label, limits, ticks, names, scale in (
            (axes.get_xlabel(), axes.get_xlim(), axes.get_xticks(), axes.get_xticklabels(), axes.get_xscale()),
            (axes.get_ylabel(), axes.get_ylim(), axes.get_yticks(), axes.get_yticklabels(), axes.get_yscale()),
        ):
            if not len(ticks):
                continue
            words = [text.get_text() for text in names]
            if _are_words(words):
                ends = f"{_clean(words[0])} to {_clean(words[-1])}" if len(words) > 4 else _enumerate(words)
            else:
                ends = f"{_format(min(limits))} to {_format(max(limits))}" + (", logarithmic" if scale == "log" else "")
            sides.append(f"{_clean(label)} ({ends})" if label else f"({ends})")
    title = _clean(_get_title(axes))
    if len(sides) == 2:
        return f"{title or 'Chart'}: {sides[1]} over {sides[0]}"
    return f"{title or 'Chart'}: {sides[0]}" if sides else title


def _are_words(names: Sequence[str]) -> bool:
    """Whether tick labels are names and not numbers."""
    return any(re.search(r"[A-Za-z]", DROPPED.sub("", name.replace("mathdefault", ""))) for name in names)


def _describe_heat(axes: Axes) -> list[str]:
    parts = []
    for image in axes.images:
        values: np.ma.MaskedArray[Any, Any] = np.ma.masked_invalid(np.ma.asarray(image.get_array(), dtype=float))
        if values.ndim == 2 and values.count():
            low, high = float(values.min()), float(values.max())
            parts.append(f"{values.shape[0]} by {values.shape[1]} fields from {_format(low)} to {_format(high)}")
    return parts


def _describe_line(axes: Axes, line: Line2D) -> str:
    """From where to where a line goes, with what lies beyond its ends; of a level line only the level."""
    x, y = (np.asarray(v, dtype=float) for v in (line.get_xdata(), line.get_ydata()))
    name = "a line" if str(line.get_label()).startswith("_") else _clean(str(line.get_label()))
    fine = np.isfinite(x) & np.isfinite(y) if len(x) == len(y) else np.zeros(0, dtype=bool)
    if not fine.any():
        return ""
    x, y = x[fine], y[fine]
    if axes.get_yscale() == "linear":  # what cannot be told from the axis is 0
        low, high = axes.get_ylim()
        y = np.where(np.abs(y) < abs(high - low) / 1000, 0, y)
    if line.get_transform() == axes.get_yaxis_transform():
        return f"{name}: level at {_format(y[0])}"
    if line.get_transform() == axes.get_xaxis_transform():
        return f"{name}: upright at {_format(x[0])}"
    if len(x) == 1:
        return f"{name}: a point at {_format(x[0])}, {_format(y[0])}"
    if line.get_linestyle() in ("None", "", " "):
        return f"{name}: {len(x)} points, {_format(y.min())} to {_format(y.max())}"
    text = f"{name}: from {_format(y[0])} to {_format(y[-1])}"
    span = (y.max() - y.min()) / 20
    if y.min() < min(y[0], y[-1]) - span:
        text += f", lowest {_format(y.min())} at {_format(x[y.argmin()])}"
    if y.max() > max(y[0], y[-1]) + span:
        text += f", highest {_format(y.max())} at {_format(x[y.argmax()])}"
    return text


def _describe_bars(axes: Axes, bars: BarContainer) -> str:
    """The bars with the names of their ticks; of many bars their number and the longest."""
    lying = bars.orientation == "horizontal"
    lengths = [float(bar.get_width() if lying else bar.get_height()) for bar in bars]
    middles = [
        float(bar.get_y() + bar.get_height() / 2 if lying else bar.get_x() + bar.get_width() / 2) for bar in bars
    ]
    if not lengths:
        return ""
    ticks = axes.get_yticks() if lying else axes.get_xticks()
    labels = axes.get_yticklabels() if lying else axes.get_xticklabels()
    names = {float(place): label.get_text() for place, label in zip(ticks, labels, strict=True)}
    start = "bars" if str(bars.get_label()).startswith("_") else _clean(str(bars.get_label()))
    if len(lengths) > MOST_BARS:
        longest = int(np.nanargmax(lengths))
        return f"{start}: {len(lengths)} bars, longest {_format(lengths[longest])} at {_format(middles[longest])}"
    parts = []
    for middle, length in zip(middles, lengths, strict=True):
        nearest = min(names, key=lambda place: abs(place - middle), default=None)
        word = _clean(names[nearest]) if nearest is not None and abs(nearest - middle) < 0.5 else ""
        parts.append(f"{word} {_format(length)}".strip())
    return f"{start}: {', '.join(parts)}"


def _describe_points(points: PathCollection) -> str:
    places: np.ma.MaskedArray[Any, Any] = np.ma.masked_invalid(np.ma.asarray(points.get_offsets(), dtype=float))
    if not len(places) or not places.count():
        return ""
    name = "points" if str(points.get_label()).startswith("_") else _clean(str(points.get_label()))
    (x0, y0), (x1, y1) = places.min(0), places.max(0)
    return f"{name}: {len(places)}, {_format(x0)} to {_format(x1)} across, {_format(y0)} to {_format(y1)} up"
