"""Steps whose length adapts: momentum, and half the length for a unit whose loss no longer grows (APGD).

After Croce & Hein 2020, "Reliable evaluation of adversarial robustness" (arXiv 2003.01690), section 3. Nothing has to
be tuned to the model, so a step that is too long or too short cannot make it look robust.

The authors' code, whose numbers are the published ones, differs from the algorithm that they print. This is the code:

| | the code, and here | as printed |
|---|---|---|
| after a return to the best point, the next loss is compared with that of | the point before it | the best point |
| the loss of the first step is compared with | 0 | the loss at the start |
| a first check without a new best loss | is no reason to halve | halves the length |
| checks after so many of n steps | int(0.22 n), then distances of whole steps | ceil(p n), p = 0, 0.22, 0.41, ... |
| rises of k steps that are too few to keep the length | at most 0.75 k | fewer than 0.75 k |

"Hasty" steps halve the length at every second check at the latest. So does adv-lib 0.2.8, whose best loss of the last
check is no copy and therefore always the present one. With 20 steps, of which the last twelve are all checked, they
find more of the cross-entropy than the authors' (docs/results/attacks.md); with 100 steps checks are rare.
"""

from functools import partial

import torch
from torch import Tensor

from anrot_lib.attacks.search import Search, choose_start
from anrot_lib.attacks.threat import ThreatModel

MOMENTUM = 0.75  # weight of the new direction; the rest is the last move
ENOUGH = 0.75  # part of the steps since the last check that must have raised the loss


def list_checks(steps: int) -> list[int]:
    """After which of the steps 1, 2, ... the lengths are checked: after 22 % of them, then at distances that shrink by
    3 % to 6 % of them."""
    wait, least, shrink = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    checks, at = [], wait
    while at <= steps:
        checks.append(at)
        wait = max(wait - shrink, least)
        at += wait
    return checks


def climb_adaptively(
    search: Search,
    threat: ThreatModel,
    clean: Tensor,
    generator: torch.Generator | None,
    start: Tensor | None,
    hasty: bool = False,
) -> Tensor:
    """`threat.steps` steps in each of `threat.restarts` runs; `threat.step` is not used: the first step is 2 eps.

    z = P(x + length sign(g)), then x' = P(x + 0.75 (z - x) + 0.25 (x - x_before)). At a check a unit halves its length
    and goes back to its best point if at most 3 of 4 steps raised its loss, or if neither its length nor its best loss
    changed since the last check; a hasty one also if its length alone did not. Needs an objective with one loss a unit.
    Returns the last points.
    """
    search.look(clean, backward=False)  # an image that is beaten as it is leaves at once
    points = clean
    for run in range(threat.restarts if threat.eps else 0):
        points = choose_start(threat, clean, generator, start if run == 0 else None)
        search.wake()
        if not search.finished:
            points = _run(search, threat, clean, points, hasty)
    return points


climb_hastily = partial(climb_adaptively, hasty=True)


def _run(search: Search, threat: ThreatModel, clean: Tensor, points: Tensor, hasty: bool) -> Tensor:
    gradient = search.look(points)
    best_loss, best_points, best_gradient = search.get_losses(), points, gradient
    length = torch.full(_broadcast(best_loss, points).shape, 2 * threat.eps, dtype=points.dtype, device=points.device)
    last, rises, checked_at = torch.zeros_like(best_loss), torch.zeros_like(best_loss), 0
    halved, best_before = torch.ones_like(best_loss, dtype=torch.bool), best_loss
    before, checks = points, set(list_checks(threat.steps))
    for step in range(1, threat.steps + 1):
        if search.finished:
            break
        target = threat.move(points, gradient, clean, length)
        if step > 1:
            target = threat.project(points + MOMENTUM * (target - points) + (1 - MOMENTUM) * (points - before), clean)
        before, points = points, target
        gradient = search.look(points)
        loss = search.get_losses()
        rises, last = rises + (loss > last), loss
        better = loss > best_loss
        best_loss = torch.where(better, loss, best_loss)
        best_points = torch.where(_broadcast(better, points), points, best_points)
        best_gradient = torch.where(_broadcast(better, points), gradient, best_gradient)
        if step in checks:
            halved = (rises <= ENOUGH * (step - checked_at)) | (~halved & (hasty | (best_loss <= best_before)))
            back = _broadcast(halved, points)
            length = torch.where(back, length / 2, length)
            points, gradient = torch.where(back, best_points, points), torch.where(back, best_gradient, gradient)
            rises, checked_at, best_before = torch.zeros_like(rises), step, best_loss
    return points


def _broadcast(values: Tensor, points: Tensor) -> Tensor:
    """Values (units,) in a shape that goes with points (units, ..., C, H, W)."""
    return values.view(-1, *(1,) * (points.ndim - 1))
