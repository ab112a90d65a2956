"""Exercises of 03: the projection, pixels outside the range, where accuracy halves, faults of an attack, masking."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def project(points, clean, eps):
    inside_the_ball = torch.maximum(torch.minimum(points, clean + eps), clean - eps)
    return inside_the_ball.clamp(0, 1)


def _points():
    g = torch.Generator().manual_seed(0)
    edges = torch.tensor([0.0, 0.5, 1.0, 0.99])
    clean = torch.rand(2, 3, 4, 4, generator=g)
    far = clean + torch.randn(2, 3, 4, 4, generator=g)
    return [(edges + torch.tensor([-0.2, 0.2, 0.2, 0.005]), edges, 0.03), (far, clean, 8 / 255), (far, clean, 0.0)]


def _ball_only(points, clean, eps):
    return clean + (points - clean).clamp(-eps, eps)


def _box_only(points, clean, eps):
    return points.clamp(0, 1)


def halving_eps(eps, accuracy):
    half = accuracy[0] / 2
    for k in range(1, len(eps)):
        if accuracy[k] <= half:
            share = (accuracy[k - 1] - half) / (accuracy[k - 1] - accuracy[k])
            return eps[k - 1] + share * (eps[k] - eps[k - 1])
    return float("inf")


def _curves():
    return [
        ([0.0, 1.0, 2.0, 4.0], [0.8, 0.6, 0.3, 0.1]),
        ([0.0, 2.0, 4.0], [0.9, 0.8, 0.7]),
        ([0.0, 4.0, 8.0], [0.6, 0.3, 0.2]),
        ([0.0, 8.0, 16.0], [1.0, 0.9, 0.1]),
    ]


def _first_place_below(eps, accuracy):
    return next((e for e, a in zip(eps, accuracy, strict=True) if a <= accuracy[0] / 2), float("inf"))


def _where_accuracy_is_one_half(eps, accuracy):
    return halving_eps(eps, [1.0, *accuracy[1:]])


def faults(images, changed, before, after, eps):
    names = []
    if (changed - images).abs().max() > eps + 1e-6:
        names.append("too far")
    if changed.min() < 0 or changed.max() > 1:
        names.append("out of range")
    if not after.mean() > before.mean():
        names.append("no effect")
    return names


def _attacks():
    x, loss = torch.tensor([[0.1, 0.5, 0.98]]), torch.tensor([0.4, 1.2])
    eps = 0.05
    step = torch.tensor([[0.05, -0.05, 0.05]])
    return [
        (x, (x + step).clamp(0, 1), loss, loss + 0.5, eps),
        (x, x.clone(), loss, loss.clone(), eps),
        (x, x + step, loss, loss + 0.5, eps),
        (x, (x - 2 * step).clamp(0, 1), loss, loss - 0.1, eps),
        (x, x + 4 * step, loss, loss + 3, eps),
    ]


def _forgets_the_effect(images, changed, before, after, eps):
    return [fault for fault in faults(images, changed, before, after, eps) if fault != "no effect"]


def _content_with_no_change(images, changed, before, after, eps):
    names = _forgets_the_effect(images, changed, before, after, eps)
    return names + ["no effect"] * bool(after.mean() < before.mean())


EXERCISES = {
    "3.1": Fill(project, _points, (_ball_only, _box_only)),
    "3.2": Predict(
        0.2,
        tell="Half of the pixels move up and half down; either way a strip of width eps at one end falls out.",
        hint="A pixel that moves up by eps leaves the range if it was above 1 - eps. How likely is that?",
        wrong=(0.1, 0.4),
        tolerance=0.005,
    ),
    "3.3": Fill(halving_eps, _curves, (_first_place_below, _where_accuracy_is_one_half)),
    "3.4": Fill(faults, _attacks, (_forgets_the_effect, _content_with_no_change)),
    "3.5": Predict(
        30.0,
        tell="An adversary takes the best attack at hand; and a transfer that beats white box is a sign of masking.",
        hint="The adversary chooses the attack, not the defender.",
        wrong=(70.0, 50.0),
        tolerance=0.5,
    ),
}
