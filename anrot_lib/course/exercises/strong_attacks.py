"""Exercises of 13: PGD on the margin, a slope for rounding, who beat first, a worst case, what may be claimed.

The first two have many right answers, so they are checked by the properties of a right one.
"""

from functools import partial

import torch

from anrot_lib.attacks.objectives import compute_cross_entropy, compute_margin
from anrot_lib.course.exercises.checking import Fill, Predict
from anrot_lib.course.exercises.toys import Hill, Linear, find_broken_promise


def margin_pgd(model, images, labels, eps, step, steps):
    points, best = images, images
    highest = torch.full(labels.shape, -torch.inf)
    for _ in range(steps + 1):
        points = points.detach().requires_grad_()
        logits = model(points)
        right = logits.gather(1, labels[:, None])[:, 0]
        margin = logits.scatter(1, labels[:, None], -torch.inf).amax(1) - right
        (slope,) = torch.autograd.grad(margin.sum(), points)
        better = margin.detach() > highest
        best = torch.where(better[:, None, None, None], points.detach(), best)
        highest = torch.where(better, margin.detach(), highest)
        points = points + step * slope.sign()
        points = points.clamp(images - eps, images + eps).clamp(0, 1)
    return best


def _models():
    g = torch.Generator().manual_seed(0)
    images, weight = torch.rand(6, 1, 3, 4, generator=g), torch.randn(12, 5, generator=g)
    labels = (images.flatten(1) @ weight).argmax(1)
    flat, first = torch.full((2, 1, 3, 4), 0.5), torch.zeros(2, dtype=torch.long)
    return [
        (Linear(weight, 10_000.0), images, labels, 0.1, 0.04, 5),
        (Linear(weight, 1.0), images, labels, 0.1, 0.04, 5),
        (Hill(0.53), flat, first, 0.1, 0.1, 3),
    ]


def _find_fault_of_attack(got, model, images, labels, eps, step, steps):
    """Which promise of an attack on the margin the images `got` break."""
    if fault := find_broken_promise(got, images, eps):
        return fault
    reached = margin_pgd(model, images, labels, eps, step, steps)
    margins, wanted = (compute_margin(model(points).detach(), labels) for points in (got, reached))
    lower = (margins < wanted - 1e-3 * (1 + wanted.abs())).nonzero().flatten()
    if len(lower):
        k = int(lower[0])
        return f"image {k} ends at a margin of {margins[k]:.4g}; expected {wanted[k]:.4g}, which such steps reach"
    return None


def _climb(loss, keep_best, model, images, labels, eps, step, steps):
    """Sign steps on another loss, or without keeping the best candidate."""
    points = best = images
    for _ in range(steps):
        points = points.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(model(points), labels).sum(), points)
        points = torch.clamp(points + step * slope.sign(), images - eps, images + eps).clamp(0, 1)
        with torch.no_grad():
            better = compute_margin(model(points), labels) > compute_margin(model(best), labels)
            best = torch.where(better[:, None, None, None], points, best)
    return best.detach() if keep_best else points.detach()


_on_cross_entropy = partial(_climb, compute_cross_entropy, True)
_takes_the_last_point = partial(_climb, compute_margin, False)


def round_through(images, levels):
    rounded = (images * levels).round() / levels
    return images + (rounded - images).detach()


def _pixels():
    g = torch.Generator().manual_seed(0)
    few = torch.tensor([0.0, 0.2, 0.49, 1.0])
    return [(few.requires_grad_(), 2), (torch.rand(2, 1, 3, 3, generator=g).requires_grad_(), 64)]


def _find_flaw_of_rounding(answer):
    """Whether the rounded values do not pass the slope on."""
    for images, levels in _pixels():
        got = answer(images, levels)
        if not got.requires_grad:
            return "the result is cut off from the pixels; expected a slope of 1 at each of them"
        (slope,) = torch.autograd.grad(got.sum(), images, allow_unused=True)
        if slope is None or (slope - 1).abs().max() > 1e-6:
            seen = 0.0 if slope is None else slope.flatten()[(slope - 1).abs().argmax()].item()
            return f"the slope at a pixel is {seen:g}; expected 1"
    return None


def _rounds_and_no_more(images, levels):
    return (images * levels).round() / levels


def _does_not_round(images, levels):
    return images * 1.0


def first_to_beat(beaten):
    before = beaten.cumsum(0) - beaten.long()
    return (beaten & (before == 0)).sum(1)


def _attacks():
    g = torch.Generator().manual_seed(0)
    small = torch.tensor([[True, False, False, True], [True, True, False, False], [True, True, False, True]])
    return [(small,), (torch.rand(5, 40, generator=g) < 0.3,), (torch.zeros(2, 3, dtype=torch.bool),)]


def _all_that_each_beats(beaten):
    return beaten.sum(1)


def _those_that_no_other_beats(beaten):
    return (beaten & (beaten.sum(0) == 1)).sum(1)


EXERCISES = {
    "13.1": Fill(
        margin_pgd,
        _models,
        {
            "The loss is the cross-entropy, which has no slope where logits are large.": _on_cross_entropy,
            "The last point is returned, not the best of all.": _takes_the_last_point,
        },
        (
            "`logits.gather(1, labels[:, None])` are the right logits. Give them the value `-torch.inf` by `scatter`, "
            "and "
            "the largest of what is left is the best wrong one.",
            "Images do not influence one another, so one `torch.autograd.grad(margin.sum(), points)` holds the "
            "gradients "
            "of all. Detach the points before each step.",
            "Hold two tensors, the best points and their margins, and update both with `torch.where` at every point "
            "that "
            "you look at. With `steps` steps these are `steps + 1` points.",
        ),
        find_fault=_find_fault_of_attack,
    ),
    "13.2": Fill(
        round_through,
        _pixels,
        {
            "The values are rounded, and the slope is lost.": _rounds_and_no_more,
            "Nothing is rounded.": _does_not_round,
        },
        (
            "`t.detach()` has the values of `t` and no slope.",
            "What do you have to add to `images` to get the rounded values? Let that part have no slope.",
            "`images + (rounded - images).detach()`, with `rounded = (images * levels).round() / levels`.",
        ),
        find_flaw=_find_flaw_of_rounding,
    ),
    "13.3": Fill(
        first_to_beat,
        _attacks,
        {
            "These are all queries that each attack beats; count those that no earlier one has beaten.": (
                _all_that_each_beats
            ),
            "These are the queries that no other attack beats; later ones do not matter.": _those_that_no_other_beats,
        },
        (
            "A query belongs to an attack if this one beats it and no row above does.",
            "`beaten.cumsum(0)` counts along the suite how many attacks have beaten a query so far, this one included.",
            "Subtract `beaten` itself: where the rest is 0, no earlier attack was there. Join with `beaten`, sum over "
            "queries.",
        ),
        remark="A small number at the end of a suite does not mean that the attack is weak: the others came first. "
        "*Sharp* shows it. Its first attack beats nearly nothing.",
    ),
    "13.4": Predict(
        45.0,
        tell="They beat 20, 25 and 10 %: if no query is beaten twice, 55 % are lost. At the other end stands 75 %.",
        hint="How many queries does each attack beat, and must two attacks beat the same ones?",
        wrong=(75.0, 80.0),
    ),
    "13.5": Predict(
        "c",
        tell="A number under attack is an upper bound on robustness; of several the smallest is the closest.",
        hint="Both numbers are right. Which attack would an adversary take who has read the page?",
        wrong=("a", "b"),
    ),
}
