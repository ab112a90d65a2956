"""Episodic training on a mixture of clean, adversarial and noisy queries, resumable to the byte on a CPU.

The loss of a step is `episode_loss.compute_episode_loss`; the loop is `core.resumable`.
"""

import logging
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anrot_lib.core import checkpoints, devices, randomness
from anrot_lib.core.configs import check_type, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.groups import name_stream
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.core.resumable import ResumableTraining, StepProgress, copy_weights, run_resumable
from anrot_lib.data import augmentation
from anrot_lib.data.episodes import Episode, EpisodeManifest, EpisodeSampler
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.leakage.seen import describe_origin, set_origin
from anrot_lib.fewshot import nets
from anrot_lib.fewshot.classifier import FewShotNet, change_head, create_net
from anrot_lib.fewshot.episode_loss import build_hesim, compute_cost_limit, compute_episode_loss
from anrot_lib.fewshot.hesim import MetricLoss
from anrot_lib.fewshot.methods import build_head, get_method
from anrot_lib.fewshot.optimization import build_average, build_optimizer, compute_rate_factor, set_rate
from anrot_lib.fewshot.validation import compute_score, describe_chance, describe_overfitting, measure_clean, validate
from anrot_lib.settings import Budget, Protocol, Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedNet:
    """A finished training: the selected net, and what its record stores.

    method  whose head the net has: the recipe's, or that of its `heads` that validation chose.
    heads   validation score in [0, 1] of each head that was tried; {} if none was.
    """

    net: FewShotNet
    method: str
    history: list[dict[str, Any]]
    alarms: list[str]
    best_step: int
    seconds: float
    seconds_per_step: float
    cost: float
    heads: dict[str, float]


def train(
    image_set: ImageSet,
    recipe: Recipe,
    budget: Budget,
    protocol: Protocol,
    checkpoint: Path | None = None,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    progress: StepProgress | None = None,
    encoder_state: dict[str, Tensor] | None = None,
    metric_loss: MetricLoss | None = None,
    pause: Callable[[], bool] | None = None,
    ranks: Ranks = ALONE,
) -> TrainedNet:
    """Train on the "train" classes, select on the "val" classes, and return the selected net in eval mode.

    A net that begins with an encoder of pre-training is validated before its first episode, too, so that episodes
    never end in less than it had.

    checkpoint     where the state is kept; an unfinished training of the same settings continues from there.
    progress       called as progress(steps done, number of steps, numbers to show).
    encoder_state  weights from classical pre-training (`pretraining.pretrain`), if the recipe asks for it.
    metric_loss    None for the method's; else a loss in Hesim's place, weighted by recipe.hesim: a function or loss of
                   pytorch-metric-learning, of (embeddings (B, D), labels (B,)) that returns a scalar. Embeddings of
                   heads with Gaussians are [mean, var]. A checkpoint knows it by its name, without its settings.
    pause          asked after every step; True saves and raises Paused.
    ranks          the processes that share the groups of each step (`Budget.groups`); each calls this.

    Raises NotFinite when the loss is no longer finite (the best net so far stays in the checkpoint), UserError if
    the checkpoint belongs to other settings, the set has too few classes or images, or the loss cannot be used.
    """
    if metric_loss is None:
        metric_loss = get_method(recipe.method).metric_loss
    on = torch.device(device)
    training = FewShotTraining(image_set, recipe, budget, protocol, on, precision, encoder_state, metric_loss)
    training.ranks = ranks
    run_resumable(training, checkpoint, progress, pause)
    return training.finish()


def check_metric_loss(loss: MetricLoss, recipe: Recipe) -> str:
    """The name of a loss that takes Hesim's place; UserError if it would have no effect or would stay untrained."""
    name = getattr(loss, "__qualname__", type(loss).__qualname__)
    if recipe.hesim == 0:
        raise UserError(f"the weight of {name} is the recipe's hesim, which is 0; give a Recipe with hesim above 0")
    if isinstance(loss, nn.Module) and any(p.requires_grad for p in loss.parameters()):
        raise UserError(f"{name} has weights of its own, which training would not move; take a loss without weights")
    return name


