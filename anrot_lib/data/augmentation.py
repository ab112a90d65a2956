"""Augmentations of whole batches: each image has other random parameters, and no Python loop runs over images.

All take float images (..., C, H, W) in [0, 1] with 1 or 3 channels and any leading dimensions, and a
torch.Generator; all return the same shape and range. Same generator state, same machine: same result.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in brightness (ITU-R BT.601)


def flip(images: Tensor, generator: torch.Generator, p: float = 0.5) -> Tensor:
    """Mirror left-right, each image with probability p."""
    return torch.where(_uniform(images, generator) < p, images.flip(-1), images)


def crop(images: Tensor, generator: torch.Generator, share: float = 1 / 8) -> Tensor:
    """Shift each image by a whole number of pixels in each direction, uniform up to `share` of its side.

    What leaves is lost; what enters is the reflection of the border: the padded crop of the usual recipes for CIFAR.
    """
    if not 0 <= share < 1:
        raise UserError(f"crop: the share of the side must lie in [0, 1), got {share}")
    (h, w), flat = images.shape[-2:], images.flatten(0, -4) if images.ndim > 3 else images[None]
    down, right = int(share * h), int(share * w)
    padded = F.pad(flat, (right, right, down, down), mode="reflect")
    at = flat.device
    top = torch.randint(2 * down + 1, (len(flat), 1), generator=generator, device=generator.device).to(at)
    left = torch.randint(2 * right + 1, (len(flat), 1), generator=generator, device=generator.device).to(at)
    rows = (top + torch.arange(h, device=at))[:, None, :, None]
    columns = (left + torch.arange(w, device=at))[:, None, None, :]
    image, channel = torch.arange(len(flat), device=at), torch.arange(flat.shape[1], device=at)
    return padded[image[:, None, None, None], channel[None, :, None, None], rows, columns].view(images.shape)


def rotate90(images: Tensor, generator: torch.Generator, p: float = 0.5) -> Tensor:
    """Turn each (square) image by 90 or by 270 degrees, with probability p / 2 each."""
    if images.shape[-1] != images.shape[-2]:
        raise UserError(f"rotate90 keeps the shape of square images only, got {tuple(images.shape[-2:])}")
    draw = _uniform(images, generator)
    turned = torch.where(draw < p / 2, images.rot90(1, (-2, -1)), images.rot90(3, (-2, -1)))
    return torch.where(draw < p, turned, images)


def color_jitter(
    images: Tensor,
    generator: torch.Generator,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
) -> Tensor:
    """Brightness, contrast, saturation and hue of each image, in this order, clipped to [0, 1] once at the end.

    The first three scale by a factor uniform in [1 - v, 1 + v]: the image, its distance from its mean brightness,
    its distance from its grey version. Hue turns the colour plane of YIQ by an angle uniform in [-hue, hue] of a
    full turn. A one-channel image has no saturation and no hue; they leave it alone.
    """
    for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        if not 0 <= value <= 1:
            raise UserError(f"color_jitter: {name} must lie in [0, 1], got {value}")
    images = images * _uniform(images, generator, 1 - brightness, 1 + brightness)
    mean = _gray(images).mean((-3, -2, -1), keepdim=True)
    images = torch.lerp(mean, images, _uniform(images, generator, 1 - contrast, 1 + contrast))
    if images.shape[-3] == 3:
        factor = _uniform(images, generator, 1 - saturation, 1 + saturation)
        images = torch.lerp(_gray(images), images, factor)
        images = _turn_hue(images, 2 * math.pi * _uniform(images, generator, -hue, hue))
    return images.clamp(0, 1)


def _gray(images: Tensor) -> Tensor:
    """(..., 1, H, W) brightness."""
    if images.shape[-3] == 1:
        return images
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(-3, keepdim=True)


def _turn_hue(images: Tensor, angle: Tensor) -> Tensor:
    """Rotate the chroma of RGB images (..., 3, H, W) by angle (..., 1, 1, 1) in radians; brightness stays."""
    to_yiq = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)], dtype=torch.float64)
    to_rgb = torch.linalg.inv(to_yiq).to(images)
    y, i, q = torch.split(torch.einsum("rc,...chw->...rhw", to_yiq.to(images), images), 1, -3)
    cos, sin = angle.cos(), angle.sin()
    turned = torch.cat([y, cos * i - sin * q, sin * i + cos * q], -3)
    return torch.einsum("rc,...chw->...rhw", to_rgb, turned)


def blur(images: Tensor, generator: torch.Generator, p: float = 0.5, sigma: tuple[float, float] = (0.1, 1.5)) -> Tensor:
    """Gaussian blur of each image with probability p, its sigma in pixels uniform in the given range.

    Separable kernels reach 3 times the largest sigma (less in small images), with reflected borders.
    """
    if not 0 < sigma[0] <= sigma[1]:
        raise UserError(f"blur: sigma must be a range (low, high) with 0 < low <= high, got {sigma}")
    h, w = images.shape[-2:]
    radius = min(math.ceil(3 * sigma[1]), h - 1, w - 1)
    strength = _uniform(images, generator, *sigma)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / strength) ** 2).view(-1, 1, 2 * radius + 1)  # one an image
    kernel = (kernel / kernel.sum(-1, keepdim=True)).repeat_interleave(images.shape[-3], 0)
    planes = images.reshape(1, -1, h, w)  # every plane of every image is a group with one kernel
    planes = F.conv2d(F.pad(planes, (radius,) * 4, "reflect"), kernel.unsqueeze(2), groups=len(kernel))
    blurred = F.conv2d(planes, kernel.unsqueeze(3), groups=len(kernel)).clamp(0, 1)
    return torch.where(_uniform(images, generator) < p, blurred.view(images.shape), images)


def two_views(images: Tensor, generator: torch.Generator, view: Augmentation | None = None) -> tuple[Tensor, Tensor]:
    """Two independently drawn views of every image, for a contrastive loss. Default view: colour jitter, then blur."""
    view = view or build_pipeline(("color_jitter", "blur"))
    return view(images, generator), view(images, generator)


class Mixed(NamedTuple):
    """Mixed images (..., n, C, H, W) with two labels (..., n) each; `weight` (..., n) is the share of the first."""

    images: Tensor
    labels: Tensor
    other_labels: Tensor
    weight: Tensor

    def soft_labels(self, classes: int) -> Tensor:
        """(..., n, classes) label distribution; `cross_entropy` takes it as it is."""
        weight = self.weight.unsqueeze(-1)
        return weight * F.one_hot(self.labels, classes) + (1 - weight) * F.one_hot(self.other_labels, classes)

    def cross_entropy(self, logits: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Mean of weight CE(labels) + (1 - weight) CE(other labels), for logits (..., n, classes)."""
        targets = self.soft_labels(logits.shape[-1]).flatten(0, -2)
        return F.cross_entropy(logits.flatten(0, -2).float(), targets.float(), label_smoothing=label_smoothing)


