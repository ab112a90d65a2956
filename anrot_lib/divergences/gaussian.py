"""Gaussians: what they hold, and how they are estimated from feature maps.

A class or a query is the Gaussian of its descriptors, the channel vectors at the positions of a
feature map. Everything here is computed in float32, also under autocast and from half-precision
features (float64 stays).
"""

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError

# Added to every estimated variance, in squared feature units. It keeps a channel that is constant
# over a map (a dead ReLU, a 1x1 map) from counting infinitely; 0.05 is the value of the first try
# whose accuracies the specification gives. Added, not clamped: the gradient then exists everywhere
# and is not cut off below the floor, and pooling Gaussians that carry the floor gives exactly the
# pooled samples' Gaussian with the floor.
VARIANCE_FLOOR = 0.05


class DiagonalGaussian(NamedTuple):
    """Gaussians over C dimensions with diagonal covariance; any leading shape. mean (..., C), var (..., C)."""

    mean: Tensor
    var: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "DiagonalGaussian":
        """The function on every tensor; `g.map(lambda t: t[rows])` picks along leading dims."""
        return DiagonalGaussian(*map(function, self))


class FullGaussian(NamedTuple):
    """Gaussians over C dimensions with full covariance; any leading shape. mean (..., C), cov (..., C, C)."""

    mean: Tensor
    cov: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "FullGaussian":
        """The function on every tensor."""
        return FullGaussian(*map(function, self))


class LowRankGaussian(NamedTuple):
    """Gaussians over C dimensions with covariance ridge I + factor factor^T; any leading shape.

    mean (..., C), factor (..., C, r), ridge (...).
    """

    mean: Tensor
    factor: Tensor
    ridge: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "LowRankGaussian":
        """The function on every tensor."""
        return LowRankGaussian(*map(function, self))


Gaussian = DiagonalGaussian | FullGaussian | LowRankGaussian
KINDS: dict[type, str] = {DiagonalGaussian: "diagonal", FullGaussian: "full", LowRankGaussian: "low rank"}

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with autocast off and tensors, Gaussians and other named tuples in float32 (float64 stays).

    Half precision has 8 or 11 bits: the divergence of close Gaussians would be rounding only.
    """
    call: Callable[..., R] = function

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        first = [v.mean if isinstance(v, Gaussian) else v for v in (*args, *kwargs.values())]
        device = next((t.device.type for t in first if isinstance(t, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return call(*map(_upcast, args), **{k: _upcast(v) for k, v in kwargs.items()})

    return wrapped


def _upcast(value: object) -> object:
    if isinstance(value, tuple) and hasattr(value, "_make"):  # Gaussians and other named tuples of tensors
        return value._make(map(_upcast, value))
    if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64:
        return value.float()
    return value


@full_precision
def estimate_diagonal(
    samples: Tensor,
    weights: Tensor | None = None,
    floor: float = VARIANCE_FLOOR,
    axis: int = -2,
) -> DiagonalGaussian:
    """The diagonal Gaussian of (weighted) samples.

    mean = sum_i w_i x_i, var = sum_i w_i (x_i - mean)^2 + floor.
    samples: (..., n, C), or (..., C, n) with axis=-1, which reads feature maps as they lie.
    weights: (..., n), >= 0, divided by their sum here; None means 1/n each. Leading dims
    broadcast. Weights that are all 0 (a padded class) give mean 0, var = floor, zero gradients.
    Returns mean and var, (..., C), var >= floor. Two passes (centre, then square), so that a
    common offset costs no digits. Divides by n, not n - 1: one sample has variance `floor`.
    """
    if axis not in (-2, -1):
        raise UserError(f"axis must be -2 for samples (..., n, C) or -1 for (..., C, n), got {axis}")
    if weights is None:
        mean = samples.mean(axis, keepdim=True)
        return DiagonalGaussian(mean.squeeze(axis), (samples - mean).square().mean(axis) + floor)
    weights = _normalise(weights).unsqueeze(-3 - axis)
    mean = (weights * samples).sum(axis, keepdim=True)
    return DiagonalGaussian(mean.squeeze(axis), (weights * (samples - mean).square()).sum(axis) + floor)


def estimate_from_maps(maps: Tensor, floor: float = VARIANCE_FLOOR) -> DiagonalGaussian:
    """The Gaussian of each feature map over its positions: (..., C, h, w) -> mean, var (..., C).

    No copy of the maps is made, neither for contiguous nor for channels-last ones.
    """
    return estimate_diagonal(maps.flatten(-2), floor=floor, axis=-1)


@full_precision
def pool(parts: DiagonalGaussian, weights: Tensor) -> DiagonalGaussian:
    """The diagonal Gaussian with the moments of a mixture of S diagonal Gaussians.

    mean = sum_s w_s m_s, var = sum_s w_s v_s + sum_s w_s (m_s - mean)^2.
    parts: mean, var (..., S, C). weights: (..., S), >= 0, divided by their sum here. Leading dims
    broadcast: parts (E, 1, S, C) and a membership (E, way, S) pool the shots of every class.
    Weights that are all 0 give mean 0 and var 0. Maps of equal size pooled this way give the
    Gaussian of all their positions together, floor included once.
    """
    if not isinstance(parts, DiagonalGaussian):
        raise UserError(f"pool takes diagonal Gaussians, got a {KINDS.get(type(parts), type(parts).__name__)} one")
    weights = _normalise(weights).unsqueeze(-1)
    mean = (weights * parts.mean).sum(-2, keepdim=True)
    var = (weights * (parts.var + (parts.mean - mean).square())).sum(-2)
    return DiagonalGaussian(mean.squeeze(-2), var)


def _normalise(weights: Tensor) -> Tensor:
    weights = weights if weights.is_floating_point() else weights.float()
    return weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
