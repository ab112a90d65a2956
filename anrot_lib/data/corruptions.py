"""Common corruptions: fifteen natural changes of an image in five severities, as tensors in [0, 1].

The kinds and the idea of a mean over all kinds and severities are those of Hendrycks & Dietterich 2019 (ImageNet-C,
arXiv 1903.12261). The strengths are our own, chosen for images of 28 to 84 px, so means are not comparable with that
benchmark. Lengths are parts of the image's side. Every function takes one image (C, H, W) and returns another.
"""

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError

SEVERITIES = (1, 2, 3, 4, 5)
LUMA = (0.299, 0.587, 0.114)
Corruption = Callable[[Tensor, float, torch.Generator], Tensor]


def corrupt(image: Tensor, kind: str, severity: int, generator: torch.Generator) -> Tensor:
    """One image (C, H, W) in [0, 1] by a kind of `STRENGTHS` and a severity of 1 to 5.

    Same generator state, same machine: same result. UserError for an unknown kind, another severity, or images outside
    [0, 1].
    """
    if kind not in STRENGTHS:
        raise UserError(f"unknown corruption {kind!r}; choose from {', '.join(STRENGTHS)}")
    if severity not in SEVERITIES:
        raise UserError(f"the severity of a corruption is a whole number from 1 to 5, got {severity!r}")
    check_images(image[None])
    function, strengths = STRENGTHS[kind]
    return function(image, strengths[severity - 1], generator).clamp(0, 1)