def mixup(images: Tensor, labels: Tensor, generator: torch.Generator, alpha: float = 0.2) -> Mixed:
    """x' = w x + (1 - w) x_other, w ~ Beta(alpha, alpha) for each image (Zhang et al. 2018).

    images (..., n, C, H, W), labels (..., n). Partners are a random permutation along n, so within one episode,
    where equal labels mean equal classes.
    """
    others, other_labels = _partners(images, labels, generator)
    weight = _beta(labels.shape, alpha, generator).to(images)
    return Mixed(torch.lerp(others, images, weight[..., None, None, None]), labels, other_labels, weight)


def cutmix(images: Tensor, labels: Tensor, generator: torch.Generator, alpha: float = 1.0) -> Mixed:
    """A box of each image is replaced by its partner's pixels (Yun et al. 2019). Shapes and partners as in `mixup`.

    The box has area 1 - w, w ~ Beta(alpha, alpha), and a uniform centre; it is cut at the border, and `weight` is
    the share of pixels that were really kept.
    """
    others, other_labels = _partners(images, labels, generator)
    side = (1 - _beta(labels.shape, alpha, generator).to(images)).sqrt()[..., None, None, None]
    rows, columns = (
        _inside(images, side, size, generator) for size in images.shape[-2:]
    )  # (..., 1, 1, H) and (..., 1, 1, W)
    box = rows.transpose(-2, -1) & columns
    weight = 1 - box.to(images.dtype).mean((-3, -2, -1))
    return Mixed(torch.where(box, others, images), labels, other_labels, weight)


def _inside(images: Tensor, side: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Which of `size` pixel centres lie within half of `side` (a share) of a uniform centre: bool (..., 1, 1, size)."""
    centre = _uniform(images, generator) * size
    pixels = torch.arange(size, device=images.device) + 0.5
    return (pixels - centre).abs() < side * size / 2


def _partners(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    check_images(images)
    if labels.shape != images.shape[:-3]:
        raise UserError(
            f"labels must have shape {tuple(images.shape[:-3])} as the images do, got {tuple(labels.shape)}"
        )
    draws = torch.rand(labels.shape, generator=generator, device=generator.device)
    order = draws.argsort(-1).to(images.device)
    rows = order[..., None, None, None].expand(images.shape)
    return images.gather(images.ndim - 4, rows), labels.gather(-1, order)


def _beta(shape: torch.Size, alpha: float, generator: torch.Generator) -> Tensor:
    """Beta(alpha, alpha) draws. torch has none that takes a generator, so one draw of it seeds numpy's."""
    if not alpha > 0:
        raise UserError(f"alpha of the Beta distribution must be above 0, got {alpha}")
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device).item())
    return torch.from_numpy(np.asarray(np.random.default_rng(seed).beta(alpha, alpha, tuple(shape))))


def _uniform(images: Tensor, generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    """One number an image, of shape (..., 1, 1, 1), uniform in [low, high)."""
    draws = torch.rand((*images.shape[:-3], 1, 1, 1), generator=generator, device=generator.device)
    return (low + (high - low) * draws).to(images)


AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": flip,
    "crop": crop,
    "rotate90": rotate90,
    "color_jitter": color_jitter,
    "blur": blur,
}


def build_pipeline(names: Sequence[str]) -> Augmentation:
    """The named augmentations, one after the other, as one function of (images, generator); () changes nothing.

    Checks the images once. Raises UserError for a name not in AUGMENTATIONS.
    """
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise UserError(f"unknown augmentation {unknown[0]!r}; choose from {', '.join(AUGMENTATIONS)}")

    def augment(images: Tensor, generator: torch.Generator) -> Tensor:
        check_images(images)
        for name in names:
            images = AUGMENTATIONS[name](images, generator)
        return images

    return augment
