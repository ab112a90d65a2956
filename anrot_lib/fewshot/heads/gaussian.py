"""ANROT's heads: a class is the Gaussian of its descriptors; a query is compared with it by a divergence."""

import torch
from torch import Tensor, nn

from anrot_lib.divergences import gaussian, measures, stable
from anrot_lib.divergences.gaussian import DiagonalGaussian, full_precision
from anrot_lib.fewshot.heads.contract import ScaledHead, Scores, mark_membership


class GaussianHead(ScaledHead):
    """ANROT's aggregation: a query is the Gaussian of its positions, a class that of all positions of its shots.

    logits = -scale x D, D per dimension so that the scale does not depend on the width C:
      "bhattacharyya": D_B / C, the mean over dimensions (ANROT);
      "hellinger":     sqrt(1 - exp(-D_B / C)), the Hellinger distance of the geometric-mean coefficient (HELA-VFA);
      "joint-hellinger": sqrt(1 - exp(-D_B)), which saturates (kept to show that it does);
      "kl", "wasserstein2": KL(query || class) / C and W2^2 / C.
    Our reading: the published code has plain mean prototypes and no distribution (anrot_lib.fewshot.heads.published).
    """

    embedding_kind = "gaussian"

    def __init__(self, channels: int, divergence: str = "bhattacharyya", scale: float | None = None):
        super().__init__(scale or {"hellinger": 20.0, "joint-hellinger": 10.0}.get(divergence, float(channels)))
        self.channels, self.divergence = channels, divergence

    def describe(self, maps: Tensor) -> DiagonalGaussian:
        return gaussian.estimate_from_maps(maps)

    def fit_described(self, support: DiagonalGaussian, labels: Tensor, mask: Tensor | None = None) -> DiagonalGaussian:
        return gaussian.pool(support.map(lambda t: t.unsqueeze(1)), mark_membership(labels, mask))

    @full_precision
    def score_described(
        self, model: DiagonalGaussian, query: DiagonalGaussian, generator: torch.Generator | None = None
    ) -> Scores:
        return Scores(self._logits(self._divergence(query, model)), {}, query)

    def _divergence(self, query: DiagonalGaussian, model: DiagonalGaussian) -> Tensor:
        if self.divergence == "joint-hellinger":
            return measures.pairwise("hellinger", query, model)
        if self.divergence == "hellinger":
            return stable.compute_hellinger(measures.pairwise("bhattacharyya", query, model) / self.channels)
        return measures.pairwise(self.divergence, query, model) / self.channels


class VariationalHead(GaussianHead):
    """ "Variational, our reading": each image becomes N(mu, sigma^2) by two linear layers on its averaged features.

    A class is the Gaussian with the moments of the mixture of its shots'. In training a query's mean is replaced
    by a reparameterised sample mu + sigma z, and `penalty` is the divergence of the queries to N(0, 1), summed
    over dimensions and divided by C. Nothing of the kind is in the published code; this is what its text suggests.
    """

    samples = True
    PENALTY_WEIGHT = 1e-2  # of the same order as the cross-entropy when mu ~ 1; larger values collapse the classes

    def __init__(self, channels: int, divergence: str = "bhattacharyya"):
        super().__init__(channels, divergence)
        self.to_mean = nn.Linear(channels, channels)
        self.to_log_var = nn.Linear(channels, channels)

    def describe(self, maps: Tensor) -> DiagonalGaussian:
        pooled = maps.mean((-2, -1))
        # tanh bounds the variance to [exp(-4), exp(4)]: D_B needs it positive, and exp must not overflow.
        log_var = 4 * torch.tanh(self.to_log_var(pooled).float() / 4)
        return DiagonalGaussian(self.to_mean(pooled).float(), log_var.exp())

    @full_precision
    def score_described(
        self, model: DiagonalGaussian, query: DiagonalGaussian, generator: torch.Generator | None = None
    ) -> Scores:
        penalty = None
        if generator is not None:
            prior = measures.to_standard("hellinger2", query.mean, query.var.log())
            penalty = self.PENALTY_WEIGHT * prior.mean()
            noise = torch.randn(query.mean.shape, generator=generator, device=generator.device)
            query = query._replace(mean=query.mean + query.var.sqrt() * noise.to(query.mean.device))
        return Scores(self._logits(self._divergence(query, model)), {}, query, penalty)
