"""FGSM and PGD: two ways to fill in a threat model, and the cross-entropy that both climb."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from anrot_lib.attacks.ascent import Ascent, ascend, frozen
from anrot_lib.attacks.objectives import compute_cross_entropy
from anrot_lib.attacks.search import Objective, make_ordinary
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError


def fgsm(eps: float, target: str, random_start: bool = False, norm: str = "linf") -> ThreatModel:
    """The fast gradient method: x' = clip(x + eps sign(grad loss)), one step from the image (Goodfellow et al. 2015).

    With `random_start` it is FGSM-RS (Wong et al. 2020): a step of 1.25 eps from a random point of the ball,
    projected back; the variant for training, where the plain step overfits to itself more easily.
    """
    step, start = (1.25 * eps, "random") if random_start else (eps, "clean")
    return ThreatModel(norm=norm, eps=eps, step=step, steps=1, restarts=1, start=start, target=target)


def pgd(
    eps: float, steps: int, step: float, restarts: int, target: str, random_start: bool = True, norm: str = "linf"
) -> ThreatModel:
    """Projected gradient ascent (Madry et al. 2018): `steps` steps of length `step`, best of `restarts` runs."""
    start = "random" if random_start else "clean"
    return ThreatModel(norm=norm, eps=eps, step=step, steps=steps, restarts=restarts, start=start, target=target)


def cross_entropy(model: Callable[..., Tensor], labels: Tensor, index: Tensor | None = None) -> Objective:
    """Objective over images (B, C, H, W): the loss of each against its label (B,), beaten when misclassified.

    `model(images) -> logits (B, way)`, or `model(images, index)` when `index` (B,) names the episode of each image.
    """
    labels = make_ordinary(labels)

    def objective(images: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
        some = slice(None) if active is None else active
        logits = model(images) if index is None else model(images, index[some])
        return margin_loss(logits, labels[some])

    return objective


def margin_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(cross-entropy, misclassified) for each row of logits (..., way) against labels (...); at least fp32."""
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    return compute_cross_entropy(logits, labels), logits.detach().argmax(-1) != labels


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: ThreatModel,
    generator: torch.Generator | None = None,
    index: Tensor | None = None,
    stop: str | None = None,
    keep: str | None = None,
    chunk: int | None = None,
) -> Ascent:
    """Attack any classifier of images, such as `net.bind(support)`, leaving it as it was.

    images (B, C, H, W) in [0, 1], labels (B,). The keywords are those of `ascend`. Without `stop` the best candidate
    is the one of largest loss; with stop="beaten" a misclassified candidate wins over any other.
    """
    check_images(images)
    kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
    if kind not in (torch.int64, torch.int32, torch.uint8) or labels.shape != images.shape[:1]:
        shape = tuple(labels.shape) if isinstance(labels, Tensor) else ""
        raise UserError(f"the attack needs one whole number a label, (B,), as torch.int64, got {kind} {shape}")
    if labels.numel() and labels.min() < 0:
        raise UserError(f"the attack needs labels of at least 0, got {int(labels.min())}")
    objective = cross_entropy(model, labels, index)
    if stop is None:
        objective = keep_loss_only(objective)
    with frozen(model):
        return ascend(objective, images, threat, generator, stop=stop, keep=keep, chunk=chunk)


def keep_loss_only(objective: Objective) -> Objective:
    """The same objective without its verdict, so that candidates are ranked by their loss alone."""

    def loss(images: Tensor, active: Tensor | None) -> Tensor:
        value = objective(images, active)
        return value[0] if isinstance(value, tuple) else value

    return loss
