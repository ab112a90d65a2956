"""Heads: from feature maps of a support set and of queries to logits. Everything after the encoder is here.

`model = head.fit(support_maps, labels, mask)` once an episode, then `head.score(model, query_maps)`. Both first
reduce each map to what the head needs of it (`describe`), so that evaluation can keep the descriptions of all
test images instead of their maps. E episodes at once is the normal case; every tensor leads with E.

Logits = -scale x divergence; `_logits` is the one place where the sign turns.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from anrot_lib import divergences, gaussians
from anrot_lib.gaussians import Gaussian, full_precision


class Scores(NamedTuple):
    """What a head says of queries: logits (E, n, way); further levels' logits by name; embeddings for metric
    losses (a Gaussian or a tensor (E, n, C)); a penalty to add to the loss (a scalar) if the head has one."""

    logits: Tensor
    levels: dict[str, Tensor]
    embeddings: Gaussian | Tensor | None
    penalty: Tensor | None = None


def membership(labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """(E, way, S) weights: 1 where support image s is of that class and not masked out, else 0."""
    way = int(labels.max()) + 1
    weights = labels.unsqueeze(1) == torch.arange(way, device=labels.device)[:, None]
    return (weights if mask is None else weights & mask.unsqueeze(1)).float()


class Head(nn.Module):
    """The contract. A subclass writes `describe`, `fit_described` and `score_described`.

    support_maps (E, S, C, h, w), labels (E, S) int in 0..way-1, mask (E, S) bool or None (all shots count);
    query_maps (E, n, C, h, w). `model` is a pytree of tensors that lead with E, so attacks can pick episodes.
    With a `generator` a head may sample (training only); without it scores are deterministic.
    batch_dependent: whether one query's logits depend on the queries beside it. Such a head is transductive and
    its accuracies are not comparable; the probe in `classifiers` checks the claim for every head.
    """

    batch_dependent = False

    def describe(self, maps: Tensor) -> Any:
        """What is kept of each map (..., C, h, w): a tensor or a NamedTuple of tensors with the same leading dims."""
        raise NotImplementedError

    def fit_described(self, support: Any, labels: Tensor, mask: Tensor | None = None) -> Any:
        raise NotImplementedError

    def score_described(self, model: Any, query: Any, generator: torch.Generator | None = None) -> Scores:
        raise NotImplementedError

    def shares(self) -> dict[str, float]:
        """Of a head with several levels, each level's share of the logits, over training so far; else nothing."""
        return {}

    def fit(self, support_maps: Tensor, labels: Tensor, mask: Tensor | None = None) -> Any:
        return self.fit_described(self.describe(support_maps), labels, mask)

    def score(self, model: Any, query_maps: Tensor, generator: torch.Generator | None = None) -> Scores:
        return self.score_described(model, self.describe(query_maps), generator)


class ScaledHead(Head):
    """A head with a learnt positive scale: logits = -scale x divergence. Stored as its logarithm."""

    def __init__(self, scale: float):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def _logits(self, divergence: Tensor) -> Tensor:
        return -self.log_scale.exp() * divergence


