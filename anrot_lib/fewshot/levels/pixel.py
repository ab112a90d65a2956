"""The pixel level: every position of a query map finds its k nearest positions among all shots of a class (DN4)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.fewshot.levels.matching import ClassMaps, compute_similarity, find_nearest, make_unit, mark_counted


def make_vectors(maps: Tensor) -> Tensor:
    """Maps (..., C, h, w) as unit channel vectors (..., h w, C), one a position."""
    return make_unit(maps.flatten(-2).mT)


def gather_positions(pool: ClassMaps) -> Tensor:
    """All positions of all shots of each class: (E, way, M h w, C), unit vectors."""
    return make_vectors(pool.maps).flatten(2, 3)


@full_precision
def pixel_similarity(
    query: Tensor,
    pool: ClassMaps,
    k: int = 1,
    direction: str = "query",
    reduce: str = "mean",
    buffer: int | None = None,
) -> Tensor:
    """sum_i sum_{j in top k of i} cos(x_i, s_j) over positions i of the query: (E, n, C, h, w) -> (E, n, way).

    Divided by h w k for "mean", in [-1, 1] and 1 for a query that is one of the shots; undivided for "sum", in
    [-h w k, h w k] as published. Invariant to the order of positions and to a common rotation of the channels.
    Source: DN4, Li et al. 2019; k = 1 in ADM and MML, 3 in DN4 on mini-ImageNet.
    """
    per_shot = query.shape[-1] * query.shape[-2]
    return compute_similarity(
        make_vectors(query), gather_positions(pool), mark_counted(pool, per_shot), k, direction, reduce, buffer
    )


@torch.no_grad()
@full_precision
def find_pixel_matches(query: Tensor, pool: ClassMaps) -> tuple[Tensor, Tensor, Tensor]:
    """For pictures: the best cosine of each query position in each class, and the shot and position where it is.

    query (E, n, C, h, w) -> cosine, shot, position, each (E, n, h, w, way); position counts along rows.
    """
    n, size = query.shape[1], query.shape[-2:]
    per_shot = size.numel()
    values, index = find_nearest(
        make_vectors(query).flatten(1, 2), gather_positions(pool), 1, mark_counted(pool, per_shot)
    )
    values, index = (t.squeeze(-1).unflatten(1, (n, *size)) for t in (values, index))
    return values, index // per_shot, index % per_shot


@dataclass(frozen=True)
class PixelLevel:
    """The pixel level as part of a head: divergence = 1 - mean cosine, in [0, 2]."""

    k: int = 1
    direction: str = "query"
    scale = 64.0  # where training starts; published sums are logits of scale h w k

    def fit(self, pool: ClassMaps) -> None:
        """Nothing beyond the maps themselves is kept of a class."""

    def divergence(self, pool: ClassMaps, model: None, query: Tensor) -> Tensor:
        """(E, n, C, h, w) -> (E, n, way)"""
        return 1 - pixel_similarity(query, pool, self.k, self.direction)
