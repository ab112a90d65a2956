"""How far apart two sets of images are, by features of a named extractor: Frechet and kernel distance; PSNR and SSIM.

    d^2 = |m - n|^2 + tr(S + T - 2 (S T)^(1/2))      Frechet distance of Gaussians with moments (m, S), (n, T)

(Dowson & Landau 1982; Heusel et al. 2017 with Inception features: only that is called FID.) It is computed from factors
S = A A^T, T = B B^T as |A|^2 + |B|^2 - 2 * (sum of the singular values of A^T B), in float64: no root of a matrix
that is not symmetric, and nothing special for covariances without full rank, where the factors are just thin.

The number depends on how many images it is taken from: its expectation falls roughly as a + b/n. So a number stands
beside the distance of two disjoint sets of real images of the same size, the floor (`measure_floor`), never alone.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core import torchvision_compat
from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import compute_t_quantile

# Below so many images a side no number is given: a choice of ours, for covariances of a few dozen features and more.
LEAST_IMAGES = 100
RESAMPLES = 50


class TooFewImages(UserWarning):
    """A distance of so few images would say nothing; nan is returned instead."""


class Moments(NamedTuple):
    """A Gaussian of features: mean (D,), and a factor (D, r) of its covariance = factor @ factor.T. float64."""

    mean: Tensor
    factor: Tensor


def compute_moments(features: Tensor, counts: Tensor | None = None) -> Moments:
    """Mean and covariance (divided by n - 1) of features (N, D); `counts` (N,) says how often each row counts.

    With no more rows than dimensions the centred rows are the factor themselves, exact at any rank.
    """
    if counts is not None:
        features, counts = features[counts > 0], counts[counts > 0].double()
    n, d = features.shape
    weights = torch.ones(n, dtype=torch.float64) if counts is None else counts
    total = weights.sum()
    mean = (
        sum(w @ x.double() for x, w in zip(torch.split(features, 4096), torch.split(weights, 4096), strict=True))
        / total
    )
    if n <= d:
        centred = (features.double() - mean) * (weights / (total - 1)).sqrt()[:, None]
        return Moments(mean, centred.T)
    covariance = torch.zeros(d, d, dtype=torch.float64)
    for x, w in zip(
        torch.split(features, 4096), torch.split(weights, 4096), strict=True
    ):  # only a block is ever held in float64
        centred = (x.double() - mean) * w.sqrt()[:, None]
        covariance.addmm_(centred.T, centred)
    values, vectors = torch.linalg.eigh(covariance / (total - 1))
    kept = values > values[-1].clamp_min(0) * d * torch.finfo(torch.float64).eps  # the rest is rounding around 0
    return Moments(mean, vectors[:, kept] * values[kept].sqrt())


def compare_moments(p: Moments, q: Moments) -> float:
    """The squared Frechet distance d^2 of two Gaussians, >= 0 up to rounding: what is called "the" distance."""
    roots = torch.linalg.svdvals(p.factor.T @ q.factor).sum() if p.factor.numel() and q.factor.numel() else 0.0
    return float((p.mean - q.mean).square().sum() + p.factor.square().sum() + q.factor.square().sum() - 2 * roots)


def distance(real: Tensor, other: Tensor) -> float:
    """d^2 of two sets of features (N, D), (M, D); nan and a TooFewImages warning below LEAST_IMAGES a side."""
    if real.shape[1] != other.shape[1]:
        raise UserError(f"features of {real.shape[1]} and of {other.shape[1]} dimensions cannot be compared")
    fewest, d = min(len(real), len(other)), real.shape[1]
    if fewest < LEAST_IMAGES:
        warnings.warn(
            f"a Frechet distance of {len(real)} against {len(other)} images in {d} dimensions would say nothing but "
            f"how few they are, so none is given; take at least {LEAST_IMAGES} a side, better several times {d}",
            TooFewImages,
            stacklevel=2,
        )
        return math.nan
    return compare_moments(compute_moments(real), compute_moments(other))


class Estimate(NamedTuple):
    value: float
    half_width: float


class Bootstrap(NamedTuple):
    value: float
    half_width: float
    resampled: list[float]


def bootstrap_distance(
    real: Tensor, other: Tensor, generator: torch.Generator, resamples: int = RESAMPLES
) -> Bootstrap:
    """The distance of paired features (row k of both belongs to image k) and the half-width of a 95 % interval.

    The bootstrap resamples images, both rows together. Repeated images shift every resampled distance upwards, so
    its quantiles would lie beside the estimate; its standard deviation is sound, and 1.96 of it is the half-width.
    Equal generators resample alike: the differences of two models' `resampled` distances give the interval of theirs.
    """
    if len(real) != len(other):
        raise UserError(f"paired features need the same images, got {len(real)} and {len(other)}")
    if resamples < 2:
        raise UserError(f"a bootstrap interval needs at least 2 resamples, got {resamples}")
    value = distance(real, other)
    if math.isnan(value):
        return Bootstrap(value, math.nan, [])
    drawn = []
    for _ in range(resamples):
        picked = torch.randint(len(real), (len(real),), generator=generator)
        counts = torch.bincount(picked, minlength=len(real))
        drawn.append(compare_moments(compute_moments(real, counts), compute_moments(other, counts)))
    return Bootstrap(value, 1.96 * float(np.std(drawn, ddof=1)), drawn)


def draw_disjoint(n_images: int, each: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two disjoint random sets of `each` row numbers out of `n_images`."""
    if 2 * each > n_images:
        raise UserError(f"two disjoint sets of {each} images need {2 * each}, there are {n_images}")
    order = torch.randperm(n_images, generator=generator)
    return order[:each], order[each : 2 * each]


