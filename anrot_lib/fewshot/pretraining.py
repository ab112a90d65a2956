"""Classical pre-training: the encoder as an ordinary classifier of the base classes, before episodic training.

A recipe of its own (`pretrain=True`): most published tables rest on it (Chen et al. 2021, "Meta-Baseline").
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib.core import checkpoints, devices, randomness
from anrot_lib.core.configs import to_dict
from anrot_lib.core.errors import NotFinite
from anrot_lib.data import augmentation
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.settings import Budget, Recipe

if TYPE_CHECKING:
    pass

BATCH, SAVE_EVERY = 64, 250


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

    Resumable like `training.train`; the random numbers of step k depend on the seed and k alone.
    """
    device = torch.device(device)
    rows = image_set.rows("train")
    classes, targets = np.unique(image_set.labels[rows], return_inverse=True)
    init = randomness.generator(recipe.seed, "init")
    encoder = create_net(budget.encoder, "prototypes", image_set.images.shape[-1], recipe.attention, init).backbone
    layer = nn.Linear(encoder.out_channels, len(classes))
    nn.init.normal_(layer.weight, std=encoder.out_channels**-0.5, generator=init)
    nn.init.zeros_(layer.bias)
    net = nn.Sequential(encoder, nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, budget.pretrain_steps)
    settings = {"data": image_set.sha256, "split": image_set.split_hash, "recipe": to_dict(recipe)}
    settings |= {"encoder": budget.encoder, "steps": budget.pretrain_steps, "precision": precision}
    step, seconds = 0, 0.0
    if checkpoint is not None and checkpoint.is_file():
        state = checkpoints.load(checkpoint)
        if state.get("settings") == settings:
            net.load_state_dict(state["weights"])
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            step, seconds = state["step"], state["seconds"]
    net.train()
    while step < budget.pretrain_steps:
        started = time.perf_counter()
        generator = randomness.generator(recipe.seed, f"pretraining/{step}")
        picked = torch.randint(len(rows), (BATCH,), generator=generator).numpy()
        images = augmentation.flip(image_set.batch(rows[picked], device), generator)
        with devices.autocast(device, precision):
            logits = net(images.contiguous(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(logits.float(), torch.from_numpy(targets[picked]).to(device))
        if not torch.isfinite(loss):
            raise NotFinite(f"the loss of pre-training is no longer finite at step {step + 1}; try a smaller rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        step += 1
        seconds += time.perf_counter() - started
        if checkpoint is not None and (step % SAVE_EVERY == 0 or step == budget.pretrain_steps):
            content = {"settings": settings, "weights": net.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoints.save(
                checkpoint, content | {"schedule": schedule.state_dict(), "step": step, "seconds": seconds}
            )
        if progress is not None:
            progress(step, {"loss": loss.item()})
    return {name: tensor.cpu() for name, tensor in encoder.state_dict().items()}, seconds
