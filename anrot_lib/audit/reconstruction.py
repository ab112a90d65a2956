"""As published, bug for bug: the Hellinger term, the weighing of the two terms, the inputs of the distance.

Re-stated from what the released reconstruction code computes (commit a7de814, beside arXiv 2509.11220), so that its
effects can be shown on the same images. Whether the published numbers came from exactly this code is unknown. Nothing
here is a default anywhere; the corrected forms are in `divergences.to_standard`, `reconstruction` and `frechet`.
"""

import math

import torch
from torch import Tensor

from anrot_lib.divergences.gaussian import full_precision

NUDGE = 5e-4  # added to both denominators
POLE = 2 * math.log(2) - 4 * NUDGE  # the log-variance at which the published term is infinite


@full_precision
def hellinger_term(mean: Tensor, log_var: Tensor) -> Tensor:
    """The published "Hellinger distance" of N(mean, exp(log_var)) to N(0, 1), entry by entry, any real number.

        A = 1/2 * (log_var / 8) / (ln(1/2) / 2 + log_var / 4 + c) * exp(-mean^2 / 4 / (sqrt(exp(log_var) + 1) + c))

    with c = 5e-4.

    Exact is H^2 = 1 - sqrt(2 sigma / (sigma^2 + 1)) exp(-mean^2 / (4 (sigma^2 + 1))). What follows from the formula:
    - at log_var = 0 it is 0 whatever the mean (exact: 0.675 at mean 3);
    - elsewhere its magnitude falls as the mean leaves 0: minimising it rewards leaving the prior;
    - it has a pole at log_var = 2 ln 2 - 0.002, with opposite signs on its two sides.
    """
    ratio = 0.5 * (0.125 * log_var) / (0.5 * math.log(0.5) + 0.25 * log_var + NUDGE)
    return ratio * torch.exp(-0.25 * mean.square() / (torch.sqrt(log_var.exp() + 1) + NUDGE))


@full_precision
def hellinger_regulariser(mean: Tensor, log_var: Tensor) -> Tensor:
    """What the published code adds to its loss: ln |mean over the batch of the sum over the latent dimensions of A|.

    mean, log_var (B, D) -> one number. A takes both signs, so the total can be 0, where this is -inf: the loss has no
    lower bound. One scalar of the whole batch; the images of a batch share it.
    """
    return hellinger_term(mean, log_var).sum(-1).mean().abs().log()


@full_precision
def weigh_loss(images: Tensor, reconstruction: Tensor, divergence: Tensor) -> Tensor:
    """The published weighing: the error summed over the batch, the divergence averaged over it.

    images, reconstruction (B, C, H, W); divergence (B,), summed over the latent dimensions. The error is averaged over
    the channels of a pixel, summed over the pixels and over the batch. See `effective_beta` for what that comes to.
    """
    error = (images - reconstruction).square().mean(1).sum()
    return error + divergence.mean()


def effective_beta(batch: int, channels: int = 3) -> float:
    """The beta of a bound for each image that `weigh_loss` comes to: channels / batch, 0.023 for 3 / 128."""
    return channels / batch


def take_rows_of_last_image(images: Tensor) -> Tensor:
    """What the published distance iterates over: the pixel rows of the last image, each a picture of its own.

    (B, C, H, W) -> (H, 3, W, C). Height and width of such a picture are the pixels of the row and their colours, and
    its three channels are equal: a row (W, C) is taken for a grey image, and the release then stretches it to
    (299, 299, 3), to the nearest pixel.
    """
    return images[-1].permute(1, 2, 0).unsqueeze(1).expand(-1, 3, -1, -1)


def scale_twice(images: Tensor) -> Tensor:
    """What the published extractor sees of images in [0, 1]: x / 127.5 - 1, made for [0, 255]; from -1 to -0.992."""
    return images / 127.5 - 1
