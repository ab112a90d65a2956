"""Classification of the base classes, before episodic training or in its place: clean, attacked and noisy images.

Most published tables of clean accuracy rest on it (Chen et al. 2021, "Meta-Baseline"); on attacked images it makes a
robust encoder without episodes (Subramanya & Pirsiavash 2022, arXiv 2204.05432).
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib.attacks.ascent import frozen
from anrot_lib.core import checkpoints, devices, randomness
from anrot_lib.core.configs import to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.groups import name_stream
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.core.resumable import ResumableTraining, copy_weights, run_resumable
from anrot_lib.data import augmentation
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.encoders import Encoder
from anrot_lib.fewshot.episode_loss import (
    FORWARD,
    FULL,
    MIXES,
    TO_PIXELS,
    compute_divergence_from,
    list_shares,
    make_adversarial,
    make_natural_version,
)
from anrot_lib.fewshot.optimization import build_average, build_optimizer, compute_rate_factor, set_rate
from anrot_lib.fewshot.recipes import RANKING
from anrot_lib.settings import Budget, Recipe

SAVE_EVERY = 250


def build_linear(n_in: int, classes: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with normal weights of variance 1 / n_in and no bias at the start."""
    layer = nn.Linear(n_in, classes)
    nn.init.normal_(layer.weight, std=n_in**-0.5, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


@dataclass(frozen=True)
class Pretrained:
    """The weights of an encoder that can classify the base classes, and what they cost."""

    encoder: dict[str, Tensor]
    seconds: float
    seconds_per_step: float
    steps: int


def is_ranking_stage(recipe: Recipe) -> bool:
    """Whether the first stage of a recipe is the training of a ranking model (`ranking.training.first_stage`)."""
    return recipe.pretrain_as is not None and recipe.pretrain_as.startswith(RANKING)


def reduce_recipe(recipe: Recipe) -> Recipe:
    """The recipe without what only its episodes depend on: recipes of equal reductions share one pre-training."""
    rate = recipe.learning_rate if recipe.pretrain_rate is None else recipe.pretrain_rate
    plain = Recipe(method="prototypes", hesim=0.0)
    unused = {name: getattr(plain, name) for name in ("method", "hesim", "temperature", "episodic", "heads")}
    stage = recipe.pretrain_as if is_ranking_stage(recipe) else None
    return replace(recipe, **unused, learning_rate=rate, pretrain_rate=None, pretrain_as=stage)


def count_passes(recipe: Recipe) -> float:
    """Passes of the encoder over an image that a step of pre-training takes at least; see `compute_cost_limit`.

    At most, for a ranking model whose triplets are attacked: each image is looked at once to find two triplets for four
    images, and all six of these are attacked and trained on. Triplets that are hard enough take fewer steps.
    """
    if is_ranking_stage(recipe):
        return FORWARD + 1.5 * (TO_PIXELS * recipe.attack_steps + FULL)
    attacked = list_shares(recipe).get("adversarial", 0.0)
    passes = FULL + attacked * TO_PIXELS * recipe.attack_steps
    return passes + attacked * (FORWARD + FULL) if recipe.trades else passes


def split_batch(batch: int, shares: dict[str, float]) -> dict[str, int]:
    """How many of so many images are of each version, by shares that sum to 1; the numbers sum to `batch`."""
    ends = [round(batch * sum(list(shares.values())[: k + 1])) for k in range(len(shares))]
    sizes = dict(zip(shares, np.diff([0, *ends]).tolist(), strict=True))
    return {version: size for version, size in sizes.items() if size}


class BaseClassTraining(ResumableTraining):
    """One training of an encoder as a classifier of the base classes; see `pretrain`."""

    title = " of pre-training"
    recipe_type = Recipe

    def __init__(self, image_set: ImageSet, recipe: Recipe, budget: Budget, device: torch.device, precision: str):
        recipe = reduce_recipe(recipe)
        self.image_set, self.recipe, self.device, self.precision = image_set, recipe, device, precision
        self.rows = image_set.rows("train")
        classes, labels = np.unique(image_set.labels[self.rows], return_inverse=True)
        self.labels, self.n_classes = torch.from_numpy(labels), len(classes)
        self.batch = min(budget.pretrain_batch, len(self.rows))
        if self.batch % budget.groups:
            raise UserError(f"a step of {self.batch} images, all there are, cannot be cut into {budget.groups} groups")
        self.groups = budget.groups
        self.sizes = split_batch(self.batch // self.groups, list_shares(recipe))
        self.augment = augmentation.build_pipeline(("flip", *(name for name in recipe.augment if name != "flip")))
        init = randomness.make_generator(recipe.seed, "init")
        net = create_net(budget.encoder, "prototypes", image_set.images.shape[-1], recipe.attention, init)
        assert isinstance(net.backbone, Encoder)
        self.encoder = net.backbone
        self.net = self.build_net(init).to(device)
        self.rate = recipe.learning_rate
        self.optimizers = (build_optimizer(recipe, self.net, self.rate),)
        self.average = build_average(self.net, recipe.averaging)
        settings: dict[str, Any] = {"data": image_set.sha256, "split": image_set.split_hash, "recipe": to_dict(recipe)}
        settings |= {"encoder": budget.encoder, "steps": budget.pretrain_steps, "batch": self.batch}
        settings |= {"groups": self.groups} if self.groups > 1 else {}
        super().__init__(settings | {"precision": precision}, budget.pretrain_steps)

    def build_net(self, generator: torch.Generator) -> nn.Module:
        """What is trained: the encoder, and a linear layer on the means of its maps."""
        layer = build_linear(self.encoder.out_channels, self.n_classes, generator)
        return nn.Sequential(self.encoder, nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)

    def draw_batch(self) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) of this step, or of its group, and their targets (B, classes). An epoch shows each image
        at most once."""
        epoch, at = divmod(self.step, len(self.rows) // self.batch)
        generator = randomness.make_generator(self.recipe.seed, f"pretraining/epoch {epoch}")
        size = self.batch // self.groups
        start = at * self.batch + self.group * size
        order = torch.randperm(len(self.rows), generator=generator)[start : start + size]
        generator = self.make_generator("augmentation")
        images = self.augment(self.image_set.batch(self.rows[order.numpy()], self.device), generator)
        labels = self.labels[order].to(self.device)
        if self.recipe.mix is None:
            return images, nn.functional.one_hot(labels, self.n_classes).float()
        mixed = MIXES[self.recipe.mix](images, labels, self.make_generator("mix"))
        return mixed.images, mixed.soft_labels(self.n_classes).float()

    def make_generator(self, name: str) -> torch.Generator:
        stream = name_stream(f"pretraining/{name}", self.step, self.group, self.groups)
        return randomness.make_generator(self.recipe.seed, stream)

    def classify(self, images: Tensor) -> Tensor:
        """Logits (B, classes) in fp32."""
        logits: Tensor = self.net(images.contiguous(memory_format=torch.channels_last))
        return logits.float()

    def compute_losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy (B,) with the recipe's smoothing, for logits and targets (B, classes)."""
        smoothing = self.recipe.label_smoothing
        return nn.functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)

    def make_version(self, version: str, images: Tensor, targets: Tensor) -> Tensor:
        """Some images of a batch in one of the versions that the recipe trains on."""
        if version != "adversarial":
            return make_natural_version(version, images, self.recipe, self.make_generator)
        with frozen(self.net, training=False if self.recipe.attack_eval else None):
            clean = None
            if self.recipe.trades:
                with torch.no_grad():
                    clean = self.classify(images)

            def objective(points: Tensor, active: Tensor | None) -> Tensor:
                logits = self.classify(points)
                return self.compute_losses(logits, targets) if clean is None else compute_divergence_from(clean, logits)

            return make_adversarial(objective, images, self.recipe, self.make_generator("attack"))

    def compute_loss(self) -> Tensor:
        """Mean cross-entropy over the batch. With trades, attacked images count by their divergence from the clean
        prediction, and their clean copies join the cross-entropy."""
        set_rate(self.optimizers, self.rate * compute_rate_factor(self.recipe.schedule, self.step, self.n_steps))
        self.net.train()
        images, targets = self.draw_batch()
        parts = dict(zip(self.sizes, images.split(list(self.sizes.values())), strict=True))
        goals = dict(zip(self.sizes, targets.split(list(self.sizes.values())), strict=True))
        with devices.autocast(self.device, self.precision):
            versions = {v: self.make_version(v, part, goals[v]) for v, part in parts.items()}
            if self.recipe.trades and "adversarial" in parts:
                versions["unattacked"] = parts["adversarial"]
            logits = self.classify(torch.cat(list(versions.values())))
        by_version = dict(zip(versions, logits.split([len(v) for v in versions.values()]), strict=True))
        loss = logits.new_zeros(())
        for version, part in by_version.items():
            if self.recipe.trades and version == "adversarial":
                divergence = compute_divergence_from(by_version["unattacked"], part)
                loss = loss + self.recipe.trades * divergence.sum()
            else:
                goal = goals["adversarial" if version == "unattacked" else version]
                loss = loss + self.compute_losses(part, goal).sum()
        return loss / len(targets)

    def prepare_update(self) -> None:
        if not math.isfinite(nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)):
            raise self.not_finite()

    def finish_update(self, loss: float) -> None:
        if self.average is not None:
            self.average.update_parameters(self.net)

    def finish_step(self) -> bool:
        return self.step % SAVE_EVERY == 0 or self.step == self.n_steps

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict() | {
            "weights": self.net.state_dict(),
            "optimizer": self.optimizers[0].state_dict(),
        }
        return state if self.average is None else state | {"average": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        checkpoints.load_weights(self.net, state["weights"], "the checkpoint")
        self.optimizers[0].load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def finish(self) -> Pretrained:
        """The encoder at the end: its averaged weights, if the recipe averages."""
        if self.average is not None:
            self.net.load_state_dict(self.average.module.state_dict())
        return Pretrained(copy_weights(self.encoder), self.seconds, statistics.median(self.durations), self.n_steps)


def pretrain(
    image_set: ImageSet,
    recipe: Recipe,
    budget: Budget,
    checkpoint: Path | None = None,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    progress: Callable[[int, dict[str, float]], None] | None = None,
    pause: Callable[[], bool] | None = None,
    ranks: Ranks = ALONE,
    kind: type[BaseClassTraining] = BaseClassTraining,
) -> Pretrained:
    """Train the encoder to classify all base classes, by the recipe's optimizer, attack, noise and augmentation.

    Images are always mirrored at random. The shares of the recipe are parts of each batch: with clean 0.4 and
    adversarial 0.6 four images of ten are as they are, and six are attacked through the classifier. Resumable like
    `training.train`, but a checkpoint of other settings is replaced. progress(steps done, numbers); pause and ranks as
    there. kind: of the training, for a recipe that learns to rank (`ranking.training.first_stage.choose_training`).

    Raises NotFinite when the loss is no longer finite, UserError for a recipe that learns to rank without its kind.
    """
    if is_ranking_stage(recipe) and kind is BaseClassTraining:
        raise UserError(f"the first stage {recipe.pretrain_as!r} trains a ranking model, not a classifier")
    training = kind(image_set, recipe, budget, torch.device(device), precision)
    training.ranks = ranks
    show = None if progress is None else lambda done, _, numbers: progress(done, numbers)
    run_resumable(training, checkpoint, show, pause, restart=True)
    return training.finish()
