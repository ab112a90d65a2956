"""Copies of images in a set: the same pixels, or the same picture after a small change.

A small change is a new JPEG encoding, a resize, a shift or crop of some percent, a mirroring, a
change of brightness or contrast. Fingerprints propose pairs, an alignment verifies them: two
pictures of one thing, or two things on white ground, are no copies. tests/data/test_guard.py holds
how many planted copies and how many false pairs the thresholds give on real images.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.data.leakage import alignment, candidates, fingerprints
from anrot_lib.data.leakage.candidates import Candidates
from anrot_lib.data.leakage.fingerprints import ImageRows, Views
from anrot_lib.data.packed import cut_blocks

TRIAL_PRINTS = 2048  # of an estimate
COARSE = 0.75  # correlation of aligned thumbnails, below which no closer look is taken
COARSE_PATCH = 36.0  # difference of a patch of these, of 255, above which none is taken
ALIKE = 0.76  # texture that a copy in the same colours shares
RECOLOURED = 0.90  # texture that a copy in other colours shares
DRAWN = 0.97  # texture that a copy of a drawing shares: many hands draw a plain stroke alike
COLOUR = 12.0  # mean difference of a copy's colours, of 255
PATCH = 24.0  # the largest such difference of a patch of 3 x 3 in 16 x 16
STRICT_PATCH, SLOPE = 16.0, 60.0  # the same at texture 0.75, and how it grows with texture
BLANK, EMPTY = 0.8, 0.93  # share of black and white pixels of a drawing; of one without enough ink
CHUNK = 512  # pairs at once: their planes stay in the processor's cache


class Verdict(NamedTuple):
    texture: Tensor  # (P,) correlation of locally normalised detail
    colour: Tensor  # (P,) mean absolute difference of the thumbnails, of 255
    patch: Tensor  # (P,) the largest difference of a patch
    recoloured: Tensor  # (P,) the same after the best gain and offset of each channel
    blank: Tensor  # (P,) share of pixels that are black or white, of the fuller image

    @classmethod
    def concatenate(cls, parts: "Sequence[Verdict]") -> "Verdict":
        columns = zip(*parts, strict=True) if parts else [[torch.empty(0)]] * len(cls._fields)
        return cls._make(torch.cat(list(column)) for column in columns)


def compute_digests(images: np.ndarray) -> np.ndarray:
    """A 128-bit digest of each image's pixels, (N, 2) uint64."""
    digests = (hashlib.blake2b(image.data, digest_size=16).digest() for b in cut_blocks(images) for image in b)
    return np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)


def find_near_copies(images: ImageRows, ranks: Ranks = ALONE) -> list[tuple[int, int, bool, float]]:
    """(row, later row, mirrored, score in [0, 1]) of each near-copy among uint8 (N, H, W, C).

    For images that differ from one another. Fingerprints propose pairs (see `candidates`): of up to 65,536 images the
    best of all pairs; of more, those in near cells, by which some copies are missed that change an image much.
    `ranks` are the processes that share the work; each returns all copies.
    """
    if len(images) < 2:
        return []
    with torch.no_grad():
        views = Views(images)
        proposed = candidates.find_candidates(fingerprints.compute_fingerprints(images, views), ranks=ranks)
        with _one_thread():
            agreeing, verdict = verify(views, proposed, ranks)
        good = is_copy(verdict)
    columns = (agreeing.first, agreeing.second, agreeing.mirrored, verdict.texture)
    copies = list(zip(*(column[good].tolist() for column in columns), strict=True))
    return sorted(copy for some in ranks.gather(copies) for copy in some)


def estimate_search(images: np.ndarray, n: int) -> float:
    """Seconds that `find_near_copies` takes for n images like some (k, H, W, C): a part that is fixed, one for each
    image, and one for each pair that is compared, which is measured on random fingerprints."""
    half = _time(lambda: find_near_copies(images[::2]))  # the first time is slow
    half = min(half, _time(lambda: find_near_copies(images[::2])))
    whole = _time(lambda: find_near_copies(images))
    each = max(0.0, whole - half) / (len(images) - len(images[::2]))
    prints = fingerprints.compute_fingerprints(images, Views(images))
    drawn = [torch.randn(TRIAL_PRINTS, part.shape[1], generator=torch.Generator()) for part in prints]
    length = sum(part.square().sum(1) for part in drawn) ** 0.5
    random = fingerprints.Fingerprints(*(part / length[:, None] for part in drawn))
    pair = _time(lambda: candidates.find_candidates(random)) / TRIAL_PRINTS**2
    return whole + each * (n - len(images)) + pair * candidates.count_pairs(n)


def _time(search: Callable[[], object]) -> float:
    started = time.monotonic()
    search()
    return time.monotonic() - started