class Prototypes(ScaledHead):
    """Nearest class mean of globally averaged features (Snell et al. 2017).

    metric "euclid": squared Euclidean distance; "cosine": 1 - cosine similarity. Scale learnt, from 1 or 10.
    """

    def __init__(self, channels: int, metric: str = "euclid"):
        super().__init__({"euclid": 1.0, "cosine": 10.0}[metric])
        self.channels, self.metric = channels, metric

    def describe(self, maps: Tensor) -> Tensor:
        return maps.mean((-2, -1)).float()

    def fit_described(self, support: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        weights = membership(labels, mask)
        return weights @ support / weights.sum(-1, keepdim=True)

    @full_precision
    def score_described(self, model: Tensor, query: Tensor, generator=None) -> Scores:
        if self.metric == "cosine":
            x, y = nn.functional.normalize(query, dim=-1), nn.functional.normalize(model, dim=-1)
            return Scores(self._logits(1 - x @ y.mT), {}, query)
        squares = query.square().sum(-1, keepdim=True) + model.square().sum(-1).unsqueeze(-2)
        return Scores(self._logits(squares - 2 * query @ model.mT), {}, query)


class GaussianHead(ScaledHead):
    """ANROT's aggregation: a query is the Gaussian of its positions, a class that of all positions of its shots.

    logits = -scale x D, D per dimension so that the scale does not depend on the width C:
      "bhattacharyya": D_B / C, the mean over dimensions (ANROT);
      "hellinger":     sqrt(1 - exp(-D_B / C)), the Hellinger distance of the geometric-mean coefficient (HELA-VFA);
      "joint-hellinger": sqrt(1 - exp(-D_B)), which saturates (kept to show that it does);
      "kl", "wasserstein2": KL(query || class) / C and W2^2 / C.
    Our reading: the published code has plain mean prototypes and no distribution (anrot_lib.audit.published).
    """

    def __init__(self, channels: int, divergence: str = "bhattacharyya", scale: float | None = None):
        super().__init__(scale or {"hellinger": 20.0, "joint-hellinger": 10.0}.get(divergence, float(channels)))
        self.channels, self.divergence = channels, divergence

    def describe(self, maps: Tensor) -> Gaussian:
        return gaussians.of_maps(maps)

    def fit_described(self, support: Gaussian, labels: Tensor, mask: Tensor | None = None) -> Gaussian:
        return gaussians.pool(support.map(lambda t: t.unsqueeze(1)), membership(labels, mask))

    @full_precision
    def score_described(self, model: Gaussian, query: Gaussian, generator=None) -> Scores:
        return Scores(self._logits(self._divergence(query, model)), {}, query)

    def _divergence(self, query: Gaussian, model: Gaussian) -> Tensor:
        if self.divergence == "joint-hellinger":
            return divergences.pairwise("hellinger", query, model)
        if self.divergence == "hellinger":
            return divergences.hellinger_of(divergences.pairwise("bhattacharyya", query, model) / self.channels)
        return divergences.pairwise(self.divergence, query, model) / self.channels


class VariationalHead(GaussianHead):
    """ "Variational, our reading": each image becomes N(mu, sigma^2) by two linear layers on its averaged features.

    A class is the Gaussian with the moments of the mixture of its shots'. In training a query's mean is replaced
    by a reparameterised sample mu + sigma z, and `penalty` is the divergence of the queries to N(0, 1), summed
    over dimensions and divided by C. Nothing of the kind is in the published code; this is what its text suggests.
    """

    PENALTY_WEIGHT = 1e-2  # of the same order as the cross-entropy when mu ~ 1; larger values collapse the classes

    def __init__(self, channels: int, divergence: str = "bhattacharyya"):
        super().__init__(channels, divergence)
        self.to_mean = nn.Linear(channels, channels)
        self.to_log_var = nn.Linear(channels, channels)

    def describe(self, maps: Tensor) -> Gaussian:
        pooled = maps.mean((-2, -1))
        # tanh bounds the variance to [exp(-4), exp(4)]: D_B needs it positive, and exp must not overflow.
        log_var = 4 * torch.tanh(self.to_log_var(pooled).float() / 4)
        return Gaussian(self.to_mean(pooled).float(), log_var.exp())

    @full_precision
    def score_described(self, model: Gaussian, query: Gaussian, generator=None) -> Scores:
        penalty = None
        if generator is not None:
            prior = divergences.to_standard("hellinger2", query.mean, query.var.log())
            penalty = self.PENALTY_WEIGHT * prior.mean()
            noise = torch.randn(query.mean.shape, generator=generator, device=generator.device)
            query = query._replace(mean=query.mean + query.var.sqrt() * noise.to(query.mean.device))
        return Scores(self._logits(self._divergence(query, model)), {}, query, penalty)
