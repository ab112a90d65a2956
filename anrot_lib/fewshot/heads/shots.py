"""Heads that compare a query with every shot by itself and leave out the extremes: what a few shots cannot move.

A class of K shots has the divergences d_(1) <= ... <= d_(K) to a query. Its divergence is the mean of those that are
left without the t smallest and the t largest:

    D = mean(d_(t+1), ..., d_(K-t)),   t = floor((K - 1) / 2) for the median, floor(3 K / 10) for the trimmed mean.

A shot that is replaced by anything changes one of the d, so t of them cannot move D beyond the divergences that the
other shots have (`fewshot.poisoning`). A mean of the features, or a pooled Gaussian, has no such bound.
"""

import math
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from anrot_lib.divergences import gaussian, measures
from anrot_lib.divergences.gaussian import DiagonalGaussian, full_precision
from anrot_lib.fewshot.heads.contract import ScaledHead, Scores, mark_membership
from anrot_lib.fewshot.heads.prototypes import average_mirrored


class ShotModel(NamedTuple):
    """The descriptions of the support images, with (E, S) leading, and which class each is of: (E, way, S), 0 or 1."""

    shots: Any
    members: Tensor


def count_trimmed(shots: Tensor, rule: str) -> Tensor:
    """How many divergences are left out at each end, of so many shots (integers, any shape)."""
    return (shots - 1) // 2 if rule == "median" else 3 * shots // 10


def average_middle(divergences: Tensor, members: Tensor, rule: str) -> Tensor:
    """The mean of the middle divergences of each class: (E, n, S) of all shots, members (E, way, S) -> (E, n, way).

    NaN counts as infinite, so that a shot without a meaning is one of those that are left out.
    """
    shots = divergences.unsqueeze(2)
    ordered = torch.where((members > 0).unsqueeze(1) & ~shots.isnan(), shots, torch.inf).sort(-1).values
    count = members.sum(-1, keepdim=True).long()
    trimmed, rank = count_trimmed(count, rule), torch.arange(ordered.shape[-1], device=ordered.device)
    middle = ((rank >= trimmed) & (rank < count - trimmed)).unsqueeze(1)
    return torch.where(middle, ordered, 0.0).sum(-1) / middle.sum(-1)


class ShotHead(ScaledHead):
    """logits = -scale x D, D the mean of the middle per-shot divergences of a class; rule "median" or "trimmed".

    A subclass says what a divergence is. `largest` is what arbitrary features can make of one; the least is 0.
    """

    largest: ClassVar[float] = math.inf

    def __init__(self, scale: float, rule: str):
        super().__init__(scale)
        self.rule = rule

    def measure_shots(self, shots: Any, query: Any) -> Tensor:
        """The divergence of each query to each support image, (E, n, S), in [0, largest], from their descriptions."""
        raise NotImplementedError

    def fit_described(self, support: Any, labels: Tensor, mask: Tensor | None = None) -> ShotModel:
        episodes = len(support.mean if isinstance(support, DiagonalGaussian) else support)
        return ShotModel(support, mark_membership(labels, mask).expand(episodes, -1, -1))

    @full_precision
    def score_described(self, model: ShotModel, query: Any, generator: torch.Generator | None = None) -> Scores:
        divergence = average_middle(self.measure_shots(model.shots, query), model.members, self.rule)
        return Scores(self._logits(divergence), {}, query)


class CosineShots(ShotHead):
    """Divergence of a shot: 1 - cosine similarity of averaged features, in [0, 2]."""

    largest = 2.0

    def __init__(self, channels: int, rule: str = "median"):
        super().__init__(10.0, rule)

    def describe(self, maps: Tensor) -> Tensor:
        return maps.mean((-2, -1)).float()

    def measure_shots(self, shots: Tensor, query: Tensor) -> Tensor:
        x, y = nn.functional.normalize(query, dim=-1), nn.functional.normalize(shots, dim=-1)
        return (1 - x @ y.mT).clamp(0, self.largest)


class MirroredShots(CosineShots):
    """`CosineShots` of features that are averaged with those of the mirror image, as `MirroredPrototypes` has them.

    A replaced shot changes its own average alone, so what stands replaced shots is as exact as without mirror images.
    """

    def look(self, backbone: nn.Module, images: Tensor) -> Tensor:
        return average_mirrored(backbone, images)


class GaussianShots(ShotHead):
    """Divergence of a shot: the Bhattacharyya distance D_B / C of the Gaussians of the positions, in [0, inf).

    Each shot is a Gaussian of its own, where `heads.gaussian.GaussianHead` pools those of a class.
    """

    embedding_kind = "gaussian"

    def __init__(self, channels: int, rule: str = "median"):
        super().__init__(float(channels), rule)
        self.channels = channels

    def describe(self, maps: Tensor) -> DiagonalGaussian:
        return gaussian.estimate_from_maps(maps)

    def measure_shots(self, shots: DiagonalGaussian, query: DiagonalGaussian) -> Tensor:
        return measures.pairwise("bhattacharyya", query, shots) / self.channels
