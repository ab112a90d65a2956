"""The distribution level: the Gaussian of a query's positions against that of all positions of a class's shots.

Unlike `heads.GaussianHead` the covariance is full, or shrunk low rank where channels exceed samples. A class's
covariance also holds the variance between its shots, so with several shots a correct class is wider than its queries.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.divergences import gaussian, measures, stable
from anrot_lib.divergences.covariance import check_shrinkage, estimate_gaussian
from anrot_lib.divergences.gaussian import Gaussian, LowRankGaussian
from anrot_lib.divergences.pairs import widen
from anrot_lib.fewshot.levels.matching import ClassMaps, check_places, mark_counted
from anrot_lib.fewshot.levels.names import MEASURES

UNSHRUNK = ("wasserstein2", "wasserstein2-frobenius")  # finite for singular covariances, so left alone


@dataclass(frozen=True)
class DistributionLevel:
    """The distribution level as part of a head: divergence = D / C, the mean over dimensions (Hellinger: of D_B / C).

    shrinkage and amount: as in `covariance.estimate_gaussian`; None means trace 0.1, none for UNSHRUNK.
    covariance "full" takes low rank by itself where (M + 1) h w < C; "diagonal" is `gaussian.estimate_diagonal`.
    normalise: unit channel vectors first, so that the trace of a covariance is at most n / (n - 1).
    """

    measure: str = "kl"
    shrinkage: str | None = None
    amount: float | None = None
    covariance: str = "full"
    normalise: bool = False

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise UserError(f"unknown measure {self.measure!r}; choose one of {', '.join(MEASURES)}")
        if self.covariance not in ("full", "diagonal"):
            raise UserError(f"unknown covariance {self.covariance!r}; choose full or diagonal")
        if self.covariance == "full":
            check_shrinkage(self._shrinkage, self.amount)
        elif self.shrinkage is not None or self.amount is not None:
            raise UserError("a diagonal covariance is not shrunk; leave shrinkage and amount out")
        elif self.measure in ("wasserstein2-roots", "wasserstein2-frobenius"):
            raise UserError(f"{self.measure} is for full covariances")

    @property
    def _shrinkage(self) -> str:
        return self.shrinkage or ("none" if self.measure in UNSHRUNK else "trace")

    @property
    def scale(self) -> float | None:
        """Where the learnt scale of a head starts; None means the number of channels."""
        return 20.0 if self.measure == "hellinger" else None

    def fit(self, pool: ClassMaps) -> Gaussian:
        """The Gaussian of each class, (E, way)."""
        check_places(pool, "the distribution level takes the covariance over the places of a map")
        per_shot = pool.maps.shape[-1] * pool.maps.shape[-2]
        samples = pool.maps.flatten(-2).transpose(2, 3).flatten(-2)  # (E, way, C, M h w)
        low_rank = samples.shape[-1] + per_shot < samples.shape[-2]
        return self._gaussian(samples, mark_counted(pool, per_shot), low_rank)

    def divergence(self, pool: ClassMaps, model: Gaussian, query: Tensor) -> Tensor:
        """(E, n, C, h, w) -> (E, n, way)"""
        low_rank, channels = isinstance(model, LowRankGaussian), query.shape[-3]
        queries = self._gaussian(query.flatten(-2), None, low_rank)
        if self.measure == "hellinger":
            divergence = stable.compute_hellinger(measures.pairwise("bhattacharyya", queries, model) / channels)
        elif self.measure == "kl-reverse":
            divergence = measures.pairwise("kl", model, queries).mT / channels
        else:
            divergence = measures.pairwise(self.measure, queries, model) / channels
        return divergence.to(query.dtype)

    def _gaussian(self, samples: Tensor, mask: Tensor | None, low_rank: bool) -> Gaussian:
        """Samples (..., C, n) to Gaussians; in float64, as covariances and their inverses lose half the digits."""
        samples = widen(samples)
        if self.normalise:
            samples = torch.nn.functional.normalize(samples, dim=-2)
        if self.covariance == "diagonal":
            return gaussian.estimate_diagonal(samples, None if mask is None else mask.to(samples.dtype), axis=-1)
        return estimate_gaussian(
            samples, mask, self._shrinkage, self.amount, form="low rank" if low_rank else "full", axis=-1
        )