def measure_floor(real: Tensor, each: int, generator: torch.Generator, repeats: int = 5) -> Estimate:
    """Real against real: mean distance of two disjoint sets of `each` images, 1.96 standard deviations over repeats.

    What a perfect imitation, drawn anew from the same source, scores at that number. Reconstructions compared with
    their own originals can score below it: the same images stand on both sides.
    """
    drawn = []
    for _ in range(repeats):
        first, second = draw_disjoint(len(real), each, generator)
        drawn.append(distance(real[first], real[second]))
    return Estimate(float(np.mean(drawn)), 1.96 * float(np.std(drawn, ddof=1)) if repeats > 1 else math.nan)


def measure_bias(
    real: Tensor, other: Tensor, numbers: Sequence[int], generator: torch.Generator
) -> list[dict[str, float]]:
    """The bias: for each n, the distance of n images' `other` from n *different* images' `real`, and the floor at n."""
    points = []
    for n in numbers:
        first, second = draw_disjoint(len(real), n, generator)
        kept = {"distance": distance(real[first], other[second]), "floor": distance(real[first], real[second])}
        points.append({"images": n, **kept})
    return points


def extrapolate(numbers: Sequence[int], values: Sequence[float], to: float = math.inf) -> float:
    """The value at `to` images of the line a + b/n through measured values (Chong & Forsyth 2020)."""
    if len(set(numbers)) < 2:
        raise UserError("a line over the number of images needs two different numbers")
    slope, offset = np.polyfit(1 / np.asarray(numbers, dtype=np.float64), values, 1)
    return float(offset + slope / to)


def kernel_distance(
    real: Tensor, other: Tensor, generator: torch.Generator, subset: int = 1000, subsets: int = 50
) -> Estimate:
    """Kernel distance: unbiased squared MMD with the kernel (x.y / D + 1)^3, mean over random subsets.

    Binkowski et al. 2018 ("KID" with Inception features), by torchmetrics' own estimator, in float64 and with a
    generator of ours. A subset is at most half of the smaller set. Unbiased at any number of images. The half-width
    is 1.96 standard deviations over subsets, divided by the root of how many subsets could be disjoint.
    """
    torchvision_compat.load_torchvision()  # torchmetrics imports it
    from torchmetrics.image.kid import poly_mmd

    fewest = min(len(real), len(other))
    subset = min(subset, fewest // 2)
    if subset < 2:
        raise UserError(f"a kernel distance needs at least 4 images a side, got {fewest}")
    drawn = []
    for _ in range(subsets):
        rows = [torch.randperm(len(x), generator=generator)[:subset] for x in (real, other)]
        drawn.append(float(poly_mmd(real[rows[0]].double(), other[rows[1]].double())))
    return Estimate(float(np.mean(drawn)), 1.96 * float(np.std(drawn, ddof=1)) / (fewest // subset) ** 0.5)


def extract_features(
    extractor: torch.nn.Module, batches: Iterable[Tensor], progress: Callable[[int], None] | None = None
) -> Tensor:
    """Features (N, D), float32, of batches of uint8 images (B, C, H, W). One batch of images is held at a time."""
    parts = []
    for images in batches:
        with torch.no_grad():
            parts.append(extractor(images).float().cpu())
        if progress is not None:
            progress(len(images))
    return torch.cat(parts)


def compute_psnr_ssim(images: Tensor, originals: Tensor) -> tuple[Tensor, Tensor]:
    """PSNR in dB and SSIM (Gaussian window of 11 pixels) of each image (B, C, H, W) in [0, 1]: (B,), (B,)."""
    torchvision_compat.load_torchvision()
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    images, originals = check_images(images, "reconstructions"), check_images(originals, "originals")
    psnr = peak_signal_noise_ratio(images, originals, data_range=1.0, reduction="none", dim=(1, 2, 3))
    ssim = structural_similarity_index_measure(images, originals, data_range=1.0, reduction="none")
    assert isinstance(ssim, Tensor), "SSIM without its image"
    return psnr, ssim


def compute_mean_interval(values: Tensor) -> Estimate:
    """Mean over images and the half-width of its 95 % t-interval."""
    values = values.double()
    return Estimate(float(values.mean()), compute_t_quantile(len(values)) * float(values.std()) / len(values) ** 0.5)
