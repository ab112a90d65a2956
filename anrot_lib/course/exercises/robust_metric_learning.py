"""Exercises of 12: hardness manipulation, hardness, the gradual destination, the semihard band, a score's ceiling."""

from dataclasses import dataclass

import torch
from torch import Tensor

from anrot_lib.course.exercises.checking import Fill, Predict
from anrot_lib.course.exercises.toys import find_broken_promise


def manipulate(hardness, triplets, aim, eps, step, steps):
    low, high = (triplets - eps).clamp(min=0), (triplets + eps).clamp(max=1)
    points = triplets
    for _ in range(steps):
        points = points.detach().requires_grad_()
        missing = (aim - hardness(points)).relu().square()
        (slope,) = torch.autograd.grad(missing.sum(), points)
        points = (points - step * slope.sign()).clamp(low, high)
    return points.detach()


@dataclass(frozen=True)
class Slope:
    """A hardness that grows evenly with the pixels: weight x pixels."""

    weight: Tensor

    def __call__(self, triplets: Tensor) -> Tensor:
        return triplets.flatten(1) @ self.weight

    def __repr__(self) -> str:
        return "a hardness that grows evenly with the pixels"


def _triplets():
    g = torch.Generator().manual_seed(0)
    triplets, weight = torch.rand(5, 3, 2, generator=g), torch.randn(6, generator=g)
    now = triplets.flatten(1) @ weight
    mixed = now + torch.tensor([0.1, -0.3, 0.2, 0.0, 5.0])  # two of the five are there already
    return [
        (Slope(weight), triplets, mixed, 0.2, 0.01, 20),
        (Slope(weight), triplets, now - 0.5, 0.1, 0.02, 5),
        (Slope(weight), triplets, now + 9.0, 0.1, 0.04, 4),
    ]


def _find_fault_of_manipulation(got, hardness, triplets, aim, eps, step, steps):
    """Which triplet broke a promise, moved though it was there, stopped too early or went too far."""
    if fault := find_broken_promise(got, triplets, eps):
        return fault
    before, after = hardness(triplets), hardness(got.detach())
    reached = hardness(manipulate(hardness, triplets, aim, eps, step, steps))
    if len(there := ((before >= aim) & (got != triplets).flatten(1).any(1)).nonzero().flatten()):
        k = int(there[0])
        return f"triplet {k} is at its destination {aim[k]:.3f} already, with H = {before[k]:.3f}; expected it to stay"
    wanted = torch.minimum(reached, aim)
    if len(short := (after < wanted - 1e-3).nonzero().flatten()):
        k = int(short[0])
        return f"triplet {k} ends at H = {after[k]:.3f}; expected {wanted[k]:.3f}, which such steps reach"
    limit = torch.maximum(reached, aim) + step * hardness.weight.abs().sum()  # by less than a step
    if len(far := (after > limit).nonzero().flatten()):
        k = int(far[0])
        return f"triplet {k} goes on to H = {after[k]:.3f}; expected it to stop at its destination {aim[k]:.3f}"
    return None


def _to_the_maximum(hardness, triplets, aim, eps, step, steps):
    return manipulate(hardness, triplets, torch.full_like(aim, 1e3), eps, step, steps)


def _downwards(hardness, triplets, aim, eps, step, steps):
    return manipulate(lambda x: -hardness(x), triplets, aim + 1e3, eps, step, steps)


def _pulled_back(hardness, triplets, aim, eps, step, steps):
    points = triplets
    for _ in range(steps):
        points = points.detach().requires_grad_()
        (slope,) = torch.autograd.grad((aim - hardness(points)).square().sum(), points)
        points = (points - step * slope.sign()).clamp(triplets - eps, triplets + eps).clamp(0, 1)
    return points.detach()


def _ball_around_the_last_point(hardness, triplets, aim, eps, step, steps):
    points = triplets
    for _ in range(steps):
        points = manipulate(hardness, points, aim, eps, step, 1)
    return points


def _hardness_and_no_destination(hardness, triplets, aim, eps, step, steps):
    return manipulate(hardness, triplets, torch.zeros_like(aim), eps, step, steps)


def hardness_of(anchor, positive, negative):
    a, p, n = (x / x.norm(dim=1, keepdim=True) for x in (anchor, positive, negative))
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


def _wrong_way_round(anchor, positive, negative):
    return -hardness_of(anchor, positive, negative)


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


def _ends_included(to_positive, distances, other_class, margin):
    return other_class & (distances >= to_positive) & (distances <= to_positive + margin)


EXERCISES = {
    "12.1": Fill(
        manipulate,
        _triplets,
        {
            "All triplets are driven to their maximum, as in min-max training.": _to_the_maximum,
            "The hardness falls; an adversary raises it.": _downwards,
            "A triplet above its destination is pulled back; only what is missing counts.": _pulled_back,
            "The ball is one around the clean triplets, not around the point of the step before.": (
                _ball_around_the_last_point
            ),
            "Every triplet has a destination of its own.": _hardness_and_no_destination,
        },
        (
            "PGD as in 03, with another loss: the square of what is missing to the destination, which is to fall.",
            "What is missing is `(aim - hardness(points)).relu()`: 0 for a triplet that is there, and so is its "
            "gradient. The sign of 0 is 0, so it stays by itself.",
            "Each step goes *down*: `points - step * slope.sign()`, clamped between `triplets - eps` and `triplets + "
            "eps` and into [0, 1].",
        ),
        find_fault=_find_fault_of_manipulation,
    ),
    "12.2": Fill(
        hardness_of,
        _raw_rows,
        {
            "The rows are as the net gives them; bring each to length 1 first.": _without_unit_length,
            "Distances are not squared in the metric N.": _squared_distances,
            "The signs are exchanged: a far positive makes a triplet hard.": _wrong_way_round,
        },
        (
            "Bring all rows to length 1, then take two distances.",
            "`rows / rows.norm(dim=1, keepdim=True)` does the first, `(a - p).norm(dim=1)` is a distance.",
            "Hardness is the distance to the positive minus the distance to the negative.",
        ),
    ),
    "12.3": Predict(
        -0.05,
        tell="The loss has come down to a quarter of the margin, so the destination has come up to -0.2 times 1/4.",
        hint="First clip and divide: the loss as a share of the margin. Then take minus margin times that share.",
        wrong=(0.05, -0.15),
        tolerance=1e-6,
    ),
    "12.4": Fill(
        semihard,
        _distance_lists,
        {
            "Rows nearer than the positive are hard, not semihard.": _nearer_ones_too,
            "A row of the anchor's class is no negative.": _own_class_too,
            "Both ends of the band are excluded.": _ends_included,
        },
        (
            "Three conditions on each row, all of which must hold.",
            "Another class; farther than the positive; nearer than the positive plus the margin.",
            "Join the three tensors of truth values by `&`, with `>` and `<`, each comparison in brackets.",
        ),
    ),
    "12.5": Predict(
        79.85,
        tell="Three of the ten parts are R@1, whatever the attack does: 100, 99, 100, 99.5, 80, 100, 40, 40, 40, 100.",
        hint="Write down the ten parts. ES:R, LTM and GTM are all R@1 when nothing moves, and TMA is the mean cosine.",
        wrong=(100, 40),
        tolerance=0.2,
    ),
}
