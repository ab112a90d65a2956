"""All pairs of Gaussians with full or low-rank covariances: broadcasting, blocks of bounded memory, precision.

The log-determinants and traces of a divergence in C dimensions are of size C and cancel to a small rest, so pairs
are compared in float64 (float32 where a device has no float64), block by block, and rounded once at the end.
"""

import math
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from anrot_lib.divergences.gaussian import Gaussian

G = TypeVar("G", bound=Gaussian)

NUMBERS_ON_CPU, NUMBERS_ELSEWHERE = 2**21, 2**25  # of one block: 16 MiB in float64 on a CPU


def cut_blocks(e: int, n: int, numbers: int, budget: int) -> Iterator[tuple[slice, slice]]:
    """Cut (e, n) rows of `numbers` numbers each into (episodes, rows) blocks of at most `budget` numbers.

    A block is whole episodes, or a part of one; never less than one row.
    """
    rows = max(1, budget // max(1, numbers))
    step, rows = (max(1, rows // max(1, n)), n) if rows >= n else (1, rows)
    for first in range(0, e, step):
        for row in range(0, n, max(1, rows)):
            yield slice(first, min(first + step, e)), slice(row, min(row + rows, n))


def get_budget(tensor: Tensor) -> int:
    """How many numbers a block may hold on the device of this tensor."""
    return NUMBERS_ON_CPU if tensor.device.type == "cpu" else NUMBERS_ELSEWHERE


def widen(tensor: Tensor) -> Tensor:
    """In float64, or as it is on a device that has none."""
    return tensor if tensor.device.type == "mps" else tensor.double()


def compare_all_pairs(compare: Callable[[G, G], Tensor], p: G, q: G, numbers: int) -> Tensor:
    """`compare` on every p (..., n) against every q (..., m) -> (..., n, m), in the dtype of p's mean.

    compare takes p (B, n) and q (B, m) in float64 and gives (B, n, m); numbers is what it holds for one pair. With
    several blocks nothing inside a block is kept for the backward pass: it is computed again there.
    """
    dtype = p.mean.dtype
    lead = torch.broadcast_shapes(p.mean.shape[:-2], q.mean.shape[:-2])
    p, q = (_map(_flat(g, lead), widen) for g in (p, q))
    e, n, m = *p.mean.shape[:2], q.mean.shape[1]
    cuts = list(cut_blocks(e, n, numbers * m, get_budget(p.mean)))
    if len(cuts) <= 1:
        return _unflatten(compare(p, q).to(dtype), lead)

    def one(cut: tuple[slice, slice]) -> Tensor:
        episodes, rows = cut
        some_p, some_q = _map(p, lambda t: t[episodes, rows]), _map(q, lambda t: t[episodes])
        if not torch.is_grad_enabled():
            return compare(some_p, some_q)
        values: Tensor = checkpoint(compare, some_p, some_q, use_reentrant=False, preserve_rng_state=False)
        return values

    by_episodes: dict[int, list[Tensor]] = {}
    for cut in cuts:
        by_episodes.setdefault(cut[0].start, []).append(one(cut))
    return _unflatten(torch.cat([torch.cat(parts, 1) for parts in by_episodes.values()]).to(dtype), lead)


def _flat(g: G, lead: torch.Size) -> G:
    start = g.mean.ndim - 2
    return _map(g, lambda t: t.expand(*lead, *t.shape[start:]).reshape(math.prod(lead), *t.shape[start:]))


def _map(g: G, function: Callable[[Tensor], Tensor]) -> G:
    return cast(G, g.map(function))  # of the same class as g


def _unflatten(values: Tensor, lead: torch.Size) -> Tensor:
    whole: Tensor = values.unflatten(0, lead) if lead else values[0]
    return whole
