"""How long an experiment takes on this machine, from a few steps and passes of it. Nothing is written."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from anrot_lib.core.configs import change
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.image_set import ImageSet
from anrot_lib.experiments import levels
from anrot_lib.experiments.setting import Setting, make_manifest
from anrot_lib.experiments.testing_time import SURROGATE, estimate_columns
from anrot_lib.fewshot import evaluation, training, validation
from anrot_lib.fewshot.classifier import FewShotNet, create_net, fold_net
from anrot_lib.fewshot.first_stage import choose_stage, pretrain_encoder
from anrot_lib.fewshot.passes import count_images_per_pass
from anrot_lib.ranking.training.first_stage import choose_training
from anrot_lib.settings import Budget, Protocol, Recipe

TRIAL_STEPS, MORE_STEPS, SHORT_STEP = 3, 15, 0.2  # of training: more of them where a step takes few seconds
TRIAL_PASSES = 9
# Of the steps of PGD-20 that are taken on queries before they are beaten, counted on nets for CIFAR-FS at 8/255.
SHARE_ROBUST, SHARE_PLAIN = 0.55, 0.15


@dataclass(frozen=True)
class RunEstimate:
    """Seconds of the rows of a table: once for all, and of training and testing by row."""

    pretraining: float
    surrogate: float
    training: dict[str, float]
    testing: dict[str, float]

    @property
    def total(self) -> float:
        return self.pretraining + self.surrogate + sum(self.training.values()) + sum(self.testing.values())


def estimate_run(setting: Setting, recipes: Mapping[str, Recipe], tests: int = 1) -> RunEstimate:
    """Seconds that `rows.run_rows` takes. It refuses what the run refuses.

    tests  in how many settings every row is tested, 0 for none.
    """
    budget = setting.budget
    manifest = make_manifest(setting) if tests else None
    training, testing, surrogate = {}, {}, 0.0
    times: dict[Recipe, tuple[float, dict[str, float]]] = {}
    for row, recipe in recipes.items():
        kind = replace(recipe, seed=0)
        if kind not in times:
            times[kind] = _estimate_row(setting, recipe, manifest)
        training[row], columns = times[kind]
        surrogate = columns.get(SURROGATE, 0.0)
        testing[row] = tests * sum(seconds for name, seconds in columns.items() if name != SURROGATE)
    distinct = {choose_stage(recipe): recipe for recipe in recipes.values() if recipe.pretrain}
    first = sum(
        estimate_pretraining(setting.image_set, recipe, budget, setting.protocol, setting.device, setting.precision)
        for recipe in distinct.values()
    )
    return RunEstimate(first, surrogate, training, testing)


def _estimate_row(setting: Setting, recipe: Recipe, manifest: EpisodeManifest | None) -> tuple[float, dict[str, float]]:
    """Seconds of training, and of each column, from a few steps of the recipe itself."""
    trial = replace(recipe, pretrain=False, pretrain_rate=None, pretrain_as=None, episodic=1.0, heads=())
    trained = _train_some_steps(setting, trial)
    steps = recipe.episodic * setting.budget.episodes / setting.budget.episodes_per_step
    training = steps * trained.seconds_per_step
    training += _time_forward(setting, trained.net) * count_validation_passes(setting, recipe)
    if manifest is None:
        return training, {}
    share = SHARE_ROBUST if recipe.adversarial > 0 else SHARE_PLAIN
    return training, estimate_columns(setting, trained.net, manifest, share)


def estimate_pretraining(
    image_set: ImageSet, recipe: Recipe, budget: Budget, protocol: Protocol, device: torch.device, precision: str
) -> float:
    """Seconds of pre-training, from a few steps."""
    for steps in (TRIAL_STEPS, MORE_STEPS):
        trial = change(budget, pretrain_steps=steps, validate_every=10**9, validation_tasks=2)
        done = pretrain_encoder(
            image_set, recipe, trial, protocol, None, device, precision, kind=choose_training(recipe)
        )
        if done.seconds_per_step > SHORT_STEP:
            break
    return budget.pretrain_steps * done.seconds_per_step


def _train_some_steps(setting: Setting, recipe: Recipe) -> training.TrainedNet:
    """A few steps; of short ones so many that their median leaves out the first, slow ones."""

    def train(steps: int) -> training.TrainedNet:
        episodes = steps * setting.budget.episodes_per_step
        budget = change(setting.budget, episodes=episodes, validate_every=10**9, validation_tasks=2)
        return training.train(
            setting.image_set, recipe, budget, setting.protocol, device=setting.device, precision=setting.precision
        )

    trained = train(TRIAL_STEPS)
    return train(MORE_STEPS) if trained.seconds_per_step < SHORT_STEP else trained


def count_validation_passes(setting: Setting, recipe: Recipe) -> int:
    """Passes of the encoder over an image that the validations of a training take at most."""
    budget, protocol = setting.budget, setting.protocol
    steps = int(budget.episodes * recipe.episodic) // budget.episodes_per_step
    sizes = (protocol.way, protocol.shot, validation.QUERY, budget.validation_tasks, recipe.seed)
    manifest = EpisodeManifest.make(setting.image_set, "val", *sizes)
    validations = max(1, -(-steps // budget.validate_every)) + len(recipe.heads)
    return validations * validation.count_passes(manifest, recipe)


def estimate_passes(setting: Setting, net: FewShotNet, passes: int) -> float:
    """Seconds of so many forward passes of an image."""
    return _time_forward(setting, net) * passes


def _time_forward(setting: Setting, net: FewShotNet) -> float:
    """Seconds of a forward pass of one image, the median of some batches of the size that testing takes."""
    rows = setting.image_set.rows(setting.split)[: count_images_per_pass(setting.budget.size, setting.device)]
    images = setting.image_set.batch(rows, setting.device)
    net = fold_net(net.to(setting.device))
    times = []
    with torch.no_grad():
        net.encode(images)
        for _ in range(TRIAL_PASSES):
            started = time.perf_counter()
            net.encode(images)
            if setting.device.type == "cuda":
                torch.cuda.synchronize(setting.device)
            times.append(time.perf_counter() - started)
    return statistics.median(times) / len(rows)


def estimate_levels(setting: Setting, seed: int, variants: Sequence[str]) -> dict[str, float]:
    """Seconds of the parts of `levels.run` for one seed: training, levels, attacks.

    From two training steps, two episodes of every level, and one attack step on the queries of one episode.
    """
    budget, protocol = setting.budget, setting.protocol
    recipe = levels.make_recipe(seed)
    trained = _train_some_steps(setting, recipe)
    trial = replace(setting, budget=change(budget, validation_tasks=2, clean_tasks=2))
    score, attack = _time_levels(trial, variants)
    queries = budget.attacked_tasks * protocol.way * budget.attacked_query
    threats = [column.threat for column in levels.list_attacks(protocol, budget)]
    return {
        "training": trained.seconds_per_step * budget.episodes / budget.episodes_per_step
        + _time_forward(setting, trained.net) * count_validation_passes(setting, recipe),
        "levels": score * (budget.clean_tasks + budget.validation_tasks),
        "attacks": attack * queries * sum(1 + SHARE_PLAIN * threat.steps for threat in threats if threat is not None),
    }


def _time_levels(setting: Setting, variants: Sequence[str]) -> tuple[float, float]:
    """Seconds of all levels for one episode, and of one attack step for one query, summed over the variants."""
    image_set, protocol = setting.image_set, setting.protocol
    manifest = levels.make_manifests(setting, make_manifest(setting))["test"]
    net = fold_net(create_net(setting.budget.encoder, "dn4", image_set.images.shape[-1]).to(setting.device))
    names = [name for name in levels.LEVELS if any(name in variant.split("+") for variant in variants)]
    started = time.perf_counter()
    scores = dict(levels.measure_levels(setting, net, manifest, names))
    score = (time.perf_counter() - started) / manifest.n_tasks
    labels = levels.make_query_labels(manifest)
    few = manifest.rows[:1].with_queries(2)
    threat = levels.list_attacks(protocol, setting.budget)[-2].threat
    assert threat is not None, "the columns of `list_attacks` are attacks"
    started = time.perf_counter()
    for variant in variants:
        head = levels.fit_head(variant, net.backbone.out_channels, scores, labels)
        fused = FewShotNet(net.backbone, head).eval().to(setting.device)
        evaluation.count_attacked(fused, image_set, few, threat, protocol.seed, setting.device)
    return score, (time.perf_counter() - started) / few.query.size
