"""Losses of ranking models, each with the value of the code that published its name (robrank, commit 38ec207).

A loss is a module of (embeddings, labels, generator); embeddings are a net's raw output, and `normalise` makes rows of
them that the metric compares. With d the metric, triplets (a, p, n), margins g, and mean+ the mean of those terms that
are positive:

    triplet   mean relu(d(a, p) - d(a, n) + g), g = 0.2 for N and C, 1 for E
    contrast  mean d(a, p) + mean+ (1 - d(a, n)); under C only mean d(a, p): the published margin of 1 leaves no push
    margin    mean+ (d(a, p) - beta + 0.2) + mean+ (beta - d(a, n) + 0.2), beta learnt
    quad      triplet, and mean relu(d(a, p) - d(n, n2) + 0.1), 0.5 for E
    snr       mean+ (var(a - p) / var(a) - var(a - n) / var(a) + 0.2) + 0.005 mean |sum of a|

The rest takes all pairs of the batch, with the even rows as anchors; P are the other rows of an anchor's class:

    glift     mean relu(ln sum_P e^d(a, p) + ln sum_n e^(g - d(a, n))) + 0.005 mean length of the rows
    npair     mean ln(1 + sum_n e^((n - p) . a / |a|)), p the anchor's partner, + 0.005 mean length of the rows
    ms        mean ln(1 + sum e^(-2 (s - 0.5))) / 2 over the class, the anchor itself included,
              + ln(1 + sum e^(40 (s - 0.5))) / 40 over the others; s the cosine
"""

from collections.abc import Callable

import torch
from pytorch_metric_learning.distances import BaseDistance
from torch import Tensor, nn
from torch.nn import functional as F

from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.ranking.distances import cdist, distance, hardness, normalise
from anrot_lib.ranking.names import MARGINS
from anrot_lib.ranking.recipe import RankingRecipe
from anrot_lib.ranking.training.miners import Triplets, mine

SECOND_MARGINS = {"N": 0.1, "C": 0.1, "E": 0.5}  # of the quadruplet's negatives
LENGTH_WEIGHT = 5e-3  # of the mean length of the rows, beside the lifted structure and N-pair losses
BARLOW_ANCHORS = 3  # a class with fewer anchors in the batch has no Barlow Twins term


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, metric: str, margin: float) -> Tensor:
    """mean relu(d(a, p) - d(a, n) + margin) over rows (B, D) of normalised embeddings; for N in [0, 2 + margin]."""
    return (hardness(anchor, positive, negative, metric) + margin).relu().mean()


def structure_loss(
    anchor: Tensor, attacked: Tensor, positive: Tensor, metric: str = "N", margin: float = 0.0
) -> Tensor:
    """Intra-class structure (ICS): mean relu(d(a, a') - d(a, p) + margin).

    An attacked anchor a' shall stay nearer to its benign anchor a than the benign positive p is, which stands where a
    triplet has its negative. Gradients flow to all three.
    """
    return triplet_loss(anchor, attacked, positive, metric, margin)


@full_precision
def barlow_twins(first: Tensor, second: Tensor, off_diagonal: float = 5e-3) -> Tensor:
    """sum (1 - C_ii)^2 + off_diagonal sum C_ij^2 of the cross-correlation C of two views (B, D) (Zbontar et al. 2021).

    As published the deviation divides by B - 1 and the correlation by B, so C of equal views is (B - 1) / B.
    NaN where a dimension of a view is constant.
    """
    views = [(v - v.mean(0)) / v.std(0) for v in (first, second)]
    correlation = views[0].mT @ views[1] / len(first)
    diagonal = correlation.diagonal()
    squares = correlation.square()
    return (1 - diagonal).square().sum() + off_diagonal * (squares.sum() - squares.diagonal().sum())


