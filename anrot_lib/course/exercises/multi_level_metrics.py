"""Exercises of 11: the pixel level, what a shift changes, Wasserstein by hand, rank, the misplaced index."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def pixel_score(query, pool, k):
    query = torch.nn.functional.normalize(query, dim=1)
    pool = torch.nn.functional.normalize(pool, dim=1)
    return (query @ pool.T).topk(k, dim=1).values.mean()


def _descriptors():
    g = torch.Generator().manual_seed(0)
    hand = (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]]), 1)
    return [hand, (*hand[:2], 2), (3 * torch.randn(6, 4, generator=g), torch.randn(9, 4, generator=g), 3)]


def _without_lengths(query, pool, k):
    return (query @ pool.T).topk(k, dim=1).values.mean()


def _best_query_for_each_of_the_class(query, pool, k):
    return pixel_score(pool, query, min(k, len(query)))


def wasserstein_squared(m, a, n, b):
    return (m - n).square().sum() + (a.sqrt() - b.sqrt()).square().sum()


def _diagonals():
    zero, one = torch.zeros(2), torch.tensor([1.0, 2.0])
    a, b = torch.tensor([1.0, 4.0]), torch.tensor([9.0, 16.0])
    return [(zero, a, zero, b), (one, a, zero, a), (one, b, zero, torch.zeros(2))]


def _as_printed(m, a, n, b):
    return (m - n).square().sum() + (a - b).square().sum()


def _widths_only(m, a, n, b):
    return (a.sqrt() - b.sqrt()).square().sum()


def whose_term(j, i, way, n):
    return divmod(way * j + i, n)


def _entries():
    return [(0, 0, 5, 75), (14, 4, 5, 75), (15, 0, 5, 75), (74, 4, 5, 75), (3, 1, 4, 28)]


def _as_it_should_be(j, i, way, n):
    return (i, j)


def _along_the_other_axis(j, i, way, n):
    return divmod(n * i + j, way)


EXERCISES = {
    "11.1": Fill(pixel_score, _descriptors, (_without_lengths, _best_query_for_each_of_the_class)),
    "11.2": Predict(
        "part",
        tell="Parts compare position with position; the other two take positions as a set.",
        hint="Which of the levels was unchanged when the positions of the query were shuffled?",
        wrong=("pixel", "distribution"),
    ),
    "11.3": Fill(wasserstein_squared, _diagonals, (_as_printed, _widths_only)),
    "11.4": Predict(
        24,
        tell="The mean takes one dimension away: n samples leave a covariance of rank n - 1 at most.",
        hint="Centre the samples: their sum is 0 then, so one of them follows from the others.",
        wrong=(25, 640),
    ),
    "11.5": Fill(whose_term, _entries, (_as_it_should_be, _along_the_other_axis)),
}
