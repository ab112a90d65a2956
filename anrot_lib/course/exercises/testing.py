"""Exercises of 09: an interval, how many episodes, intervals that overlap, queries that nothing beat, paired ones."""

import numpy as np
import scipy.stats
import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def mean_and_half_width(accuracies):
    n = len(accuracies)
    mean = accuracies.sum() / n
    deviation = np.sqrt(((accuracies - mean) ** 2).sum() / (n - 1))
    return float(mean), float(scipy.stats.t.ppf(0.975, n - 1) * deviation / np.sqrt(n))


def _measurements():
    rng = np.random.default_rng(0)
    return [(np.array([60.0, 70.0, 80.0, 70.0]),), (70 + 10 * rng.standard_normal(30),), (np.array([50.0, 52.0]),)]


def _normal_quantile(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std(ddof=1) / len(accuracies) ** 0.5


def _divided_by_n(accuracies):
    n = len(accuracies)
    return accuracies.mean(), scipy.stats.t.ppf(0.975, n - 1) * accuracies.std() / n**0.5


def _of_one_episode(accuracies):
    n = len(accuracies)
    return accuracies.mean(), scipy.stats.t.ppf(0.975, n - 1) * accuracies.std(ddof=1)


def _both_sides(accuracies):
    mean, half = mean_and_half_width(accuracies)
    return mean, 2 * half


def _one_sided(accuracies):
    n = len(accuracies)
    return accuracies.mean(), scipy.stats.t.ppf(0.95, n - 1) * accuracies.std(ddof=1) / n**0.5


def episodes_needed(deviation, half_width):
    return int(np.ceil((1.96 * deviation / half_width) ** 2))


def _precisions():
    return [(10.0, 2.0), (10.0, 0.3), (7.5, 0.5), (12.0, 1.0)]


def _rounded_down(deviation, half_width):
    return int((1.96 * deviation / half_width) ** 2)


def _not_squared(deviation, half_width):
    return int(np.ceil(1.96 * deviation / half_width))


def robust_accuracy(logits, labels):
    right = logits.argmax(-1) == labels
    return right.all(0).double().mean()


def _candidates():
    g = torch.Generator().manual_seed(0)
    cases = []
    for candidates, queries, way in ((1, 6, 3), (4, 20, 5), (3, 12, 2)):
        labels = torch.randint(way, (queries,), generator=g)
        lift = 2.0 * torch.nn.functional.one_hot(labels, way)
        cases.append((torch.randn(candidates, queries, way, generator=g) + lift, labels))
    return cases


def _average_over_candidates(logits, labels):
    return (logits.argmax(-1) == labels).double().mean()


def _last_candidate_alone(logits, labels):
    return (logits[-1].argmax(-1) == labels).double().mean()


def _any_candidate(logits, labels):
    return (logits.argmax(-1) == labels).any(0).double().mean()


def paired_half_width(first, second):
    difference = second - first
    return 1.96 * difference.std() / len(difference) ** 0.5


def _two_nets():
    g = torch.Generator().manual_seed(0)
    cases = []
    for n, spread in ((4, 0.1), (20, 0.1), (50, 0.02)):
        hard = 0.7 + 0.1 * torch.randn(n, generator=g)  # what both share
        cases.append((hard, hard + 0.03 + spread * torch.randn(n, generator=g)))
    return cases


def _not_paired(first, second):
    return 1.96 * ((first.var() + second.var()) / len(first)) ** 0.5


def _deviation_of_one_episode(first, second):
    return 1.96 * (second - first).std()


EXERCISES = {
    "9.1": Fill(
        mean_and_half_width,
        _measurements,
        {
            "1.96 is the quantile for many episodes; for few take Student's, with n - 1 degrees of freedom.": (
                _normal_quantile
            ),
            "The deviation divides by n; the mean was taken from the same numbers, so divide by n - 1.": _divided_by_n,
            "This is about one episode; the mean of n is surer by the root of n.": _of_one_episode,
            "The whole width is given; half of it is asked for.": _both_sides,
            "95 % in the middle leave 2.5 % at each end: take the quantile 0.975.": _one_sided,
        },
        (
            "Three numbers one after the other: the mean, the deviation s, and s over the root of n times a quantile.",
            "The deviation divides the sum of squares by n - 1: `accuracies.std(ddof=1)` in numpy.",
            "The quantile is `scipy.stats.t.ppf(0.975, n - 1)`, after `import scipy.stats`. Return the mean and the "
            "half-width.",
        ),
    ),
    "9.2": Fill(
        episodes_needed,
        _precisions,
        {
            "Rounded down, the interval is a little too wide: round up.": _rounded_down,
            "The root of n stands below the deviation, so n grows with the square.": _not_squared,
        },
        (
            "Solve 1.96 s / root(n) = half-width for n.",
            "n is (1.96 s / half-width) squared, which is hardly ever a whole number.",
            "`np.ceil` rounds up; make an integer of it.",
        ),
    ),
    "9.3": Predict(
        "c",
        tell="Both saw the same episodes, so only the interval of their difference, episode by episode, can decide.",
        hint="Think of the figure with the three intervals: which of them was the narrowest, and what was it made of?",
        wrong=("a", "b"),
    ),
    "9.4": Fill(
        robust_accuracy,
        _candidates,
        {
            "This is the mean over candidates; one that beats the query is enough.": _average_over_candidates,
            "Only the last candidate is asked; an earlier one may have beaten the query.": _last_candidate_alone,
            "This counts queries that some candidate left right; all of them must.": _any_candidate,
        },
        (
            "First make a table of right and wrong, (candidates, queries), then one answer for each query.",
            "`logits.argmax(-1) == labels` is this table: the labels spread over the candidates.",
            "A query counts if its whole column is right: `all(0)`. Take the mean of that as a float.",
        ),
    ),
    "9.5": Fill(
        paired_half_width,
        _two_nets,
        {
            "Two deviations are added, as if the episodes had been others; take differences first.": _not_paired,
            "The root of n is missing.": _deviation_of_one_episode,
        },
        (
            "What the two nets share cancels in the difference of each episode.",
            "Take `second - first`, and treat these n numbers like the accuracies of one net.",
            "1.96 times their standard deviation over the root of n.",
        ),
        remark="`Tensor.std` divides by n - 1. For few episodes the quantile of Student's distribution takes the place "
        "of 1.96.",
    ),
}
