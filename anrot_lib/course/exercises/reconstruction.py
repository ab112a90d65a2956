"""Exercises of 10: a Fréchet distance, the loss of one image, an effective beta, a claim."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def frechet_distance(x, y):
    x, y = x.double(), y.double()
    s, t = torch.cov(x.T), torch.cov(y.T)
    roots = torch.linalg.eigvals(s @ t).real.clamp_min(0).sqrt().sum()
    return (x.mean(0) - y.mean(0)).square().sum() + s.trace() + t.trace() - 2 * roots


def _feature_sets():
    g = torch.Generator().manual_seed(1)
    many, other = torch.randn(50, 4, generator=g), 2 * torch.randn(40, 4, generator=g) + torch.arange(4)
    turned = many @ torch.linalg.qr(torch.randn(4, 4, generator=g))[0]
    few = torch.randn(3, 5, generator=g)  # fewer than dimensions: both covariances are singular
    return [(many, other), (many, many.clone()), (many, turned), (few, torch.randn(4, 5, generator=g))]


def _roots_of_the_entries(x, y):
    s, t = torch.cov(x.double().T), torch.cov(y.double().T)
    means = (x.double().mean(0) - y.double().mean(0)).square().sum()
    return means + (s.diagonal().sqrt() - t.diagonal().sqrt()).square().sum()


def _without_the_root(x, y):
    s, t = torch.cov(x.double().T), torch.cov(y.double().T)
    return (x.double().mean(0) - y.double().mean(0)).square().sum() + (s + t - 2 * s @ t).trace()


def _means_not_squared(x, y):
    means = x.double().mean(0) - y.double().mean(0)
    return frechet_distance(x, y) - means.square().sum() + means.norm()


def _means_alone(x, y):
    return (x.double().mean(0) - y.double().mean(0)).square().sum()


def bound_loss(x, drawn, mean, log_var, beta):
    error = (drawn - x).square().flatten(1).sum(1)
    kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1)
    return error + beta * kl


def _reconstructions():
    g = torch.Generator().manual_seed(0)
    cases = []
    for n, channels, latent, beta in ((2, 1, 3, 1.0), (5, 3, 2, 0.25), (3, 1, 8, 0.0)):
        x, drawn = torch.rand(2, n, channels, 4, 4, generator=g)
        mean, log_var = torch.randn(2, n, latent, generator=g)
        cases.append((x, drawn, mean, log_var, beta))
    return cases


def _error_averaged(x, drawn, mean, log_var, beta):
    error = (drawn - x).square().flatten(1).mean(1)
    return error + bound_loss(x, x, mean, log_var, beta)


def _summed_over_the_batch(x, drawn, mean, log_var, beta):
    return bound_loss(x, drawn, mean, log_var, beta).sum()


def _deviation_for_variance(x, drawn, mean, log_var, beta):
    return bound_loss(x, drawn, mean, 2 * log_var, beta)


def _without_the_half(x, drawn, mean, log_var, beta):
    return bound_loss(x, drawn, mean, log_var, 2 * beta)


EXERCISES = {
    "10.1": Fill(
        frechet_distance,
        _feature_sets,
        {
            "Only the diagonals of the covariances are compared; features that are correlated need the whole "
            "product.": (_roots_of_the_entries),
            "The root of the product is missing.": _without_the_root,
            "The distance of the means is squared, too.": _means_not_squared,
            "The covariances are missing.": _means_alone,
        },
        (
            "`torch.cov(x.T)` is a covariance (D, D) of features (N, D). Work in float64.",
            "The trace of a matrix root is the sum of the roots of the eigenvalues. Those of S T are never negative, "
            "for "
            "it has the eigenvalues of a symmetric matrix.",
            "`torch.linalg.eigvals(s @ t).real`, clamped at 0 because of rounding, then `sqrt().sum()`.",
        ),
        tolerance=1e-3,
    ),
    "10.2": Fill(
        bound_loss,
        _reconstructions,
        {
            "The error is averaged over pixels; in the bound of one image it is summed.": _error_averaged,
            "One value for each image is asked for, not one for the batch.": _summed_over_the_batch,
            "`log_var` is the logarithm of the variance, not of the deviation.": _deviation_for_variance,
            "The factor 1/2 of KL is missing.": _without_the_half,
        },
        (
            "Two sums for each image: over channels and pixels, and over latent dimensions.",
            "`(drawn - x).square().flatten(1).sum(1)` has the shape (N,).",
            "KL of one dimension is 0.5 (mean**2 + exp(log_var) - 1 - log_var); sum it over axis 1 and add it beta "
            "times.",
        ),
    ),
    "10.3": Predict(
        3 / 64,
        tell="Multiplied by 3/64, the error is the mean over images of a sum, and the divergence has this factor.",
        hint="Scale the loss until the error is the mean over images of its sum over pixels and channels.",
        wrong=(1 / 64, 64.0),
        tolerance=0.0005,
    ),
    "10.4": Predict(
        "b",
        tell="Equal beta is not equal pressure, and one training is one draw.",
        hint="What else differs between the two nets, although it is written as equal?",
        wrong=("a", "c"),
    ),
}
