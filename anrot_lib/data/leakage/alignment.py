"""Lay one image over another, by shift and scale, and say how well they agree there.

The search is Lucas and Kanade's (inverse compositional: Baker and Matthews, IJCV 2004), in batches,
with four parameters: a scale and a shift on each axis. Brightness and contrast are taken out, and a
frame of 1/16 of the side is left out in both images, so that black or repeated borders of a shifted
copy do not count.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FRAME = 1 / 16  # of the side, left out on every border
FARTHEST = 0.2  # shift in sides, and change of scale, beyond which two images are no copies
FLAT = 2.0  # a smaller standard deviation (of 255) is no picture: its noise is not blown up


class Placement(NamedTuple):
    """Pixel x of the first image lies at scale * x + shift of the second; x runs from -1 to 1."""

    scale: Tensor  # (n, 2): of x, of y
    shift: Tensor  # (n, 2)


def start_in_place(n: int) -> Placement:
    return Placement(torch.ones(n, 2), torch.zeros(n, 2))


def _inner(side: int) -> slice:
    frame = max(1, round(side * FRAME))
    return slice(frame, side - frame)


def _axis(side: int) -> Tensor:
    return ((torch.arange(side) + 0.5) * 2 / side - 1)[_inner(side)]


def cut(images: Tensor) -> Tensor:
    """(n, c, h, w) without the frame."""
    return images[..., _inner(images.shape[-2]), _inner(images.shape[-1])]


def draw(images: Tensor, place: Placement) -> Tensor:
    """Images (n, c, h, w) drawn in their partners' places, within the frame: shaped as by `cut`."""
    x, y = _points(images, place)
    grid = torch.stack([x.expand(-1, y.shape[1], -1), y.expand(-1, -1, x.shape[2])], -1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _points(images: Tensor, place: Placement) -> tuple[Tensor, Tensor]:
    h, w = images.shape[-2:]
    x = place.scale[:, :1] * _axis(w) + place.shift[:, :1]
    y = place.scale[:, 1:] * _axis(h) + place.shift[:, 1:]
    return x[:, None], y[:, :, None]


def mark_shared(images: Tensor, place: Placement) -> Tensor:
    """(n, 1, h', w'): 1 where a drawn pixel lies within the frame of its image too, else 0."""
    x, y = _points(images, place)
    inside = 1 - 2 * FRAME
    return ((x.abs() <= inside) & (y.abs() <= inside))[:, None].float()


def _standard(x: Tensor) -> tuple[Tensor, Tensor]:
    """(n, p) -> zero mean and unit deviation, and the deviation (n, 1), at least FLAT."""
    x = x - x.mean(1, keepdim=True)
    spread = x.square().mean(1, keepdim=True).sqrt_().clamp_(min=FLAT)
    return x.div_(spread), spread


def align(a: Tensor, b: Tensor, place: Placement, steps: int) -> Placement:
    """Improve the placement of images b on images a, both (n, 1, h, w) with values 0 to 255."""
    h, w = a.shape[-2:]
    target, spread = _standard(cut(a).flatten(1))
    gy, gx = (cut(g) for g in torch.gradient(a, dim=(2, 3)))
    gx, gy = gx * (w / 2), gy * (h / 2)
    slopes = torch.cat((gx * _axis(w), gy * _axis(h)[:, None], gx, gy), 1).flatten(2)
    slopes = (slopes - slopes.mean(2, keepdim=True)) / spread[:, None]
    normal = slopes @ slopes.transpose(1, 2) + 1e-2 * target.shape[1] * torch.eye(4)
    inverse = torch.linalg.inv(normal)
    scale, shift = place
    for _ in range(steps):
        error = _standard(draw(b, Placement(scale, shift)).flatten(1))[0] - target
        step = (inverse @ (slopes @ error[..., None]))[..., 0].clamp_(-0.15, 0.15)
        scale = (scale / (1 + step[:, :2])).clamp_(1 - FARTHEST, 1 + FARTHEST)
        shift = (shift - scale * step[:, 2:]).clamp_(-2 * FARTHEST, 2 * FARTHEST)
    return Placement(scale, shift)


def compute_correlation(a: Tensor, b: Tensor, mask: Tensor, floor: float = FLAT) -> Tensor:
    """Correlation (n, c) of a and b (n, c, h, w) within the mask (n, 1, h, w).

    A standard deviation below `floor` counts as `floor`, so that flat images agree with nothing.
    """
    total = mask.sum((2, 3)).clamp(min=1)
    a, b = ((x - (x * mask).sum((2, 3))[..., None, None] / total[..., None, None]) for x in (a, b))
    a, b = a * mask, b * mask
    spreads = [(x.square().sum((2, 3)) / total).sqrt().clamp(min=floor) for x in (a, b)]
    return (a * b).sum((2, 3)) / (total * spreads[0] * spreads[1])
