"""One loop for every long training: it may be killed or paused at any step, and goes on to the same bits.

A subclass of `ResumableTraining` says what a step computes and what a checkpoint holds. Every random number of step k
comes from a stream named after k, so on a CPU a resumed training equals an undisturbed one to the byte.
"""

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from anrot_lib.core import checkpoints
from anrot_lib.core.configs import add_defaults, check_type, list_differences
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.core.errors import Paused as Paused
from anrot_lib.core.groups import average_groups
from anrot_lib.core.ranks import ALONE

SAVE_SECONDS = 300  # a kill loses at most so much work
GREATEST = 1e4  # of a weight; those of trained nets stay below 100
GREATEST_LOSS = 1e9

# progress(steps done, number of all steps, numbers to show)
StepProgress = Callable[[int, int, dict[str, float]], None]


def copy_weights(net: nn.Module) -> dict[str, Tensor]:
    """A copy of a net's state on the CPU, which later steps do not change."""
    return {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}


class ResumableTraining(ABC):
    """A training in progress.

    settings      all that the weights depend on, in plain values; a checkpoint of other settings is refused
    n_steps       the number of all steps; step: of those done
    optimizers    set by the subclass; each makes one update a step
    durations     of the steps so far, in seconds; seconds: their sum, and that of what ran under `timed`
    groups        parts of a step, see `groups.average_groups`; the processes of `ranks` share them
    group         of those, the one whose loss `compute_loss` is to compute
    """

    groups, group = 1, 0
    ranks = ALONE
    recipe_key: ClassVar[str] = "recipe"  # the entry of `settings` whose fields are compared one by one
    recipe_type: ClassVar[Any] = None  # its dataclass; fields that an older checkpoint does not know had their defaults
    title = ""  # what is trained, for messages: " of pre-training"
    optimizers: Sequence[torch.optim.Optimizer]
    net: Any  # the module of a training whose steps can have groups

    def __init__(self, settings: dict[str, Any], n_steps: int):
        self.settings, self.n_steps = settings, n_steps
        self.step, self.seconds = 0, 0.0
        self.durations: list[float] = []

    @abstractmethod
    def compute_loss(self) -> Tensor:
        """The loss of step number `step`, a scalar, or that of its part number `group`.

        An attack may raise FloatingPointError for a NaN."""

    def begin(self) -> None:  # noqa: B027 - not every training needs it
        """Called before the first step, unless the training goes on from a checkpoint."""

    def prepare_update(self) -> None:  # noqa: B027
        """Called between the gradients and the update. Raise `not_finite()` for gradients that are not finite."""

    def finish_update(self, loss: float) -> None:  # noqa: B027
        """Called after the update, with the loss of the step."""

    def finish_step(self) -> bool:
        """Validate, where it is due. Returns whether a checkpoint is due."""
        return False

    def latest_numbers(self) -> dict[str, float]:
        """What a progress bar shows beside the loss."""
        return {}

    def describe_kept(self) -> str:
        """What is kept when the loss is not finite, as part of a sentence."""
        return ""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The content of a checkpoint, in tensors and plain values. Extend this one."""
        return {
            "settings": self.settings,
            "step": self.step,
            "seconds": self.seconds,
            "step_seconds": self.durations,
        }

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint. Extend this one."""
        self.step = check_type(state["step"], int, "the number of steps done")
        self.seconds = check_type(state.get("seconds", 0.0), float, "the seconds")
        if not (0 <= self.step <= self.n_steps and math.isfinite(self.seconds)):
            raise ValueError(f"{self.step} steps of {self.n_steps} in {self.seconds} s")
        durations = state.get("step_seconds", [])  # older checkpoints hold their sum, or nothing
        self.durations = durations if isinstance(durations, list) else [durations]

    def not_finite(self) -> NotFinite:
        kept = self.describe_kept()
        return NotFinite(
            f"the loss{self.title} is no longer finite at step {self.step + 1} of {self.n_steps}; "
            f"{kept + '; ' if kept else ''}try a smaller learning rate"
        )

    def exploded(self, what: str) -> NotFinite:
        """The error for numbers that are finite still, but mean nothing any more."""
        return NotFinite(
            f"{what} at step {self.step + 1} of {self.n_steps}: the training has exploded; "
            f"{self.describe_kept()}{'; ' if self.describe_kept() else ''}try a smaller learning rate"
        )

    def find_greatest_weight(self) -> float:
        """The largest magnitude of the weights that are trained; NaN counts as none."""
        groups = (group for optimizer in self.optimizers for group in optimizer.param_groups)
        weights = [weight.detach() for group in groups for weight in group["params"] if weight.numel()]
        if not weights:
            return 0.0
        return float(torch.stack([weight.abs().amax().float() for weight in weights]).max())

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count what runs here, such as validation, among `seconds`."""
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started

    def advance(self) -> float:
        """One optimisation step; returns its loss. Raises NotFinite for a loss that is not finite, before the weights
        are touched, and for a loss or a weight beyond any sense."""
        started = time.perf_counter()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        if self.groups == 1:
            value, moves = self.compute_gradients()
        else:
            value, moves = average_groups(self.net, self.compute_group_loss, self.groups, self.ranks), True
            self.check_loss(value)
        if moves:
            self.prepare_update()
            for optimizer in self.optimizers:
                optimizer.step()
            if (greatest := self.find_greatest_weight()) > GREATEST:
                raise self.exploded(f"a weight{self.title} is {greatest:.2g}")
        self.finish_update(value)
        self.step += 1
        self.durations.append(time.perf_counter() - started)
        self.seconds += self.durations[-1]
        return value

    def compute_gradients(self) -> tuple[float, bool]:
        """Leave the gradients of the loss at the weights; returns (loss, whether it has any)."""
        try:
            loss = self.compute_loss()
        except FloatingPointError as error:  # the attack met the NaN first
            raise self.not_finite() from error
        value = self.check_loss(loss.item())
        if loss.requires_grad:
            torch.autograd.backward(loss)
        return value, loss.requires_grad

    def compute_group_loss(self, group: int) -> Tensor:
        """The loss of a group of this step."""
        self.group = group
        return self.compute_loss()

    def check_loss(self, loss: float) -> float:
        """The loss, unless it is NaN, infinite, or beyond any sense."""
        if not math.isfinite(loss):
            raise self.not_finite()
        if abs(loss) > GREATEST_LOSS:
            raise self.exploded(f"the loss{self.title} is {loss:.2g}")
        return loss

    def resume(self, checkpoint: Path, restart: bool = False) -> bool:
        """Go on from a checkpoint file. UserError if it is one of other settings, or False if `restart` allows it."""
        state = checkpoints.load(checkpoint)
        settings = self._add_newer_fields(state.get("settings") or {})
        if settings != self.settings:
            if restart:
                return False
            names = ", ".join(list_differences(settings, self.settings, self.recipe_key))
            raise UserError(
                f"{checkpoint} is the checkpoint of another training (different {names}); "
                "give another --tag to keep both, or delete it to start anew"
            )
        try:
            self.load_state_dict(state)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise UserError(
                f"{checkpoint} is damaged ({type(error).__name__}); delete it to start this training anew"
            ) from error
        return True

    def _add_newer_fields(self, settings: Any) -> Any:
        """The settings of a checkpoint; its recipe with all fields of today, unless it is no recipe of that type."""
        stored = settings.get(self.recipe_key) if isinstance(settings, dict) else None
        if self.recipe_type is None or not isinstance(stored, dict):
            return settings
        try:
            return settings | {self.recipe_key: add_defaults(self.recipe_type, stored)}
        except UserError:  # a comparison says what differs
            return settings


def run_resumable(
    training: ResumableTraining,
    checkpoint: Path | None = None,
    progress: StepProgress | None = None,
    pause: Callable[[], bool] | None = None,
    max_steps: int | None = None,
    restart: bool = False,
) -> None:
    """Advance a training to its end, from its checkpoint where there is one.

    checkpoint  written, atomically, when the training says that it is due, every five minutes, and at a stop.
    progress    called after every step.
    pause       asked after every step; True saves and raises Paused.
    max_steps   return after so many steps, as if killed; the checkpoint is written.
    restart     start anew, in place of a UserError, where the checkpoint belongs to other settings.

    Raises NotFinite for a loss that is not finite; the checkpoint stays as it was saved last.
    """

    ranks = training.ranks
    if training.groups % ranks.count:
        raise UserError(
            f"{ranks.count} processes cannot share the {training.groups} groups of a training step; give --groups "
            f"{ranks.count}, and steps of as many episodes and images, or a multiple of that"
        )

    def save() -> None:
        if checkpoint is not None and ranks.is_first:
            checkpoints.save(checkpoint, training.state_dict())

    resumed = checkpoint is not None and checkpoint.is_file() and training.resume(checkpoint, restart)
    ranks.wait()  # until all have read the file
    if not resumed:
        training.begin()
        if training.n_steps == 0:
            save()
    end = training.n_steps if max_steps is None else min(training.n_steps, training.step + max_steps)
    saved = time.monotonic()
    while training.step < end:
        loss = training.advance()
        if training.finish_step() or training.step == end or time.monotonic() - saved > SAVE_SECONDS:
            save()
            saved = time.monotonic()
        if progress is not None:
            progress(training.step, training.n_steps, {"loss": loss, **training.latest_numbers()})
        if pause is not None and ranks.agree(pause()):
            save()
            raise Paused
