"""Exercises of 06: the Bhattacharyya distance, saturation, pooling of shots, gradients, the stable Hellinger "
"distance."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict
from anrot_lib.course.exercises.comparing import find_relative_difference

PRECISION = 1e-3  # of each value by itself; 32 bits are enough for it if the formula is well written


def bhattacharyya(m, s2, n, t2):
    s, t = s2.sqrt(), t2.sqrt()
    widths = 0.5 * torch.log1p((s - t) ** 2 / (2 * s * t))
    means = (m - n) ** 2 / (4 * (s2 + t2))
    return widths + means


def _gaussians():
    usual = ([0.0, 0.0, 1.0, -1.0], [1.0, 1.0, 4.0, 0.25], [0.0, 3.0, 0.0, 2.0], [4.0, 1.0, 0.5, 9.0])
    alike = ([0.0, 0.0, 2.0], [1.0, 1.0, 3.0], [0.0, 0.001, 2.0], [1.0, 1.0, 3.01])
    far = ([0.0, 0.0], [1.0, 1e-6], [1000.0, 0.0], [1.0, 1e6])
    return [tuple(torch.tensor(v) for v in values) for values in (usual, alike, far)]


def _find_fault_of_distance(got, m, s2, n, t2):
    exact = bhattacharyya(m.double(), s2.double(), n.double(), t2.double())
    fault = find_relative_difference(got, exact, PRECISION)
    if fault is None:
        return None
    if "infinite" in fault:
        return f"{fault}: far apart the overlap is 0 in 32 bits; write its logarithm as a sum, without the overlap"
    near = fault.startswith("value") and bool((exact < 1e-4).any()) and (m - n).abs().max() < 0.01
    hint = "; nearly equal widths vanish in the rounding of ln(1 + tiny): `torch.log1p` keeps them"
    return fault + (hint if near else "")


def _logarithm_of_the_overlap(m, s2, n, t2):
    s, t = s2.sqrt(), t2.sqrt()
    overlap = (2 * s * t / (s2 + t2)).sqrt() * torch.exp(-((m - n) ** 2) / (4 * (s2 + t2)))
    return -overlap.log()


def _plain_logarithm(m, s2, n, t2):
    return 0.5 * torch.log((s2 + t2) / (2 * (s2 * t2).sqrt())) + (m - n) ** 2 / (4 * (s2 + t2))


def _variances_for_deviations(m, s2, n, t2):
    return bhattacharyya(m, s2**2, n, t2**2)


def _half_of_the_means(m, s2, n, t2):
    return bhattacharyya(m, s2, n, t2) + (m - n) ** 2 / (4 * (s2 + t2))


def hellinger(d):
    return (-torch.expm1(-d)).sqrt()


def _distances():
    return [(torch.tensor([0.0, 0.1, 1.0, 5.0]),), (torch.tensor([1e-12, 1e-8, 1e-5]),), (torch.tensor([100.0, 1e5]),)]


def _find_fault_of_root(got, d):
    fault = find_relative_difference(got, (-torch.expm1(-d.double())).sqrt(), PRECISION)
    lost = "; 1 - exp(-d) of a tiny d is lost to rounding: `torch.expm1(x)` is exp(x) - 1, exact for small x"
    return None if fault is None else fault + (lost if d.max() < 1e-3 else "")


def _difference_of_nearly_equals(d):
    return (1 - (-d).exp()).sqrt()


def _not_the_root(d):
    return -torch.expm1(-d)


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


def _of_the_mean(means, variances):
    return torch.stack([means.mean(0), variances.mean(0) / len(means)])


EXERCISES = {
    "6.1": Fill(
        bhattacharyya,
        _gaussians,
        {
            "The overlap is taken first, and then its logarithm.": _logarithm_of_the_overlap,
            "The logarithm of a number near 1 is taken.": _plain_logarithm,
            "`s2` and `t2` are variances already; they are squared once more.": _variances_for_deviations,
            "The part of the means is too large by two: it is divided by 4 times the sum of the variances.": (
                _half_of_the_means
            ),
        },
        (
            "Take minus the logarithm of both factors of BC by hand first: a sum of a part of the widths and a part of "
            "the means.",
            "The widths give 0.5 ln((s2 + t2) / (2 s t)). Since s2 + t2 = (s - t)**2 + 2 s t, this is 0.5 ln(1 + x) "
            "with "
            "an x that is exactly 0 for equal widths.",
            "`0.5 * torch.log1p((s - t) ** 2 / (2 * s * t)) + (m - n) ** 2 / (4 * (s2 + t2))`, with `s, t = s2.sqrt(), "
            "t2.sqrt()`.",
        ),
        find_fault=_find_fault_of_distance,
    ),
    "6.2": Predict(
        0.99999,
        tell="0.9 to the power of 100 is about 0.00003, so next to nothing is left of the overlap.",
        hint="Overlaps of independent dimensions multiply. What is 0.9 to the power of 100?",
        wrong=(0.316, 0.9),
        tolerance=1e-4,
    ),
    "6.3": Fill(
        pool_shots,
        _shots,
        {
            "Shots with different means make the class wider; add the variance of the means.": _variance_within_only,
            "The means of the shots are all there are, no sample: divide by their number, not by one less.": (
                _divided_by_one_less
            ),
            "This is the variance of a mean of shots; the class is their mixture.": _of_the_mean,
        },
        (
            "The mean of a mixture with equal weights is the mean of the means. For its variance, think of how far a "
            "draw "
            "lies from *that* mean.",
            "A draw is off by its distance from the mean of its shot, and by the distance of this mean from the common "
            "one. The two are independent, so their squares add up.",
            "Mean of the variances plus the mean of `(means - mean) ** 2`; then `torch.stack([mean, variance])`.",
        ),
    ),
    "6.4": Predict(
        "hellinger",
        tell="Its range ends at 1, so far apart nothing can change any more.",
        hint="Set the deviation to 1 and slide the mean from 0 to 8; watch the grey bars.",
        wrong=("kl", "wasserstein2"),
    ),
    "6.5": Fill(
        hellinger,
        _distances,
        {
            "Two nearly equal numbers are subtracted.": _difference_of_nearly_equals,
            "This is the square of H; take the root.": _not_the_root,
        },
        (
            "BC is exp(-d). Put it into the definition of H, and ask what happens in 32 bits if d is 1e-12.",
            "1 + 1e-12 is 1 in 32 bits, so exp(-1e-12) is 1 and nothing is left of the difference. PyTorch has a "
            "function for exp(x) - 1.",
            "`(-torch.expm1(-d)).sqrt()`.",
        ),
        remark="The library does the same, and defines the slope at d = 0, where the root has none, as 0.",
        find_fault=_find_fault_of_root,
    ),
}