def gaussian_noise(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """x + sigma n."""
    return image + sigma * _normal(image, generator)


def shot_noise(image: Tensor, photons: float, generator: torch.Generator) -> Tensor:
    """Poisson(x photons) / photons: few photons a pixel, more noise where it is bright."""
    return torch.poisson(image.cpu() * photons, generator=generator).to(image) / photons


def impulse_noise(image: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A share of the values is black or white, at random."""
    draws = torch.rand(image.shape, generator=generator).to(image)
    return torch.where(draws < share / 2, 0.0, torch.where(draws < share, 1.0, image))


def speckle_noise(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """x + x sigma n."""
    return image + image * sigma * _normal(image, generator)


def gaussian_blur(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """A Gaussian kernel of standard deviation sigma."""
    reach = max(sigma * image.shape[-1], 0.4)
    radius = max(1, math.ceil(2.5 * reach))
    at = torch.arange(-radius, radius + 1, dtype=image.dtype)
    line = torch.exp(-0.5 * (at / reach) ** 2)
    return _convolve(image, line[:, None] * line[None, :])


def defocus_blur(image: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """A disk of this radius with a soft edge of one pixel."""
    reach = max(radius * image.shape[-1], 0.6)
    n = math.ceil(reach + 0.5)
    at = torch.arange(-n, n + 1, dtype=image.dtype)
    distance = (at[:, None] ** 2 + at[None, :] ** 2).sqrt()
    return _convolve(image, (reach + 0.5 - distance).clamp(0, 1))


def motion_blur(image: Tensor, length: float, generator: torch.Generator) -> Tensor:
    """A line of this length in a random direction."""
    reach = max(length * image.shape[-1], 1.0)
    angle = math.pi * float(torch.rand((), generator=generator))
    n = math.ceil(reach / 2)
    at = torch.arange(-n, n + 1, dtype=image.dtype)
    along = at[:, None] * math.sin(angle) + at[None, :] * math.cos(angle)
    across = at[None, :] * math.sin(angle) - at[:, None] * math.cos(angle)
    return _convolve(image, (1 - across.abs()).clamp(0) * (along.abs() <= reach / 2))


def zoom_blur(image: Tensor, factor: float, generator: torch.Generator) -> Tensor:
    """The mean of the image at eight enlargements from 1 to 1 + factor."""
    return torch.stack([_enlarge(image, 1 + factor * k / 7) for k in range(8)]).mean(0)


def fog(image: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """(1 - d) x + d (0.5 + 0.5 cloud), the cloud smooth noise of several scales."""
    cloud = _draw_cloud(image, generator)
    return (1 - density) * image + density * (0.5 + 0.5 * cloud)


def brightness(image: Tensor, shift: float, generator: torch.Generator) -> Tensor:
    """x + shift, or x - shift, at random."""
    return image + _draw_sign(generator) * shift


def contrast(image: Tensor, kept: float, generator: torch.Generator) -> Tensor:
    """The distance from the mean shrinks to a part."""
    mean = image.mean()
    return mean + kept * (image - mean)


def saturation(image: Tensor, change: float, generator: torch.Generator) -> Tensor:
    """The distance from the grey image times 1 + change, or over it, at random; of a grey image: its gamma."""
    up = _draw_sign(generator) > 0
    if image.shape[0] == 1:
        return image.clamp_min(1e-6) ** ((1 + change) if up else 1 / (1 + change))
    grey = (image * image.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
    return grey + (1 + change if up else 1 / (1 + change)) * (image - grey)


def pixelate(image: Tensor, kept: float, generator: torch.Generator) -> Tensor:
    """Shrunk to a part of its side by means over boxes, and enlarged again without smoothing."""
    size = max(2, round(kept * image.shape[-1]))
    small = F.interpolate(image[None], size=(size, size), mode="area")
    return F.interpolate(small, size=image.shape[-2:], mode="nearest")[0]


def jpeg(image: Tensor, quality: float, generator: torch.Generator) -> Tensor:
    """Coded as JPEG of this quality, and decoded."""
    pixels = (image.cpu() * 255).round().to(torch.uint8).permute(1, 2, 0).squeeze(-1).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=int(quality))
    coded = torch.from_numpy(np.array(Image.open(file)))
    return coded.view(*image.shape[-2:], -1).permute(2, 0, 1).to(image) / 255


def elastic(image: Tensor, reach: float, generator: torch.Generator) -> Tensor:
    """Every pixel is taken from up to `reach` away, in a direction that varies smoothly."""
    flow = torch.rand((1, 2, 4, 4), generator=generator).to(image) * 2 - 1
    flow = F.interpolate(flow, size=image.shape[-2:], mode="bicubic", align_corners=True)[0] * 2 * reach
    grid = F.affine_grid(torch.eye(2, 3).to(image)[None], [1, 1, *image.shape[-2:]], align_corners=False)
    moved = grid + flow.permute(1, 2, 0)[None]
    return F.grid_sample(image[None], moved, padding_mode="reflection", align_corners=False)[0]


STRENGTHS: dict[str, tuple[Corruption, tuple[float, float, float, float, float]]] = {
    "gaussian noise": (gaussian_noise, (0.04, 0.08, 0.12, 0.18, 0.26)),
    "shot noise": (shot_noise, (500, 100, 50, 25, 12)),
    "impulse noise": (impulse_noise, (0.01, 0.03, 0.06, 0.10, 0.17)),
    "speckle noise": (speckle_noise, (0.10, 0.15, 0.25, 0.35, 0.50)),
    "gaussian blur": (gaussian_blur, (0.010, 0.018, 0.026, 0.034, 0.045)),
    "defocus blur": (defocus_blur, (0.015, 0.025, 0.040, 0.055, 0.075)),
    "motion blur": (motion_blur, (0.06, 0.10, 0.15, 0.21, 0.28)),
    "zoom blur": (zoom_blur, (0.06, 0.11, 0.17, 0.24, 0.32)),
    "fog": (fog, (0.15, 0.25, 0.36, 0.48, 0.60)),
    "brightness": (brightness, (0.08, 0.15, 0.22, 0.30, 0.40)),
    "contrast": (contrast, (0.75, 0.55, 0.40, 0.27, 0.17)),
    "saturation": (saturation, (0.3, 0.7, 1.2, 2.0, 3.5)),
    "pixelate": (pixelate, (0.75, 0.60, 0.48, 0.38, 0.30)),
    "jpeg": (jpeg, (60, 35, 20, 12, 7)),
    "elastic": (elastic, (0.02, 0.035, 0.05, 0.07, 0.095)),
}


def _normal(image: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(image.shape, generator=generator).to(image)


def _draw_sign(generator: torch.Generator) -> int:
    return 1 - 2 * int(torch.randint(2, (), generator=generator))


def _convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """The image with a kernel (k, k) of odd side, normalised to sum 1, with reflected borders."""
    kernel = (kernel / kernel.sum()).to(image)
    limit = min(image.shape[-2:]) - 1
    radius = len(kernel) // 2
    if radius > limit:  # a kernel that reaches beyond a tiny image
        kernel = kernel[radius - limit : radius + limit + 1, radius - limit : radius + limit + 1]
        kernel, radius = kernel / kernel.sum(), limit
    padded = F.pad(image[:, None], (radius,) * 4, mode="reflect")
    return F.conv2d(padded, kernel[None, None])[:, 0]


def _enlarge(image: Tensor, factor: float) -> Tensor:
    """The middle of the image, enlarged to its whole size."""
    matrix = torch.tensor([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]]).to(image)
    grid = F.affine_grid(matrix[None], [1, 1, *image.shape[-2:]], align_corners=False)
    return F.grid_sample(image[None], grid, padding_mode="reflection", align_corners=False)[0]


def _draw_cloud(image: Tensor, generator: torch.Generator) -> Tensor:
    """Smooth noise (1, H, W) in [0, 1]: grids of 2, 4 and 8 random values a side, weighted 4 : 2 : 1."""
    height, width = image.shape[-2:]
    cloud = torch.zeros(1, height, width)
    for side, weight in ((2, 4), (4, 2), (8, 1)):
        grid = torch.rand((1, 1, side, side), generator=generator)
        cloud += weight / 7 * F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=True)[0]
    return cloud.to(image)
