"""The one ascent loop. An attack is an objective; everything that climbs a loss over pixels runs through here."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Literal, Protocol, overload

import torch
from torch import Tensor, nn

from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import NotFinite


class HasModules(Protocol):
    """What `frozen` can leave as it was: an nn.Module, or what has its `modules()`."""

    def modules(self) -> Iterator[nn.Module]: ...


# objective(candidates, active) -> loss, or (loss, beaten). See `ascend`.
Objective = Callable[[Tensor, Tensor | None], Tensor | tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Ascent:
    """The result of an ascent. `loss` and `beaten` have the shape of the units.

    With keep="last" nothing is evaluated after the last step, so both are None.
    `beaten` is also None for an objective that does not say when a unit is beaten.
    """

    images: Tensor
    loss: Tensor | None
    beaten: Tensor | None


def ascend(
    objective: Objective,
    images: Tensor,
    threat: ThreatModel,
    generator: torch.Generator | None = None,
    start: Tensor | None = None,
    stop: str | None = None,
    keep: str | None = None,
    chunk: int | None = None,
) -> Ascent:
    """Maximise `objective` over the threat model's ball around `images` by projected gradient ascent.

    A *unit* is what the adversary wins or loses as a whole: `loss.shape == images.shape[:loss.ndim]`. With images
    (N, C, H, W) and loss (N,) every image is a unit; with images (E, S, C, H, W) and loss (E,) the S images of an
    episode are one unit; a scalar loss makes one unit of everything. Units must not influence one another.

    objective  called as `objective(candidates, active)`. `active` is None when the candidates are all units in
               order; else it is a LongTensor with the number of the unit in each row of the candidates. It returns
               the loss, or the pair (loss, beaten) with a bool tensor of the same shape.
    images     float tensor (..., C, H, W) in [0, 1].
    generator  needed for random starts; the numbers drawn depend neither on `stop` nor on `chunk`.
    start      where the first run starts, in place of `threat.start` (projected into the ball): warm starts.
    stop       "beaten": a unit leaves the batch at its first beaten candidate, so that later passes are smaller.
               "still": a unit leaves a run when its gradient is exactly 0, because it would not move any more; the
               result is the same as without, also for keep="last" (needs an objective without chance).
    keep       "best": the best of all candidates of each unit: a beaten one before any other, then the largest loss.
               The clean image and its FGSM point (one step of length eps) are among them, so the result is never
               worse than either. "last": the last iterate as it is; costs exactly `steps` forward-backward passes
               and ignores stop="beaten". None: "last" for one step and one run (FGSM is its step), "best" otherwise.
    chunk      largest number of units in one pass (memory only; needs a loss of one dimension, as does `stop`).

    Works inside `no_grad` and `inference_mode`; autocast and memory format are the caller's choice. Parameters are
    not protected here: wrap the call in `frozen(module)`.

    Raises NotFinite when the loss is NaN, UserError for images outside [0, 1].
    """
    if stop not in (None, "beaten", "still") or keep not in (None, "best", "last"):
        raise ValueError(f"stop must be None, 'beaten' or 'still', keep None, 'best' or 'last'; got {stop!r}, {keep!r}")
    keep = keep or ("last" if threat.steps == threat.restarts == 1 else "best")
    with torch.inference_mode(False), torch.enable_grad():
        clean = make_ordinary(check_images(images)).detach()
        search = _Search(objective, clean, chunk, track=keep == "best", drop=stop)
        points = _climb(search, threat, clean, generator, start)
    if keep == "last":
        return Ascent(points, None, None)
    return Ascent(search.images, search.loss, search.beaten)


def _climb(
    search: "_Search",
    threat: ThreatModel,
    clean: Tensor,
    generator: torch.Generator | None,
    start: Tensor | None,
) -> Tensor:
    if threat.eps == 0:
        if search.track:
            search.look(clean, backward=False)
        return clean.clone()
    from_clean = start is None and threat.start == "clean"
    gradient = _full_step(search, threat, clean, from_clean) if search.track else None
    points = clean
    for run in range(threat.restarts):
        points = _start(threat, clean, generator, start if run == 0 else None)
        if run or not from_clean:
            search.wake()
        for step in range(threat.steps):
            if search.finished:
                break  # but later runs still draw their starts: the generator moves on the same way whatever happens
            if gradient is None or not (from_clean and step == 0):  # else that gradient is known already
                gradient = search.look(points)
            points = threat.move(points, gradient, clean)
        if search.track and not search.finished:
            search.look(points, backward=False)
    return points


def _full_step(search: "_Search", threat: ThreatModel, clean: Tensor, from_clean: bool) -> Tensor:
    """Look at the clean images and at their FGSM points; return the gradient at the clean images."""
    gradient = search.look(clean)
    first_step_is_it = from_clean and threat.step >= threat.eps
    if not first_step_is_it and not search.finished:
        search.look(threat.move(clean, gradient, clean, length=threat.eps), backward=False)
    return gradient


def _start(threat: ThreatModel, clean: Tensor, generator: torch.Generator | None, start: Tensor | None) -> Tensor:
    if start is not None:
        return threat.project(make_ordinary(start).detach().to(clean), clean)
    return clean if threat.start == "clean" else threat.random_start(clean, generator)


class _Search:
    """The candidates seen so far: evaluates them, remembers the best of each unit, lets beaten or still units go."""

    def __init__(self, objective: Objective, clean: Tensor, chunk: int | None, track: bool, drop: str | None):
        self.objective, self.chunk, self.track, self.drop = objective, chunk, track, drop
        self.images = clean.clone() if track else clean
        self.loss: Tensor | None = None
        self.beaten: Tensor | None = None
        self.active: Tensor | None = None

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

    def _passes(self, rows: Tensor, active: Tensor | None, backward: bool) -> "_Pass":
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


_Pass = tuple[Tensor, Tensor | None, Tensor | None]  # loss; beaten or None; gradient or None


def _concatenate(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Parts that are all tensors as one; None if they are all None."""
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if tensors else None


def _evaluate(objective: Objective, points: Tensor, active: Tensor | None, backward: bool) -> _Pass:
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


def make_ordinary(tensor: Tensor) -> Tensor:
    """The tensor itself, or a copy that autograd may use if it was made in inference mode."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()


@contextmanager
def frozen(*modules: HasModules, training: bool | None = None) -> Iterator[None]:
    """Leave the modules exactly as they were before, also after an exception.

    Inside, no parameter asks for a gradient (backward passes to the pixels get cheaper, `.grad` stays untouched);
    `training` switches all submodules to train or eval mode, None leaves them alone. Afterwards requires_grad,
    train/eval flags and all buffers (running statistics, counters) are back, even if a train-mode pass moved them.
    """
    parts = list(dict.fromkeys(chain.from_iterable(module.modules() for module in modules)))
    parameters = list(dict.fromkeys(p for part in parts for p in part.parameters(recurse=False)))
    wanted = [p.requires_grad for p in parameters]
    flags = [part.training for part in parts]
    buffers = [(part._buffers, dict(part._buffers)) for part in parts]
    values = [[(b, b.detach().clone()) for b in held.values() if b is not None] for _, held in buffers]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        if training is not None:
            for part in parts:
                part.training = training
        yield
    finally:
        for parameter, value in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(value)
        for part, flag in zip(parts, flags, strict=True):
            part.training = flag
        for (buffers_of_part, held), copies in zip(buffers, values, strict=True):
            buffers_of_part.clear()
            buffers_of_part.update(held)
            for buffer, copy in copies:
                # Through .data, so that a graph built before (a training step's clean pass) may still run backward.
                buffer.data.copy_(copy)
