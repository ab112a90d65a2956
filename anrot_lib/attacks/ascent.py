"""The one ascent loop. An attack is an objective; everything that climbs a loss over pixels runs through here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn

from anrot_lib.attacks.adaptive import climb_adaptively, climb_hastily
from anrot_lib.attacks.search import Objective, Search, choose_start, make_ordinary
from anrot_lib.attacks.squares import climb_by_squares
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.checks import check_images


class HasModules(Protocol):
    """What `frozen` can leave as it was: an nn.Module, or what has its `modules()`."""

    def modules(self) -> Iterator[nn.Module]: ...


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
    rule: str = "fixed",
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
    rule       how it moves: "fixed" steps of `threat.step`; "adaptive" ones with momentum, whose length each unit
               halves when its loss no longer grows, or "hasty" ones, which halve it sooner (`attacks.adaptive`);
               "squares" without gradients, `steps` random squares a unit (`attacks.squares`). All but the first keep
               the best candidate.

    Works inside `no_grad` and `inference_mode`; autocast and memory format are the caller's choice. Parameters are
    not protected here: wrap the call in `frozen(module)`.

    Raises NotFinite when the loss is NaN, UserError for images outside [0, 1].
    """
    if stop not in (None, "beaten", "still") or keep not in (None, "best", "last"):
        raise ValueError(f"stop must be None, 'beaten' or 'still', keep None, 'best' or 'last'; got {stop!r}, {keep!r}")
    if rule not in CLIMBS:
        raise ValueError(f"rule must be one of {', '.join(CLIMBS)}, got {rule!r}")
    if rule != "fixed":
        keep = "best"
    keep = keep or ("last" if threat.steps == threat.restarts == 1 else "best")
    with torch.inference_mode(False), torch.enable_grad():
        clean = make_ordinary(check_images(images)).detach()
        search = Search(objective, clean, chunk, track=keep == "best", drop=stop)
        points = CLIMBS[rule](search, threat, clean, generator, start)
    if keep == "last":
        return Ascent(points, None, None)
    return Ascent(search.images, search.loss, search.beaten)


def climb_by_steps(
    search: Search, threat: ThreatModel, clean: Tensor, generator: torch.Generator | None, start: Tensor | None
) -> Tensor:
    """Steps of `threat.step` along the gradient; returns the last points."""
    if threat.eps == 0:
        if search.track:
            search.look(clean, backward=False)
        return clean.clone()
    from_clean = start is None and threat.start == "clean"
    gradient = _full_step(search, threat, clean, from_clean) if search.track else None
    points = clean
    for run in range(threat.restarts):
        points = choose_start(threat, clean, generator, start if run == 0 else None)
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


def _full_step(search: Search, threat: ThreatModel, clean: Tensor, from_clean: bool) -> Tensor:
    """Look at the clean images and at their FGSM points; return the gradient at the clean images."""
    gradient = search.look(clean)
    first_step_is_it = from_clean and threat.step >= threat.eps
    if not first_step_is_it and not search.finished:
        search.look(threat.move(clean, gradient, clean, length=threat.eps), backward=False)
    return gradient


CLIMBS: dict[str, Callable[[Search, ThreatModel, Tensor, torch.Generator | None, Tensor | None], Tensor]] = {
    "fixed": climb_by_steps,
    "adaptive": climb_adaptively,
    "hasty": climb_hastily,
    "squares": climb_by_squares,
}


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
