"""Exercises of 06: the formula, saturation, pooling of shots, gradients."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def hellinger_1d(m, s, n, t):
    overlap = (2 * s * t / (s**2 + t**2)).sqrt() * torch.exp(-((m - n) ** 2) / (4 * (s**2 + t**2)))
    return (1 - overlap).clamp_min(0).sqrt()


def _gaussians():
    m, n = torch.tensor([0.0, 0.0, 0.0, 1.0]), torch.tensor([0.0, 3.0, 1.0, -1.0])
    s, t = torch.tensor([1.0, 1.0, 1.0, 0.5]), torch.tensor([1.0, 1.0, 2.0, 3.0])
    return [(m, s, n, t), (n, t, m, s), (m[:1], s[:1], n[1:2], t[1:2])]


def _squared(m, s, n, t):
    return hellinger_1d(m, s, n, t) ** 2


def _variances_for_deviations(m, s, n, t):
    return hellinger_1d(m, s.sqrt(), n, t.sqrt())


def pool_shots(means, variances):
    mean = means.mean(0)
    variance = variances.mean(0) + (means - mean).square().mean(0)
    return torch.stack([mean, variance])


def _shots():
    g = torch.Generator().manual_seed(0)
    return [(torch.randn(k, c, generator=g), torch.rand(k, c, generator=g)) for k, c in ((1, 3), (2, 1), (5, 4))]


def _variance_within_only(means, variances):
    return torch.stack([means.mean(0), variances.mean(0)])


def _divided_by_one_less(means, variances):
    spread = means.var(0) if len(means) > 1 else torch.zeros_like(means[0])
    return torch.stack([means.mean(0), variances.mean(0) + spread])


EXERCISES = {
    "6.1": Fill(hellinger_1d, _gaussians, (_squared, _variances_for_deviations)),
    "6.2": Predict(
        0.99999,
        tell="0.9 to the power of 100 is about 0.00003, so next to nothing is left of the overlap.",
        hint="Overlaps of independent dimensions multiply. What is 0.9 to the power of 100?",
        wrong=(0.316, 0.9),
        tolerance=1e-4,
    ),
    "6.3": Fill(pool_shots, _shots, (_variance_within_only, _divided_by_one_less)),
    "6.4": Predict(
        "hellinger",
        tell="Its range ends at 1, so far apart nothing can change any more.",
        hint="Set the deviation to 1 and slide the mean from 0 to 8; watch the grey bars.",
        wrong=("kl", "wasserstein2"),
    ),
}