def barlow_twins_by_class(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """Sum of `barlow_twins` over the classes with three rows or more; a class with a constant dimension is left out."""
    total = first.sum() * 0
    for label, count in zip(*torch.unique(labels, return_counts=True), strict=True):
        of_class = labels == label
        constant = any(bool((view[of_class] == view[of_class][0]).all(0).any()) for view in (first, second))
        if count >= BARLOW_ANCHORS and not constant:
            total = total + barlow_twins(first[of_class], second[of_class])
    return total


def _mean_of_positive(values: Tensor) -> Tensor:
    return values.relu().sum() / (values > 0).sum().clamp_min(1)


class RankingLoss(nn.Module):
    """Normalises, mines without gradient, and hands triplets to `score_triplets`. `metric` is what the net gets."""

    def __init__(self, recipe: RankingRecipe):
        super().__init__()
        name = recipe.parsed.loss
        self.metric, self.miner, self.batch = name.metric, name.miner, name.batch
        self.margin, self.parity = recipe.margin, recipe.parity

    def forward(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        rows = normalise(embeddings, self.metric)
        return self.score_triplets(rows, self.mine(rows.detach(), labels, generator), labels, generator)

    def mine(self, rows: Tensor, labels: Tensor, generator: torch.Generator, margin: float | None = None) -> Triplets:
        """Triplets of a batch of pairs, or those that a batch of another kind is made of."""
        if self.batch == "t":
            return Triplets(*torch.arange(len(rows), device=rows.device).view(-1, 3).unbind(1))
        if self.batch == "c":
            return draw_random_triplets(labels, generator)
        margin = self.margin if margin is None else margin
        return mine(self.miner, rows, labels, self.metric, margin, generator, self.parity)

    def score_triplets(self, rows: Tensor, triplets: Triplets, labels: Tensor, generator: torch.Generator) -> Tensor:
        raise NotImplementedError


def draw_random_triplets(labels: Tensor, generator: torch.Generator) -> Triplets:
    """For every row that has another of its class: that one and one of another class, by chance. May be empty."""
    same = labels.unsqueeze(1) == labels
    others = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    anchor = (others.any(1) & ~same.all(1)).nonzero().flatten()
    noise = torch.rand((2, *same.shape), generator=generator, device=generator.device).to(labels.device)
    positive, negative = (n.masked_fill(~m, -1).argmax(1) for n, m in zip(noise, (others, ~same), strict=True))
    return Triplets(anchor, positive[anchor], negative[anchor])


class TripletLoss(RankingLoss):
    def __init__(self, recipe: RankingRecipe):
        super().__init__(recipe)
        self.barlow = recipe.barlow_weight if recipe.parsed.loss.barlow else 0.0

    def score_triplets(self, rows: Tensor, triplets: Triplets, labels: Tensor, generator: torch.Generator) -> Tensor:
        if not len(triplets.anchor):
            return rows.sum() * 0  # a batch of single images in which no class occurs twice
        a, p, n = (rows[index] for index in triplets)
        loss = triplet_loss(a, p, n, self.metric, self.margin)
        if not self.barlow:
            return loss
        return loss + self.barlow * barlow_twins_by_class(a, p, labels[triplets.anchor])


class QuadrupletLoss(RankingLoss):
    """The triplet loss, and mean relu(d(a, p) - d(n, n2) + margin 2) for a second negative n2 of yet another class.

    parity="robrank": n2 is chosen among the negatives, and its place among them is then taken for a row of the batch;
    where the first negative is the only choice, any row is taken.
    """

    def score_triplets(self, rows: Tensor, triplets: Triplets, labels: Tensor, generator: torch.Generator) -> Tensor:
        a, p, n = (rows[index] for index in triplets)
        classes = labels[triplets.negative]
        other = classes.unsqueeze(1) != classes
        other = torch.where(other.any(1, keepdim=True), other, True)
        noise = torch.rand(other.shape, generator=generator, device=generator.device).to(rows.device)
        chosen = noise.masked_fill(~other, -1).argmax(1)
        if self.parity == "robrank":
            drawn = torch.randint(len(rows), chosen.shape, generator=generator, device=generator.device)
            second = rows[torch.where(other[:, 1:].any(1), chosen, drawn.to(chosen.device))]
        else:
            second = n[chosen]
        pull = distance(a, p, self.metric) - distance(n, second, self.metric) + SECOND_MARGINS[self.metric]
        return triplet_loss(a, p, n, self.metric, self.margin) + pull.relu().mean()


class RankingDistance(BaseDistance):
    """A metric of this kit as pytorch-metric-learning takes it; rows come normalised."""

    def __init__(self, metric: str):
        super().__init__(normalize_embeddings=False)
        self.metric = metric

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor | None) -> Tensor:
        return cdist(query_emb, query_emb if ref_emb is None else ref_emb, self.metric)

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        return distance(query_emb, ref_emb, self.metric)


def contrastive_loss(anchor: Tensor, positive: Tensor, negative: Tensor, metric: str) -> Tensor:
    """mean d(a, p) + mean+ (1 - d(a, n)); under C the push is relu(cos - 1), as published, and so 0."""
    pull = distance(anchor, positive, metric).mean()
    return pull if metric == "C" else pull + _mean_of_positive(1 - distance(anchor, negative, metric))


def signal_to_noise_loss(anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """mean+ (var(a - p) / var(a) - var(a - n) / var(a) + 0.2) + 0.005 mean |sum of a|."""
    noise = [(anchor - other).var(1) / anchor.var(1) for other in (positive, negative)]
    return _mean_of_positive(noise[0] - noise[1] + 0.2) + 5e-3 * anchor.sum(1).abs().mean()


class ContrastiveLoss(RankingLoss):
    def score_triplets(self, rows: Tensor, triplets: Triplets, labels: Tensor, generator: torch.Generator) -> Tensor:
        a, p, n = (rows[index] for index in triplets)
        return contrastive_loss(a, p, n, self.metric)


class SignalToNoiseLoss(RankingLoss):
    def score_triplets(self, rows: Tensor, triplets: Triplets, labels: Tensor, generator: torch.Generator) -> Tensor:
        a, p, n = (rows[index] for index in triplets)
        return signal_to_noise_loss(a, p, n)


class MarginLoss(RankingLoss):
    """mean+ (d(a, p) - beta + 0.2) + mean+ (beta - d(a, n) + 0.2), beta a parameter."""

    def __init__(self, recipe: RankingRecipe):
        super().__init__(recipe)
        self.beta = nn.Parameter(torch.tensor(recipe.beta))

    def score_triplets(self, rows: Tensor, triplets: Triplets, labels: Tensor, generator: torch.Generator) -> Tensor:
        a, p, n = (rows[index] for index in triplets)
        near, far = distance(a, p, self.metric), distance(a, n, self.metric)
        return _mean_of_positive(near - self.beta + 0.2) + _mean_of_positive(self.beta - far + 0.2)


# rows (2B, D), same (B, 2B): rows of an anchor's class, other (B, 2B): its negatives, metric -> loss
AllPairs = Callable[[Tensor, Tensor, Tensor, str], Tensor]


def _weigh_length(rows: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(rows, dim=1).mean()
    return length * LENGTH_WEIGHT


def lifted_loss(rows: Tensor, same: Tensor, other: Tensor, metric: str) -> Tensor:
    distances = distance(rows[::2].unsqueeze(1), rows, metric)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)[::2]
    pull = distances.masked_fill(~same | itself, -torch.inf).logsumexp(1)
    push = (MARGINS[metric] - distances).masked_fill(~other, -torch.inf).logsumexp(1)
    return (pull + push).relu().mean() + _weigh_length(rows)


def n_pair_loss(rows: Tensor, same: Tensor, other: Tensor, metric: str) -> Tensor:
    anchor = F.normalize(rows[::2], dim=1)
    inner = anchor @ rows.mT - (anchor * rows[1::2]).sum(1, keepdim=True)
    losses: Tensor = F.softplus(inner.masked_fill(~other, -torch.inf).logsumexp(1))
    return losses.mean() + _weigh_length(rows)


def multi_similarity_loss(rows: Tensor, same: Tensor, other: Tensor, metric: str) -> Tensor:
    unit = F.normalize(rows, dim=1)
    beyond = unit[::2] @ unit.mT - 0.5
    pull: Tensor = F.softplus((-2 * beyond).masked_fill(~same, -torch.inf).logsumexp(1)) / 2
    push: Tensor = F.softplus((40 * beyond).masked_fill(~other, -torch.inf).logsumexp(1)) / 40
    return (pull + push).mean()


ALL_PAIRS: dict[str, AllPairs] = {"glift": lifted_loss, "npair": n_pair_loss, "ms": multi_similarity_loss}


class AllPairsLoss(RankingLoss):
    """A loss over all pairs of the batch; the even rows are anchors. Where an anchor has no negative, a row drawn at
    random stands in."""

    def __init__(self, recipe: RankingRecipe):
        super().__init__(recipe)
        self.of_pairs = ALL_PAIRS[recipe.parsed.loss.kind]

    @full_precision
    def forward(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        rows = normalise(embeddings, self.metric)
        same = labels[::2].unsqueeze(1) == labels
        drawn = torch.randint(len(labels), (len(same), 1), generator=generator, device=generator.device)
        drawn = torch.zeros_like(same).scatter_(1, drawn.to(same.device), True)
        other = torch.where(same.all(1, keepdim=True), drawn, ~same)
        return self.of_pairs(rows, same, other, self.metric)


LOSSES: dict[str, type[RankingLoss]] = {
    "triplet": TripletLoss,
    "contrast": ContrastiveLoss,
    "margin": MarginLoss,
    "quad": QuadrupletLoss,
    "snr": SignalToNoiseLoss,
    **dict.fromkeys(ALL_PAIRS, AllPairsLoss),
}


def build(recipe: RankingRecipe) -> RankingLoss:
    """The loss that a recipe's name asks for."""
    return LOSSES[recipe.parsed.loss.kind](recipe)
