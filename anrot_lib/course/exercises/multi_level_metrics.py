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


def _best_pairs_of_all(query, pool, k):
    cosines = torch.nn.functional.normalize(query, dim=1) @ torch.nn.functional.normalize(pool, dim=1).T
    return cosines.flatten().topk(k).values.mean()


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
    "11.1": Fill(
        pixel_score,
        _descriptors,
        {
            "Long descriptors count more; a cosine needs both of length 1.": _without_lengths,
            "The best query position for each position of the class is taken; it is the other way round.": (
                _best_query_for_each_of_the_class
            ),
            "The best pairs of all are taken; each position of the query has its own k best.": _best_pairs_of_all,
        },
        (
            "Bring all descriptors to length 1; then all cosines are one matrix product.",
            "`torch.nn.functional.normalize(query, dim=1)` does it. The product of query and transposed pool is (I, "
            "J).",
            "`topk(k, dim=1).values` are the k largest of each row; take the mean of all.",
        ),
    ),
    "11.2": Predict(
        "part",
        tell="Parts compare position with position; the other two take positions as a set.",
        hint="Which of the levels was unchanged when the positions of the query were shuffled?",
        wrong=("pixel", "distribution"),
    ),
    "11.3": Fill(
        wasserstein_squared,
        _diagonals,
        {
            "Variances are subtracted, as in the formula that the paper prints; subtract standard deviations.": (
                _as_printed
            ),
            "The means are missing.": _widths_only,
        },
        (
            "Put diagonal matrices into the formula of the distribution level; their root is the root of each number.",
            "In each dimension the trace is a + b - 2 root(a b). What is that the square of?",
            "It is (root a - root b) squared. Add the squared difference of the means and sum.",
        ),
        remark="Diagonal matrices commute, so the root of the product is the product of the roots.",
    ),
    "11.4": Predict(
        24,
        tell="The mean takes one dimension away: n samples leave a covariance of rank n - 1 at most.",
        hint="Centre the samples: their sum is 0 then, so one of them follows from the others.",
        wrong=(25, 640),
    ),
    "11.5": Fill(
        whose_term,
        _entries,
        {
            "This is where the term should come from; the question is where it does come from.": _as_it_should_be,
            "The numbers are read along the rows of both tables.": _along_the_other_axis,
        },
        (
            "Write both tables as one list of way x n numbers. Which number of this list is entry (j, i) of the "
            "result?",
            "The result has rows of `way` entries, so it is number way x j + i.",
            "The first table has rows of `n` entries: row and place of this number are `divmod(way * j + i, n)`.",
        ),
        remark="Entry number way j + i of the list stood in row (way j + i) // n of the first table, at place "
        "(way j + i) % n.",
    ),
}
