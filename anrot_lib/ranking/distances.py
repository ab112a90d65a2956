"""The metrics of ranking models, and the hardness of a triplet.

    N   ||u - v||_2 on unit vectors, in [0, 2]
    C   1 - cos(u, v), in [0, 2]
    E   ||u - v||_2 of the embeddings as they are, in [0, inf)
    H   Hellinger distance of the Gaussians that the embeddings are read as, [mean, log-variance], in [0, 1]

N, C and E are those of the literature; H is this kit's.

Everything here takes rows that went through `normalise`, runs in at least float32 whatever the autocast, and has
finite gradients also where two rows are equal.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from anrot_lib.core.errors import UserError
from anrot_lib.divergences import measures, stable
from anrot_lib.divergences.gaussian import DiagonalGaussian, full_precision
from anrot_lib.ranking.names import METRICS

LOG_VAR_BOUND = 4.0


def check_metric(metric: str) -> str:
    """The metric itself; UserError for another one."""
    if metric not in METRICS:
        raise UserError(f"unknown metric {metric!r}; it is N, C, E or H")
    return metric


@full_precision
def normalise(embeddings: Tensor, metric: str) -> Tensor:
    """Rows (..., D) as the metric compares them: of unit length for N and C, as they are for E and H."""
    return embeddings if check_metric(metric) in "EH" else F.normalize(embeddings, dim=-1)


@full_precision
def cdist(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """All distances between rows: (..., n, D), (..., m, D) -> (..., n, m).

    By one matrix product, so near 0 they are exact to about the square root of the rounding (3e-4 in float32), and
    squares that rounding made negative count as 0. The gradient of a distance of 0 is 0.
    """
    if check_metric(metric) == "H":
        p, q = read_gaussians(x), read_gaussians(y)
        return stable.compute_hellinger(measures.pairwise("bhattacharyya", p, q) / p.mean.shape[-1])
    products = x @ y.mT
    if metric == "C":
        return (1 - products).clamp(0, 2)
    squares = (x * x).sum(-1).unsqueeze(-1) + (y * y).sum(-1).unsqueeze(-2) - 2 * products
    apart = squares > 0
    return torch.where(apart, squares, 1.0).sqrt() * apart


@full_precision
def distance(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """Distances of row to row, (..., D) and (..., D) -> (...).

    For N and E 1e-6 is added to every difference, as `torch.nn.functional.pairwise_distance` does: an attack that
    starts at its target then has a gradient. The distance of a row to itself is 1e-6 sqrt(D).
    """
    if check_metric(metric) == "H":
        return stable.compute_hellinger(
            measures.compute_terms("bhattacharyya", read_gaussians(x), read_gaussians(y)).mean(-1)
        )
    if metric == "C":
        return 1 - (x * y).sum(-1)
    return F.pairwise_distance(x, y)


def read_gaussians(embeddings: Tensor) -> DiagonalGaussian:
    """Raw embeddings (..., 2C) as diagonal Gaussians: mean and log-variance, the latter bounded to (-4, 4) by tanh.

    The distance of two of them is sqrt(1 - exp(-D_B / C)), of the geometric-mean coefficient of the C dimensions: the
    joint one is 1 for every pair where there are many dimensions.
    """
    if embeddings.shape[-1] % 2:
        raise UserError(
            f"the metric H splits embeddings in mean and log-variance; {embeddings.shape[-1]} numbers are odd"
        )
    mean, log_var = embeddings.chunk(2, -1)
    return DiagonalGaussian(mean, (LOG_VAR_BOUND * torch.tanh(log_var / LOG_VAR_BOUND)).exp())


def hardness(anchor: Tensor, positive: Tensor, negative: Tensor, metric: str) -> Tensor:
    """H = d(a, p) - d(a, n) of triplets of rows (..., D), shape (...), in [-2, 2] for N and C,
    in [-1, 1] for H.

    The triplet loss with margin g is relu(H + g).
    """
    return distance(anchor, positive, metric) - distance(anchor, negative, metric)
