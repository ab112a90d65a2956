"""Exercises of 04: noise of several strengths, its length, saturated pixels, the shift of a one-sided clip."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def add_noise(images, sigma, n):
    return (images + sigma[:, None, None, None] * n).clamp(0, 1)


def _batches():
    g = torch.Generator().manual_seed(0)
    shape = (3, 1, 2, 2)
    images, n = torch.rand(shape, generator=g), torch.randn(shape, generator=g)
    return [
        (images, torch.zeros(3), n),
        (images, torch.tensor([0.0, 0.1, 0.5]), n),
        (torch.ones(2, 3, 2, 2), torch.tensor([0.2, 0.3]), torch.randn(2, 3, 2, 2, generator=g)),
    ]


def _clipped_at_255(images, sigma, n):
    return (images + sigma[:, None, None, None] * n).clamp(0, 255)


def _one_strength(images, sigma, n):
    return (images + sigma.mean() * n).clamp(0, 1)


def _as_variances(images, sigma, n):
    return (images + sigma.sqrt()[:, None, None, None] * n).clamp(0, 1)


def share_at_the_ends(x, sigma):
    at_zero = torch.special.ndtr(-x / sigma)
    at_one = torch.special.ndtr((x - 1) / sigma)
    return at_zero + at_one


def _greys():
    x = torch.linspace(0, 1, 5, dtype=torch.float64)
    return [(x, 0.1), (x, 0.3), (torch.tensor(0.5, dtype=torch.float64), 0.5)]


def _lower_end_only(x, sigma):
    return torch.special.ndtr(-x / sigma)


def _as_a_variance(x, sigma):
    return share_at_the_ends(x, sigma**2)


EXERCISES = {
    "4.1": Fill(
        add_noise,
        _batches,
        {
            "The clip ends at 255; these images end at 1.": _clipped_at_255,
            "All images get the same strength; each has a sigma of its own.": _one_strength,
            "sigma is a standard deviation already; take no root of it.": _as_variances,
        },
        (
            "Multiply the random numbers by sigma, add, clip. The only question is the shapes.",
            "`sigma` has the shape (N,), the images (N, C, H, W): it needs three more axes at the end.",
            "`sigma[:, None, None, None]` has the shape (N, 1, 1, 1) and spreads over the pixels of its own image.",
        ),
    ),
    "4.2": Predict(
        5.5,
        tell="0.1 times the root of 3 x 32 x 32 = 3072 numbers.",
        hint="The squared length is a sum of 3 x 32 x 32 squares, each 0.01 on average.",
        wrong=(0.1, 307.2),
        tolerance=0.1,
    ),
    "4.3": Fill(
        share_at_the_ends,
        _greys,
        {
            "The spike at 1 is missing.": _lower_end_only,
            "sigma is the standard deviation, not the variance: do not square it.": _as_a_variance,
        },
        (
            "Two shares: of the draws at or below 0, and of those at or above 1.",
            "x + sigma n is below 0 where n is below -x / sigma, which has the probability Phi(-x / sigma).",
            "For the upper end n has to be above (1 - x) / sigma; that is as likely as below (x - 1) / sigma.",
        ),
        tolerance=1e-6,
    ),
    "4.4": Predict(
        0.01,
        tell="sigma squared over 4: the shift grows with the square of sigma.",
        hint="The text says how the shift depends on sigma; put 0.2 in.",
        wrong=(0.0225, 0.05),
        tolerance=0.0005,
    ),
}
