"""A test set as retrieval and ranking attacks see it: fixed embeddings, labels, and distances to all of them.

Queries are rows of the gallery themselves, so a query's own row ("self") is known by its number. It is never looked
for by distance: a copy of an image may lie just as near.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.ranking.distances import cdist, check_metric, normalise

BLOCK_NUMBERS = 2**24  # of one block of a distance matrix: 64 MiB in float32, whatever the size of the gallery
IMAGES_PER_PASS = 256

Batch = Callable[[np.ndarray], Tensor]  # row numbers (B,) -> images (B, C, H, W) in [0, 1]


def compute_chance(labels: Tensor) -> float:
    """R@1 of a ranking drawn at random, in [0, 1]: the share of same-class rows, over queries that have any."""
    count = torch.bincount(labels).double()
    count = count[count > 1]
    return float((count * (count - 1)).sum() / (count.sum() * (len(labels) - 1))) if len(count) else 0.0


@dataclass(frozen=True, eq=False)
class Gallery:
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
        if not torch.isfinite(self.embeddings).all():
            raise UserError("the net gives embeddings that are not finite numbers; its training has diverged")

    def __len__(self) -> int:
        return len(self.labels)

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
        rows = embeddings - self.centre
        squares = torch.addmm(self.squares, rows, self.columns, alpha=-2)
        return squares.add_(rows.square().sum(1, keepdim=True)).clamp_(min=0)

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

    def mark_class(self, rows: Tensor) -> Tensor:
        """Which rows are of the class of each of `rows` (B,): bool (B, N), the row itself included."""
        return self.labels == self.labels[rows, None]

    def blocks(self, n: int) -> Iterator[slice]:
        """Slices of n queries whose distance matrices stay within BLOCK_NUMBERS."""
        size = max(1, BLOCK_NUMBERS // len(self))
        return (slice(at, min(at + size, n)) for at in range(0, n, size))

    @property
    def chance(self) -> float:
        return compute_chance(self.labels)

    def mean_cosine(self) -> float:
        """Mean cosine of two different rows, in [-1, 1]: near 1 where all images lie at one point."""
        rows = nn.functional.normalize(self.embeddings.double(), dim=1)
        n = len(rows)
        return float((rows.sum(0).square().sum() - n) / (n * (n - 1)))


def sort_rows(distances: Tensor) -> Tensor:
    """Rows in ascending order; may write over its argument. numpy sorts plain numbers several times faster."""
    if distances.is_cuda:
        return distances.sort(1).values
    distances.numpy().sort(axis=1)
    return distances


@torch.no_grad()
def embed(
    net: nn.Module,
    batch: Batch,
    rows: np.ndarray,
    metric: str,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Embeddings (B, D) of images by their row numbers, normalised by the metric; the net should be in eval mode.

    progress is called with the number of images that are done.
    """
    parts = []
    for at in range(0, len(rows), IMAGES_PER_PASS):
        parts.append(normalise(net(batch(rows[at : at + IMAGES_PER_PASS])), metric))
        if progress is not None:
            progress(min(at + IMAGES_PER_PASS, len(rows)))
    return torch.cat(parts)
