"""The three metrics of ranking models, and the hardness of a triplet.

    N   ||u - v||_2 on unit vectors, in [0, 2]
    C   1 - cos(u, v), in [0, 2]
    E   ||u - v||_2 of the embeddings as they are, in [0, inf)

Everything here takes rows that went through `normalise`, runs in at least float32 whatever the autocast, and has
finite gradients also where two rows are equal.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from anrot_lib.checks import UserError
from anrot_lib.gaussians import full_precision

METRICS = ("N", "C", "E")
MARGINS = {"N": 0.2, "C": 0.2, "E": 1.0}


def check_metric(metric: str) -> str:
    """The metric itself; UserError for another one."""
    if metric not in METRICS:
        raise UserError(f"unknown metric {metric!r}; it is N, C or E")
    return metric


@full_precision
def normalise(embeddings: Tensor, metric: str) -> Tensor:
    """Rows (..., D) as the metric compares them: of unit length for N and C, as they are for E."""
    return embeddings if check_metric(metric) == "E" else F.normalize(embeddings, dim=-1)


@full_precision
def cdist(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """All distances between rows: (..., n, D), (..., m, D) -> (..., n, m).

    By one matrix product, so near 0 they are exact to about the square root of the rounding (3e-4 in float32), and
    squares that rounding made negative count as 0. The gradient of a distance of 0 is 0.
    """
    products = x @ y.mT
    if check_metric(metric) == "C":
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
    if check_metric(metric) == "C":
        return 1 - (x * y).sum(-1)
    return F.pairwise_distance(x, y)


def hardness(anchor: Tensor, positive: Tensor, negative: Tensor, metric: str = "N") -> Tensor:
    """H = d(a, p) - d(a, n) of triplets of rows (..., D), shape (...), in [-2, 2] for N and C.

    The triplet loss with margin g is relu(H + g).
    """
    return distance(anchor, positive, metric) - distance(anchor, negative, metric)
