"""How long an experiment takes on this machine, from a few steps and passes of it. Nothing is written."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from anrot_lib.attacks import transfer
from anrot_lib.core import randomness
from anrot_lib.core.configs import change
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.experiments import columns, levels
from anrot_lib.experiments.reconstruction_plan import Experiment
from anrot_lib.experiments.setting import Setting, make_manifest
from anrot_lib.fewshot import evaluation, pretraining, training, validation
from anrot_lib.fewshot.classifier import FewShotNet, create_net, fold_net
from anrot_lib.fewshot.episode_loss import FULL, compute_cost_limit
from anrot_lib.reconstruction import extractors
from anrot_lib.reconstruction.training import pick, train
from anrot_lib.settings import Recipe

TRIAL_STEPS, MORE_STEPS, SHORT_STEP = 3, 15, 0.2  # of training: more of them where a step takes few seconds
TRIAL_PASSES = 9
SHARE_OF_ATTACKS = 0.5  # of the passes that attacks take at most: beaten queries leave them


@dataclass(frozen=True)
class RunEstimate:
    """Seconds of the rows of a table: once for all, of training by row, and of testing each, at most.

    total  what all take if testing takes SHARE_OF_ATTACKS of that.
    """

    pretraining: float
    surrogate: float
    training: dict[str, float]
    test: float

    @property
    def total(self) -> float:
        rows = sum(self.training.values()) + SHARE_OF_ATTACKS * self.test * len(self.training)
        return self.pretraining + self.surrogate + rows


def estimate_run(setting: Setting, recipes: Mapping[str, Recipe], tests: bool = True) -> RunEstimate:
    """Seconds that `rows.run_rows` takes. It refuses what the run refuses.

    tests  whether the rows are tested, too.
    """
    budget, protocol = setting.budget, setting.protocol
    if tests:
        make_manifest(setting)
    trial = replace(
        next(iter(recipes.values())),
        clean=1.0,
        adversarial=0.0,
        noisy=0.0,
        trades=0.0,
        two_views=False,
        pretrain=False,
        pretrain_rate=None,
        episodic=1.0,
        heads=(),
    )
    trained = _train_some_steps(setting, trial)
    forward = _time_forward(setting, trained.net)
    n_support, n_query = protocol.way * protocol.shot, protocol.way * budget.train_query
    per_image = trained.seconds_per_step / ((n_support + n_query) * budget.episodes_per_step)
    distinct = {pretraining.reduce_recipe(recipe) for recipe in recipes.values() if recipe.pretrain}
    passes = sum(pretraining.count_passes(recipe) for recipe in distinct) / FULL
    attacks_surrogate = tests and any(column.surrogate for column in columns.select_columns(setting))
    episodes = budget.episodes / budget.episodes_per_step * trained.seconds_per_step
    return RunEstimate(
        pretraining=budget.pretrain_steps * budget.pretrain_batch * per_image * passes,
        surrogate=_estimate_surrogate(setting) if attacks_surrogate else 0.0,
        training={
            row: episodes * recipe.episodic * compute_cost_limit(recipe, n_support, n_query)
            + forward * count_validation_passes(setting, recipe)
            for row, recipe in recipes.items()
        },
        test=forward * count_test_passes(setting) if tests else 0.0,
    )


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


def _estimate_surrogate(setting: Setting) -> float:
    """Seconds that the small CNN of the transfer attack trains, from two batches."""
    image_set, rows = setting.image_set, setting.image_set.rows("train")
    sample = rows[np.linspace(0, len(rows) - 1, 2 * transfer.BATCH).astype(int)]  # from all classes
    seconds = 0.0
    for _ in range(2):  # the first time is slow
        started = time.perf_counter()
        transfer.train_surrogate(
            lambda numbers: image_set.batch(sample[numbers.numpy()]),
            image_set.labels[sample],
            randomness.make_generator(setting.protocol.seed, "surrogate"),
            epochs=1,
            device=setting.device,
            precision=setting.precision,
        )
        seconds = time.perf_counter() - started
    return seconds * setting.budget.surrogate_epochs * len(rows) / len(sample)


def estimate_test(setting: Setting, net: FewShotNet) -> float:
    """Seconds that testing takes at most, from some forward passes of some images."""
    return estimate_passes(setting, net, count_test_passes(setting))


def estimate_passes(setting: Setting, net: FewShotNet, passes: int) -> float:
    """Seconds of so many forward passes of an image."""
    return _time_forward(setting, net) * passes


def count_test_passes(setting: Setting) -> int:
    return sum(columns.count_passes(setting, column) for column in columns.select_columns(setting))


def _time_forward(setting: Setting, net: FewShotNet) -> float:
    """Seconds of a forward pass of one image, the median of some batches of the size that testing takes."""
    rows = setting.image_set.rows(setting.split)[
        : evaluation.count_images_per_pass(setting.budget.size, setting.device)
    ]
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
    """Seconds of the parts of `levels.run` for one seed: training, levels, attacks at most.

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
        "attacks, at most": attack * queries * sum(threat.steps for threat in threats if threat is not None),
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


@dataclass(frozen=True)
class ReconstructionEstimate:
    """Images a second of training and of the extractor, and seconds of training and testing for one model."""

    training_speed: float
    feature_speed: float
    training: float
    test: float


def estimate_reconstruction(experiment: Experiment) -> ReconstructionEstimate:
    """From a few training steps and one batch of the extractor."""
    recipe = experiment.recipes[0]
    for split, count in (("train", recipe.train_images), ("val", recipe.validation_images)):
        pick(experiment.image_set, split, count, recipe.subset_seed)  # it refuses too few images, as the training does
    trial = replace(recipe, train_images=min(recipe.train_images, 4 * recipe.batch), validation_images=2, epochs=1)
    speed = train(
        experiment.image_set, trial, device=experiment.device, precision=experiment.precision
    ).images_per_second
    images = experiment.image_set.batch(experiment.image_set.rows("test")[:64], experiment.device)
    pixels = extractors.quantise(images)
    started = time.perf_counter()
    with torch.no_grad():
        experiment.extractor(pixels)
    rate = len(pixels) / (time.perf_counter() - started)
    return ReconstructionEstimate(
        speed,
        rate,
        recipe.train_images * recipe.epochs / speed,
        experiment.test_images * len(experiment.decodings) / rate,
    )
