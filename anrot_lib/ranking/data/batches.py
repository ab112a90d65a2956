"""The order of the training images: every image is an anchor once an epoch, the last batch may be smaller.

An epoch's order comes from a stream named after it, so a resumed training needs only its epoch and its place there.
"""

import math

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core import randomness
from anrot_lib.core.errors import UserError


class Sampler:
    """Row numbers for batches of `batch` items.

    labels   (N,) of the training images; rows are numbers into them
    kind     "p": pairs a0, p0, a1, p1, ...: two images of a class each (SPC-2); "c": single images;
             "t": triples anchor, positive, any other image
    A positive is uniform over the anchor's class without the anchor. With parity="robrank" it may be the anchor, and
    the third of a triple may be of the same class.
    """

    def __init__(self, labels: Tensor | np.ndarray, batch: int, kind: str, seed: int, parity: str = "fixed"):
        self.labels = torch.as_tensor(np.asarray(labels), dtype=torch.int64)
        self.batch, self.kind, self.seed, self.original = batch, kind, seed, parity == "robrank"
        counts = torch.bincount(self.labels)
        if len(self.labels) < 2 or (kind != "c" and counts.max() < 2):
            raise UserError("training needs a class with two images at least")
        self.counts = counts[self.labels]
        self.by_class = torch.argsort(self.labels, stable=True)
        self.first = (counts.cumsum(0) - counts)[self.labels]  # where an image's class begins in by_class
        self.place = torch.empty_like(self.labels)
        self.place[self.by_class] = torch.arange(len(self.labels))
        self.place -= self.first
        self._epoch: tuple[int, tuple[Tensor, ...]] = (-1, ())  # the last one drawn

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self.labels) / self.batch)

    def select(self, step: int) -> Tensor:
        """The batch of a step, counted from the first epoch on."""
        number, place = divmod(step, self.steps)
        if self._epoch[0] != number:
            self._epoch = number, self.draw_epoch(number)
        return self._epoch[1][place]

    def draw_epoch(self, number: int) -> tuple[Tensor, ...]:
        """The batches of an epoch: row numbers (2B,), (B,) or (3B,)."""
        generator = randomness.make_generator(self.seed, f"ranking/order/{number}")
        order = torch.randperm(len(self.labels), generator=generator)
        if self.kind == "c":
            items = order.unsqueeze(1)
        elif self.kind == "p":
            items = torch.stack([order, self._draw_partners(order, generator)], 1)
        else:
            items = torch.stack([order, self._draw_partners(order, generator), self._draw_others(order, generator)], 1)
        return tuple(part.flatten() for part in torch.split(items, self.batch))

    def _draw_partners(self, anchors: Tensor, generator: torch.Generator) -> Tensor:
        """An image of the class of each anchor (B,); a class of one image gives that image."""
        noise = torch.rand(len(anchors), generator=generator, dtype=torch.float64)
        counts, place = self.counts[anchors], self.place[anchors]
        if self.original:
            chosen = (noise * counts).long()
        else:
            chosen = (noise * (counts - 1).clamp_min(1)).long()
            chosen += (chosen >= place) & (counts > 1)
        return self.by_class[self.first[anchors] + chosen]

    def _draw_others(self, anchors: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.rand(len(anchors), generator=generator, dtype=torch.float64)
        if self.original:
            return (noise * len(self.labels)).long()
        outside = len(self.labels) - self.counts[anchors]
        if (outside == 0).any():
            raise UserError("triples need two classes at least")
        chosen = (noise * outside).long()
        chosen += torch.where(chosen >= self.first[anchors], self.counts[anchors], 0)
        return self.by_class[chosen]
