"""Variational autoencoders that differ in nothing but their divergence to the prior.

The loss of one image x with posterior N(mu, sigma^2) and a sample z = mu + sigma * noise is minus its evidence lower
bound up to a constant, for pixels with Gaussian noise of variance 1/2:

    loss(x) = sum of (decode(z) - x)^2 over pixels and channels
              + beta * sum of D(N(mu, sigma^2), N(0, 1)) over latent dimensions

averaged over the batch. With D = KL it is the bound itself (Kingma & Welling 2014; beta: Higgins et al. 2017); the
other divergences of `divergences.to_standard` stand in its place. Seeds, batches, noise and budget do not depend on D.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anrot_lib.core import checkpoints, devices, randomness
from anrot_lib.core.configs import check_type, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.resumable import ResumableTraining, copy_weights, run_resumable
from anrot_lib.data.image_set import ImageSet
from anrot_lib.reconstruction.autoencoders import Terms, Vae, compute_terms
from anrot_lib.reconstruction.recipe import VaeRecipe

LAST = 0.2  # of the epochs: how far the validation bound moved over these is reported
# Waiting until it no longer moves at a constant rate would take hours. So the length is fixed beforehand, and the rate
# falls to 0 along half a cosine, after a ramp at the beginning.
WARM = 0.05
IMAGES_PER_PASS = 256


def pick(image_set: ImageSet, split: str, count: int, seed: int) -> Tensor:
    """`count` row numbers of a split, in random order, the first of them the same for every count."""
    rows = torch.from_numpy(image_set.rows(split))
    if count > len(rows):
        raise UserError(f"{count} images of {split!r} are asked for, but {image_set.name!r} has {len(rows)}")
    order = torch.randperm(len(rows), generator=randomness.make_generator(seed, f"reconstruction/{split}"))
    return rows[order[:count]]


def compute_rate(recipe: VaeRecipe, progress: float) -> float:
    """The learning rate at a progress in [0, 1] of the training: half a cosine from learning_rate to 0, its first 5 %
    times a ramp that begins at 0."""
    return recipe.learning_rate * min(1.0, progress / WARM) * 0.5 * (1 + math.cos(math.pi * progress))


def measure_progress(losses: Sequence[float]) -> float:
    """By which share the best loss so far fell over the last fifth of the epochs (rounded up); inf for one epoch.

    Of the best so far, because the validation loss of a net that overfits rises again and then never settles. The
    constant of the bound is left out: with it, every share would be far smaller.
    """
    n = len(losses)
    if n < 2:
        return math.inf
    before = min(losses[: n - max(1, math.ceil(n * LAST))])
    return (before - min(losses)) / abs(before)


@dataclass(frozen=True)
class TrainedVae:
    """The net of the best validation epoch, in eval mode, and how it came about."""

    net: Vae
    history: list[dict[str, float]]
    best_epoch: int
    moved: float  # share of the validation bound, over the last fifth of the epochs
    seconds: float
    images_per_second: float


def train(
    image_set: ImageSet,
    recipe: VaeRecipe,
    checkpoint: Path | None = None,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    progress: Callable[[int, dict[str, float]], None] | None = None,
    pause: Callable[[], bool] | None = None,
) -> TrainedVae:
    """Train on the "train" classes for recipe.epochs; returns the net of the epoch with the best validation bound.

    checkpoint  written after every epoch, every five minutes and on a pause; a run of the same settings goes on from
                it, to the same bits.
    progress    called as progress(steps done, numbers to show).
    pause       asked after every step; True saves and raises Paused.

    Raises NotFinite, and UserError for a checkpoint of other settings or too few images.
    """
    training = VaeTraining(image_set, recipe, torch.device(device), precision)
    show = None if progress is None else lambda done, _, numbers: progress(done, numbers)
    run_resumable(training, checkpoint, show, pause)
    return training.finish()


class VaeTraining(ResumableTraining):
    """One training in progress. Every random number of a step comes from a stream named after it."""

    recipe_key = "vae"
    recipe_type = VaeRecipe

    def __init__(self, image_set: ImageSet, recipe: VaeRecipe, device: torch.device, precision: str):
        self.image_set, self.recipe, self.device, self.precision = image_set, recipe, device, precision
        self.rows = pick(image_set, "train", recipe.train_images, recipe.subset_seed)
        self.validation = pick(image_set, "val", recipe.validation_images, recipe.subset_seed)
        self.steps_per_epoch = math.ceil(len(self.rows) / recipe.batch)
        settings: dict[str, Any] = {"vae": to_dict(recipe), "data": image_set.sha256, "split": image_set.split_hash}
        super().__init__(settings | {"precision": precision}, recipe.epochs * self.steps_per_epoch)
        _, size, _, channels = image_set.images.shape
        init = randomness.make_generator(recipe.seed, "reconstruction/init")
        self.net = Vae(recipe.model, size, channels, init).to(device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=recipe.learning_rate, fused=True)
        self.optimizers = (self.optimizer,)
        self.history: list[dict[str, float]] = []
        self.best, self.best_epoch = copy_weights(self.net), 0

    def compute_loss(self) -> Tensor:
        """The mean loss of the images of the step."""
        recipe = self.recipe
        epoch, place = divmod(self.step, self.steps_per_epoch)
        shuffle = randomness.make_generator(recipe.seed, f"reconstruction/order/{epoch}")
        order = torch.randperm(len(self.rows), generator=shuffle)
        batch = self.rows[order[place * recipe.batch : (place + 1) * recipe.batch]]
        images = self.image_set.batch(batch, self.device)
        noise = randomness.make_generator(recipe.seed, f"reconstruction/noise/{self.step}")
        with devices.autocast(self.device, self.precision):
            reconstruction, posterior = self.net(images, noise)
        return compute_terms(images, reconstruction, posterior, recipe.divergence).loss(recipe.beta).mean()

    def prepare_update(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = compute_rate(self.recipe, (self.step + 0.5) / self.n_steps)

    def finish_step(self) -> bool:
        if self.step % self.steps_per_epoch:
            return False
        with self.timed():
            self.validate()
        return True

    def validate(self) -> None:
        """The bound on the validation images, with the same noise every time; keeps the best weights."""
        self.net.eval()
        bound = measure(self.net, self.image_set, self.validation, self.recipe, self.device)
        self.net.train()
        loss = bound.loss(self.recipe.beta).mean().item()
        if not math.isfinite(loss):  # NaN is smaller than nothing: the first one would be the best epoch
            raise self.not_finite()
        if not self.history or loss < min(point["loss"] for point in self.history):
            self.best, self.best_epoch = copy_weights(self.net), len(self.history) + 1
        error, divergence = (part.mean().item() for part in bound)
        self.history.append({"loss": loss, "error": error, "divergence": divergence})

    def latest_numbers(self) -> dict[str, float]:
        return {"validation": self.history[-1]["loss"]} if self.history else {}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "weights": copy_weights(self.net),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for key in ("best", "weights"):  # the best net's, and those that training goes on from
            checkpoints.load_weights(self.net, state[key], "the checkpoint")
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = check_type(state["history"], list[dict[str, float]], "the history")
        self.best, self.best_epoch = state["best"], check_type(state["best_epoch"], int, "the best epoch")

    def finish(self) -> TrainedVae:
        self.net.load_state_dict(self.best)
        speed = self.step * self.recipe.batch / max(sum(self.durations), 1e-9)
        last = measure_progress([point["loss"] for point in self.history])
        return TrainedVae(self.net.eval(), self.history, self.best_epoch, last, self.seconds, speed)


@torch.no_grad()
def measure(net: Vae, image_set: ImageSet, rows: Tensor, recipe: VaeRecipe, device: torch.device | str) -> Terms:
    """Error and divergence of each of these images, from one sample of its posterior; the net in eval mode."""
    parts = []
    for k, block in enumerate(torch.split(rows, IMAGES_PER_PASS)):
        images = image_set.batch(block, device)
        noise = randomness.make_generator(recipe.subset_seed, f"reconstruction/validation/{k}")
        reconstruction, posterior = net(images, noise)
        parts.append(compute_terms(images, reconstruction, posterior, recipe.divergence))
    return Terms(torch.cat([part.error for part in parts]).cpu(), torch.cat([part.divergence for part in parts]).cpu())