@contextmanager
def _one_thread() -> Iterator[None]:
    """Hundreds of thousands of small operations: handing each to several threads costs more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def is_copy(v: Verdict) -> Tensor:
    """Which pairs are copies: (P,) bool."""
    patch = (STRICT_PATCH + SLOPE * (v.texture - 0.75)).clamp(max=PATCH)
    same = (v.texture >= ALIKE) & (v.colour <= COLOUR) & (v.patch <= patch)
    recoloured = (v.texture >= RECOLOURED) & (v.recoloured <= PATCH)
    drawing = (v.texture >= DRAWN) & (v.blank < EMPTY)
    return (same | recoloured) & ((v.blank <= BLANK) | drawing)


def verify(views: Views, proposed: Candidates, ranks: Ranks = ALONE) -> tuple[Candidates, Verdict]:
    """The pairs that agree after alignment of their thumbnails, and a verdict on each; of this process's share."""
    survivors, verdicts = [proposed.take(slice(0))], [Verdict.concatenate([])]
    for chunk in ranks.share(-(-len(proposed.first) // CHUNK)):
        pairs = proposed.take(slice(chunk * CHUNK, (chunk + 1) * CHUNK))
        placed, good = _coarse(views, pairs)
        survivors.append(pairs.take(good))
        placed = alignment.Placement(placed.scale[good], placed.shift[good])
        if good.any():
            verdicts.append(_judge(views, survivors[-1], placed))
    return Candidates.concatenate(survivors), Verdict.concatenate(verdicts)


def _pair(get: Callable[[Tensor], Tensor], pairs: Candidates) -> tuple[Tensor, Tensor]:
    """The two images of each pair as float, the second mirrored where it should be."""
    both = get(torch.cat([pairs.first, pairs.second])).float()
    first, second = both.split(len(pairs.first))
    mirrored = pairs.mirrored[:, None, None, None]
    return first, torch.where(mirrored, second.flip(-1), second)


def _coarse(views: Views, pairs: Candidates) -> tuple[alignment.Placement, Tensor]:
    """Place the thumbnails on one another; which pairs deserve a closer look."""
    a, b = _pair(views.get_thumbnails, pairs)
    grey_a, grey_b = fingerprints.compute_luminance(a), fingerprints.compute_luminance(b)
    placed = alignment.align(grey_a, grey_b, alignment.start_in_place(len(a)), steps=5)
    mask = alignment.mark_shared(a, placed)
    alike = alignment.compute_correlation(alignment.cut(grey_a), alignment.draw(grey_b, placed), mask)
    _, patch, recoloured = _colours(a, b, placed)
    return placed, (alike[:, 0] >= COARSE) & (torch.minimum(patch, recoloured) <= COARSE_PATCH)


def _judge(views: Views, pairs: Candidates, placed: alignment.Placement) -> Verdict:
    a, b = _pair(views.get_details, pairs)
    placed = alignment.align(a, b, placed, steps=3)
    colours = _colours(*_pair(views.get_thumbnails, pairs), placed)
    return Verdict(_texture(a, b, placed), *colours, torch.minimum(_blank(a), _blank(b)))


def _blank(x: Tensor) -> Tensor:
    return ((x < 24) | (x > 231)).float().mean((1, 2, 3))


def blur(x: Tensor) -> Tensor:
    """(n, 1, h, w) with the binomial window of five pixels."""
    window = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    x = F.conv2d(F.pad(x, (2, 2, 0, 0), mode="replicate"), window.view(1, 1, 1, 5))
    return F.conv2d(F.pad(x, (0, 0, 2, 2), mode="replicate"), window.view(1, 1, 5, 1))


def _bands(x: Tensor) -> Tensor:
    """Fine and middle detail (n, 2, h, w), each over its local strength.

    Without that, two pictures with the same frame or the same outline on white would be alike: one
    strong edge would outweigh everything else. 4 grey levels keep noise small.
    """
    soft = blur(x)
    bands = (x - soft, soft - blur(blur(soft)))
    return torch.cat([band / (blur(blur(band.square())).sqrt() + 4) for band in bands], 1)


def _texture(a: Tensor, b: Tensor, placed: alignment.Placement) -> Tensor:
    mask = alignment.mark_shared(a, placed)
    a, b = alignment.cut(_bands(a)), alignment.draw(_bands(b), placed)
    return alignment.compute_correlation(a, b, mask, floor=0.02).mean(1)


def _colours(a: Tensor, b: Tensor, placed: alignment.Placement) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and patchwise difference of aligned RGB thumbnails; patchwise after gain and offset."""
    mask = alignment.mark_shared(a, placed)
    total = mask.sum((2, 3), keepdim=True).clamp(min=1)
    a, b = alignment.cut(a), alignment.draw(b, placed)
    plain = (a - b) * mask
    a, b = ((x - (x * mask).sum((2, 3), keepdim=True) / total) * mask for x in (a, b))
    gain = (a * b).sum((2, 3), keepdim=True) / b.square().sum((2, 3), keepdim=True).clamp(min=1)
    mean = plain.abs().sum((1, 2, 3)) / (3 * total[:, 0, 0, 0])
    return mean, _worst_patch(plain), _worst_patch(a - gain.clamp(0.5, 2) * b)


def _worst_patch(difference: Tensor) -> Tensor:
    return F.avg_pool2d(difference, 3, stride=2).abs().amax((1, 2, 3))


def group_identical(digests: np.ndarray) -> list[list[int]]:
    """The rows, ascending, of each digest (N, 2) that occurs more than once."""
    order = np.lexsort(digests.T)  # stable: equal digests stay in the order of their rows
    ordered = digests[order]
    new = np.flatnonzero((ordered[1:] != ordered[:-1]).any(1)) + 1
    begins, ends = np.r_[0, new], np.r_[new, len(order)]
    several = ends - begins > 1
    return [order[a:b].tolist() for a, b in zip(begins[several], ends[several], strict=True)]
