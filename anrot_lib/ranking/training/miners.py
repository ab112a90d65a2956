"""Five ways to choose triplets from a batch of pairs a0, p0, a1, p1, ... Anchors are the even rows.

With P_i the rows of anchor i's class, N_i the others, D the distances of the metric and U a uniform choice:

    r  random     positive 2i+1; negative U(N_i)
    m  semihard   positive 2i+1; negative U{n in N_i: D(a,p) < D(a,n) < D(a,p) + margin}, else as r
    s  softhard   positive U{j in P_i: D(a,j) > min over N_i of D(a,n)}, else U(P_i);
                  negative U{n in N_i: D(a,n) < max over P_i of D(a,j)}, else as r
    d  distance   positive 2i+1; negative with probability proportional to 1 / q(D), the density q of the distances of
                  points on a sphere (Wu et al. 2017, without their lower clip); D of the unit vectors under any metric
    h  hardest    positive 2i+1; negative argmin over N_i of D(a,n), else as r

Where N_i is empty, a negative is U(whole batch). pytorch-metric-learning has semihard and distance-weighted miners,
but they return all triplets, or clip distances, and no explicit generator: see the tests for where they agree.

parity="robrank" keeps oddities of the original code: a softhard positive may be the anchor itself; distance weights
that underflow fall back to the whole batch, and so do those of metric E as soon as one distance exceeds 2, because they
take the distances of the metric. Its hardest miner fails on a batch of one class.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.ranking.distances import cdist, normalise
from anrot_lib.ranking.names import ON_UNIT_SPHERE

SPECTRAL = 0.15  # share of the batches in which miner D takes the anchor for its positive (Roth et al. 2020)


class Triplets(NamedTuple):
    """Row numbers, int64 (B,) each."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


class _Rows(NamedTuple):
    """What a miner sees of each anchor: distances (B, 2B) to all rows, and which are of its class or are itself."""

    distances: Tensor
    same: Tensor
    itself: Tensor
    positive: Tensor  # 2i + 1
    margin: float
    dimensions: int
    original: bool
    generator: torch.Generator


@torch.no_grad()
def mine(
    miner: str,
    embeddings: Tensor,
    labels: Tensor,
    metric: str,
    margin: float,
    generator: torch.Generator,
    parity: str = "fixed",
) -> Triplets:
    """Triplets of a batch of pairs: embeddings (2B, D) as `normalise` leaves them, labels (2B,).

    miner: "r", "m", "s", "d", "h", or "D", which is "d" with (a, a, p) in place of (a, p, n) in 15 % of the batches.
    margin: of the semihard band. UserError for an odd number of rows, or an unknown miner.
    """
    if len(embeddings) % 2 or len(embeddings) != len(labels):
        raise UserError(f"a batch of pairs has two rows a pair, got {len(embeddings)} rows and {len(labels)} labels")
    if miner not in MINERS and miner != "D":
        raise UserError(f"unknown miner {miner!r}; choose one of {', '.join(MINERS)}, D")
    anchor = torch.arange(0, len(labels), 2, device=labels.device)
    itself = torch.zeros(len(anchor), len(labels), dtype=torch.bool, device=labels.device)
    itself[torch.arange(len(anchor)), anchor] = True
    if miner in ON_UNIT_SPHERE and metric in "CE" and parity == "fixed":
        embeddings, metric = normalise(embeddings, "N"), "N"
    rows = _Rows(
        distances=cdist(embeddings[anchor], embeddings, metric),
        same=labels[anchor].unsqueeze(1) == labels,
        itself=itself,
        positive=anchor + 1,
        margin=margin,
        dimensions=embeddings.shape[1],
        original=parity == "robrank",
        generator=generator,
    )
    positive, negative = MINERS[miner.lower()](rows)
    if miner == "D" and torch.rand((), generator=generator) < SPECTRAL:
        return Triplets(anchor, anchor, positive)
    return Triplets(anchor, positive, negative)


def _choose(rows: _Rows, *masks: Tensor) -> Tensor:
    """A uniform choice from the first mask (B, n) of each row that has a member, or from all n columns."""
    mask = torch.ones_like(rows.same)
    for other in reversed(masks):
        mask = torch.where(other.any(1, keepdim=True), other, mask)
    noise = torch.rand(mask.shape, generator=rows.generator, device=rows.generator.device).to(mask.device)
    return noise.masked_fill_(~mask, -1).argmax(1)


def _random(rows: _Rows) -> tuple[Tensor, Tensor]:
    return rows.positive, _choose(rows, ~rows.same)


def _semihard(rows: _Rows) -> tuple[Tensor, Tensor]:
    near = rows.distances.gather(1, rows.positive.unsqueeze(1))
    band = (near < rows.distances) & (rows.distances < near + rows.margin) & ~rows.same
    return rows.positive, _choose(rows, band, ~rows.same)


def _softhard(rows: _Rows) -> tuple[Tensor, Tensor]:
    positives = rows.same if rows.original else rows.same & ~rows.itself
    nearest = rows.distances.masked_fill(rows.same, torch.inf).amin(1, keepdim=True)
    farthest = rows.distances.masked_fill(~positives, -torch.inf).amax(1, keepdim=True)
    positive = _choose(rows, positives & (rows.distances > nearest), positives)
    alone = rows.same.all(1)  # no negatives: nothing is soft
    positive = torch.where(alone, rows.positive, positive)
    return positive, _choose(rows, ~rows.same & (rows.distances < farthest), ~rows.same)


def _distance(rows: _Rows) -> tuple[Tensor, Tensor]:
    d, n = rows.distances.double(), rows.dimensions
    if not rows.original:
        d = d.clamp(1e-4, 2 - 1e-8)  # equal and opposite rows have infinite weight
    log_weight = (2 - n) * d.log() - (n - 3) / 2 * (1 - d.square() / 4).log()
    if rows.original:
        log_weight = log_weight.masked_fill(rows.same, 0)
        weight = (log_weight - log_weight.amax(1, keepdim=True)).float().exp().nan_to_num_(0)
    else:  # the largest among the negatives, so that the weights of a row never all underflow
        log_weight = log_weight.masked_fill(rows.same, -torch.inf)
        weight = (log_weight - log_weight.amax(1, keepdim=True)).exp().nan_to_num_(0)
    weight = weight.masked_fill(rows.same, 0)
    usable = weight.sum(1, keepdim=True) > 0
    # Gumbel's way to draw from weights: the largest of log w - log(-log U)
    noise = torch.rand(weight.shape, generator=rows.generator, device=rows.generator.device, dtype=torch.float64)
    drawn = (weight.log() - (-noise.to(weight.device).clamp_min_(1e-300).log()).log()).argmax(1)
    fallback = _choose(rows) if rows.original else _choose(rows, ~rows.same)
    return rows.positive, torch.where(usable.squeeze(1), drawn, fallback)


def _hardest(rows: _Rows) -> tuple[Tensor, Tensor]:
    usable = ~rows.same & (rows.distances != 0)  # the original skips distances of 0, and so does this
    some = usable.any(1)
    if rows.original and not some.all():
        raise ValueError("the hardest miner of the original code fails where an anchor has no negative")
    nearest = rows.distances.masked_fill(~usable, torch.inf).argmin(1)
    return rows.positive, torch.where(some, nearest, _choose(rows, ~rows.same))


MINERS: dict[str, Callable[[_Rows], tuple[Tensor, Tensor]]] = {
    "r": _random,
    "m": _semihard,
    "s": _softhard,
    "d": _distance,
    "h": _hardest,
}
