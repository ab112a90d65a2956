"""Losses of ranking models: triplets, quadruplets, the intra-class structure loss, and those of a library.

A loss is a module of (embeddings, labels, generator); embeddings are a net's raw output. The triplet loss, on which
the defenses rest, is three lines here; contrastive, margin, generalised lifted structure, N-pair, multi-similarity and
signal-to-noise losses are those of pytorch-metric-learning on this kit's distances and miners.
"""

import torch
from pytorch_metric_learning import losses as library
from pytorch_metric_learning.distances import BaseDistance, SNRDistance
from pytorch_metric_learning.miners import MultiSimilarityMiner
from pytorch_metric_learning.regularizers import LpRegularizer, ZeroMeanRegularizer
from torch import Tensor, nn

from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.ranking.distances import cdist, distance, hardness, normalise
from anrot_lib.ranking.names import MARGINS
from anrot_lib.ranking.recipe import RankingRecipe
from anrot_lib.ranking.training.miners import Triplets, mine

SECOND_MARGINS = {"N": 0.1, "C": 0.1, "E": 0.5}  # of the quadruplet's negatives
LENGTH_WEIGHT = 5e-3  # of the mean length of embeddings, beside the lifted structure and N-pair losses


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
    """sum (1 - C_ii)^2 + off_diagonal sum C_ij^2 of the cross-correlation C of two views (B, D) (Zbontar et al.)."""
    views = [(v - v.mean(0)) / v.std(0, correction=0).clamp_min(1e-6) for v in (first, second)]
    correlation = views[0].mT @ views[1] / len(first)
    diagonal = correlation.diagonal()
    squares = correlation.square()
    return (1 - diagonal).square().sum() + off_diagonal * (squares.sum() - squares.diagonal().sum())


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
            return random_triplets(labels, generator)
        margin = self.margin if margin is None else margin
        return mine(self.miner, rows, labels, self.metric, margin, generator, self.parity)

    def score_triplets(self, rows: Tensor, triplets: Triplets, labels: Tensor, generator: torch.Generator) -> Tensor:
        raise NotImplementedError


def random_triplets(labels: Tensor, generator: torch.Generator) -> Triplets:
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
        return loss + self.barlow * barlow_twins(a, p) if self.barlow else loss


class QuadrupletLoss(RankingLoss):
    """The triplet loss, and mean relu(d(a, p) - d(n, n2) + margin 2) for a second negative of yet another class."""

    def score_triplets(self, rows: Tensor, triplets: Triplets, labels: Tensor, generator: torch.Generator) -> Tensor:
        a, p, n = (rows[index] for index in triplets)
        classes = labels[triplets.negative]
        other = classes.unsqueeze(1) != classes
        other = torch.where(other.any(1, keepdim=True), other, True)
        noise = torch.rand(other.shape, generator=generator, device=generator.device).to(rows.device)
        second = n[noise.masked_fill(~other, -1).argmax(1)]
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


class LibraryLoss(RankingLoss):
    """A loss of pytorch-metric-learning, given the triplets of this kit's miner where it looks at triplets or pairs.

    contrast  mean d(a, p) + mean of the positive relu(1 - d(a, n))
    margin    relu(d(a, p) - beta + 0.2) + relu(beta - d(a, n) + 0.2) on unit vectors, beta learnt
    snr       triplet loss on var(a - x) / var(a), and 0.005 |mean of the sum of a row|
    glift, npair, ms   over all pairs of the batch; the first two with a small weight on the length of embeddings
    """

    def __init__(self, recipe: RankingRecipe):
        super().__init__(recipe)
        kind, metric = recipe.parsed.loss.kind, self.metric
        space = {"distance": RankingDistance(metric)}
        short = {"embedding_regularizer": LpRegularizer(), "embedding_reg_weight": LENGTH_WEIGHT}
        self.unit = kind == "margin"
        self.all_pairs = kind in ("glift", "npair", "ms")
        self.pairs = MultiSimilarityMiner(epsilon=0.1) if kind == "ms" else None
        centred = {"embedding_regularizer": ZeroMeanRegularizer(), "embedding_reg_weight": 5e-3}
        self.loss = {
            "contrast": lambda: library.ContrastiveLoss(pos_margin=0, neg_margin=1, **space),
            "margin": lambda: library.MarginLoss(margin=0.2, beta=recipe.beta, learn_beta=True, **space),
            "glift": lambda: library.GeneralizedLiftedStructureLoss(neg_margin=MARGINS[metric], **space, **short),
            "npair": lambda: library.NPairsLoss(**short),
            "ms": lambda: library.MultiSimilarityLoss(alpha=2, beta=40, base=0.5),
            "snr": lambda: library.TripletMarginLoss(
                margin=0.2, distance=SNRDistance(normalize_embeddings=False), **centred
            ),
        }[kind]()

    def forward(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        return super().forward(normalise(embeddings, "N") if self.unit else embeddings, labels, generator)

    def score_triplets(self, rows: Tensor, triplets: Triplets, labels: Tensor, generator: torch.Generator) -> Tensor:
        chosen: tuple[Tensor, ...] | None = triplets
        if self.all_pairs:
            chosen = self.pairs(rows, labels) if self.pairs else None
        loss: Tensor = self.loss(rows, labels, chosen)
        return loss


def build(recipe: RankingRecipe) -> RankingLoss:
    """The loss that a recipe's name asks for."""
    kind = recipe.parsed.loss.kind
    return {"triplet": TripletLoss, "quad": QuadrupletLoss}.get(kind, LibraryLoss)(recipe)
