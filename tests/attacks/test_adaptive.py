"""Adaptive steps: the schedule of checks, a plain reference for one image, the steps of another library, the ball, who
leaves, what is found."""

import importlib
import importlib.util
import inspect

import pytest
import torch
from torch import nn

from anrot_lib.attacks import external
from anrot_lib.attacks.adaptive import list_checks
from anrot_lib.attacks.ascent import ascend
from anrot_lib.attacks.threat import ThreatModel
from tests.helpers import rng


def make_threat(steps, eps=0.1, norm="linf", restarts=1, start="random"):
    return ThreatModel(norm=norm, eps=eps, step=2 * eps, steps=steps, restarts=restarts, start=start, target="query")


def test_lengths_are_checked_when_the_publication_says():
    assert list_checks(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list_checks(20) == [4, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]


def wavy(x):
    """A loss with ridges: steps of one length climb it badly."""
    return torch.sin(40 * x).flatten(1).mean(1) + torch.cos(25 * x.flip(-1) * x).flatten(1).mean(1)


def climb_one(x0, start, eps, steps, hasty):
    """One image, written down as the authors' code has it: the best loss, all points of the run, and how it went."""
    low, high = (x0 - eps).clamp(min=0), (x0 + eps).clamp(max=1)

    def look(x):
        x = x.clone().requires_grad_()
        loss = wavy(x[None])[0]
        return loss.item(), torch.autograd.grad(loss, x)[0]

    x, eta, before = start, 2 * eps, start
    loss, gradient = look(x)
    best = (loss, x, gradient)
    losses, rises, last_check, halved, best_at_check, halvings = [0.0], 0, 0, True, loss, [0, 0]
    wait, least, shrink = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    due, points = wait, []
    for k in range(steps):
        z = torch.minimum(torch.maximum(x + eta * gradient.sign(), low), high)
        new = z if k == 0 else torch.minimum(torch.maximum(x + 0.75 * (z - x) + 0.25 * (x - before), low), high)
        before, x = x, new
        points.append(x)
        loss, gradient = look(x)
        losses.append(loss)
        rises += losses[-1] > losses[-2]
        if loss > best[0]:
            best = (loss, x, gradient)
        if k + 1 == due:
            first = rises <= 0.75 * (k + 1 - last_check)
            second = not halved and (hasty or best[0] <= best_at_check)
            halvings = [halvings[0] + first, halvings[1] + (second and not first)]
            halved = first or second
            if halved:
                eta /= 2
                _, x, gradient = best
            rises, last_check, best_at_check = 0, k + 1, best[0]
            wait = max(wait - shrink, least)
            due += wait
    return best[0], points, halvings


@pytest.mark.parametrize(("rule", "steps"), [("adaptive", 7), ("adaptive", 20), ("adaptive", 100), ("hasty", 20)])
def test_every_image_moves_as_one_alone_would(rule, steps):
    images = torch.rand(12, 1, 5, 5, generator=rng(), dtype=torch.float64)
    threat = make_threat(steps)
    starts = threat.random_start(images, rng(5))
    seen = []

    def objective(points, active):
        seen.append(points.detach().clone())
        return wavy(points)

    ascent = ascend(objective, images, threat, start=starts, rule=rule)
    assert torch.equal(seen[0], images) and torch.equal(seen[1], starts) and len(seen) == steps + 2
    reasons = [0, 0]
    for k in range(12):
        loss, points, halvings = climb_one(images[k], starts[k], 0.1, steps, rule == "hasty")
        reasons = [a + b for a, b in zip(reasons, halvings, strict=True)]
        assert ascent.loss[k].item() == pytest.approx(max(loss, wavy(images[k : k + 1]).item()), abs=1e-9)
        torch.testing.assert_close(torch.stack([one[k] for one in seen[2:]]), torch.stack(points))
    assert reasons[0] > 12 and (rule == "adaptive" or reasons[1] > 12)
    assert steps > 7 or reasons[1] > 0, "both reasons to halve were met"


def load_their_steps(hasty):
    """adv-lib's steps, which are the authors' but for one line: their best loss of the last check is not a copy, so it
    is always the present one. Here it is a copy, unless they are to be hasty."""
    if importlib.util.find_spec("adv_lib") is None:
        pytest.skip("adv-lib is not installed")
    external.load_adv_lib()
    module = importlib.import_module("adv_lib.attacks.auto_pgd")
    source = inspect.getsource(module._apgd)
    kept = "loss_best_last_check = loss_best\n"
    if hasty and kept not in source:
        pytest.skip("this adv-lib copies the best loss")
    names = dict(vars(module))
    exec(source if hasty else source.replace(kept, kept.replace("\n", ".clone()\n")), names)
    return names["_apgd"]


@pytest.fixture
def in_double_precision():
    """Their table of losses has the default precision, and two losses that it rounds to one are no rise."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize(("rule", "steps"), [("adaptive", 20), ("adaptive", 100), ("hasty", 20)])
def test_the_steps_are_those_of_another_library(norm, loss, rule, steps, in_double_precision):
    climb = load_their_steps(hasty=rule == "hasty")
    net = nn.Sequential(nn.Conv2d(1, 6, 3, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(96, 5))
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng(2))
    images, seen = torch.rand(20, 1, 6, 6, generator=rng()), []
    threat = make_threat(steps, eps=0.3 if norm == "linf" else 1.0, norm=norm)
    starts, labels = threat.random_start(images, rng(5)), net(images).argmax(1)
    targets = (labels + 1) % 5

    def model(points):
        seen.append(points.detach().clone())
        return net(points)

    def objective(points, active):
        logits = model(points)
        if loss == "ce":
            return nn.functional.cross_entropy(logits, labels, reduction="none")
        first, _, third, fourth = logits.topk(4).values.unbind(1)  # their targeted loss: of the largest other class
        others = logits.scatter(1, targets[:, None], -torch.inf).amax(1)
        wanted = logits.gather(1, targets[:, None]).squeeze(1)
        return (wanted - others) / (first - (third + fourth) / 2 + 1e-8)

    ascend(objective, images, threat, start=starts, rule=rule)
    ours = torch.stack(seen[2:])
    seen.clear()
    length, asked = torch.full((20,), threat.eps), labels if loss == "ce" else targets
    options = {"targeted": loss == "dlr", "loss_function": loss, "x_init": starts, "n_iter": steps}
    climb(model, images, asked, length, float(norm.removeprefix("l")), **options)
    theirs = torch.stack(seen[1:])
    assert ours.shape == theirs.shape == (steps, 20, 1, 6, 6)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)  # they add 1e-12 to the length of a gradient


def wavy_objective(images, active):
    return wavy(images)


def test_it_finds_more_than_steps_of_a_length_that_does_not_fit():
    images = torch.rand(20, 1, 5, 5, generator=rng())
    fixed = ascend(wavy_objective, images, make_threat(30), rng(1), keep="best")
    adaptive = ascend(wavy_objective, images, make_threat(30), rng(1), rule="adaptive")
    assert adaptive.loss.mean() > fixed.loss.mean() + 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_stays_in_the_ball_and_in_the_box(norm):
    images = torch.rand(4, 3, 6, 6, generator=rng())
    found = ascend(wavy_objective, images, make_threat(12, norm=norm, restarts=2), rng(2), rule="adaptive").images
    change = found - images
    length = change.abs().amax((1, 2, 3)) if norm == "linf" else change.flatten(1).norm(dim=1)
    assert length.max() <= 0.1 + 1e-5 and length.min() > 0 and found.min() >= 0 and found.max() <= 1


def test_beaten_units_leave_and_nothing_changes_for_the_others():
    images = torch.rand(6, 1, 4, 4, generator=rng())
    seen = []

    def objective(points, active):
        some = torch.arange(6) if active is None else active
        seen.append(len(points))
        loss = wavy(points)
        return loss, (some < 3) & (loss > wavy(images[some]))

    threat = make_threat(10, start="clean")
    ascent = ascend(objective, images, threat, stop="beaten", rule="adaptive")
    assert ascent.beaten.tolist() == [True] * 3 + [False] * 3 and seen[0] == 6 and seen[-1] == 3
    alone = ascend(lambda p, _: (wavy(p), torch.zeros(len(p), dtype=torch.bool)), images[3:], threat, rule="adaptive")
    torch.testing.assert_close(ascent.images[3:], alone.images)


def test_no_radius_no_change():
    images = torch.rand(2, 1, 4, 4, generator=rng())
    threat = ThreatModel(norm="linf", eps=0.0, step=0.0, steps=5, restarts=1, start="random", target="query")
    assert torch.equal(ascend(wavy_objective, images, threat, rng(), rule="adaptive").images, images)


def test_an_unknown_rule_and_a_loss_of_everything_are_refused():
    images = torch.rand(2, 1, 4, 4, generator=rng())
    with pytest.raises(ValueError, match="rule must be one of fixed, adaptive, hasty, squares"):
        ascend(wavy_objective, images, make_threat(2), rng(), rule="swift")
    with pytest.raises(ValueError, match="losses of shape"):
        ascend(lambda p, _: wavy(p).sum(), images, make_threat(2), rng(), rule="adaptive")
