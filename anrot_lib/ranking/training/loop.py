"""Training of a ranking model: a plain loop, resumable to the bit on a CPU, with a hook for evaluation.

Every random number of step k comes from streams named after k, and a checkpoint holds weights, optimisers and the
state of the defense, so a run that was killed goes on as if it had not been.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anrot_lib.core import checkpoints, devices, randomness
from anrot_lib.core.configs import list_differences, make_key, to_dict
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.ranking import embedders
from anrot_lib.ranking.data.batches import Sampler
from anrot_lib.ranking.data.sets import RankingSet
from anrot_lib.ranking.embedders import Embedder
from anrot_lib.ranking.recipe import RankingRecipe
from anrot_lib.ranking.training import defenses
from anrot_lib.ranking.training.defenses import Defense
from anrot_lib.ranking.training.destinations import Destination

SAVE_SECONDS = 300
CLASSIFIER_RATE = 1e-3

# progress(steps done, steps in all, numbers to show)
Progress = Callable[[int, int, dict[str, float]], None]
# evaluate(net in eval mode, data) -> numbers, such as {"R@1": 87.6}
Evaluate = Callable[[nn.Module, RankingSet], dict[str, float]]


@dataclass(frozen=True)
class Trained:
    """The net after the last epoch, in eval mode, and what its record stores."""

    net: Embedder
    defense: Defense
    history: list[dict[str, float]]
    steps: int
    seconds: float
    seconds_per_step: float
    start: str  # where the weights came from


def initial(
    recipe: RankingRecipe,
    data: RankingSet,
    weights: Path | str | None = None,
    folder: Path | None = None,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    progress: Progress | None = None,
) -> tuple[Embedder, str]:
    """The net that training begins with, and where its weights come from.

    With `weights` (a file, or "imagenet" to fetch them) all but the last layer. Without, from scratch; and if batch
    norms are to be frozen, the net is first trained as a classifier of the training classes, because frozen statistics
    have to come from somewhere. The classifier is kept in `folder`, for every recipe that begins with the same one.
    UserError if they cannot.
    """
    name = recipe.parsed
    init = randomness.generator(recipe.seed, "ranking/init")
    shape = (name.backbone, name.loss.metric, recipe.embedding, recipe.freeze_bn)
    net = embedders.build(*shape, generator=init, weights=weights).to(device)
    if weights is not None:
        return net, "ImageNet weights" if str(weights) == embedders.DOWNLOAD else f"weights of {Path(weights).name}"
    if not recipe.freeze_bn or not net.batch_norms():
        return net, "scratch"
    if recipe.pretrain_epochs == 0:
        raise UserError(
            f"{recipe.name} freezes its batch norms, which need statistics from somewhere: give --weights, "
            "or at least one epoch by --pretrain-epochs"
        )
    settings = classifier_settings(recipe, data, precision)
    file = None if folder is None else folder / f"classifier-{name.backbone}-{make_key(settings)}.pt"
    pretrain(net, recipe, data, settings, file, torch.device(device), precision, progress)
    epochs = f"{recipe.pretrain_epochs} epoch{'s' if recipe.pretrain_epochs > 1 else ''}"
    return net, f"scratch, then a classifier of the {data.train.classes} training classes for {epochs}"


CLASSIFIER = ("seed", "embedding", "batch", "size", "stored", "flip", "pretrain_epochs")


def classifier_settings(recipe: RankingRecipe, data: RankingSet, precision: str) -> dict[str, Any]:
    """All that the classifier depends on: defenses and losses are not among it."""
    own = {name: getattr(recipe, name) for name in CLASSIFIER}
    return own | {"backbone": recipe.parsed.backbone, "data": data.about, "precision": precision}


def pretrain(
    net: Embedder,
    recipe: RankingRecipe,
    data: RankingSet,
    settings: dict[str, Any],
    checkpoint: Path | None,
    device: torch.device,
    precision: str,
    progress: Progress | None,
) -> None:
    """Cross-entropy of a linear layer on the embeddings over the training classes; live batch norms; changes `net`."""
    generator = randomness.generator(recipe.seed, "ranking/classifier")
    layer = nn.Linear(recipe.embedding, data.train.classes)
    nn.init.normal_(layer.weight, std=recipe.embedding**-0.5, generator=generator)
    nn.init.zeros_(layer.bias)
    model = nn.Sequential(net, layer.to(device))
    sampler = Sampler(data.train.labels, 2 * recipe.batch, "c", recipe.seed)
    total = sampler.steps * recipe.pretrain_epochs
    optimizer = torch.optim.Adam(model.parameters(), lr=CLASSIFIER_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    step, frozen = 0, net.freeze_bn
    if checkpoint is not None and checkpoint.is_file():
        state = checkpoints.load(checkpoint)
        if state.get("settings") == settings:
            model.load_state_dict(state["weights"])
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            step = state["step"]
    net.freeze_bn = False
    model.train()
    while step < total:
        epoch, place = divmod(step, sampler.steps)
        batches = sampler.epoch(epoch)
        for rows in batches[place:]:
            rows = rows.repeat(2) if len(rows) == 1 else rows  # a batch norm needs two
            draw = randomness.generator(recipe.seed, f"ranking/classifier/{step}")
            images = data.train.augmented(rows, draw, recipe.flip, device)
            chance = chance_of(recipe.seed, f"ranking/classifier/chance/{step}", device)
            with chance, devices.autocast(device, precision):
                logits = model(images)
            loss = nn.functional.cross_entropy(logits.float(), data.train.labels[rows].to(device))
            if not torch.isfinite(loss):
                raise NotFinite(f"the loss of the classifier is no longer finite at step {step + 1}")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            if progress is not None:
                progress(step, total, {"loss": loss.item()})
        if checkpoint is not None:
            content = {"settings": settings, "weights": model.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoints.save(checkpoint, content | {"schedule": schedule.state_dict(), "step": step})
    net.freeze_bn = frozen


@contextlib.contextmanager
def chance_of(seed: int, name: str, device: torch.device) -> Iterator[None]:
    """Dropout and stochastic depth draw from the global generators: lend them a stream, and leave them as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(randomness.stream_key(seed, name) & 0x7FFF_FFFF_FFFF_FFFF)
        yield


