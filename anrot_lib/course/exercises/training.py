"""Exercises of 08: the cost of a step, the learning rate, the alarm, a step on the mixture, N-FGSM."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from anrot_lib.course.exercises.checking import Fill, Predict


def cosine_rate(full, step, n_steps):
    return full * 0.5 * (1 + math.cos(math.pi * step / n_steps))


def _places():
    return [(1e-3, 0, 100), (1e-3, 25, 100), (1e-3, 50, 100), (2.0, 99, 100), (1.0, 7, 10)]


def _a_straight_line(full, step, n_steps):
    return full * (1 - step / n_steps)


def _without_the_half(full, step, n_steps):
    return full * (1 + math.cos(math.pi * step / n_steps))


def overfits(fgsm, pgd, drop):
    best = max(range(len(pgd) - 1), key=lambda k: pgd[k])
    return pgd[-1] <= pgd[best] - drop and fgsm[-1] >= fgsm[best]


def _histories():
    healthy = ([0.30, 0.40, 0.45], [0.25, 0.33, 0.38], 0.10)
    late = ([0.30, 0.45, 0.80], [0.25, 0.40, 0.27], 0.10)
    both_fall = ([0.45, 0.30], [0.40, 0.20], 0.10)
    small_dip = ([0.30, 0.32, 0.35], [0.25, 0.31, 0.28], 0.10)
    return [healthy, late, both_fall, small_dip]


def _since_the_start(fgsm, pgd, drop):
    return pgd[-1] <= pgd[0] - drop and fgsm[-1] >= fgsm[0]


def _pgd_alone(fgsm, pgd, drop):
    return pgd[-1] <= max(pgd) - drop


class Recording(nn.Sequential):
    """A linear classifier of 2 x 2 images that remembers the range and the number of the images it has seen."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(4, 3))
        g = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=g)
        self.low, self.high, self.seen = 0.0, 1.0, 0

    def forward(self, images: Tensor) -> Tensor:
        self.low, self.high = min(self.low, images.min().item()), max(self.high, images.max().item())
        self.seen += len(images)
        logits: Tensor = super().forward(images)
        return logits

    def __repr__(self) -> str:
        return "a linear model of 3 classes"


class MessyAttack:
    """One sign step that leaves the gradient of the weights behind, as `loss.backward()` in an attack does."""

    def __call__(self, model: Recording, images: Tensor, labels: Tensor) -> Tensor:
        points = images.detach().requires_grad_()
        nn.functional.cross_entropy(model(points), labels, reduction="sum").backward()
        slope = points.grad
        assert slope is not None
        return (images + 0.1 * slope.sign()).clamp(0, 1).detach()

    def __repr__(self) -> str:
        return "an attack of one step"


def mixture_step(model, optimizer, images, labels, attack, n, sigma, shares):
    versions = [images, attack(model, images, labels), (images + sigma * n).clamp(0, 1)]
    losses = [torch.nn.functional.cross_entropy(model(x), labels) for x in versions]
    loss = sum(a * part for a, part in zip(shares, losses, strict=True)) / sum(shares)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def _steps():
    g = torch.Generator().manual_seed(1)
    cases = []
    for size, sigma, shares in ((6, 0.3, (1, 1, 1)), (4, 0.1, (2, 1, 0)), (5, 1.0, (0, 1, 3))):
        model = Recording()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        labels = torch.randint(3, (size,), generator=g)
        images, n = torch.rand(size, 1, 2, 2, generator=g), torch.randn(size, 1, 2, 2, generator=g)
        cases.append((model, optimizer, images, labels, MessyAttack(), n, sigma, shares))
    return cases


def _find_flaw_of_step(answer: Callable[..., object]) -> str | None:
    """What the weights tell after a step: whether they moved, and by the right gradient."""
    for mine, theirs in zip(_steps(), _steps(), strict=True):
        before = [p.detach().clone() for p in mine[0].parameters()]
        mixture_step(*mine)
        answer(*theirs)
        wanted, got = ([p.detach() for p in case[0].parameters()] for case in (mine, theirs))
        shares, model = theirs[-1], theirs[0]
        if all(torch.equal(p, q) for p, q in zip(before, got, strict=True)):
            return f"with shares {shares} the weights have not moved; expected one `optimizer.step()`"
        if model.low < 0 or model.high > 1:
            return f"the net saw pixels from {model.low:.2f} to {model.high:.2f}; expected noisy images in [0, 1]"
        if model.seen > 4 * len(theirs[2]):
            return f"{model.seen} images went through the net; expected {4 * len(theirs[2])}, the attack included"
        off = max((p - q).abs().max().item() for p, q in zip(wanted, got, strict=True))
        if off > 1e-4:
            return (
                f"with shares {shares} a weight is off by {off:.3g} after the step; expected the gradient of the "
                f"mixture "
                "alone. An attack may leave gradients of its own in the net: clear them after it"
            )
    return None


def _cleared_too_early(model, optimizer, images, labels, attack, n, sigma, shares):
    optimizer.zero_grad()
    versions = [images, attack(model, images, labels), (images + sigma * n).clamp(0, 1)]
    losses = [nn.functional.cross_entropy(model(x), labels) for x in versions]
    loss = sum(a * part for a, part in zip(shares, losses, strict=True)) / sum(shares)
    loss.backward()
    optimizer.step()
    return loss


def _mix(images, labels, model, versions, shares):
    losses = [nn.functional.cross_entropy(model(x), labels) for x in versions]
    return sum(a * part for a, part in zip(shares, losses, strict=True))


