"""What every attack does with a candidate: evaluate it, keep the best of each unit, let beaten or still units go."""

from collections.abc import Callable, Sequence
from typing import Literal, overload

import torch
from torch import Tensor

from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import NotFinite

# objective(candidates, active) -> loss, or (loss, beaten). See `ascend`.
Objective = Callable[[Tensor, Tensor | None], Tensor | tuple[Tensor, Tensor]]
Pass = tuple[Tensor, Tensor | None, Tensor | None]  # loss; beaten or None; gradient or None


class Search:
    """The candidates seen so far: evaluates them, remembers the best of each unit, lets beaten or still units go."""

    def __init__(self, objective: Objective, clean: Tensor, chunk: int | None, track: bool, drop: str | None):
        self.objective, self.chunk, self.track, self.drop = objective, chunk, track, drop
        self.images = clean.clone() if track else clean
        self.loss: Tensor | None = None
        self.beaten: Tensor | None = None
        self.active: Tensor | None = None
        self.latest: Tensor | None = None  # loss of each unit when it was looked at last

    def get_losses(self) -> Tensor:
        """Loss (units,) of each unit when it was looked at last."""
        if self.latest is None or self.latest.ndim != 1:
            raise ValueError("this rule needs an objective that returns losses of shape (units,)")
        return self.latest

    @property
    def finished(self) -> bool:
        return self.active is not None and not len(self.active)

    def wake(self) -> None:
        """A new run begins elsewhere: units that stood still may move again."""
        if self.drop == "still":
            self.active = None

    @overload
    def look(self, points: Tensor) -> Tensor: ...
    @overload
    def look(self, points: Tensor, backward: Literal[False]) -> None: ...
    def look(self, points: Tensor, backward: bool = True) -> Tensor | None:
        """Evaluate the active units of `points` once; the gradient has the shape of `points`, 0 for units that left."""
        active = self.active
        rows = points if active is None else points[active]
        loss, beaten, gradient = self._passes(rows, active, backward)
        self.latest = loss if active is None or self.latest is None else self.latest.index_copy(0, active, loss)
        if self.track:
            self._remember(rows, loss, beaten, active)
        if self.drop == "still" and gradient is not None:
            if loss.ndim != 1:
                raise ValueError("stop='still' needs an objective that returns losses of shape (units,)")
            moving = gradient.flatten(1).any(1)
            if not moving.all():
                numbers = torch.arange(len(loss), device=loss.device) if active is None else active
                self.active = numbers[moving]
        if gradient is not None and active is not None:
            gradient = torch.zeros_like(points).index_copy_(0, active, gradient)
        return gradient

    def _passes(self, rows: Tensor, active: Tensor | None, backward: bool) -> Pass:
        if self.chunk is None or len(rows) <= self.chunk:
            return _evaluate(self.objective, rows, active, backward)
        numbers = torch.arange(len(rows), device=rows.device) if active is None else active
        parts = zip(rows.split(self.chunk), numbers.split(self.chunk), strict=True)
        passes = [_evaluate(self.objective, part, some, backward) for part, some in parts]
        losses, beatens, gradients = zip(*passes, strict=True)
        return torch.cat(losses), _concatenate(beatens), _concatenate(gradients)

    def _remember(self, rows: Tensor, loss: Tensor, beaten: Tensor | None, active: Tensor | None) -> None:
        if self.loss is None:  # the first look is at the clean images of all units
            self.loss, self.beaten = loss.clone(), None if beaten is None else beaten.clone()
        else:
            self._improve(rows, loss, beaten, active, self.loss)
        if self.drop == "beaten":
            if beaten is None or loss.ndim != 1:
                raise ValueError("stop='beaten' needs an objective that returns (loss, beaten), both of shape (units,)")
            if beaten.any():
                numbers = torch.arange(len(loss), device=loss.device) if active is None else active
                self.active = numbers[~beaten]

    def _improve(self, rows: Tensor, loss: Tensor, beaten: Tensor | None, active: Tensor | None, best: Tensor) -> None:
        where = slice(None) if active is None or not loss.ndim else active
        old_loss = best[where] if loss.ndim else best
        better = loss > old_loss
        if beaten is not None and self.beaten is not None:
            old = self.beaten[where] if loss.ndim else self.beaten
            better = (beaten & ~old) | ((beaten == old) & better)
            beaten = torch.where(better, beaten, old)
        loss = torch.where(better, loss, old_loss)
        pixels = better.reshape(better.shape + (1,) * (rows.ndim - better.ndim))
        if active is None:
            self.images, self.loss, self.beaten = torch.where(pixels, rows, self.images), loss, beaten
        else:
            self.images[active] = torch.where(pixels, rows, self.images[active])
            best[active] = loss
            if beaten is not None and self.beaten is not None:
                self.beaten[active] = beaten


def _concatenate(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Parts that are all tensors as one; None if they are all None."""
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if tensors else None


def _evaluate(objective: Objective, points: Tensor, active: Tensor | None, backward: bool) -> Pass:
    """One forward pass, and one backward pass to the pixels if asked: (loss, beaten or None, gradient or None)."""
    points = points.detach().requires_grad_(backward)
    with torch.set_grad_enabled(backward):
        value = objective(points, active)
    loss, beaten = value if isinstance(value, tuple) else (value, None)
    if loss.shape != points.shape[: loss.ndim] or (beaten is not None and beaten.shape != loss.shape):
        raise ValueError(f"loss {tuple(loss.shape)} must have the leading shape of images {tuple(points.shape)}")
    if torch.isnan(loss).any():
        raise NotFinite(
            "the attacked loss is NaN: the model's output is not finite; check its weights and its precision"
        )
    if not backward:
        return loss.float() if loss.dtype.itemsize < 4 else loss, beaten, None
    if not loss.requires_grad:
        raise ValueError("the attacked loss does not depend on the images: something on the way was detached")
    (gradient,) = torch.autograd.grad(loss.sum(dtype=torch.promote_types(loss.dtype, torch.float32)), points)
    loss = loss.detach()
    return loss.float() if loss.dtype.itemsize < 4 else loss, beaten, gradient


def choose_start(threat: ThreatModel, clean: Tensor, generator: torch.Generator | None, start: Tensor | None) -> Tensor:
    """Where a run begins: at `start`, projected into the ball, else where the threat model says."""
    if start is not None:
        return threat.project(make_ordinary(start).detach().to(clean), clean)
    return clean if threat.start == "clean" else threat.random_start(clean, generator)


def make_ordinary(tensor: Tensor) -> Tensor:
    """The tensor itself, or a copy that autograd may use if it was made in inference mode."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()
