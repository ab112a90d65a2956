"""Divergences: Hellinger, Bhattacharyya, Kullback-Leibler, 2-Wasserstein, in three layers.

- `compute_terms(name, p, q)`: dimension by dimension, p and q broadcast, nothing summed;
- `pairwise(name, p, q)`: every p against every q, (..., n, C) x (..., m, C) -> (..., n, m);
- `to_standard(name, mean, log_var)`: to N(0, 1), dimension by dimension: a VAE's regulariser.

All grow with dissimilarity, are exactly 0 between equal arguments, with finite (zero) gradients
there, and are computed in float32 whatever the autocast (float64 stays). Between Gaussians with
means m, n and variances s^2, t^2, summed over the dimensions, and between probabilities p, q:

| name          | diagonal Gaussians                            | probabilities        | range    |
|---------------|-----------------------------------------------|----------------------|----------|
| bhattacharyya | D_B = ln((s^2+t^2)/(2st))/2                   | -ln sum sqrt(pq)     | [0, inf) |
|               |       + (m-n)^2/(4(s^2+t^2))                  |                      |          |
| hellinger2    | H^2 = 1 - exp(-D_B)                           | 1 - sum sqrt(pq)     | [0, 1]   |
| hellinger     | H, a metric                                   | H, a metric          | [0, 1]   |
| kl            | (s^2/t^2 - 1 - ln(s^2/t^2) + (m-n)^2/t^2)/2   | sum p ln(p/q)        | [0, inf) |
| wasserstein2  | W2^2 = (m-n)^2 + (s-t)^2, in squared units    | no ground metric     | [0, inf) |

`pairwise` takes Gaussians with full or low-rank covariances too (formulas in `full` and `wasserstein`),
and three more names: symmetric-kl, the mean of both directions, for all kinds; and for full and low-rank covariances
wasserstein2-roots and wasserstein2-frobenius, which resemble W2^2. There equality gives 0 up to rounding only.

Edges. H and H^2 round to exactly 1 in float32 once D_B > 17, and their gradient, exp(-D_B) times
that of D_B, dies long before: score with D_B (or D_B / C) and report H. Variances must be positive
and probabilities (..., C) sum to 1; neither is checked. A probability below the smallest normal
float counts as that number and gets no gradient, so disjoint supports give, in float32 and for
two outcomes, H = 1, D_B = 43.0 and KL = 87.3 instead of infinities. H of probabilities can exceed 1
by the rounding of their sums.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.divergences import full, low_rank, wasserstein
from anrot_lib.divergences.diagonal import (
    _gaussian_bhattacharyya,
    _gaussian_kl,
    _gaussian_wasserstein2,
    _pairwise_kl,
    _pairwise_wasserstein2,
    pairwise_bhattacharyya,
)
from anrot_lib.divergences.gaussian import (
    KINDS,
    DiagonalGaussian,
    FullGaussian,
    Gaussian,
    LowRankGaussian,
    full_precision,
)
from anrot_lib.divergences.names import NAMES
from anrot_lib.divergences.simplex import (
    _pairwise_simplex_bhattacharyya,
    _pairwise_simplex_hellinger,
    _simplex_hellinger,
    _simplex_kl,
)
from anrot_lib.divergences.stable import _hellinger2, compute_hellinger, subtract_log1p


@full_precision
def compute_terms(name: str, p: Gaussian | Tensor, q: Gaussian | Tensor) -> Tensor:
    """The divergence of each dimension by itself, p and q broadcast against each other: (..., C).

    Gaussians (diagonal): of the one-dimensional marginals. D_B, KL and W2^2 of the whole are the
    sums of these; H and H^2 are not, because 1 - H^2 multiplies over dimensions.
    Probabilities: the summands, each >= 0, of H^2 and of KL (as p ln(p/q) - p + q, which adds
    nothing to the sum); for H, |sqrt p - sqrt q| / sqrt 2, whose squares sum to H^2. D_B is not a
    sum there: UserError.
    """
    return _look_up(_TERMS, name, p, q)(p, q)


@full_precision
def pairwise(name: str, p: Gaussian | Tensor, q: Gaussian | Tensor) -> Tensor:
    """Every p against every q: p (..., n, C), q (..., m, C) -> (..., n, m); leading dims broadcast.

    Formulas, ranges and edges: see the module. KL is KL(p||q) with p along the rows; the others
    are symmetric. All but KL work without (..., n, m, C) tensors kept for the backward pass.
    Both arguments must be of one kind; the UserError names the kinds a divergence is known for.
    """
    return _look_up(PAIRWISE, name, p, q)(p, q)


@full_precision
def to_standard(name: str, mean: Tensor, log_var: Tensor) -> Tensor:
    """The divergence of N(mean, exp(log_var)) to N(0, 1) of each dimension: (..., C) -> (..., C).

    With mu the mean and sigma^2 = exp(log_var), in forms that lose no digits near the prior:
    kl            (mu^2 + sigma^2 - 1 - ln sigma^2) / 2                          in [0, inf)
    wasserstein2  mu^2 + (sigma - 1)^2                                           in [0, inf)
    bhattacharyya D_B = ln((sigma^2 + 1)/(2 sigma))/2 + mu^2/(4(sigma^2 + 1))    in [0, inf)
    hellinger2    1 - exp(-D_B)                                                  in [0, 1]
    hellinger     its root                                                       in [0, 1]
    Exactly 0 with zero gradients at mean = log_var = 0; finite for |log_var| < 88. Sum over the
    dimensions, H^2 too: the joint H^2 of many dimensions saturates at 1.
    """
    if name == "kl":
        near = log_var.abs() < 0.4
        growth = torch.expm1(log_var)
        excess = torch.where(near, subtract_log1p(torch.where(near, growth, 0.0)), growth - log_var)
        return 0.5 * (mean.square() + excess)
    if name == "wasserstein2":
        return mean.square() + torch.expm1(0.5 * log_var).square()
    # (sigma^2 + 1)/(2 sigma) = cosh(log_var / 2) = 1 + 2 sinh^2(log_var / 4)
    spread = 0.5 * torch.log1p(2 * torch.sinh(0.25 * log_var).square())
    bhattacharyya = spread + mean.square() / (4 * (log_var.exp() + 1))
    if name == "bhattacharyya":
        return bhattacharyya
    if name == "hellinger2":
        return _hellinger2(bhattacharyya)
    if name == "hellinger":
        return compute_hellinger(bhattacharyya)
    raise UserError(f"unknown divergence {name!r}; choose one of {', '.join(NAMES)}")


Argument = TypeVar("Argument", bound=Gaussian | Tensor)
Table = dict[tuple[type, str], Callable[[Any, Any], Tensor]]  # both arguments are of the type in the key
_KINDS = {**KINDS, Tensor: "probabilities"}


def _look_up(table: Table, name: str, p: Gaussian | Tensor, q: Gaussian | Tensor) -> Callable[[Any, Any], Tensor]:
    names = dict.fromkeys((*NAMES, *(known for _, known in PAIRWISE)))
    if name not in names:
        raise UserError(f"unknown divergence {name!r}; choose one of {', '.join(names)}")
    types = [type(x) if isinstance(x, Gaussian) else Tensor for x in (p, q)]
    if types[0] != types[1] or (types[0], name) not in table:
        offered = sorted(_KINDS[kind] for kind, known in table if known == name)
        raise UserError(
            f"{name} between {_KINDS[types[0]]} and {_KINDS[types[1]]} is not defined here; "
            f"it takes two arguments of the same kind, one of: {', '.join(offered) or 'none'}"
        )
    return table[types[0], name]


def _list_bhattacharyya(kind: type[Argument], distance: Callable[[Argument, Argument], Tensor]) -> Table:
    """D_B of a kind of arguments, and the two that follow from it."""
    return {
        (kind, "bhattacharyya"): distance,
        (kind, "hellinger2"): lambda p, q: _hellinger2(distance(p, q)),
        (kind, "hellinger"): lambda p, q: compute_hellinger(distance(p, q)),
    }


def _list_kl(kind: type[Argument], divergence: Callable[[Argument, Argument], Tensor]) -> Table:
    """KL of a kind of arguments, (..., n, m), and Jeffreys' divergence, the mean of both directions."""
    return {
        (kind, "kl"): divergence,
        (kind, "symmetric-kl"): lambda p, q: 0.5 * (divergence(p, q) + divergence(q, p).mT),
    }


