"""Exercises of 12: hardness of raw embeddings, the gradual destination, the semihard band, a score's ceiling."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def hardness_of(anchor, positive, negative):
    a, p, n = (rows / rows.norm(dim=1, keepdim=True) for rows in (anchor, positive, negative))
    return (a - p).norm(dim=1) - (a - n).norm(dim=1)


def _raw_rows():
    g = torch.Generator().manual_seed(0)
    axes = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    rows = torch.randn(3, 6, 4, generator=g)
    return [(axes[:1], axes[1:2], axes[2:]), (axes[:1], axes[2:], axes[:1]), tuple(rows)]


def _without_unit_length(anchor, positive, negative):
    return (anchor - positive).norm(dim=1) - (anchor - negative).norm(dim=1)


def _squared_distances(anchor, positive, negative):
    a, p, n = (rows / rows.norm(dim=1, keepdim=True) for rows in (anchor, positive, negative))
    return (a - p).square().sum(1) - (a - n).square().sum(1)


def semihard(to_positive, distances, other_class, margin):
    farther = distances > to_positive
    return other_class & farther & (distances < to_positive + margin)


def _distance_lists():
    distances = torch.tensor([0.25, 0.5, 0.5625, 0.625, 0.75, 1.5])  # exact in binary: equality means equality
    everyone, some = torch.ones(6, dtype=torch.bool), torch.tensor([True, True, False, True, False, True])
    cases = [(0.5, everyone, 0.25), (0.5, some, 0.25), (0.5625, everyone, 0.1875), (1.5, everyone, 0.25)]
    return [(to_positive, distances, other, margin) for to_positive, other, margin in cases]


def _nearer_ones_too(to_positive, distances, other_class, margin):
    return other_class & (distances < to_positive + margin)


def _own_class_too(to_positive, distances, other_class, margin):
    return (distances > to_positive) & (distances < to_positive + margin)


EXERCISES = {
    "12.1": Fill(hardness_of, _raw_rows, (_without_unit_length, _squared_distances)),
    "12.2": Predict(
        -0.05,
        tell="The loss has come down to a quarter of the margin, so the destination has come up to -0.2 times 1/4.",
        hint="First clip and divide: the loss as a share of the margin. Then take minus margin times that share.",
        wrong=(0.05, -0.15),
        tolerance=1e-6,
    ),
    "12.3": Fill(semihard, _distance_lists, (_nearer_ones_too, _own_class_too)),
    "12.4": Predict(
        79.85,
        tell="Three of the ten parts are R@1, whatever the attack does: 100, 99, 100, 99.5, 80, 100, 40, 40, 40, 100.",
        hint="Write down the ten parts. ES:R, LTM and GTM are all R@1 when nothing moves, and TMA is the mean cosine.",
        wrong=(100, 40),
        tolerance=0.2,
    ),
}
