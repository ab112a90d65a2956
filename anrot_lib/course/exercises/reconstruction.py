"""Exercises of 10: the divergence to the prior, an effective beta, a Fréchet distance, a claim."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def hellinger2_to_prior(mean, log_var):
    var = log_var.exp()
    overlap = (2 * var.sqrt() / (var + 1)).sqrt() * torch.exp(-(mean**2) / (4 * (var + 1)))
    return 1 - overlap


def _posteriors():
    g = torch.Generator().manual_seed(0)
    means, deviations = torch.tensor([0.0, 3.0, 0.0, 1.0]), torch.tensor([1.0, 1.0, 2.0, 0.5])
    return [(means, 2 * deviations.log()), (torch.randn(3, 5, generator=g), torch.randn(3, 5, generator=g))]


def _log_var_for_log_deviation(mean, log_var):
    return hellinger2_to_prior(mean, 2 * log_var)


def _not_squared(mean, log_var):
    return hellinger2_to_prior(mean, log_var).clamp_min(0).sqrt()


def frechet_diagonal(mean_p, var_p, mean_q, var_q):
    widths = var_p + var_q - 2 * (var_p * var_q).sqrt()
    return ((mean_p - mean_q).square() + widths).sum()


def _gaussians():
    g = torch.Generator().manual_seed(1)
    line = [torch.tensor([v]) for v in (0.0, 1.0, 3.0, 4.0)]
    drawn = [draw(6, generator=g) for draw in (torch.randn, torch.rand, torch.randn, torch.rand)]
    return [tuple(line), tuple(drawn), (*drawn[:2], *drawn[:2])]


def _widths_of_variances(mean_p, var_p, mean_q, var_q):
    return ((mean_p - mean_q).square() + (var_p - var_q).square()).sum()


def _without_the_root(mean_p, var_p, mean_q, var_q):
    return ((mean_p - mean_q).square() + var_p + var_q - 2 * var_p * var_q).sum()


EXERCISES = {
    "10.1": Fill(hellinger2_to_prior, _posteriors, (_log_var_for_log_deviation, _not_squared)),
    "10.2": Predict(
        3 / 64,
        tell="Multiplied by 3/64, the error is the mean over images of a sum, and the divergence has this factor.",
        hint="Scale the loss until the error is the mean over images of its sum over pixels and channels.",
        wrong=(1 / 64, 64.0),
        tolerance=0.0005,
    ),
    "10.3": Fill(frechet_diagonal, _gaussians, (_widths_of_variances, _without_the_root)),
    "10.4": Predict(
        "b",
        tell="Equal beta is not equal pressure, and one training is one draw.",
        hint="What else differs between the two nets, although it is written as equal?",
        wrong=("a", "c"),
    ),
}
