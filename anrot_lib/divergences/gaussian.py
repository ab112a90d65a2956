"""Gaussians: what they hold, and how they are estimated from feature maps.

A class or a query is the Gaussian of its descriptors, the channel vectors at the positions of a
feature map. Everything here is computed in float32, also under autocast and from half-precision
features (float64 stays).
"""

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError

# Added to every estimated variance, in squared feature units. It keeps a channel that is constant
# over a map (a dead ReLU, a 1x1 map) from counting infinitely; 0.05 is the value of the first try
# whose accuracies the specification gives. Added, not clamped: the gradient then exists everywhere
# and is not cut off below the floor, and pooling Gaussians that carry the floor gives exactly the
# pooled samples' Gaussian with the floor.
VARIANCE_FLOOR = 0.05


class Gaussian(NamedTuple):
    """Gaussians over C dimensions, any leading shape; a tuple of tensors, so a pytree.

    mean (..., C), and exactly one of
    - var (..., C): diagonal covariance;
    - cov (..., C, C): full covariance;
    - factor (..., C, r) with ridge (...): covariance ridge * I + factor factor^T.
    """

    mean: Tensor
    var: Tensor | None = None
    cov: Tensor | None = None
    factor: Tensor | None = None
    ridge: Tensor | None = None

    @property
    def kind(self) -> str:
        """By what is held: "diagonal", "full" or "low rank"; UserError for anything else."""
        held = tuple(name for name in self._fields[1:] if getattr(self, name) is not None)
        kinds = {("var",): "diagonal", ("cov",): "full", ("factor", "ridge"): "low rank"}
        if held not in kinds:
            raise UserError(
                "a Gaussian holds its mean and exactly one of var, cov, or factor with ridge; "
                f"beside its mean this one holds {' and '.join(held) or 'nothing'}"
            )
        return kinds[held]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Gaussian":
        """The function on every tensor held; `g.map(lambda t: t[rows])` picks along leading dims."""
        return Gaussian(*(None if tensor is None else function(tensor) for tensor in self))


def full_precision(function: Callable) -> Callable:
    """Run `function` with autocast off and tensors, Gaussians and other named tuples in float32 (float64 stays).

    Half precision has 8 or 11 bits: the divergence of close Gaussians would be rounding only.
    """

    @wraps(function)
    def wrapped(*args, **kwargs):
        first = [v.mean if isinstance(v, Gaussian) else v for v in (*args, *kwargs.values())]
        device = next((t.device.type for t in first if isinstance(t, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*map(_upcast, args), **{k: _upcast(v) for k, v in kwargs.items()})

    return wrapped


def _upcast(value):
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # Gaussians and other named tuples of tensors
        return type(value)(*map(_upcast, value))
    if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64:
        return value.float()
    return value


@full_precision
def diagonal(
    samples: Tensor,
    weights: Tensor | None = None,
    floor: float = VARIANCE_FLOOR,
    axis: int = -2,
) -> Gaussian:
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
        return Gaussian(mean.squeeze(axis), (samples - mean).square().mean(axis) + floor)
    weights = _normalise(weights).unsqueeze(-3 - axis)
    mean = (weights * samples).sum(axis, keepdim=True)
    return Gaussian(mean.squeeze(axis), (weights * (samples - mean).square()).sum(axis) + floor)


def of_maps(maps: Tensor, floor: float = VARIANCE_FLOOR) -> Gaussian:
    """Each feature map's Gaussian over its positions: (..., C, h, w) -> mean, var (..., C).

    No copy of the maps is made, neither for contiguous nor for channels-last ones.
    """
    return diagonal(maps.flatten(-2), floor=floor, axis=-1)


@full_precision
def pool(parts: Gaussian, weights: Tensor) -> Gaussian:
    """The diagonal Gaussian with the moments of a mixture of S diagonal Gaussians.

    mean = sum_s w_s m_s, var = sum_s w_s v_s + sum_s w_s (m_s - mean)^2.
    parts: mean, var (..., S, C). weights: (..., S), >= 0, divided by their sum here. Leading dims
    broadcast: parts (E, 1, S, C) and a membership (E, way, S) pool the shots of every class.
    Weights that are all 0 give mean 0 and var 0. Maps of equal size pooled this way give the
    Gaussian of all their positions together, floor included once.
    """
    if parts.kind != "diagonal":
        raise UserError(f"pool takes diagonal Gaussians, got a {parts.kind} one")
    weights = _normalise(weights).unsqueeze(-1)
    mean = (weights * parts.mean).sum(-2, keepdim=True)
    var = (weights * (parts.var + (parts.mean - mean).square())).sum(-2)
    return Gaussian(mean.squeeze(-2), var)


def _normalise(weights: Tensor) -> Tensor:
    weights = weights if weights.is_floating_point() else weights.float()
    return weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