class FewShotTraining(ResumableTraining):
    """One training in progress."""

    recipe_type = Recipe

    def __init__(
        self,
        image_set: ImageSet,
        recipe: Recipe,
        budget: Budget,
        protocol: Protocol,
        device: torch.device,
        precision: str,
        encoder_state: dict[str, Tensor] | None = None,
        metric_loss: MetricLoss | None = None,
    ):
        episodes = recipe.episodic * budget.episodes
        n_steps = max(1, int(episodes) // budget.episodes_per_step) if episodes else 0
        settings: dict[str, Any] = {"recipe": to_dict(recipe), "data": image_set.sha256, "split": image_set.split_hash}
        settings |= {"way": protocol.way, "shot": protocol.shot, "query": budget.train_query, "encoder": budget.encoder}
        settings |= {"steps": n_steps, "episodes_per_step": budget.episodes_per_step, "precision": precision}
        settings |= {"validate_every": budget.validate_every}
        if encoder_state is not None:
            settings["pre-trained encoder"] = checkpoints.hash_content(encoder_state)
        self.groups = budget.groups
        settings |= {"groups": budget.groups} if budget.groups > 1 else {}
        if metric_loss is not None:
            settings["metric_loss"] = check_metric_loss(metric_loss, recipe)
        super().__init__(settings, n_steps)
        self.image_set, self.recipe, self.budget = image_set, recipe, budget
        self.device, self.precision = device, precision
        self.sampler = EpisodeSampler(
            image_set.labels,
            protocol.way,
            protocol.shot,
            budget.train_query,
            budget.episodes,
            seed=recipe.seed,
            rows=image_set.rows("train"),
            stream="training",
            class_names=image_set.class_names,
            split="train",
        )
        self.validation = EpisodeManifest.make(
            image_set, "val", protocol.way, protocol.shot, 10, budget.validation_tasks, recipe.seed
        )
        channels = image_set.images.shape[-1]
        init = randomness.make_generator(recipe.seed, "init")
        self.net = create_net(budget.encoder, recipe.method, channels, recipe.attention, init).to(device)
        self.origin = describe_origin(image_set)
        set_origin(self.net.backbone, self.origin)
        self.starts_trained = encoder_state is not None
        if encoder_state is not None:
            self.net.backbone.load_state_dict(encoder_state)
        for name in recipe.heads:
            build_head(name, self.net.backbone.out_channels)  # now, and not after hours of training
        self.metric_loss = build_hesim(recipe, self.net.head) if metric_loss is None else metric_loss
        self.augment = augmentation.build_pipeline(recipe.augment) if recipe.augment else None
        self.optimizer = build_optimizer(recipe, self.net, recipe.learning_rate)
        self.optimizers = (self.optimizer,)
        self.average = build_average(self.net, recipe.averaging)
        self.history: list[dict[str, Any]] = []
        self.alarms: list[str] = []
        self.best: dict[str, Any] = {"score": -1.0, "step": 0, "state": copy_weights(self.net), "chance": None}

    def make_generator(self, name: str) -> torch.Generator:
        return randomness.make_generator(self.recipe.seed, name_stream(name, self.step, self.group, self.groups))

    def draw_episode(self) -> Episode:
        size = self.budget.episodes_per_step // self.groups
        start = self.step * self.budget.episodes_per_step + self.group * size
        episode = self.sampler.draw(size, start=start).to_episode(self.image_set, self.device)
        if self.augment is None:
            return episode
        generator = self.make_generator("augmentation")
        return replace(
            episode, support=self.augment(episode.support, generator), query=self.augment(episode.query, generator)
        )

    def compute_loss(self) -> Tensor:
        factor = compute_rate_factor(self.recipe.schedule, self.step, self.n_steps)
        set_rate(self.optimizers, self.recipe.learning_rate * factor)
        self.net.train()
        with devices.autocast(self.device, self.precision):
            episode = self.draw_episode()
            return compute_episode_loss(self.net, episode, self.recipe, self.metric_loss, self.make_generator)

    def prepare_update(self) -> None:
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        if not torch.isfinite(norm):
            raise self.not_finite()

    def begin(self) -> None:
        if self.starts_trained:
            with self.timed():
                self.select()

    def finish_update(self, loss: float) -> None:
        if self.average is not None:
            self.average.update_parameters(self.net)

    @property
    def tested(self) -> FewShotNet:
        """The net that is validated and returned: that of the averaged weights, once there are any."""
        averaged = self.average is not None and self.step > 0
        return self.average.module if averaged else self.net  # type: ignore[union-attr,return-value]

    def describe_kept(self) -> str:
        best = self.best["step"]
        return f"the best net so far, of step {best}, is in the checkpoint" if best else "no net was selected before"

    def finish_step(self) -> bool:
        if self.step % self.budget.validate_every and self.step != self.n_steps:
            return False
        with self.timed():
            self.select()
        return True

    def select(self) -> None:
        """Validate; keep the weights if they are the best so far; warn when FGSM training fools only itself."""
        net = self.tested.eval()
        try:
            clean = measure_clean(net, self.image_set, self.validation, self.device)
            numbers = validate(net, self.image_set, self.validation, self.recipe, self.device, clean)
        except FloatingPointError as error:
            raise self.not_finite() from error
        point = {"step": self.step, **numbers}
        if level_shares := net.head.shares():
            point["shares"] = level_shares
        self.history.append(point)
        if alarm := describe_overfitting(self.history):
            log.warning(alarm)
            self.alarms.append(alarm)
        score = compute_score(self.recipe, numbers)
        if score > self.best["score"]:
            chance = describe_chance(clean, self.sampler.n_way)
            self.best = {"score": score, "step": self.step, "state": copy_weights(net), "chance": chance}

    def latest_numbers(self) -> dict[str, float]:
        if not self.history:
            return {}
        numbers = {k: v for k, v in self.history[-1].items() if k not in ("step", "shares")}
        return numbers | {f"share of {k}": v for k, v in self.history[-1].get("shares", {}).items()}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "net": nets.describe_architecture(self.net, self.recipe.method),
            "state": self.best["state"],
            "about": {"unfinished": f"selected at step {self.best['step']} of {self.n_steps}"},
            "weights": copy_weights(self.net),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "history": self.history,
            "alarms": self.alarms,
            "best": {key: self.best[key] for key in ("score", "step", "chance")},
            "origin": self.origin.to_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for key in ("state", "weights"):  # the best net's, and those that training goes on from
            checkpoints.load_weights(self.net, state[key], "the checkpoint")
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.history = check_type(state["history"], list[dict[str, Any]], "the history")
        self.alarms = check_type(state["alarms"], list[str], "the alarms")
        check_type(state["best"], dict[str, float | int | str | None], "the best validation")
        required = {key: state["best"][key] for key in ("score", "step")}
        self.best = {"chance": None, **required, **state["best"], "state": state["state"]}  # older ones name no chance

    def finish(self) -> TrainedNet:
        self.net.load_state_dict(self.best["state"])
        n_support = self.sampler.n_way * self.sampler.n_shot
        cost = compute_cost_limit(self.recipe, n_support, self.sampler.n_way * self.sampler.n_query)
        median = statistics.median(self.durations) if self.durations else 0.0  # without validation
        alarms = [*self.alarms, *([self.best["chance"]] if self.best["chance"] else [])]
        net, method, heads = self.choose_head(self.net.eval())
        return TrainedNet(net, method, self.history, alarms, self.best["step"], self.seconds, median, cost, heads)

    def choose_head(self, net: FewShotNet) -> tuple[FewShotNet, str, dict[str, float]]:
        """The net with the head that does best on the validation classes: its own, or one of the recipe's `heads`.

        Returns (net, method of its head, score of each head). Other heads keep the weights that they are drawn with.
        """
        best, method, scores = net, self.recipe.method, {}
        for name in dict.fromkeys((method, *self.recipe.heads)) if self.recipe.heads else ():
            generator = randomness.make_generator(self.recipe.seed, f"head/{name}")
            candidate = net if name == self.recipe.method else change_head(net, name, generator).to(self.device)
            numbers = validate(candidate, self.image_set, self.validation, self.recipe, self.device)
            scores[name] = compute_score(self.recipe, numbers)
            if scores[name] > scores[method]:
                best, method = candidate, name
        return best, method, scores
