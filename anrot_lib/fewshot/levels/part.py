"""The part level: every channel map of a query finds the most similar channel map among all shots of a class.

The same maps as at the pixel level, seen the other way: C vectors of h w numbers. Position is compared with position,
so it needs maps of one size and is not invariant to shifting or flipping one image. On small maps it says little: two
random 2 x 2 maps have a cosine near 1 by chance.
"""

from dataclasses import dataclass

from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.fewshot.levels.matching import ClassMaps, check_places, compute_similarity, make_unit, mark_counted


def make_vectors(maps: Tensor) -> Tensor:
    """Maps (..., C, h, w) as unit vectors along positions (..., C, h w), one a channel."""
    return make_unit(maps.flatten(-2))


@full_precision
def part_similarity(
    query: Tensor,
    pool: ClassMaps,
    k: int = 1,
    direction: str = "query",
    reduce: str = "mean",
    buffer: int | None = None,
) -> Tensor:
    """sum_i sum_{j in top k of i} cos(u_i, v_j) over channels i of the query: (E, n, C, h, w) -> (E, n, way).

    u_i, v_j are channel maps as vectors of h w positions; j runs over the M C channel maps of a class. Divided by C k
    for "mean", in [-1, 1]; undivided for "sum". A channel that is 0 everywhere scores 0. Invariant to the order of
    channels. Source: MML, arXiv 2103.11383; its code normalises along channels instead (`audit.multilevel`).
    UserError where queries and support have maps of different sizes.
    """
    if query.shape[-2:] != pool.maps.shape[-2:]:
        sizes = " and ".join("x".join(map(str, t.shape[-2:])) for t in (query, pool.maps))
        raise UserError(f"the part level compares position with position and needs maps of one size, got {sizes}")
    rows = make_vectors(pool.maps).flatten(2, 3)
    return compute_similarity(
        make_vectors(query), rows, mark_counted(pool, query.shape[-3]), k, direction, reduce, buffer
    )


@dataclass(frozen=True)
class PartLevel:
    """The part level as part of a head: divergence = 1 - mean cosine, in [0, 2]."""

    k: int = 1
    direction: str = "query"
    scale = 64.0

    def fit(self, pool: ClassMaps) -> None:
        """Nothing beyond the maps themselves is kept of a class."""
        check_places(pool, "the part level compares channel maps place by place")

    def divergence(self, pool: ClassMaps, model: None, query: Tensor) -> Tensor:
        """(E, n, C, h, w) -> (E, n, way)"""
        return 1 - part_similarity(query, pool, self.k, self.direction)
