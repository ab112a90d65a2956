"""The net that the training of a ranking model begins with: from a file, from scratch, or from a classifier.

Frozen batch norms need statistics. Without ImageNet weights they come from a classifier of the training classes.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anrot_lib.core import checkpoints, devices, randomness
from anrot_lib.core.configs import make_key
from anrot_lib.core.errors import UserError
from anrot_lib.core.resumable import ResumableTraining, StepProgress, run_resumable
from anrot_lib.fewshot.pretraining import build_linear
from anrot_lib.ranking import embedders
from anrot_lib.ranking.data.batches import Sampler
from anrot_lib.ranking.data.sets import RankingSet
from anrot_lib.ranking.embedders import Embedder
from anrot_lib.ranking.recipe import RankingRecipe

CLASSIFIER_RATE = 1e-3
# The fields of a recipe that the classifier depends on: defenses and losses are not among them.
CLASSIFIER_FIELDS = ("seed", "embedding", "batch", "size", "stored", "flip", "pretrain_epochs")


def build_initial_net(
    recipe: RankingRecipe,
    data: RankingSet,
    weights: Path | str | None = None,
    folder: Path | None = None,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    progress: StepProgress | None = None,
) -> tuple[Embedder, str]:
    """The net that training begins with, and where its weights come from.

    With `weights` (a file, or "imagenet" to fetch them) all but the last layer. Without, from scratch; if batch norms
    are to be frozen, the net is first trained as a classifier of the training classes. The classifier is kept in
    `folder`, for every recipe that begins with the same one. UserError if there are no statistics to freeze.
    """
    name = recipe.parsed
    net = embedders.build(
        name.backbone,
        name.loss.metric,
        recipe.embedding,
        recipe.freeze_bn,
        generator=randomness.make_generator(recipe.seed, "ranking/init"),
        weights=weights,
    ).to(device)
    if weights is not None:
        return net, "ImageNet weights" if str(weights) == embedders.DOWNLOAD else f"weights of {Path(weights).name}"
    if not recipe.freeze_bn or not net.batch_norms():
        return net, "scratch"
    if recipe.pretrain_epochs == 0:
        raise UserError(
            f"{recipe.name} freezes its batch norms, which need statistics from somewhere: give --weights, "
            "or at least one epoch by --pretrain-epochs"
        )
    settings: dict[str, Any] = {name: getattr(recipe, name) for name in CLASSIFIER_FIELDS}
    settings |= {"backbone": name.backbone, "data": data.about, "precision": precision}
    file = None if folder is None else folder / f"classifier-{name.backbone}-{make_key(settings)}.pt"
    train_classifier(net, recipe, data, settings, file, torch.device(device), precision, progress)
    epochs = f"{recipe.pretrain_epochs} epoch{'s' if recipe.pretrain_epochs > 1 else ''}"
    return net, f"scratch, then a classifier of the {data.train.classes} training classes for {epochs}"


class ClassifierTraining(ResumableTraining):
    """Cross-entropy of a classifier, at a rate that falls from the optimizer's to 0 along half a cosine.

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


def train_classifier(
    net: Embedder,
    recipe: RankingRecipe,
    data: RankingSet,
    settings: dict[str, Any],
    checkpoint: Path | None,
    device: torch.device,
    precision: str,
    progress: StepProgress | None,
) -> None:
    """Cross-entropy of a linear layer on the embeddings over the training classes; live batch norms; changes `net`."""
    generator = randomness.make_generator(recipe.seed, "ranking/classifier")
    model = nn.Sequential(net, build_linear(recipe.embedding, data.train.classes, generator).to(device))
    sampler = Sampler(data.train.labels, 2 * recipe.batch, "c", recipe.seed)

    def compute_logits(step: int) -> tuple[Tensor, Tensor]:
        rows = sampler.select(step)
        rows = rows.repeat(2) if len(rows) == 1 else rows  # a batch norm needs two
        draw = randomness.make_generator(recipe.seed, f"ranking/classifier/{step}")
        images = data.train.augment(rows, draw, recipe.flip, device)
        with (
            seed_global_generators(recipe.seed, f"ranking/classifier/chance/{step}", device),
            devices.autocast(device, precision),
        ):
            logits = model(images)
        return logits, data.train.labels[rows].to(device)

    optimizer = torch.optim.Adam(model.parameters(), lr=CLASSIFIER_RATE, fused=True)
    n_steps, title = sampler.steps * recipe.pretrain_epochs, " of the classifier"
    training = ClassifierTraining(model, optimizer, settings, n_steps, sampler.steps, compute_logits, title)
    freeze_bn, net.freeze_bn = net.freeze_bn, False
    model.train()
    run_resumable(training, checkpoint, progress, restart=True)
    net.freeze_bn = freeze_bn


@contextlib.contextmanager
def seed_global_generators(seed: int, name: str, device: torch.device) -> Iterator[None]:
    """Dropout and stochastic depth draw from the global generators: lend them a stream, and restore them afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(randomness.make_stream_key(seed, name) & 0x7FFF_FFFF_FFFF_FFFF)
        yield
