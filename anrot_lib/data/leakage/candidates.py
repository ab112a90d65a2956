"""Pairs of images whose fingerprints agree: among all pairs of a set, or, in a large set, among those of near cells.

The work over all pairs grows with the square of the images. So from `WHOLE` images on, every image has a home, the
nearest of N / CELL cells, and is compared with the images at home in the `VISITS` nearest cells: work that grows with
N. A pair is missed if neither image visits the home of the other; tests/data/test_near_copies.py holds how many are.
The pieces of work, tiles of rows against rows, are the same for any number of processes, and so are the pairs.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core.randomness import draw_raw
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.data.leakage.fingerprints import WHOLE, Fingerprints

CELL = 1024  # images that a cell has on average
VISITS = 24  # cells that an image is compared with
ROUNDS = 2  # of k-means
LEARNED = 64  # images for each cell, which k-means sees
TOGETHER = 64  # cells whose visitors are listed at once
STEP = 2048  # rows of a tile
LEAST, MOST = 0.4, 6  # agreement of a candidate; candidates of an image among later images
PENDING = 4_000_000  # new pairs, of which all but the best of each image are dropped


class Candidates(NamedTuple):
    first: Tensor  # (P,) int64 rows, first < second
    second: Tensor
    mirrored: Tensor  # (P,) bool
    agreement: Tensor  # (P,) float32 in [-1, 1]

    def take(self, rows: Tensor | slice) -> "Candidates":
        return Candidates._make(column[rows] for column in self)

    @classmethod
    def concatenate(cls, parts: "Sequence[Candidates]") -> "Candidates":
        return cls._make(torch.cat(columns) for columns in zip(*parts, strict=True))


Tile = tuple[Tensor, Tensor]  # rows that are compared with rows


def find_candidates(
    prints: Fingerprints, least: float = LEAST, most: int = MOST, whole: int = WHOLE, ranks: Ranks = ALONE
) -> Candidates:
    """Pairs whose fingerprints agree by `least` or more, sorted by rows: of each image at most the `most` best with
    later images, and as many with earlier ones.

    whole  images, up to which all pairs are compared.
    ranks  the processes that share the tiles; each returns all pairs.
    """
    n = len(prints.even)
    tiles = cut_pairs(n) if n <= whole else cut_cells(prints, max(1, n // CELL))
    floors = torch.full((2, n), least).nextafter(torch.tensor(torch.inf))
    new = [_compare(prints, *(torch.empty(0, dtype=torch.int64),) * 2, floors)]
    bests, kept, pending = [new[0]], 0, 0
    for number, (rows, others) in enumerate(tiles):
        if number % ranks.count != ranks.number:
            continue
        new.append(_compare(prints, rows, others, floors))
        pending += len(new[-1].first)
        if pending > PENDING:
            bests.append(_keep_best(Candidates.concatenate(new), most, floors))
            new, pending = new[:1], 0
            if sum(len(some.first) for some in bests) > max(PENDING, 2 * kept):  # so that sorting grows with n
                bests = [_keep_best(Candidates.concatenate(bests), most, floors)]
                kept = len(bests[0].first)
    shares = ranks.gather(_keep_best(Candidates.concatenate([*bests, *new]), most, floors))
    return _keep_best(Candidates.concatenate(shares), most, floors)


def count_pairs(n: int) -> int:
    """How often two of n images are compared, each order counted."""
    return n**2 if n <= WHOLE else 2 * n * CELL * VISITS


def cut_pairs(n: int) -> Iterator[Tile]:
    """All pairs of n rows, each in one tile."""
    rows = [torch.arange(at, min(at + STEP, n)) for at in range(0, n, STEP)]
    return ((a, b) for k, a in enumerate(rows) for b in rows[k:])


def cut_cells(prints: Fingerprints, cells: int, visits: int = VISITS) -> Iterator[Tile]:
    """Of each cell, the images that visit it against those at home there."""
    nearest = _find_nearest(prints, find_centres(prints, cells), min(visits, cells))
    for first in range(0, cells, TOGETHER):
        some = torch.nonzero((nearest >= first) & (nearest < first + TOGETHER), as_tuple=True)
        cell, order = torch.sort(nearest[some], stable=True)
        visitors, at_home = some[0][order], some[1][order] == 0
        for number in range(first, min(first + TOGETHER, cells)):
            mine = cell == number
            for rows in visitors[mine].split(STEP):
                for others in visitors[mine & at_home].split(STEP):
                    yield rows, others


def find_centres(prints: Fingerprints, cells: int) -> Fingerprints:
    """Centres of length 1 by k-means on a sample, which is the same for the same number of images."""
    n = len(prints.even)
    rows = torch.from_numpy(np.argsort(draw_raw(0, "cells", n), kind="stable")[: cells * LEARNED].copy())
    centres = Fingerprints(*(part[rows[:cells]] for part in prints))
    learned = Fingerprints(*(part[rows.sort().values] for part in prints))
    for _ in range(ROUNDS):
        sums = [torch.zeros_like(part) for part in centres]
        for at in range(0, len(rows), STEP):
            block = Fingerprints(*(part[at : at + STEP] for part in learned))
            score, odd = _agree(block, centres)
            home = score.argmax(1)
            turned = torch.where(odd.gather(1, home[:, None]) < 0, -1.0, 1.0)  # the odd part of the mirrored image
            sums[0].index_add_(0, home, block.even)
            sums[1].index_add_(0, home, block.odd * turned)
        length = torch.cat(sums, 1).norm(dim=1, keepdim=True)
        moved = [torch.where(length > 1e-6, s / length.clamp(min=1e-6), c) for s, c in zip(sums, centres, strict=True)]
        centres = Fingerprints(*moved)
    return centres


def _agree(rows: Fingerprints, others: Fingerprints) -> tuple[Tensor, Tensor]:
    """The agreement of all rows with all others, the better of both orientations; and its odd part, with its sign."""
    odd = rows.odd @ others.odd.T
    return odd.abs().add_(rows.even @ others.even.T), odd


def _find_nearest(prints: Fingerprints, centres: Fingerprints, visits: int) -> Tensor:
    """The cells (N, visits), nearest first, whose centres agree best with each image."""
    n, cells = len(prints.even), len(centres.even)
    nearest = torch.empty(n, visits, dtype=torch.int16 if cells < 2**15 else torch.int32)
    for at in range(0, n, STEP):
        block = Fingerprints(*(part[at : at + STEP] for part in prints))
        nearest[at : at + STEP] = _agree(block, centres)[0].topk(visits, 1).indices
    return nearest


def _compare(prints: Fingerprints, rows: Tensor, others: Tensor, floors: Tensor) -> Candidates:
    """The pairs of two lists of rows that may be candidates, the earlier row first; a row in both is no pair.

    floors  (2, N), of an image's agreement with later images and with earlier ones: a pair below both of its two floors
            is among the best of neither image.
    """
    score, odd = _agree(*(Fingerprints(*(part[some] for part in prints)) for some in (rows, others)))
    low, lower = (floors[:, some].amin(0) for some in (rows, others))
    i, j = torch.nonzero(score >= torch.minimum(low[:, None], lower), as_tuple=True)
    a, b = rows[i], others[j]
    pairs = Candidates(torch.minimum(a, b), torch.maximum(a, b), odd[i, j] < 0, score[i, j])
    high = (pairs.agreement >= floors[0][pairs.first]) | (pairs.agreement >= floors[1][pairs.second])
    return pairs.take((a != b) & high)


def _keep_best(pairs: Candidates, most: int, floors: Tensor) -> Candidates:
    """The pairs that are among the `most` best of their first or of their second image, each once, sorted by rows.

    Of some of the pairs at first and then of all, this keeps the same ones as of all at once. The floors (2, N) of
    images that have `most` such pairs rise to the last of these.
    """
    pairs = pairs.take(torch.argsort(pairs.mirrored.byte(), stable=True))
    pairs = pairs.take(torch.argsort(pairs.agreement, descending=True, stable=True))
    pairs = pairs.take(torch.argsort(pairs.second, stable=True))
    pairs = pairs.take(torch.argsort(pairs.first, stable=True))
    new = torch.ones(len(pairs.first), dtype=torch.bool)
    new[1:] = (pairs.first[1:] != pairs.first[:-1]) | (pairs.second[1:] != pairs.second[:-1])
    pairs = pairs.take(new)  # of two tiles that hold a pair, the better agreement
    keep = torch.zeros(len(pairs.first), dtype=torch.bool)
    by_score = torch.argsort(pairs.agreement, descending=True, stable=True)
    for rows, floor in zip((pairs.first, pairs.second), floors, strict=True):
        order = by_score[torch.argsort(rows[by_score], stable=True)]
        ordered = rows[order]
        place = torch.arange(len(order)) - torch.searchsorted(ordered, ordered)
        keep[order[place < most]] = True
        last = order[place == most - 1]
        floor[rows[last]] = torch.maximum(floor[rows[last]], pairs.agreement[last])
    return pairs.take(keep)
