"""Natural noise on images in [0, 1]. sigma is in units of the pixel range, and the result is clipped on both sides."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core import randomness
from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError


def add_gaussian(images: Tensor, sigma: float | Tensor, generator: torch.Generator) -> Tensor:
    """clip(x + sigma n, 0, 1) with n standard normal, independent for every pixel and channel.

    images (..., C, H, W) in [0, 1]; sigma >= 0, one number or a tensor of shape (...) with one value an image.
    Numbers are drawn on the generator's device. Clipping at 255 instead of at 1, as in the published step, leaves
    values above 1 and shifts the mean. Raises UserError for images outside [0, 1] or a negative sigma.
    """
    check_images(images)
    noise = torch.randn(images.shape, generator=generator, device=generator.device, dtype=images.dtype)
    return (images + broadcast_sigma(sigma, images) * noise.to(images.device)).clamp_(0, 1)


def add_uniform(images: Tensor, width: float, generator: torch.Generator) -> Tensor:
    """clip(x + u, 0, 1) with u uniform in [-width, width], independent for every pixel and channel.

    images (..., C, H, W) in [0, 1]. Raises UserError for images outside [0, 1] or a width that is not finite and >= 0.
    """
    check_images(images)
    if not 0 <= width < math.inf:
        raise UserError(f"the width of uniform noise must be finite and at least 0, got {width}")
    noise = torch.rand(images.shape, generator=generator, device=generator.device, dtype=images.dtype)
    return (images + width * (2 * noise - 1).to(images.device)).clamp_(0, 1)


def draw_sigma(images: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """One sigma an image, uniform in [low, high], of shape images.shape[:-3]: noise of varied strength for training."""
    if not 0 <= low <= high:
        raise UserError(f"the range of sigma must satisfy 0 <= low <= high, got {low} to {high}")
    draws = torch.rand(images.shape[:-3], generator=generator, device=generator.device, dtype=images.dtype)
    return (low + (high - low) * draws).to(images.device)


def broadcast_sigma(sigma: float | Tensor, images: Tensor) -> Tensor:
    """sigma as a tensor that broadcasts over (..., C, H, W), checked to be finite and >= 0."""
    sigma = torch.as_tensor(sigma, dtype=images.dtype, device=images.device)
    if sigma.ndim and sigma.shape != images.shape[:-3]:
        raise UserError(f"sigma must be one number or of shape {tuple(images.shape[:-3])}, got {tuple(sigma.shape)}")
    if not bool(((sigma >= 0) & sigma.isfinite()).all()):
        raise UserError("sigma must be finite and at least 0; it is in units of the pixel range [0, 1]")
    return sigma[..., None, None, None]


def compute_censored_moments(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of clip(x + sigma n, 0, 1), n standard normal: the censored normal, in closed form.

    With a = -x/sigma, b = (1-x)/sigma, phi and Phi the standard normal density and distribution, D = Phi(b)-Phi(a):
    E = x D + sigma (phi(a) - phi(b)) + 1 - Phi(b),
    E[y^2] = (x^2 + sigma^2) D + 2 x sigma (phi(a) - phi(b)) + sigma^2 (a phi(a) - b phi(b)) + 1 - Phi(b).
    x of any shape, sigma > 0; computed in fp64.
    """
    if not sigma > 0:
        raise UserError(f"the censored normal needs sigma above 0, got {sigma}")
    x = torch.as_tensor(x, dtype=torch.float64)
    a, b = -x / sigma, (1 - x) / sigma
    inside = torch.special.ndtr(b) - torch.special.ndtr(a)
    above = torch.special.ndtr(-b)
    edges = _density(a) - _density(b)
    mean = x * inside + sigma * edges + above
    square = (x**2 + sigma**2) * inside + 2 * x * sigma * edges + above
    square = square + sigma**2 * (a * _density(a) - b * _density(b))
    return mean, (square - mean**2).clamp_min(0).sqrt()


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)


def make_noise_change(sigma: float, seed: int) -> Callable[[Tensor, np.ndarray], Tensor]:
    """Noise of one sigma; what an image gets depends on the seed and its row number alone, not on its batch."""

    def change(images: Tensor, rows: np.ndarray) -> Tensor:
        noisy = [
            add_gaussian(image, sigma, randomness.make_generator(seed, f"noise/{row}"))
            for image, row in zip(images, rows, strict=True)
        ]
        return torch.stack(noisy)

    return change
