"""A test set as retrieval and ranking attacks see it: fixed embeddings, labels, and distances to all of them.

Queries are rows of the gallery themselves, so a query's own row ("self") is known by its number. It is never looked
for by distance: a copy of an image may lie just as near.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.ranking.distances import cdist, check_metric

BLOCK_NUMBERS = 2**24  # of one block of a distance matrix: 64 MiB in float32, whatever the size of the gallery

Batch = Callable[[np.ndarray], Tensor]  # row numbers (B,) -> images (B, C, H, W) in [0, 1]


def compute_chance(labels: Tensor) -> float:
    """R@1 of a ranking drawn at random, in [0, 1]: the share of same-class rows, over queries that have any."""
    count = torch.bincount(labels).double()
    count = count[count > 1]
    return float((count * (count - 1)).sum() / (count.sum() * (len(labels) - 1))) if len(count) else 0.0


class Labelled:
    """Rows with class labels (N,) int64."""

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def by_class(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows in the order of their classes; of each class, where it starts in that order and how many it has."""
        count = torch.bincount(self.labels)
        return self.labels.argsort(stable=True), count.cumsum(0) - count, count

    def classmates(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of each query's class, padded (B, m), and which of them count: not padding, not the query itself."""
        order, start, count = self.by_class
        label = self.labels[rows, None]
        place = torch.arange(int(count[label].max()), device=rows.device)
        real = place < count[label]
        columns = order[torch.where(real, start[label] + place, 0)]
        return columns, real & (columns != rows[:, None])


@dataclass(frozen=True, eq=False)
class Gallery(Labelled):
    """Embeddings (N, D) as `normalise` gives them, class labels (N,) int64, the metric N, C, E or H.

    UserError if they do not fit together, hold a number that is not finite, or are fewer than two rows.
    """

    embeddings: Tensor
    labels: Tensor
    metric: str

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if self.embeddings.ndim != 2 or self.labels.shape != self.embeddings.shape[:1] or len(self.labels) < 2:
            raise UserError(
                f"a gallery takes embeddings (N, D) and labels (N,) of at least two images, "
                f"got {tuple(self.embeddings.shape)} and {tuple(self.labels.shape)}"
            )
        check_finite(bool(torch.isfinite(self.embeddings).all()))

    @cached_property
    def centre(self) -> Tensor:
        return self.embeddings.mean(0)

    @cached_property
    def centred(self) -> Tensor:
        return self.embeddings - self.centre

    @cached_property
    def columns(self) -> Tensor:
        """`centred` turned (D, N), laid out for the product that every step of an attack computes: a sixth faster."""
        return self.centred.T.contiguous()

    @cached_property
    def squares(self) -> Tensor:
        return self.centred.square().sum(1)

    @full_precision
    def distances(self, embeddings: Tensor) -> Tensor:
        """Distances by the metric of rows (B, D) to the whole gallery: (B, N). Without a gradient.

        One matrix product, of vectors centred at the gallery's mean: distances stay the same, and where a collapsed
        net puts all images near one point, they keep their digits.
        """
        with torch.no_grad():
            if self.metric == "H":
                return cdist(embeddings, self.embeddings, "H")
            squares = self.squared_distances(embeddings)
            return squares.mul_(0.5) if self.metric == "C" else squares.sqrt_()

    def squared_distances(self, embeddings: Tensor) -> Tensor:
        """||u - x||^2 of rows (B, D) to the whole gallery, at least 0: (B, N). On unit vectors 2 (1 - cos)."""
        return compute_squares(embeddings - self.centre, self.columns, self.squares)

    def mark_class(self, rows: Tensor) -> Tensor:
        """Which rows are of the class of each of `rows` (B,): bool (B, N), the row itself included."""
        return self.labels == self.labels[rows, None]


def cut_queries(n: int, rows: int) -> Iterator[slice]:
    """Slices of n queries whose matrices of distances to so many rows stay within BLOCK_NUMBERS."""
    size = max(1, BLOCK_NUMBERS // rows)
    return (slice(at, min(at + size, n)) for at in range(0, n, size))


def compute_squares(rows: Tensor, columns: Tensor, squares: Tensor) -> Tensor:
    """||r - c||^2, at least 0, of rows (B, D) to columns (D, n), whose squared lengths (n,) are given: (B, n)."""
    table = torch.addmm(squares, rows, columns, alpha=-2)
    return table.add_(rows.square().sum(1, keepdim=True)).clamp_(min=0)


def check_finite(finite: bool) -> None:
    """UserError for embeddings that are not finite."""
    if not finite:
        raise UserError("the net gives embeddings that are not finite numbers; its training has diverged")


def sort_rows(distances: Tensor) -> Tensor:
    """Rows in ascending order; may write over its argument. numpy sorts plain numbers several times faster."""
    if distances.is_cuda:
        return distances.sort(1).values
    distances.numpy().sort(axis=1)
    return distances
