"""The one check for images, with an error that says what is wrong, where, and what to do."""

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError


def check_images(images: Tensor, name: str = "images", slack: float = 0.0) -> Tensor:
    """Return `images` unchanged if they are what the whole library works on, else raise UserError.

    Images are float tensors of shape (..., C, H, W) with C in {1, 3} and values in [0, 1]. Normalisation
    lives inside the encoders, so an eps or a sigma is always in units of the pixel range.
    slack: how far outside values may lie, for points that an attack tries.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise UserError(f"{name} must be a float tensor, got {kind}; divide uint8 pixels by 255 first")
    if images.ndim < 3 or images.shape[-3] not in (1, 3) or 0 in images.shape[-2:]:
        raise UserError(f"{name} must have shape (..., C, H, W) with C = 1 or 3, got {tuple(images.shape)}")
    if images.numel():
        low, high = (v.item() for v in torch.aminmax(images.detach()))
        if not (low >= -slack and high <= 1.0 + slack):
            raise UserError(
                f"{name} must lie in [0, 1], found values from {low:.4g} to {high:.4g}; "
                "do not normalise them, the encoder does"
            )
    return images
