"""Training of a ranking model, with a hook for evaluation; the loop is `core.resumable`.

A checkpoint holds weights, optimisers and the state of the defense, such as that of a gradual adversary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anrot_lib.core import checkpoints, devices, randomness
from anrot_lib.core.configs import check_type, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.resumable import ResumableTraining, StepProgress, run_resumable
from anrot_lib.ranking import embedders
from anrot_lib.ranking.data.batches import Sampler
from anrot_lib.ranking.data.sets import RankingSet
from anrot_lib.ranking.embedders import Embedder
from anrot_lib.ranking.recipe import RankingRecipe
from anrot_lib.ranking.training import defenses
from anrot_lib.ranking.training.defenses import Defense
from anrot_lib.ranking.training.destinations import Destination
from anrot_lib.ranking.training.initial import build_initial_net, seed_global_generators

# evaluate(net in eval mode, data) -> numbers, such as {"R@1": 87.6}
Evaluate = Callable[[Embedder, RankingSet], dict[str, float]]


@dataclass(frozen=True)
class TrainedEmbedder:
    """The net after the last epoch, in eval mode, and what its record stores."""

    net: Embedder
    defense: Defense
    history: list[dict[str, float]]
    steps: int
    seconds: float
    seconds_per_step: float
    start: str  # where the weights came from


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
    progress: StepProgress | None = None,
    steps: int | None = None,
) -> TrainedEmbedder:
    """Train on data.train for recipe.epochs; the last net counts, none is selected. 0 epochs: as training begins.

    checkpoint      written after every epoch and every five minutes; a run of the same settings goes on from it
    precision       of the passes that train, "fp32" or "bf16"; those of the attack follow recipe.attack_precision
    destination     of hardness manipulation, in place of what the recipe says: see `destinations`
    evaluate        asked at the beginning, every `evaluate_every` epochs and after the last; its numbers go into the
                    history
    progress        called as progress(steps done, number of steps, numbers to show)
    steps           stop after so many, as if killed (a checkpoint is written)

    Raises NotFinite before a loss that is not finite touches the weights, UserError if the checkpoint belongs to other
    settings or the images do not fit.
    """
    training = RankingTraining(data, recipe, torch.device(device), precision, weights, destination)
    training.evaluate, training.evaluate_every = evaluate, evaluate_every
    training.folder = None if checkpoint is None else checkpoint.parent
    if progress is not None:  # the classifier's numbers get another name than those of the training
        training.start_progress = lambda done, total, numbers: progress(
            done, total, {f"classifier {k}": v for k, v in numbers.items()}
        )
    run_resumable(training, checkpoint, progress, max_steps=steps)
    return training.finish()


class RankingTraining(ResumableTraining):
    """One training in progress. `net` and `optimizers` are there after `begin` or `load_state_dict`."""

    recipe_type = RankingRecipe
    net: Embedder
    start: str  # where the weights came from

    def __init__(
        self,
        data: RankingSet,
        recipe: RankingRecipe,
        device: torch.device,
        precision: str = "fp32",
        weights: Path | str | None = None,
        destination: Destination | None = None,
    ):
        name = recipe.parsed
        if data.train.size != recipe.size:
            raise UserError(f"{recipe.name} is to see {recipe.size} px, the images are cut to {data.train.size}")
        self.sampler = Sampler(data.train.labels, recipe.batch, name.loss.batch, recipe.seed, recipe.parity)
        settings: dict[str, Any] = {"recipe": to_dict(recipe), "data": data.about, "precision": precision}
        settings["weights"] = "" if weights is None else Path(weights).name
        super().__init__(settings, recipe.epochs * self.sampler.steps)
        self.data, self.recipe, self.device, self.precision, self.weights = data, recipe, device, precision, weights
        self.defense = defenses.build(recipe, destination).to(device)
        self.sums: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self.evaluate: Evaluate | None = None
        self.evaluate_every = 1
        self.folder: Path | None = None  # where the classifier is kept that a net may begin as
        self.start_progress: StepProgress | None = None

    def begin(self) -> None:
        net, start = build_initial_net(
            self.recipe, self.data, self.weights, self.folder, self.device, self.precision, self.start_progress
        )
        self._set_net(net, start)
        if self.evaluate is not None:
            self.history.append({"epoch": 0, "seconds": 0.0, **self.evaluate(net.eval(), self.data)})

    def _set_net(self, net: Embedder, start: str) -> None:
        self.net, self.start, recipe = net, start, self.recipe
        rate, decay = recipe.learning_rate, recipe.weight_decay
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(net.parameters(), lr=rate, weight_decay=decay, fused=True)
        ]
        if parameters := list(self.defense.parameters()):  # beta of the margin loss
            optimizers.append(torch.optim.SGD(parameters, lr=recipe.beta_rate))
        self.optimizers = optimizers

    def load_batch(self) -> tuple[Tensor, Tensor]:
        """Images and labels of the step."""
        rows = self.sampler.select(self.step)
        draw = randomness.make_generator(self.recipe.seed, f"ranking/crops/{self.step}")
        images = self.data.train.augment(rows, draw, self.recipe.flip, self.device)
        return images, self.data.train.labels[rows].to(self.device)

    def compute_loss(self) -> Tensor:
        step, seed = self.step, self.recipe.seed

        def draw(name: str) -> torch.Generator:
            return randomness.make_generator(seed, f"ranking/{name}/{step}")

        images, labels = self.load_batch()
        self.net.train()
        with (
            seed_global_generators(seed, f"ranking/chance/{step}", self.device),
            devices.autocast(self.device, self.precision),
        ):
            loss: Tensor = self.defense(self.net, images, labels, draw)
        return loss

    def finish_update(self, loss: float) -> None:
        self.defense.finish_step()
        for key, number in {"loss": loss, **self.defense.numbers}.items():
            self.sums[key] = self.sums.get(key, 0.0) + number

    def finish_step(self) -> bool:
        epoch, place = divmod(self.step, self.sampler.steps)
        if place:
            return False
        numbers: dict[str, float] = {}
        if self.evaluate is not None and (epoch % self.evaluate_every == 0 or epoch == self.recipe.epochs):
            numbers = self.evaluate(self.net.eval(), self.data)
        means = {key: total / self.sampler.steps for key, total in self.sums.items()}
        self.history.append({"epoch": epoch, "seconds": round(self.seconds, 2), **means, **numbers})
        self.sums = {}
        return True

    def latest_numbers(self) -> dict[str, float]:
        last = self.history[-1] if self.history else {}
        return {k: v for k, v in last.items() if k == "R@1"} | dict(self.defense.numbers)

    def describe_kept(self) -> str:
        return "the weights that were saved last are in the checkpoint"

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

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "embedder": self.net.about(),
            "state": {name: tensor.detach().cpu() for name, tensor in self.net.state_dict().items()},
            "about": self.about(),
            "defense": self.defense.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "sums": self.sums,
            "history": self.history,
            "start": self.start,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        net = embedders.build(**state["embedder"], generator=torch.Generator()).to(self.device)
        checkpoints.load_weights(net, state["state"], "the checkpoint")
        self._set_net(net, state["start"])
        self.defense.load_state_dict(state["defense"])
        for optimizer, content in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(content)
        self.sums = check_type(state["sums"], dict[str, float], "the sums of the epoch")
        self.history = check_type(state["history"], list[dict[str, float]], "the history")

    def finish(self) -> TrainedEmbedder:
        per_step = sum(self.durations) / max(self.step, 1)
        return TrainedEmbedder(
            self.net.eval(), self.defense, self.history, self.step, self.seconds, per_step, self.start
        )
