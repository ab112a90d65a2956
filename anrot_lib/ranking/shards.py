"""A gallery that several processes hold between them: each encodes and keeps some tiles of rows, and ranks them.

All work is cut into tiles of the same size for any number of processes, and one matrix product has the shape of a tile:
so every distance has the same bits wherever it is computed, and rows that tie in one process tie in many.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib.core.errors import UserError
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.ranking.distances import cdist, check_metric, normalise
from anrot_lib.ranking.gallery import Batch, Gallery, Labelled, check_finite, compute_squares

TILE = 256  # rows that are encoded in one pass, and compared with queries in one product


@dataclass(frozen=True, eq=False)
class Shard(Labelled):
    """What a process holds of a gallery of N rows: tiles number, number + count, ... of `ranks`.

    tiles   (T, TILE, D) embeddings as `normalise` gives them; T is the same for each process, and rows beyond the end
            of the gallery are zeros.
    labels  (N,) int64 of the whole gallery.

    Sums, queries and rankings are the same in every process; all of them call these functions together.
    """

    tiles: Tensor
    labels: Tensor
    metric: str
    ranks: Ranks = ALONE

    @cached_property
    def held(self) -> int:
        """How many rows of the gallery this process holds: the first of those of `tiles`."""
        starts = range(self.ranks.number * TILE, len(self), self.ranks.count * TILE)
        return sum(min(TILE, len(self) - start) for start in starts)

    def find(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The places of some rows among those of the tiles of the process that holds them, and which one that is."""
        tile = rows // TILE
        return tile // self.ranks.count * TILE + rows % TILE, tile % self.ranks.count

    def sum_tiles(self, sums: list[Tensor]) -> Tensor:
        """The sum over the whole gallery of one row (P,) for each tile, in the order of the tiles."""
        return self.ranks.gather_rows(sums)[: -(-len(self) // TILE)].sum(0)

    @cached_property
    def centre(self) -> Tensor:
        return self.sum_tiles([tile.sum(0) for tile in self.tiles]) / len(self)

    @cached_property
    def columns(self) -> list[tuple[Tensor, Tensor]]:
        """Of each tile the rows less the centre, turned (D, TILE), and their squares (TILE,)."""
        centred = [tile - self.centre for tile in self.tiles]
        return [(tile.T.contiguous(), tile.square().sum(1)) for tile in centred]

    @full_precision
    @torch.no_grad()
    def distances(self, embeddings: Tensor) -> Tensor:
        """Distances by the metric of rows (B, D) to those of all tiles, (B, T TILE), as `Gallery.distances`; infinite
        beyond the end of the gallery."""
        table = embeddings.new_empty(len(embeddings), len(self.tiles), TILE)
        for k, tile in enumerate(self.tiles):
            if self.metric == "H":
                table[:, k] = cdist(embeddings, tile, "H")
            else:
                table[:, k] = compute_squares(embeddings - self.centre, *self.columns[k])
        if self.metric != "H":
            table = table.mul_(0.5) if self.metric == "C" else table.sqrt_()
        table.flatten(1)[:, self.held :] = torch.inf
        return table.flatten(1)

    def select(self, rows: Tensor) -> Tensor:
        """The embeddings (B, D) of some rows, each from the process that holds it."""
        place, holder = self.find(rows)
        parts = self.ranks.gather_rows([self.tiles.flatten(0, 1)[place]])
        return parts[holder, torch.arange(len(rows), device=rows.device)]

    def gather(self) -> Gallery:
        """The whole gallery, in every process."""
        embeddings = self.ranks.gather_rows(list(self.tiles)).flatten(0, 1)[: len(self)]
        return Gallery(embeddings, self.labels, self.metric)

    def mean_cosine(self) -> float:
        """Mean cosine of two different rows, in [-1, 1]: near 1 where all images lie at one point."""
        n = len(self)
        total = self.sum_tiles([nn.functional.normalize(tile.double(), dim=1).sum(0) for tile in self.tiles])
        return float((total.square().sum() - n) / (n * (n - 1)))


def cut(gallery: Gallery, ranks: Ranks = ALONE) -> Shard:
    """This process's tiles of a gallery that it holds whole."""
    width = gallery.embeddings.shape[1]
    count = -(-len(gallery) // TILE)
    tiles = gallery.embeddings.new_zeros(-(-count // ranks.count) * ranks.count, TILE, width)
    tiles.view(-1, width)[: len(gallery)] = gallery.embeddings
    return Shard(tiles[ranks.number :: ranks.count], gallery.labels, gallery.metric, ranks)


@torch.no_grad()
def embed(
    net: nn.Module,
    batch: Batch,
    labels: Tensor,
    metric: str,
    progress: Callable[[int], None] | None = None,
    ranks: Ranks = ALONE,
) -> Shard:
    """Encode the images of a gallery with labels (N,): each process those of its tiles. The net should be in eval mode.

    progress is called with the number of images that are done. UserError as `Gallery` raises it, in every process.
    """
    check_metric(metric)
    count, parts = -(-len(labels) // TILE), list[Tensor]()
    for k in ranks.share(count):
        rows = np.arange(k * TILE, min((k + 1) * TILE, len(labels)))
        parts.append(normalise(net(batch(rows)), metric))
        if progress is not None:
            progress(int(rows[-1]) + 1)
    check_finite(not ranks.agree(any(not part.isfinite().all() for part in parts)))
    form = ranks.gather((parts[0].shape[1], parts[0].dtype) if parts else None)[0]  # the first has the first tile
    if form is None or len(labels) < 2:
        raise UserError(f"a gallery takes at least two images, got {len(labels)}")
    tiles = torch.zeros(-(-count // ranks.count), TILE, form[0], dtype=form[1], device=labels.device)
    for k, part in enumerate(parts):
        tiles[k, : len(part)] = part
    return Shard(tiles, labels, metric, ranks)
