"""Small models with known gradients for exercises about attacks, and the promises that any attack keeps."""

from dataclasses import dataclass

import torch
from torch import Tensor

SLACK = 1e-6  # rounding of a clip


@dataclass(frozen=True)
class Linear:
    """Logits = scale x weight x pixels."""

    weight: Tensor
    scale: float

    def __call__(self, images: Tensor) -> Tensor:
        return self.scale * images.flatten(1) @ self.weight

    def __repr__(self) -> str:
        return f"a linear model of {self.weight.shape[1]} classes, logits times {self.scale:,.0f}"


@dataclass(frozen=True)
class Hill:
    """Two classes; the second is nearest where the mean of an image is `top`, and falls off on both sides."""

    top: float
    steep: float = 1000.0

    def __call__(self, images: Tensor) -> Tensor:
        height = -self.steep * (images.flatten(1).mean(1) - self.top) ** 2
        return torch.stack([torch.zeros_like(height), height], 1)

    def __repr__(self) -> str:
        return f"a model whose margin has a hill at the mean {self.top}"


def find_broken_promise(got: object, images: Tensor, eps: float) -> str | None:
    """Which promise of an attack within `eps` the images `got` break, with its size; None if they keep all."""
    if not isinstance(got, Tensor) or got.shape != images.shape:
        what = f"shape {tuple(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
        return f"expected images of shape {tuple(images.shape)}, got {what}"
    if not got.isfinite().all():
        return "a pixel is NaN or infinite; expected values in [0, 1]"
    if got.min() < -SLACK or got.max() > 1 + SLACK:
        return f"pixels run from {got.min():.3f} to {got.max():.3f}; expected values in [0, 1]"
    if (moved := (got - images).abs().max()) > eps + SLACK:
        return f"a pixel moved by {moved:.3f}; expected at most eps = {eps:g}"
    return None
