"""Exercises of 14: the status of a claim, two guards that would have caught a defect, and two features that are one.

The third has many right answers, so it is checked by the properties of one.
"""

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from anrot_lib.audit import published
from anrot_lib.course.exercises.checking import Fill, Predict
from anrot_lib.fewshot.hesim import Hesim


def judge_claim(claimed, claimed_half, measured, measured_half, differences):
    if measured is None:
        return "not run"
    if differences:
        return "other setting"
    if abs(measured - claimed) <= (claimed_half or 0) + measured_half:
        return "agrees"
    return "below" if measured < claimed else "above"


def _claims():
    return [
        (69.4, 0.3, 69.0, 0.2, []),
        (69.4, 0.3, 68.8, 0.2, []),
        (69.4, None, 70.1, 0.6, []),
        (69.4, None, 69.9, 0.6, []),
        (69.4, 0.3, 69.4, 0.2, ["32 px, not 84"]),
        (69.4, 0.3, None, None, []),
        (69.4, 0.3, None, None, ["32 px, not 84"]),
    ]


def _calls_what_is_near_equal(claimed, claimed_half, measured, measured_half, differences):
    if measured is None:
        return "not run"
    if abs(measured - claimed) <= (claimed_half or 0) + measured_half:
        return "agrees"
    return "below" if measured < claimed else "above"


def _forgets_one_interval(claimed, claimed_half, measured, measured_half, differences):
    if measured is None or differences:
        return judge_claim(claimed, claimed_half, measured, measured_half, differences)
    if abs(measured - claimed) <= measured_half:
        return "agrees"
    return "below" if measured < claimed else "above"


@dataclass(frozen=True)
class Draw:
    """A way to split classes, with a name that a counter-example can show."""

    name: str
    split: Any

    def __call__(self, names, seed):
        return self.split(names, seed)

    def __repr__(self):
        return self.name


def _split_once(names, seed):
    return published.split_classes(names, random.Random(seed))


def _share_a_class(names, seed):
    train, val, test = _split_once(names, seed)
    return train, [*val, test[0]], test


def _repeat_a_class(names, seed):
    train, val, test = _split_once(names, seed)
    return [*train, train[0]], val, test


DRAWS = (
    Draw("one shuffle", _split_once),
    Draw("the split of ANROT-HELANet", published.split_twice),
    Draw("the split of HELA-VFA, cell run once", published.split_hela_vfa),
    Draw("the split of HELA-VFA, cell run twice", partial(published.split_hela_vfa, runs=2)),
    Draw("a test class among those of validation", _share_a_class),
    Draw("a training class that is listed twice", _repeat_a_class),
)


def find_leaked(draw, names, seed):
    train, val, test = map(set, draw(names, seed))
    return sorted(test & (train | val))


def _draws():
    names = [f"class{k:02d}" for k in range(25)]
    return [(draw, names, seed) for draw in DRAWS for seed in (0, 3)]


def _looks_at_training_alone(draw, names, seed):
    train, _, test = map(set, draw(names, seed))
    return sorted(test & train)


def _trusts_the_sizes(draw, names, seed):
    parts = draw(names, seed)
    return [] if sum(map(len, parts)) == len(names) else sorted(parts[2])


def find_twin(features):
    return 2 * features.mean() - features


def _features():
    g = torch.Generator().manual_seed(0)
    return [(torch.randn(8, generator=g),), (3 + torch.rand(64, generator=g),), (torch.tensor([0.0, 1.0, 5.0]),)]


def _find_fault_of_twin(got, features):
    """Why `got` are no other features that the released distance takes for the same."""
    if not isinstance(got, torch.Tensor) or got.shape != features.shape:
        return f"expected features of shape {tuple(features.shape)}, got {getattr(got, 'shape', got)}"
    if not got.isfinite().all():
        return "a feature is NaN or infinite; expected numbers"
    if (apart := (got - features).norm()) < 0.5:
        return f"it is {apart:.2g} away from the features; expected others, at least 0.5 away by Euclid"
    distance = published.hellinger_distance(features[None], got[None]).item()
    if not abs(distance) < 1e-5:
        return f"the released distance of the two is {distance:.3g}; expected 0"
    return None


