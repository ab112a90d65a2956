"""Pictures of images: rows of them, amplified changes, probabilities, maps. Every function draws on given axes."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from anrot_lib.core import palette

RIGHT, WRONG, PLAIN = palette.GREEN, palette.ORANGE, palette.BLUE


def arrange_pixels(image: Tensor) -> np.ndarray:
    """(C, H, W) in [0, 1] as matplotlib takes it: (H, W, 3), or (H, W) for one channel."""
    array = image.detach().cpu().float().clamp(0, 1).permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[-1] == 1 else array


def show(axes: Axes, image: Tensor, title: str = "", colour: str | None = None) -> None:
    """One image (C, H, W) in [0, 1], pixel by pixel, with a frame if a colour is given."""
    axes.imshow(arrange_pixels(image), interpolation="nearest", cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9, color=palette.adjust_text(colour) if colour else palette.BLACK)
    for spine in axes.spines.values():
        spine.set(visible=colour is not None, color=colour or "black", linewidth=2)


def row(axes: Sequence[Axes], images: Tensor, titles: Sequence[str] = (), colours: Sequence[str | None] = ()) -> None:
    """Images (n, C, H, W) side by side, one an axes; axes that are left over are switched off."""
    for k, place in enumerate(np.asarray(axes, dtype=object).ravel()):
        if k >= len(images):
            place.axis("off")
            continue
        show(place, images[k], titles[k] if k < len(titles) else "", colours[k] if k < len(colours) else None)


def strips(axes: Sequence[Axes], rows: Mapping[str, Tensor]) -> None:
    """Each row's images (n, C, H, W) as one picture on one axes, its name at the left; drawn fast."""
    for place, (name, images) in zip(axes, rows.items(), strict=True):
        show(place, torch.cat(list(nn.functional.pad(images, (1, 1, 1, 1), value=0.5)), -1))
        place.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)


def plane(axes: Axes, towards_b: float, towards_c: float) -> None:
    """A place on the plane through A, B and C: A + towards_b (B - A) + towards_c (C - A)."""
    axes.plot([0, 1, 0, 0], [0, 0, 1, 0], color=palette.GREY, linewidth=1)
    axes.plot(towards_b, towards_c, "o", color=WRONG)
    axes.set(xlim=(-0.8, 1.8), ylim=(-0.8, 1.8), aspect="equal", xticks=[0, 1], yticks=[0, 1])
    axes.set(xticklabels=["A", "B"], yticklabels=["", "C"])


def change(axes: Axes, difference: Tensor, factor: float) -> None:
    """A change of pixels (C, H, W), `factor` times, around mid-grey: what is grey did not change."""
    show(axes, 0.5 + factor * difference / 2, f"change, x {factor:.3g}")


def probabilities(axes: Axes, values: Tensor, names: Sequence[str], truth: int) -> None:
    """Class probabilities (way,) as bars; the true class green, the predicted one orange if it is another."""
    best = int(values.argmax())
    colours = [RIGHT if k == truth else WRONG if k == best else palette.GREY for k in range(len(values))]
    axes.barh(range(len(values)), values.detach().cpu().numpy(), color=colours)
    axes.set(yticks=range(len(values)), yticklabels=names)
    axes.set(xlim=(0, 1), xticks=[0, 0.5, 1], xlabel="probability")
    axes.invert_yaxis()


def heat(axes: Axes, values: Tensor, title: str = "", low: float | None = None, high: float | None = None) -> None:
    """A map (H, W) of magnitudes in cividis."""
    axes.imshow(values.detach().cpu().numpy(), cmap="cividis", interpolation="nearest", vmin=low, vmax=high)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)


def frame(axes: Axes, position: int, side: int, pixels: int, colour: str = WRONG) -> None:
    """Frame a position, counted along rows, of a map with side x side positions on an image with pixels x pixels."""
    cell = pixels / side
    corner = (position % side * cell - 0.5, position // side * cell - 0.5)
    axes.add_patch(Rectangle(corner, cell, cell, fill=False, edgecolor=colour, linewidth=2))


def ellipse(axes: Axes, points: Tensor, colour: str, label: str = "", deviations: float = 2.0) -> None:
    """Points (2, n) and the ellipse of their Gaussian at so many standard deviations."""
    angle = torch.linspace(0, 2 * torch.pi, 100, dtype=points.dtype)
    circle = deviations * torch.stack([angle.cos(), angle.sin()])
    ring = points.mean(1, keepdim=True) + torch.linalg.cholesky(points.cov()) @ circle
    axes.scatter(points[0], points[1], s=4, alpha=0.35, color=colour)
    axes.plot(*ring, color=colour, label=label)


def triangle(
    axes: Axes,
    corners: Sequence[str],
    shares: Sequence[Sequence[float]],
    values: Sequence[float],
    mark: Sequence[float] | None = None,
) -> PathCollection:
    """Values over mixtures of three things: shares of (left, right, top), each row summing to 1; a cross at `mark`.

    mark may sum to anything above 0; without it, or at 0, no cross is drawn. Returns what a colour bar needs.
    """

    def place(weights: np.ndarray) -> np.ndarray:
        weights = weights / weights.sum(-1, keepdims=True)
        return np.stack([weights[..., 1] + weights[..., 2] / 2, weights[..., 2] * 3**0.5 / 2])

    across, up = place(np.asarray(shares))
    spots = axes.scatter(across, up, c=values, cmap="cividis", s=95, marker="h")
    for name, x, y in zip(corners, (0, 1, 0.5), (-0.13, -0.13, 0.94), strict=True):
        axes.text(x, y, name, ha="center", fontsize=9)
    if mark is not None and sum(mark) > 0:
        across, up = place(np.asarray(mark, dtype=float))
        axes.scatter(across, up, marker="x", color=WRONG, s=60)
    axes.set(xlim=(-0.12, 1.12), ylim=(-0.18, 1.02), aspect="equal")
    axes.axis("off")
    return spots