_TERMS: Table = {
    **_list_bhattacharyya(DiagonalGaussian, _gaussian_bhattacharyya),
    (DiagonalGaussian, "kl"): _gaussian_kl,
    (DiagonalGaussian, "wasserstein2"): _gaussian_wasserstein2,
    (Tensor, "hellinger2"): lambda p, q: _simplex_hellinger(p, q).square(),
    (Tensor, "hellinger"): _simplex_hellinger,
    (Tensor, "kl"): _simplex_kl,
}

# (type of both arguments, name) -> function: where another kind of covariance is added.
PAIRWISE: Table = {
    **_list_bhattacharyya(DiagonalGaussian, pairwise_bhattacharyya),
    **_list_kl(DiagonalGaussian, _pairwise_kl),
    (DiagonalGaussian, "wasserstein2"): _pairwise_wasserstein2,
    (Tensor, "hellinger2"): lambda p, q: _pairwise_simplex_hellinger(p, q).square(),
    (Tensor, "hellinger"): _pairwise_simplex_hellinger,
    (Tensor, "bhattacharyya"): _pairwise_simplex_bhattacharyya,
    (Tensor, "kl"): lambda p, q: _simplex_kl(p.unsqueeze(-2), q.unsqueeze(-3)).sum(-1),
    (Tensor, "symmetric-kl"): lambda p, q: (
        0.5 * (_simplex_kl(p.unsqueeze(-2), q.unsqueeze(-3)) + _simplex_kl(q.unsqueeze(-3), p.unsqueeze(-2))).sum(-1)
    ),
    **_list_bhattacharyya(FullGaussian, full.bhattacharyya),
    **_list_kl(FullGaussian, full.kl),
    (FullGaussian, "wasserstein2"): wasserstein.full_wasserstein2,
    (FullGaussian, "wasserstein2-roots"): wasserstein.full_roots,
    (FullGaussian, "wasserstein2-frobenius"): wasserstein.full_frobenius,
    **_list_bhattacharyya(LowRankGaussian, low_rank.bhattacharyya),
    **_list_kl(LowRankGaussian, low_rank.kl),
    (LowRankGaussian, "wasserstein2"): wasserstein.low_rank_wasserstein2,
    (LowRankGaussian, "wasserstein2-roots"): wasserstein.low_rank_roots,
    (LowRankGaussian, "wasserstein2-frobenius"): wasserstein.low_rank_frobenius,
}