def _mirrors_at_zero(features):
    return -features


def _turns_the_order_around(features):
    return features.flip(0)


@dataclass(frozen=True)
class NamedLoss:
    """A loss with a name that a counter-example can show."""

    name: str
    compute: Any

    def __call__(self, rows, labels):
        return self.compute(rows, labels)

    def __repr__(self):
        return self.name


def _count_pairs(rows, labels):
    near = (torch.cdist(rows, rows) < 3.0).float()  # a count: it varies with the rows, in steps
    return (near * (labels[:, None] != labels)).sum() + 0 * rows.sum()


LOSSES = (
    NamedLoss("Hesim, corrected", Hesim()),
    NamedLoss("Hesim as released", published.hesim),
    NamedLoss("the number of near pairs of other classes", _count_pairs),
    NamedLoss("a loss that pulls all rows to 0", lambda rows, labels: rows.square().mean()),
)


def can_train(loss, rows, labels):
    rows = rows.detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(rows, labels), rows)
    return bool(slope.any())


def _losses():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(12) % 4
    rows = torch.cat([torch.randn(12, 3, generator=g), torch.rand(12, 3, generator=g) + 0.5], 1)
    return [(loss, rows, labels) for loss in LOSSES]


def _asks_for_a_value(loss, rows, labels):
    return bool(loss(rows, labels) > 0)


def _asks_whether_the_value_moves(loss, rows, labels):
    return bool(loss(rows, labels) != loss(2 * rows, labels))


EXERCISES = {
    "14.1": Fill(
        judge_claim,
        _claims,
        {
            "Numbers of two settings are compared, as if they answered one question.": _calls_what_is_near_equal,
            "Only the interval of the measurement counts here; the claim has one, too.": _forgets_one_interval,
        },
        (
            "The order of the questions is the point. Which one has to be asked before any subtraction?",
            "First what was not run, then what has another setting; the numbers come last.",
            "Intervals touch if the numbers are apart by at most the sum of the half-widths; None counts as 0.",
        ),
    ),
    "14.2": Fill(
        find_leaked,
        _draws,
        {
            "Classes that chose the net are missing: it was selected on them.": _looks_at_training_alone,
            "Sizes that add up say nothing of which classes stand where.": _trusts_the_sizes,
        },
        (
            "A net that is chosen by its accuracy on a class knows something of it.",
            "Sets have `&` for what both hold, and `|` for what either holds.",
            "Of the test classes, those that are in train or in val, sorted.",
        ),
    ),
    "14.3": Fill(
        find_twin,
        _features,
        {
            "A mirror at 0 moves the mean, and with it every height.": _mirrors_at_zero,
            "Another order puts other heights beside each other.": _turns_the_order_around,
        },
        (
            "The height of a feature is the same on both sides of the mean.",
            "What does a mirror at the mean do to m and s?",
            "A feature x goes to m - (x - m).",
        ),
        find_fault=_find_fault_of_twin,
    ),
    "14.4": Fill(
        can_train,
        _losses,
        {
            "A value above 0 is no slope: the released Hesim is 87 everywhere.": _asks_for_a_value,
            "A value that moves in steps has no slope, either.": _asks_whether_the_value_moves,
        },
        (
            "Ask for the gradient, not for the value.",
            "`torch.autograd.grad(value, rows)` wants rows that require a gradient.",
            "Begin with `rows = rows.detach().requires_grad_()`, and ask whether `any` entry of the gradient is not 0.",
        ),
    ),
    "14.5": Predict(
        0.42,
        tell="Root of 0.3 squared plus 0.3 squared. On the same episodes, paired, it would be smaller still.",
        hint="The two were measured on different episodes, so their errors are independent: how do variances add?",
        wrong=(0.6, 0.3),
        tolerance=0.01,
    ),
}
