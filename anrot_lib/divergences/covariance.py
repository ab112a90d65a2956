"""Gaussians with full or low-rank covariances from samples, shrunk so that they can be inverted.

With n samples of C dimensions, X~ the centred samples and S = X~ X~^T / (n - 1) (or / n): S' = (1 - a) S + d I,

| shrinkage | a                                  | d                    | remark                                   |
|-----------|------------------------------------|----------------------|------------------------------------------|
| none      | 0                                  | 0                    | singular when n <= C                     |
| ridge     | 0                                  | amount (0.01)        | must follow the scale of the features    |
| trace     | amount (0.1), in [0, 1]            | a tr S / C           | scales with the features                 |
| lw        | Ledoit and Wolf (2004), data-given | a tr S / C           | neighbouring pixels correlate: too small |
| oas       | Chen et al. (2010), data-given     | a tr S / C           | likewise                                 |

The last three add FLOOR to d, so that equal samples still have an invertible covariance. The intensities of lw and
oas are constants for the gradient.
"""

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import (
    DiagonalGaussian,
    FullGaussian,
    Gaussian,
    LowRankGaussian,
    full_precision,
)

SHRINKAGES = ("none", "ridge", "trace", "lw", "oas")
FORMS = ("auto", "full", "low rank")
AMOUNTS = {"ridge": 0.01, "trace": 0.1}
FLOOR = 1e-6  # squared feature units


def check_shrinkage(shrinkage: str, amount: float | None) -> None:
    """UserError for unknown names, and for amounts that are out of range or would have no effect."""
    if shrinkage not in SHRINKAGES:
        raise UserError(f"unknown shrinkage {shrinkage!r}; choose one of {', '.join(SHRINKAGES)}")
    if amount is None:
        return
    if shrinkage not in AMOUNTS:
        raise UserError(f"the shrinkage {shrinkage!r} takes no amount; leave it out, or choose ridge or trace")
    if not amount >= 0 or (shrinkage == "trace" and amount > 1):
        raise UserError(f"the amount of shrinkage is at least 0, and at most 1 for trace; got {amount:g}")


@full_precision
def estimate_gaussian(
    samples: Tensor,
    mask: Tensor | None = None,
    shrinkage: str = "trace",
    amount: float | None = None,
    unbiased: bool = True,
    form: str = "auto",
    axis: int = -2,
) -> FullGaussian | LowRankGaussian:
    """The Gaussian of samples (..., n, C), or (..., C, n) with axis=-1, which reads feature maps as they lie.

    mask (..., n): which samples count; None means all. unbiased divides by n - 1 (at least 1), else by n.
    form "full" gives cov (..., C, C); "low rank" factor (..., C, n) and ridge (...), the same covariance without a
    C x C matrix; "auto" takes low rank for n < C. Centred first, in the dtype of the samples (at least float32).
    No sample at all gives mean 0 and covariance d I. UserError for unknown names and amounts out of range.
    """
    check_shrinkage(shrinkage, amount)
    if form not in FORMS:
        raise UserError(f"unknown form {form!r}; choose one of {', '.join(FORMS)}")
    if axis not in (-2, -1):
        raise UserError(f"axis must be -2 for samples (..., n, C) or -1 for (..., C, n), got {axis}")
    amount = AMOUNTS.get(shrinkage, 0.0) if amount is None else amount
    x = samples if axis == -1 else samples.mT
    c, n = x.shape[-2:]
    weights = x.new_ones(n) if mask is None else mask.to(x.dtype)
    total = weights.sum(-1)
    mean = (x * weights.unsqueeze(-2)).sum(-1) / total.clamp_min(1).unsqueeze(-1)
    centred = (x - mean.unsqueeze(-1)) * weights.unsqueeze(-2)
    divisor = (total - 1 if unbiased else total).clamp_min(1)
    trace = centred.square().sum((-2, -1)) / divisor
    if shrinkage in ("lw", "oas"):
        alpha = (ledoit_wolf if shrinkage == "lw" else oracle)(centred.detach(), total)
    else:
        alpha = torch.full_like(trace, amount if shrinkage == "trace" else 0.0)
    ridge = {"none": torch.zeros_like(trace), "ridge": torch.full_like(trace, amount)}.get(shrinkage)
    ridge = alpha * trace / c + FLOOR if ridge is None else ridge
    factor = centred * ((1 - alpha) / divisor).sqrt()[..., None, None]
    low = LowRankGaussian(mean, factor, ridge)
    return low if form == "low rank" or (form == "auto" and n < c) else make_dense(low)


def make_dense(g: Gaussian) -> FullGaussian:
    """The same Gaussian with its covariance written out, (..., C, C)."""
    if isinstance(g, FullGaussian):
        return g
    if isinstance(g, DiagonalGaussian):
        return FullGaussian(g.mean, torch.diag_embed(g.var))
    eye = torch.eye(g.mean.shape[-1], dtype=g.mean.dtype, device=g.mean.device)
    return FullGaussian(g.mean, g.factor @ g.factor.mT + g.ridge[..., None, None] * eye)


def ledoit_wolf(centred: Tensor, total: Tensor) -> Tensor:
    """Ledoit and Wolf's intensity in [0, 1] from centred samples (..., C, n), of which `total` count.

    a = [(sum_i |x_i|^4 / n - |S|_F^2) / n] / [|S|_F^2 - (tr S)^2 / C], S the biased covariance. 1 where S is a
    multiple of the identity.
    """
    squares, trace, fourth = _moments(centred, total)
    spread = squares - trace.square() / centred.shape[-2]
    return _ratio((fourth - squares) / total.clamp_min(1), spread)


def oracle(centred: Tensor, total: Tensor) -> Tensor:
    """The oracle-approximating intensity in [0, 1] from centred samples (..., C, n), of which `total` count.

    a = [(1 - 2/C) tr S^2 + (tr S)^2] / [(n + 1 - 2/C) (tr S^2 - (tr S)^2 / C)], S the biased covariance.
    """
    squares, trace, _ = _moments(centred, total)
    c = centred.shape[-2]
    spread = squares - trace.square() / c
    return _ratio((1 - 2 / c) * squares + trace.square(), (total + 1 - 2 / c) * spread)


def _moments(centred: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """tr S^2, tr S and the mean fourth power of the lengths. The smaller of the two Gram matrices serves."""
    c, n = centred.shape[-2:]
    gram = centred.mT @ centred if n < c else centred @ centred.mT
    lengths = centred.square().sum(-2)
    count = total.clamp_min(1)
    return gram.square().sum((-2, -1)) / count.square(), lengths.sum(-1) / count, lengths.square().sum(-1) / count


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    positive = below > 0
    return torch.where(positive, above / torch.where(positive, below, 1.0), 1.0).clamp(0, 1)
