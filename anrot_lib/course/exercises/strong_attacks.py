"""Exercises of 13: PGD on the margin, a slope for rounding, who beat first, a worst case, what may be claimed.

The first two have many right answers, so they are checked by the properties of a right one.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from anrot_lib.attacks.objectives import compute_cross_entropy, compute_margin
from anrot_lib.course.exercises.checking import Fill, Predict


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
        points = (points + step * slope.sign()).clamp(images - eps, images + eps).clamp(0, 1)
    return best


@dataclass(frozen=True)
class _Linear:
    """Logits = scale x weight x pixels."""

    weight: Tensor
    scale: float

    def __call__(self, images):
        return self.scale * images.flatten(1) @ self.weight

    def __repr__(self):
        return f"a linear model of {self.weight.shape[1]} classes, logits times {self.scale:,.0f}"


@dataclass(frozen=True)
class _Hill:
    """Two classes; the second is nearest where the mean of an image is `top`, and falls off on both sides."""

    top: float

    def __call__(self, images):
        height = -1000 * (images.flatten(1).mean(1) - self.top) ** 2
        return torch.stack([torch.zeros_like(height), height], 1)

    def __repr__(self):
        return f"a model whose margin has a hill at the mean {self.top}"


def _models():
    g = torch.Generator().manual_seed(0)
    images, weight = torch.rand(6, 1, 3, 4, generator=g), torch.randn(12, 5, generator=g)
    labels = (images.flatten(1) @ weight).argmax(1)
    flat, first = torch.full((2, 1, 3, 4), 0.5), torch.zeros(2, dtype=torch.long)
    return [
        (_Linear(weight, 10_000.0), images, labels, 0.1, 0.04, 5),
        (_Linear(weight, 1.0), images, labels, 0.1, 0.04, 5),
        (_Hill(0.53), flat, first, 0.1, 0.1, 3),
    ]


def _find_fault_of_attack(got, model, images, labels, eps, step, steps):
    """Which promise of an attack on the margin the images `got` break."""
    if not isinstance(got, Tensor) or got.shape != images.shape:
        what = f"shape {tuple(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
        return f"expected images of shape {tuple(images.shape)}, got {what}"
    if not got.isfinite().all():
        return "a pixel is NaN or infinite; expected values in [0, 1]"
    if got.min() < 0 or got.max() > 1:
        return f"pixels run from {got.min():.3f} to {got.max():.3f}; expected values in [0, 1]"
    if (moved := (got - images).abs().max()) > eps + 1e-6:
        return f"a pixel moved by {moved:.3f}; expected at most eps = {eps:g}"
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


def _find_fault_of_rounding(got, images, levels):
    """Whether `got` are not the rounded values, or do not pass the slope on."""
    rounded = (images.detach() * levels).round() / levels
    if not isinstance(got, Tensor) or got.shape != images.shape:
        return f"expected pixels of shape {tuple(images.shape)}, got {getattr(got, 'shape', got)}"
    if (off := (got.detach() - rounded).abs().max()) > 1e-5:
        return f"a value is off by {off:.3g}; expected the nearest of 0, 1/{levels}, 2/{levels}, ..."
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
    "13.1": Fill(margin_pgd, _models, (_on_cross_entropy, _takes_the_last_point), find_fault=_find_fault_of_attack),
    "13.2": Fill(round_through, _pixels, (_rounds_and_no_more, _does_not_round), find_fault=_find_fault_of_rounding),
    "13.3": Fill(first_to_beat, _attacks, (_all_that_each_beats, _those_that_no_other_beats)),
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