def train(
    data: RankingSet,
    recipe: RankingRecipe,
    checkpoint: Path | None = None,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    weights: Path | str | None = None,
    destination: Destination | None = None,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 1,
    progress: Progress | None = None,
    steps: int | None = None,
) -> Trained:
    """Train on data.train for recipe.epochs; the last net counts, none is selected. 0 epochs: as training begins.

    checkpoint      written after every epoch and every five minutes; a run of the same settings goes on from it
    precision       of the passes that train, "fp32" or "bf16"; those of the attack follow recipe.attack_precision
    destination     of hardness manipulation, in place of what the recipe says: see `destinations`
    evaluate        asked at the beginning, every `evaluate_every` epochs and after the last; its numbers go into the
                    history
    steps           stop after so many, as if killed (a checkpoint is written)

    Raises NotFinite before a loss that is not finite touches the weights, UserError if the checkpoint belongs to other
    settings or the images do not fit.
    """
    run = Run(data, recipe, torch.device(device), precision, weights, destination)
    if checkpoint is not None and checkpoint.is_file():
        run.restore(checkpoints.load(checkpoint), checkpoint)
    else:
        folder = None if checkpoint is None else checkpoint.parent
        run.begin(*initial(recipe, data, weights, folder, device, precision, _titled(progress, "classifier")))
        if evaluate is not None:
            run.history.append({"epoch": 0, "seconds": 0.0, **evaluate(run.net.eval(), data)})
        if not run.n_steps and checkpoint is not None:
            checkpoints.save(checkpoint, run.state())
    saved, stop = time.monotonic(), math.inf if steps is None else run.step + steps
    while run.step < run.n_steps and run.step < stop:
        loss = run.advance()
        ended = run.step % run.sampler.steps == 0
        if ended:
            epoch = run.step // run.sampler.steps
            asked = evaluate is not None and (epoch % evaluate_every == 0 or epoch == recipe.epochs)
            run.end_epoch(evaluate(run.net.eval(), data) if asked else {})
        if checkpoint is not None and (ended or time.monotonic() - saved > SAVE_SECONDS or run.step >= stop):
            checkpoints.save(checkpoint, run.state())
            saved = time.monotonic()
        if progress is not None:
            progress(run.step, run.n_steps, {"loss": loss, **run.shown()})
    return run.finish()


def _titled(progress: Progress | None, title: str) -> Progress | None:
    """The same bar, its numbers under another name, so that two trainings are told apart."""
    if progress is None:
        return None
    return lambda done, total, numbers: progress(done, total, {f"{title} {k}": v for k, v in numbers.items()})


