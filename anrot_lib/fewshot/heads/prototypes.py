"""Class means of averaged features, compared by the squared Euclidean distance or the cosine (Snell et al. 2017)."""

import torch
from torch import Tensor, nn

from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.fewshot.heads.contract import ScaledHead, Scores, mark_membership


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
        weights = mark_membership(labels, mask)
        return weights @ support / weights.sum(-1, keepdim=True)

    @full_precision
    def score_described(self, model: Tensor, query: Tensor, generator: torch.Generator | None = None) -> Scores:
        if self.metric == "cosine":
            x, y = nn.functional.normalize(query, dim=-1), nn.functional.normalize(model, dim=-1)
            return Scores(self._logits(1 - x @ y.mT), {}, query)
        squares = query.square().sum(-1, keepdim=True) + model.square().sum(-1).unsqueeze(-2)
        return Scores(self._logits(squares - 2 * query @ model.mT), {}, query)


class MirroredPrototypes(Prototypes):
    """Prototypes of features that are averaged with those of the mirror image; support, queries and attacks alike.

    z(x) = (f(x) + f(mirror(x))) / 2, with f the averaged features: two passes of the encoder an image. For images whose
    class does not change in a mirror: photographs, but not characters.
    """

    def look(self, backbone: nn.Module, images: Tensor) -> Tensor:
        return average_mirrored(backbone, images)


def average_mirrored(backbone: nn.Module, images: Tensor) -> Tensor:
    """Images (B, C, H, W) to the mean (B, C', h, w) of their maps and the turned maps of their mirror images."""
    maps: Tensor = backbone(images) + backbone(images.flip(-1)).flip(-1)
    return maps / 2
