"""Exercises of 03: FGSM, PGD, where accuracy halves, faults of an attack, masking."""

import torch

from anrot_lib.attacks.objectives import compute_cross_entropy
from anrot_lib.course.exercises.checking import Fill, Predict
from anrot_lib.course.exercises.toys import Hill, Linear, find_broken_promise


def fgsm(model, images, labels, eps):
    points = images.detach().requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(points), labels, reduction="sum")
    (slope,) = torch.autograd.grad(loss, points)
    return (images + eps * slope.sign()).clamp(0, 1)


def _victims():
    g = torch.Generator().manual_seed(0)
    images, weight = torch.rand(6, 1, 3, 4, generator=g), torch.randn(12, 5, generator=g)
    labels = (images.flatten(1) @ weight).argmax(1)
    return images, labels, weight


def _single_steps():
    images, labels, weight = _victims()
    dark, second = torch.full((2, 1, 3, 4), 0.45), torch.ones(2, dtype=torch.long)
    return [
        (Linear(weight, 1.0), images, labels, 0.1),
        (Linear(weight, 0.5), images, (labels + 1) % 5, 8 / 255),
        (Hill(0.53), dark, second, 0.05),
    ]


def _find_slope(model, images, labels):
    points = images.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(compute_cross_entropy(model(points), labels).sum(), points)
    return slope


def _find_fault_of_step(got, model, images, labels, eps):
    """Whether an image is not one step of length eps along the sign of the slope; anything goes where that is 0."""
    if fault := find_broken_promise(got, images, eps):
        return fault
    slope = _find_slope(model, images, labels)
    off = ((got.detach() - fgsm(model, images, labels, eps)).abs() > 1e-5) & (slope != 0)
    if not off.any():
        return None
    at = tuple(off.nonzero()[0].tolist())
    pixel, moved = images[at].item(), got[at].item()
    way = "up" if slope[at] > 0 else "down"
    return (
        f"at the pixel {at} the loss has the slope {slope[at]:+.3g}, so it should go {way} from {pixel:.3f} by eps, "
        f"within [0, 1]; expected {min(max(pixel + eps * slope[at].sign().item(), 0), 1):.3f}, got {moved:.3f}"
    )


def _downhill(model, images, labels, eps):
    return (images - eps * _find_slope(model, images, labels).sign()).clamp(0, 1)


def _unclipped(model, images, labels, eps):
    return images + eps * _find_slope(model, images, labels).sign()


def _without_the_sign(model, images, labels, eps):
    return (images + eps * _find_slope(model, images, labels)).clamp(0, 1)


def _of_the_named_class(model, images, labels, eps):
    return fgsm(model, images, model(images).argmax(1), eps)


def pgd(model, images, labels, eps, step, steps):
    points = images
    for _ in range(steps):
        points = points.detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(points), labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, points)
        points = points + step * slope.sign()
        points = torch.clamp(points, images - eps, images + eps).clamp(0, 1)
    return points.detach()


def _paths():
    images, labels, weight = _victims()
    flat, first = torch.full((2, 1, 3, 4), 0.5), torch.zeros(2, dtype=torch.long)
    return [
        (Linear(weight, 1.0), images, labels, 0.1, 0.04, 5),
        (Hill(0.53, 50.0), flat, first, 0.1, 0.01, 8),
        (Linear(weight, 1.0), images, labels, 0.1, 0.3, 2),
    ]


def _find_fault_of_path(got, model, images, labels, eps, step, steps):
    """Which promise of PGD the images `got` break, or which of them ends at a loss that is too low."""
    if fault := find_broken_promise(got, images, eps):
        return fault
    reached = pgd(model, images, labels, eps, step, steps)
    losses, wanted = (compute_cross_entropy(model(p), labels).detach() for p in (got.detach(), reached))
    lower = (losses < wanted - 1e-3 * (1 + wanted.abs())).nonzero().flatten()
    if not len(lower):
        return None
    k = int(lower[0])
    return f"image {k} ends at a loss of {losses[k]:.4g}; expected {wanted[k]:.4g}, which such steps reach"


def _climb(project, model, images, labels, step, steps):
    points = images
    for _ in range(steps):
        points = project(points + step * _find_slope(model, points, labels).sign(), points)
    return points


