"""Short fingerprints of images, whose products say how well two images agree, mirrored or not.

A fingerprint is a cosine transform of a 16 x 16 thumbnail (luminance and two colour differences),
whitened by the statistics of the set and weighted by how well each direction survives small shifts
and crops: within-copy covariance against covariance over the set, a linear discriminant. Mirroring
an image changes the sign of the cosines of odd horizontal frequency only, so a fingerprint is kept
in an even part e and an odd part o, and max over mirroring of the agreement of two images is
e.e' + |o.o'|: one matrix product serves both orientations.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anrot_lib.core.randomness import draw_raw

SIDE = 16  # of the thumbnail
DETAIL = 42  # about the side of the grey image that pairs are verified on
LUMINANCE, COLOUR = 10, 5  # frequencies kept on each axis
SAMPLE = 2000  # images that the whitening is estimated on
BLOCK = 1024  # images at once
WHOLE = 65_536  # images, up to which all views are kept

# Y, and the differences B - Y and R - Y scaled as in JPEG
TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])


class ImageRows(Protocol):
    """uint8 images (N, H, W, C): an array, or some rows of one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray: ...


class Views:
    """Small versions of the images: thumbnails (n, 3, 16, 16), RGB, and details (n, 1, s, s), luminance, both uint8,
    s as `choose_detail_side` says.

    Of `WHOLE` images at most they are kept, 2.5 kB for one of 84 x 84 pixels. Of more they are made when asked for.
    """

    def __init__(self, images: ImageRows):
        self.images = images
        self._kept: tuple[Tensor, Tensor] | None = None
        if len(images) <= WHOLE:
            blocks = [self._make_both(slice(at, at + BLOCK)) for at in range(0, len(images), BLOCK)]
            self._kept = torch.cat([b[0] for b in blocks]), torch.cat([b[1] for b in blocks])

    def get_thumbnails(self, rows: slice | Tensor) -> Tensor:
        if self._kept is not None:
            return self._kept[0][rows]
        return self._make(rows, make_thumbnails)

    def get_details(self, rows: slice | Tensor) -> Tensor:
        if self._kept is not None:
            return self._kept[1][rows]
        return self._make(rows, make_details)

    def _make_both(self, rows: slice) -> tuple[Tensor, Tensor]:
        images = convert_to_float(self.images[rows])
        return make_thumbnails(images), make_details(images)

    def _make(self, rows: slice | Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        """The views of some rows, of which each image is read once."""
        if isinstance(rows, slice):
            return make(convert_to_float(self.images[rows]))
        distinct, place = torch.unique(rows, return_inverse=True)
        return make(convert_to_float(self.images[distinct.numpy()]))[place]


class Fingerprints(NamedTuple):
    even: Tensor  # (N, D_e) float32
    odd: Tensor  # (N, D_o) float32; even and odd together have length 1


def convert_to_float(images: np.ndarray) -> Tensor:
    """uint8 (n, H, W, C) -> float32 (n, 3, H, W) in [0, 255]; grey is repeated."""
    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


def compute_luminance(x: Tensor) -> Tensor:
    """(n, 3, h, w) -> (n, 1, h, w)."""
    return torch.einsum("c,nchw->nhw", TO_YCC[0], x)[:, None]


def choose_detail_side(height: int, width: int) -> int:
    """The larger side divided by a whole number, so that pixels average cleanly; 16 at least."""
    side = max(height, width)
    return max(SIDE, side // max(1, round(side / DETAIL)))


def make_thumbnails(x: Tensor) -> Tensor:
    """(n, 3, h, w) in [0, 255] -> (n, 3, 16, 16) uint8."""
    return F.adaptive_avg_pool2d(x, SIDE).round_().byte()


def make_details(x: Tensor) -> Tensor:
    """(n, 3, h, w) in [0, 255] -> (n, 1, s, s) uint8."""
    side, grey = choose_detail_side(*x.shape[2:]), compute_luminance(x)
    if grey.shape[-2:] != (side, side):
        grey = F.adaptive_avg_pool2d(grey, side)
    return grey.round_().byte()


def _cosines(n: int) -> Tensor:
    """Orthonormal cosine basis (n, 16): the n lowest frequencies."""
    grid = torch.arange(n)[:, None] * (torch.arange(SIDE)[None] + 0.5)
    basis: Tensor = torch.cos(torch.pi / SIDE * grid) * (2 / SIDE) ** 0.5
    basis[0] *= 0.5**0.5
    return basis


def _spectra(x: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine coefficients of thumbnails, even and odd horizontal frequency, without the means."""
    ycc = torch.einsum("dc,nchw->ndhw", TO_YCC, x)
    y, c = _cosines(LUMINANCE), _cosines(COLOUR)
    grey = y @ ycc[:, 0] @ y.T
    colour = (c @ ycc[:, 1:] @ c.T).flatten(1, 2)
    even = [grey[:, :, 0::2].flatten(1)[:, 1:]]
    even += [colour[:, :, 0::2].reshape(len(x), 2, COLOUR, -1).flatten(2)[:, :, 1:].flatten(1)]
    odd = [grey[:, :, 1::2].flatten(1), colour[:, :, 1::2].flatten(1)]
    return torch.cat(even, 1), torch.cat(odd, 1)


def _moved(x: Tensor) -> Iterator[Tensor]:
    """Small moves that a copy should survive: shifts by 1/16 of the side, crops of 90 %."""
    h, w = x.shape[-2:]
    dy, dx = max(1, round(h / SIDE)), max(1, round(w / SIDE))
    for mode in ("replicate", "circular", "constant"):
        padded = F.pad(x, (dx, dx, dy, dy), mode=mode)
        for sy, sx in ((0, 0), (0, 2 * dx), (dy, 0)):
            yield padded[..., sy : sy + h, sx : sx + w]
    cut_y, cut_x = max(1, round(h / 10)), max(1, round(w / 10))
    for crop in (x[..., cut_y:, cut_x:], x[..., :-cut_y, cut_x:]):
        yield F.interpolate(crop, (h, w), mode="bilinear", antialias=True)


def _sample(images: ImageRows) -> Tensor:
    """Up to 2,000 images, the same for the same N, no larger than the moves need."""
    rows = np.argsort(draw_raw(0, "fingerprints", len(images)), kind="stable")[:SAMPLE]
    return F.adaptive_avg_pool2d(convert_to_float(images[np.sort(rows)]), choose_detail_side(*images.shape[1:3]))


def _discriminant(values: Tensor, changes: list[Tensor]) -> Tensor:
    """(D, D) map that whitens `values` and weighs each direction by 1 - within / total variance."""
    values = values.double()
    total = values.T @ values / len(values)
    within = sum(c.double().T @ c.double() for c in changes) / (2 * len(values) * len(changes))
    # a small set does not span all directions: lean towards a diagonal, and never below grey noise
    share = len(total) / (len(total) + len(values))
    total = (1 - share) * total + share * torch.diag(torch.diag(total)) + torch.eye(len(total))
    within = within + 1e-3 * torch.diag(torch.diag(total)) + torch.eye(len(total))
    whiten = torch.linalg.inv(torch.linalg.cholesky(total))
    ratio, axes = torch.linalg.eigh(whiten @ within @ whiten.T)
    weighted: Tensor = whiten.T @ axes * (1 - ratio).clamp(min=0)
    return weighted.float()


def compute_fingerprints(images: ImageRows, views: Views) -> Fingerprints:
    """Fingerprints of uint8 images (N, H, W, C); `images` serve for the whitening only."""
    x = _sample(images)
    base = _spectra(F.adaptive_avg_pool2d(x, SIDE))
    moved = [_spectra(F.adaptive_avg_pool2d(m, SIDE)) for m in _moved(x)]
    maps = [_discriminant(base[p], [m[p] - base[p] for m in moved]) for p in (0, 1)]
    prints = Fingerprints(*(torch.empty(len(images), m.shape[1]) for m in maps))
    for at in range(0, len(images), BLOCK):
        spectra = _spectra(views.get_thumbnails(slice(at, at + BLOCK)).float())
        even, odd = (part @ m for part, m in zip(spectra, maps, strict=True))
        length = (even.square().sum(1) + odd.square().sum(1)).sqrt().clamp(min=1e-6)[:, None]
        prints.even[at : at + BLOCK], prints.odd[at : at + BLOCK] = even / length, odd / length
    return prints
