"""Heads: from feature maps of a support set and of queries to logits. Everything after the encoder is here.

`model = head.fit(support_maps, labels, mask)` once an episode, then `head.score(model, query_maps)`. Both first
reduce each map to what the head needs of it (`describe`), so that evaluation can keep the descriptions of all
test images instead of their maps. E episodes at once is the normal case; every tensor leads with E.

Logits = -scale x divergence; `_logits` is the one place where the sign turns.
"""

import math
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import DiagonalGaussian

EmbeddingKind = Literal["vector", "gaussian"]


class Scores(NamedTuple):
    """What a head says of queries: logits (E, n, way); further levels' logits by name; embeddings for metric
    losses (a Gaussian or a tensor (E, n, C)); a penalty to add to the loss (a scalar) if the head has one."""

    logits: Tensor
    levels: dict[str, Tensor]
    embeddings: DiagonalGaussian | Tensor | None
    penalty: Tensor | None = None


def mark_membership(labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """(E, way, S) weights: 1 where support image s is of that class and not masked out, else 0."""
    way = int(labels.max()) + 1
    weights = labels.unsqueeze(1) == torch.arange(way, device=labels.device)[:, None]
    return (weights if mask is None else weights & mask.unsqueeze(1)).float()


INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_labels(support: Tensor, labels: Tensor, mask: Tensor | None = None) -> None:
    """UserError unless labels (E, S) are integers 0..way-1 that fit the support (E, S, ...), each class with an image.

    A class without an image would have no model, and labels 1..way or floats would be compared with the wrong classes:
    accuracies near 0 or at chance without a word.
    """
    kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
    if kind not in INTEGERS:
        raise UserError(f"support labels must be a tensor of integers, 0 to way - 1, got {kind}; use labels.long()")
    if labels.ndim != 2 or labels.shape[1] != support.shape[1] or labels.shape[0] not in (1, support.shape[0]):
        shapes = f"{tuple(labels.shape)} for support {tuple(support.shape[:2])}"
        raise UserError(f"support labels must have one label for each support image, (E, S), got {shapes}")
    way = int(labels.max()) + 1 if labels.numel() else 0
    complete = 1 <= way <= labels.shape[1] and int(labels.min()) >= 0
    if complete:
        of_class = labels.unsqueeze(-1) == torch.arange(way, device=labels.device)
        complete = bool((of_class if mask is None else of_class & mask.unsqueeze(-1)).any(1).all())
    if not complete:
        shown = ", ".join(str(label) for label in sorted(set(labels.flatten().tolist()))[:10])
        raise UserError(f"support labels must be 0 to way - 1, each with a support image that counts; got {shown}")


class Head(nn.Module):
    """The contract. A subclass writes `describe`, `fit_described` and `score_described`.

    support_maps (E, S, C, h, w), labels (E, S) int in 0..way-1, mask (E, S) bool or None (all shots count);
    query_maps (E, n, C, h, w). `model` is a pytree of tensors that lead with E, so attacks can pick episodes.
    With a `generator` a head may sample (training only); without it scores are deterministic.

    A subclass also declares, where they differ from the defaults:
    batch_dependent  whether one query's logits depend on the queries beside it. Such a head is transductive and its
                     accuracies are not comparable; `trial.measure_batch_dependence` checks the claim for every head.
    samples          whether a generator makes its scores random draws.
    embedding_kind   what `Scores.embeddings` are: "vector", tensors (E, n, C), or "gaussian", diagonal Gaussians.
    """

    batch_dependent: bool = False
    samples: bool = False
    embedding_kind: ClassVar[EmbeddingKind] = "vector"

    def look(self, backbone: nn.Module, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to the maps (B, C', h, w) that `describe` takes; some heads need several passes."""
        maps: Tensor = backbone(images)
        return maps

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
        """The model of E episodes. UserError for labels that are not 0..way-1, each with an image that counts."""
        check_labels(support_maps, labels, mask)
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