def _noise_not_clipped(model, optimizer, images, labels, attack, n, sigma, shares):
    versions = [images, attack(model, images, labels), images + sigma * n]
    loss = _mix(images, labels, model, versions, shares) / sum(shares)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def _shares_not_divided(model, optimizer, images, labels, attack, n, sigma, shares):
    versions = [images, attack(model, images, labels), (images + sigma * n).clamp(0, 1)]
    loss = _mix(images, labels, model, versions, shares)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def _without_the_step(model, optimizer, images, labels, attack, n, sigma, shares):
    versions = [images, attack(model, images, labels), (images + sigma * n).clamp(0, 1)]
    loss = _mix(images, labels, model, versions, shares) / sum(shares)
    optimizer.zero_grad()
    loss.backward()
    return loss


def _clean_alone(model, optimizer, images, labels, attack, n, sigma, shares):
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def n_fgsm(images, u, gradient, eps):
    start = (images + 2 * eps * u).clamp(0, 1)
    return (start + eps * gradient(start).sign()).clamp(0, 1)


def _towards_the_middle(x):
    return 0.5 - x


def _away_from_the_middle(x):
    return x - 0.5


def _noisy_starts():
    g = torch.Generator().manual_seed(0)
    images = torch.tensor([0.0, 0.45, 0.5, 0.55, 1.0])
    u = torch.tensor([0.5, 1.0, -0.7, -1.0, -0.5])
    many, noise = torch.rand(2, 1, 3, 3, generator=g), 2 * torch.rand(2, 1, 3, 3, generator=g) - 1
    return [
        (images, u, _away_from_the_middle, 0.1),
        (many, noise, _towards_the_middle, 0.2),
        (many, noise, _away_from_the_middle, 0.0),
    ]


def _gradient_at_the_image(images, u, gradient, eps):
    return ((images + 2 * eps * u).clamp(0, 1) + eps * gradient(images).sign()).clamp(0, 1)


def _back_into_the_ball(images, u, gradient, eps):
    return (images + (n_fgsm(images, u, gradient, eps) - images).clamp(-eps, eps)).clamp(0, 1)


EXERCISES = {
    "8.1": Predict(
        5.5556,
        tell="525 passes train on the three versions and 725 make the attack: 1,250 / 225.",
        hint="Count 3 passes for each of 25 + 150 images, then 25 + 2 x 7 x 50 for the attack, and divide by 3 x 75.",
        wrong=(2.8889, 9.8889),
        tolerance=0.02,
    ),
    "8.2": Fill(
        cosine_rate,
        _places,
        {
            "The rate falls evenly; half a cosine wave falls slowly at both ends.": _a_straight_line,
            "At step 0 the rate is twice `full`: 1 + cos runs from 2 to 0.": _without_the_half,
        },
        (
            "A cosine runs from 1 to -1 over half a wave. Bring this range to `full` and 0.",
            "Half a wave is an angle from 0 to pi: `math.pi * step / n_steps`.",
            "Add 1 to the cosine, halve the sum, and multiply it by `full`.",
        ),
        remark="With `import math` above it.",
    ),
    "8.3": Fill(
        overfits,
        _histories,
        {
            "The last accuracy is compared with the first one, not with the best earlier one.": _since_the_start,
            "A fall of both accuracies is no overfitting to FGSM: ask for the FGSM accuracy, too.": _pgd_alone,
        },
        (
            "Find the moment at which PGD accuracy was best before the last entry.",
            "`max(range(len(pgd) - 1), key=lambda k: pgd[k])` is this moment.",
            "Two conditions joined by `and`: `pgd[-1]` is at most `pgd[best] - drop`, and `fgsm[-1]` at least "
            "`fgsm[best]`.",
        ),
    ),
    "8.4": Fill(
        mixture_step,
        _steps,
        {
            "The gradients are cleared before the attack, which leaves new ones.": _cleared_too_early,
            "The noisy images leave [0, 1].": _noise_not_clipped,
            "Shares are parts of a whole: divide by their sum.": _shares_not_divided,
            "The optimizer makes no step.": _without_the_step,
            "Only the clean images are trained on, as in the published loop (D5).": _clean_alone,
        },
        (
            "Make the three versions first, then the loss, then the three calls of every training step.",
            "`attack(model, images, labels)` gives the attacked images; noisy ones are `(images + sigma * n)`, "
            "clipped. "
            "The loss is the sum of share times cross-entropy, divided by the sum of the shares.",
            "`optimizer.zero_grad()` comes after the attack, because an attack may leave gradients in the weights. "
            "Then "
            "`loss.backward()`, `optimizer.step()`, and return the loss.",
        ),
        remark="All three versions in one pass, `model(torch.cat(versions))`, are faster, and batch norm then sees "
        "them "
        "together.",
        find_flaw=_find_flaw_of_step,
    ),
    "8.5": Fill(
        n_fgsm,
        _noisy_starts,
        {
            "The gradient is that at the image; take it at the noisy start.": _gradient_at_the_image,
            "The points are projected back into the ball; N-FGSM does not.": _back_into_the_ball,
        },
        (
            "Two lines: the start, and one step from there.",
            "The start is `(images + 2 * eps * u)`, clipped to [0, 1]. The gradient is asked for at this start.",
            "`(start + eps * gradient(start).sign())`, clipped once more.",
        ),
    ),
}