def _never_projected(model, images, labels, eps, step, steps):
    return _climb(lambda new, old: new.clamp(0, 1), model, images, labels, step, steps)


def _ball_around_the_last_point(model, images, labels, eps, step, steps):
    return _climb(lambda new, old: new.clamp(old - eps, old + eps).clamp(0, 1), model, images, labels, step, steps)


def _range_forgotten(model, images, labels, eps, step, steps):
    return _climb(lambda new, old: new.clamp(images - eps, images + eps), model, images, labels, step, steps)


def _one_step_alone(model, images, labels, eps, step, steps):
    return pgd(model, images, labels, eps, step, 1)


def _one_slope_for_all_steps(model, images, labels, eps, step, steps):
    slope = _find_slope(model, images, labels).sign()
    return (images + min(eps, step * steps) * slope).clamp(0, 1)


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
    "3.1": Fill(
        fgsm,
        _single_steps,
        {
            "The step goes down the slope of the loss; an attack goes up.": _downhill,
            "The clip to [0, 1] is missing.": _unclipped,
            "The slope itself is no step: its sign is, so that every pixel moves by eps.": _without_the_sign,
            "The loss is that of the class that the model names, not of `labels`.": _of_the_named_class,
        },
        (
            "You need the gradient of the loss with respect to the pixels, not to the weights.",
            "`points = images.detach().requires_grad_()`, then `torch.autograd.grad(loss, points)` with the loss "
            '`F.cross_entropy(model(points), labels, reduction="sum")`. It returns a tuple with one tensor.',
            "Add eps times the sign of the gradient to the images and clip with `clamp(0, 1)`.",
        ),
        find_fault=_find_fault_of_step,
    ),
    "3.2": Fill(
        pgd,
        _paths,
        {
            "The images leave the ball of radius eps.": _never_projected,
            "The ball is one around the clean images, not around the point of the step before.": (
                _ball_around_the_last_point
            ),
            "Pixels leave [0, 1].": _range_forgotten,
            "There is one step only.": _one_step_alone,
            "All steps go along the first gradient; each needs one of its own.": _one_slope_for_all_steps,
        },
        (
            "A loop of FGSM steps with the length `step`, each taken where the one before has ended.",
            "After each step bring the points back: no farther than eps from the *clean* images, and into [0, 1]. "
            "`torch.clamp` takes tensors as limits.",
            "`torch.clamp(points + step * slope.sign(), images - eps, images + eps).clamp(0, 1)`; begin each "
            "round with `points.detach().requires_grad_()`.",
        ),
        remark="A version that keeps the best candidate, or starts at a random point, passes as well.",
        find_fault=_find_fault_of_path,
    ),
    "3.3": Fill(
        halving_eps,
        _curves,
        {
            "This is the first measured place below one half; the curve crosses it earlier, on the straight line.": (
                _first_place_below
            ),
            "Half of the clean accuracy is meant, not one half.": _where_accuracy_is_one_half,
        },
        (
            "Look for the first place where the accuracy is at most half of the first one, then go back a little.",
            "Between the places k - 1 and k the accuracy falls evenly. Which share of this way leads to one half?",
            "The share is `(accuracy[k - 1] - half) / (accuracy[k - 1] - accuracy[k])`; go as far along from "
            "`eps[k - 1]` to `eps[k]`.",
        ),
        remark='Try it on `[accuracy[name, "PGD-10", k] for k in EPS]` for either net.',
    ),
    "3.4": Fill(
        faults,
        _attacks,
        {
            "An attack that does nothing gets through: compare the mean losses, too.": _forgets_the_effect,
            "An attack that returns its input gets through: an equal loss is no effect.": _content_with_no_change,
        },
        (
            "Three questions, one after the other, each of which may add a word to a list.",
            "The farthest pixel is `(changed - images).abs().max()`.",
            "`after.mean() > before.mean()` is asked for; without it the word is `'no effect'`, also if they are "
            "equal.",
        ),
    ),
    "3.5": Predict(
        30.0,
        tell="An adversary takes the best attack at hand; and a transfer that beats white box is a sign of masking.",
        hint="The adversary chooses the attack, not the defender.",
        wrong=(70.0, 50.0),
        tolerance=0.5,
    ),
}