class Run:
    """One training in progress: everything that a checkpoint has to hold, and how it moves by a step."""

    def __init__(self, data, recipe, device, precision, weights, destination):
        self.data, self.recipe, self.device, self.precision = data, recipe, device, precision
        name = recipe.parsed
        if data.train.size != recipe.size:
            raise UserError(f"{recipe.name} is to see {recipe.size} px, the images are cut to {data.train.size}")
        self.sampler = Sampler(data.train.labels, recipe.batch, name.loss.batch, recipe.seed, recipe.parity)
        self.n_steps = recipe.epochs * self.sampler.steps
        self.defense = defenses.build(recipe, destination).to(device)
        self.settings = {"recipe": to_dict(recipe), "data": data.about, "precision": precision}
        self.settings["weights"] = "" if weights is None else Path(weights).name
        self.step, self.seconds, self.step_seconds = 0, 0.0, 0.0
        self.sums: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self.epoch: tuple[int, tuple[Tensor, ...]] = (-1, ())

    def begin(self, net: Embedder, start: str) -> None:
        self.net, self.start = net, start
        recipe = self.recipe
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
        ]
        if own := list(self.defense.parameters()):  # beta of the margin loss
            self.optimizers.append(torch.optim.SGD(own, lr=recipe.beta_rate))

    def batch(self) -> tuple[Tensor, Tensor]:
        number, place = divmod(self.step, self.sampler.steps)
        if self.epoch[0] != number:
            self.epoch = number, self.sampler.epoch(number)
        rows = self.epoch[1][place]
        draw = randomness.generator(self.recipe.seed, f"ranking/crops/{self.step}")
        images = self.data.train.augmented(rows, draw, self.recipe.flip, self.device)
        return images, self.data.train.labels[rows].to(self.device)

    def advance(self) -> float:
        """One optimisation step; returns its loss. Raises NotFinite before the weights are touched."""
        started, step, seed = time.perf_counter(), self.step, self.recipe.seed

        def draw(name: str) -> torch.Generator:
            return randomness.generator(seed, f"ranking/{name}/{step}")

        images, labels = self.batch()
        self.net.train()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        try:
            with chance_of(seed, f"ranking/chance/{step}", self.device), devices.autocast(self.device, self.precision):
                loss = self.defense(self.net, images, labels, draw)
        except FloatingPointError as error:  # the attack met the NaN first
            raise self.not_finite() from error
        value = loss.item()
        if not math.isfinite(value):
            raise self.not_finite()
        if loss.requires_grad:
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
        self.defense.after()
        self.step += 1
        for key, number in {"loss": value, **self.defense.numbers}.items():
            self.sums[key] = self.sums.get(key, 0.0) + number
        self.step_seconds += time.perf_counter() - started
        self.seconds += time.perf_counter() - started
        return value

    def not_finite(self) -> NotFinite:
        return NotFinite(
            f"the loss is no longer finite at step {self.step + 1} of {self.n_steps}; "
            "the weights of the last epoch are in the checkpoint; try a smaller learning rate"
        )

    def end_epoch(self, numbers: dict[str, float]) -> None:
        means = {key: total / self.sampler.steps for key, total in self.sums.items()}
        epoch = self.step // self.sampler.steps
        self.history.append({"epoch": epoch, "seconds": round(self.seconds, 2), **means, **numbers})
        self.sums = {}

    def shown(self) -> dict[str, float]:
        last = self.history[-1] if self.history else {}
        return {k: v for k, v in last.items() if k == "R@1"} | dict(self.defense.numbers)

    def state(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "embedder": self.net.about(),
            "state": {name: tensor.detach().cpu() for name, tensor in self.net.state_dict().items()},
            "about": self.about(),
            "defense": self.defense.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "step_seconds": self.step_seconds,
            "sums": self.sums,
            "history": self.history,
            "start": self.start,
        }

    def about(self) -> dict[str, Any]:
        """What a checkpoint says of its net, for those that only load it."""
        return {
            "name": self.recipe.name,
            "recipe": to_dict(self.recipe),
            "data": self.data.about,
            "steps": self.step,
            "of": self.n_steps,
            "start": self.start,
        }

    def restore(self, state: dict[str, Any], path: Path) -> None:
        if state.get("settings") != self.settings:
            names = ", ".join(list_differences(state.get("settings") or {}, self.settings))
            raise UserError(
                f"{path} is the checkpoint of another training (different {names}); "
                "give another --tag to keep both, or delete it to start anew"
            )
        net = embedders.build(**state["embedder"], generator=torch.Generator()).to(self.device)
        net.load_state_dict(state["state"])
        self.begin(net, state["start"])
        self.defense.load_state_dict(state["defense"])
        for optimizer, held in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(held)
        self.step, self.seconds, self.step_seconds = state["step"], state["seconds"], state["step_seconds"]
        self.sums, self.history = state["sums"], state["history"]

    def finish(self) -> Trained:
        per_step = self.step_seconds / max(self.step, 1)
        return Trained(self.net.eval(), self.defense, self.history, self.step, self.seconds, per_step, self.start)
