"""Classical pre-training: the encoder as an ordinary classifier of the base classes, before episodic training.

A separate recipe (`pretrain=True`): most published tables rest on it (Chen et al. 2021, "Meta-Baseline").
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib.core import checkpoints, devices, randomness
from anrot_lib.core.configs import to_dict
from anrot_lib.core.resumable import ResumableTraining, run_resumable
from anrot_lib.data import augmentation
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.encoders import Encoder
from anrot_lib.settings import Budget, Recipe

BATCH, SAVE_EVERY = 64, 250


class ClassifierTraining(ResumableTraining):
    """Cross-entropy of a classifier, at a rate that falls from the optimiser's to 0 along half a cosine.

    compute_logits  gives (logits (B, classes), labels (B,)) of a step, by its number.
    save_every      a checkpoint is due after so many steps, and at the end.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: dict[str, Any],
        n_steps: int,
        save_every: int,
        compute_logits: Callable[[int], tuple[Tensor, Tensor]],
        title: str,
    ):
        super().__init__(settings, n_steps)
        self.net, self.optimizers, self.save_every, self.compute_logits = net, (optimizer,), save_every, compute_logits
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
        self.title = title

    def compute_loss(self) -> Tensor:
        logits, labels = self.compute_logits(self.step)
        return nn.functional.cross_entropy(logits.float(), labels)

    def finish_update(self, loss: float) -> None:
        self.schedule.step()

    def finish_step(self) -> bool:
        return self.step % self.save_every == 0 or self.step == self.n_steps

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "weights": self.net.state_dict(),
            "optimizer": self.optimizers[0].state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        checkpoints.load_weights(self.net, state["weights"], "the checkpoint")
        self.optimizers[0].load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def build_linear(n_in: int, classes: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with normal weights of variance 1 / n_in and no bias at the start."""
    layer = nn.Linear(n_in, classes)
    nn.init.normal_(layer.weight, std=n_in**-0.5, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def pretrain(
    image_set: ImageSet,
    recipe: Recipe,
    budget: Budget,
    checkpoint: Path | None = None,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    progress: Callable[[int, dict[str, float]], None] | None = None,
) -> tuple[dict[str, Tensor], float]:
    """Cross-entropy over all base classes, flips, Adam, cosine rate. Returns (encoder state, seconds).

    Resumable like `training.train`, but a checkpoint of other settings is replaced. progress(steps done, numbers).
    """
    where = torch.device(device)
    rows = image_set.rows("train")
    classes, labels = np.unique(image_set.labels[rows], return_inverse=True)
    init = randomness.make_generator(recipe.seed, "init")
    encoder = create_net(budget.encoder, "prototypes", image_set.images.shape[-1], recipe.attention, init).backbone
    assert isinstance(encoder, Encoder)
    layer = build_linear(encoder.out_channels, len(classes), init)
    net = nn.Sequential(encoder, nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer).to(where).train()

    def compute_logits(step: int) -> tuple[Tensor, Tensor]:
        generator = randomness.make_generator(recipe.seed, f"pretraining/{step}")
        batch = torch.randint(len(rows), (BATCH,), generator=generator).numpy()
        images = augmentation.flip(image_set.batch(rows[batch], where), generator)
        with devices.autocast(where, precision):
            logits = net(images.contiguous(memory_format=torch.channels_last))
        return logits, torch.from_numpy(labels[batch]).to(where)

    settings: dict[str, Any] = {"data": image_set.sha256, "split": image_set.split_hash, "recipe": to_dict(recipe)}
    settings |= {"encoder": budget.encoder, "steps": budget.pretrain_steps, "precision": precision}
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
    training = ClassifierTraining(
        net, optimizer, settings, budget.pretrain_steps, SAVE_EVERY, compute_logits, " of pre-training"
    )
    show = None if progress is None else lambda done, _, numbers: progress(done, numbers)
    run_resumable(training, checkpoint, show, restart=True)
    return {name: tensor.cpu() for name, tensor in encoder.state_dict().items()}, training.seconds
