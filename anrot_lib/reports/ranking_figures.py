"""Figures of rankings: hardness, a triplet on the circle, a score and its parts, a list of images; on given axes."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from torch import Tensor

from anrot_lib.core import palette
from anrot_lib.ranking.attacks.lists import AttackedLists
from anrot_lib.ranking.attacks.suite import Subject
from anrot_lib.ranking.score import ers
from anrot_lib.reports import pictures

ROLES = {"anchor": "black", "positive": pictures.RIGHT, "negative": pictures.WRONG}


def triplet(axes: Axes, route: Tensor, eps: float) -> None:
    """The way (steps + 1, 3, 2) of three two-pixel images in the unit square, each in its box of eps, and on the circle
    around the middle their directions, which are the embeddings; dashed the two distances that are compared."""
    square = route.detach().cpu().numpy()
    away = square[-1] - 0.5
    on_circle = 0.5 + 0.5 * away / np.linalg.norm(away, axis=1, keepdims=True)
    axes.add_patch(Circle((0.5, 0.5), 0.5, fill=False, color=palette.GREY))
    for k, (role, colour) in enumerate(ROLES.items()):
        low, high = (np.clip(square[0, k] + side * eps, 0, 1) for side in (-1, 1))
        axes.add_patch(Rectangle(low, *(high - low), fill=False, linestyle=":", color=colour))
        axes.plot(*square[:, k].T, ".-", markersize=3, linewidth=1, color=colour)
        axes.plot(*np.stack([square[-1, k], on_circle[k]]).T, linewidth=0.6, color=colour)
        axes.plot(*on_circle[k], "o", color=colour, label=role)
        if k:
            axes.plot(*on_circle[[0, k]].T, "--", linewidth=1, color=colour)
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal", xticks=[0, 1], yticks=[0, 1])
    axes.set(xlabel="first pixel", ylabel="second pixel")


def hardnesses(axes: Axes, values: Mapping[str, Tensor], generator: torch.Generator, margin: float = 0.2) -> None:
    """Hardness (n,) of triplets by miner: a dot each, a line at the mean, the semihard band shaded."""
    axes.axvspan(-margin, 0, color=palette.BROWN, alpha=0.15, linewidth=0)
    for k, hardness in enumerate(values.values()):
        jitter = torch.rand(len(hardness), generator=generator) * 0.5 - 0.25
        axes.plot(hardness.cpu(), k + jitter, ".", markersize=3, color=palette.BLUE, alpha=0.6)
        axes.plot([hardness.mean().item()] * 2, [k - 0.35, k + 0.35], color="black")
    axes.set(yticks=range(len(values)), yticklabels=list(values), xlabel="hardness H of the triplets")
    axes.invert_yaxis()


def ladder(
    axes: Axes, eps: Sequence[int], scores: Mapping[str, Sequence[float]], colours: Sequence[str], at: int
) -> None:
    """Scores over eps, in 1/255, of some nets by name; a marker at `at`, dotted the score at the first eps."""
    for (name, line), colour in zip(scores.items(), colours, strict=True):
        axes.plot(line, ".-", color=colour, label=name)
        axes.plot(eps.index(at), line[eps.index(at)], "o", markersize=8, color=colour)
        axes.axhline(line[0], linestyle=":", linewidth=1, color=colour)
    axes.set(xticks=range(len(eps)), xticklabels=eps, ylim=(0, 100), xlabel="eps, in 1/255", ylabel="ERS")
    axes.legend(fontsize=8)


def parts(
    axes: Axes,
    numbers: Mapping[str, Mapping[str, float]],
    colours: Sequence[str],
    ceilings: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """The ten parts of the score as bars, of some nets by name; ticks at those of `ceilings`, by the same names.

    A part is meant to be 100 at most, where the line stands; in a sample those of CA+, QA+ and TMA can exceed it.
    """
    height = 0.84 / len(numbers)
    longest = max(max(ers.compute_parts(net).values()) for net in (*numbers.values(), *(ceilings or {}).values()))
    for k, (name, colour) in enumerate(zip(numbers, colours, strict=True)):
        at = np.arange(10) + (k - (len(numbers) - 1) / 2) * height
        axes.barh(at, list(ers.compute_parts(numbers[name]).values()), height * 0.92, color=colour, label=name)
        if ceilings is not None:
            axes.plot(list(ers.compute_parts(ceilings[name]).values()), at, "k|", markersize=7)
    axes.axvline(100, color=palette.GREY, linestyle=":", linewidth=1)
    axes.set(yticks=range(10), yticklabels=ers.NUMBERS, xlabel="part of the score, more is better")
    axes.set(xlim=(0, max(100, 1.02 * longest)), xticks=range(0, 101, 20))
    axes.invert_yaxis()


def ranks(axes: Sequence[Axes], subject: Subject, lists: AttackedLists, k: int, title: str) -> None:
    """List k in a row of axes: query, nearest, followed. Green frames are of the query's class, orange ones are not."""
    frames = [pictures.RIGHT if same else pictures.WRONG for same in lists.relevant(subject, k)]
    titles = [title, *(str(n + 1) for n in range(len(frames))), f"followed: {lists.place[k]}"]
    pictures.row(axes, lists.images(subject, k), titles, [None, *frames, None])
