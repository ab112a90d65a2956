"""As published, bug for bug: the distance, the Hesim loss and the head of ANROT-HELANet's released code.

Re-stated from what that code computes (commit a7de814, beside arXiv 2509.11220), because "as published" is a row of
the tables and its defects are shown live. Whether the published numbers came from exactly this code is unknown.
Nothing here is a default anywhere; the corrected forms are in `divergences`, `hesim` and `heads`.
"""

import math

import torch
import torch.nn.functional as F
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.fewshot.heads.contract import Head, Scores, mark_membership


@full_precision
def hellinger_distance(queries: Tensor, prototypes: Tensor) -> Tensor:
    """The published "Hellinger distance": queries (..., n, d), prototypes (..., way, d) -> (..., n, way), in [0, inf).

    With x the queries expanded to (n, way, d), m and s the mean and standard deviation of all their entries:
    P = m + s (2 pi s^2)^(-1/2) exp(-(x - m)^2 / (2 s^2)), Q from the prototypes likewise;
    distance = sum_d (sqrt|P| - sqrt|Q|)^2 / sqrt 2.
    Leading dims are separate batches (episodes). What follows from the formula:
    - m and s are of the whole batch, so a query's distance depends on the queries beside it;
    - P is even around m, so features m + z and m - z cannot be distinguished;
    - s cancels against its own root, so P is no density, and the result is neither H nor H^2.
    Edges: all entries equal make s = 0 and the result NaN, as published.
    """
    n, way = queries.shape[-2], prototypes.shape[-2]
    p, q = _bump(queries, copies=way), _bump(prototypes, copies=n)
    roots = p.abs().sqrt().unsqueeze(-2) - q.abs().sqrt().unsqueeze(-3)
    return roots.square().sum(-1) / math.sqrt(2)


def _bump(x: Tensor, copies: int) -> Tensor:
    # The expansion repeats every entry `copies` times: the mean stays, and the n - 1 of the standard deviation
    # counts the repeats. Nothing else depends on it, so nothing is expanded here.
    count = x.shape[-2] * x.shape[-1] * copies
    m = x.mean((-2, -1), keepdim=True)
    variance = (x - m).square().sum((-2, -1), keepdim=True) * copies / (count - 1)
    return m + torch.exp(-(x - m).square() / (2 * variance)) / math.sqrt(2 * math.pi)


def hesim(scores: Tensor, labels: Tensor, temperature: float = 0.01) -> Tensor:
    """The published Hesim on a score matrix (n, way) and labels (n,): 126 ln 2 = 87.3365 for every input, gradient 0.

    NT-Xent between the normalised rows of the matrix, where the negatives of other anchors are set to the most
    negative float *before* sqrt(abs(.)). That turns 'ignore' (-3e38) into 1.8e19, whose exponential is infinite; so
    every ratio is 0, and -log(0 + the smallest normal float) = 126 ln 2 remains. Always float32, where this holds.
    The temperature is the released one.
    Edges: no positive or no negative pair gives 0; all negatives belonging to one anchor leave nothing to mask.
    Where a similarity is exactly 0 the root's gradient is taken as 0; autograd's 0 times infinity would be NaN.
    """
    with torch.autocast(scores.device.type, enabled=False):
        rows = F.normalize(scores.float(), dim=1)
        logits = rows @ rows.T / temperature
    anchor, positive, other, negative = lmu.get_all_pairs_indices(labels)
    if len(anchor) == 0 or len(other) == 0:
        return (scores * 0).sum()
    limits = torch.finfo(torch.float32)
    positives = _root_of_magnitude(logits[anchor, positive]).exp()
    masked = logits[other, negative].masked_fill(anchor[:, None] != other, limits.min)
    total = positives + _root_of_magnitude(masked).exp().sum(1)
    return -(positives / total + limits.tiny).log().mean()


def _root_of_magnitude(x: Tensor) -> Tensor:
    zero = x == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x).abs().sqrt())


class PublishedHead(Head):
    """The published classifier: mean prototypes of averaged features, scored by minus the published distance.

    No parameters, no temperature, no distribution of a class. The scores of a query depend on the other queries of
    its episode in the call, also in eval mode (`batch_dependent`), so they change when queries are split into
    chunks or when beaten ones leave an attack's batch.
    """

    batch_dependent = True

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def describe(self, maps: Tensor) -> Tensor:
        """Maps (..., C, h, w) -> their average over positions (..., C), float32."""
        return maps.mean((-2, -1)).float()

    @full_precision
    def fit_described(self, support: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """Support (E, S, C), labels (E, S), mask (E, S) -> class means (E, way, C)."""
        weights = mark_membership(labels, mask)
        return weights @ support / weights.sum(-1, keepdim=True)

    def score_described(self, model: Tensor, query: Tensor, generator: torch.Generator | None = None) -> Scores:
        """Query (E, n, C) -> logits (E, n, way) = -distance; the embeddings are the averaged features."""
        return Scores(-hellinger_distance(query, model), {}, query)
