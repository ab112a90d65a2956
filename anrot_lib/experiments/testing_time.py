"""How long testing takes on this machine: some episodes and images of every column, treated as the test treats them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from anrot_lib.attacks import transfer
from anrot_lib.attacks.episode import attack_episodes
from anrot_lib.core import randomness
from anrot_lib.data.corruptions import SEVERITIES, STRENGTHS
from anrot_lib.data.episodes import EpisodeManifest, EpisodeRows
from anrot_lib.experiments.columns import Column, count_passes, select_columns
from anrot_lib.experiments.setting import Setting
from anrot_lib.experiments.stopwatch import time_work
from anrot_lib.experiments.surrogate import has_surrogate
from anrot_lib.experiments.testing import count_column
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.corrupted import make_corruption_change
from anrot_lib.fewshot.passes import count_images_per_pass

FEWEST, ONE_IN = 2, 50  # episodes of a column that are tried: one in 50, of long columns
TRIAL_IMAGES = 64
TRIAL_STEPS = 2  # of an attack on a net that is not trained yet
SURROGATE = "surrogate"


@dataclass(frozen=True)
class Trial:
    """What the times of a net are taken from. share: see `estimate_columns`."""

    setting: Setting
    evaluator: evaluation.Evaluator
    manifest: EpisodeManifest
    share: float | None

    @property
    def net(self) -> FewShotNet:
        return self.evaluator.net

    def time(self, work: Callable[[], object]) -> float:
        return time_work(work, self.setting.device)


def estimate_columns(
    setting: Setting, net: FewShotNet, manifest: EpisodeManifest, share: float | None = None
) -> dict[str, float]:
    """Seconds of every column, and of what they share, by name. It refuses what the test refuses.

    share  part of the steps of attacks on queries that are taken before a query is beaten, for a net that is still to
           be trained. None: this is the net, and the time that its queries hold out is measured.
    """
    image_set, seed = setting.image_set, setting.protocol.seed
    surrogate = transfer.Surrogate(2, image_set.images.shape[-1], randomness.make_generator(seed, SURROGATE))
    evaluator = evaluation.Evaluator(
        net, image_set, setting.device, lambda: surrogate.eval(), setting.allow_seen, setting.split
    )
    trial = Trial(setting, evaluator, manifest, share)
    chosen = select_columns(setting, manifest.n_tasks)
    seconds = {column.name: _estimate_column(trial, column) for column in chosen}
    if not all(map(_is_white_box, chosen)):
        seconds["clean images"] = _time_images(trial, None) * len(image_set.rows(setting.split))
    if any(column.surrogate for column in chosen) and not has_surrogate(setting):
        seconds[SURROGATE] = estimate_surrogate(setting)
    return seconds


def _is_white_box(column: Column) -> bool:
    return column.threat is not None and not column.surrogate and column.threat.eps > 0


def count_trial_tasks(tasks: int) -> int:
    return min(tasks, max(FEWEST, tasks // ONE_IN))


def _estimate_column(trial: Trial, column: Column) -> float:
    seed = trial.setting.protocol.seed
    rows = trial.manifest.rows[: column.tasks].with_queries(column.query)
    few = rows[: count_trial_tasks(len(rows))]
    if _is_white_box(column) and trial.share is None:
        tried = replace(column, tasks=len(few))
        return trial.time(lambda: count_column(trial.evaluator, trial.manifest, tried, seed)) * len(rows) / len(few)
    if _is_white_box(column):
        return _estimate_attack(trial, column, few) * len(rows)
    scoring = _time_scoring(trial, few) * len(rows)
    distinct = len(np.unique(rows.query))
    if column.surrogate and column.threat is not None:
        change = evaluation.make_transfer_change(trial.evaluator.get_surrogate(), column.threat, seed)
        return _time_images(trial, change) * distinct + scoring
    if column.corrupted:
        changes = [make_corruption_change(kind, SEVERITIES[len(SEVERITIES) // 2], seed) for kind in STRENGTHS]
        images = {"query": distinct, "support": len(np.unique(rows.support))}
        n = images.get(column.corrupted, sum(images.values()))
        each = sum(_time_images(trial, change, TRIAL_IMAGES // 8) for change in changes)
        return len(SEVERITIES) * (n * each + len(STRENGTHS) * scoring)
    if column.sigma is not None:
        return _time_images(trial, evaluation.make_noise_change(column.sigma, seed)) * distinct + scoring
    return scoring


def _estimate_attack(trial: Trial, column: Column, few: EpisodeRows) -> float:
    """Seconds of an episode under an attack, from steps without the early end of beaten queries."""
    setting, threat, share = trial.setting, column.threat, trial.share
    assert threat is not None and share is not None
    if column.suite:
        return share * _time_images(trial, None) * count_passes(setting, column) / column.tasks
    episode = few.to_episode(setting.image_set, setting.device)
    generator = randomness.make_generator(setting.protocol.seed, "trial")
    few_steps = replace(threat, steps=TRIAL_STEPS, restarts=1)
    most = count_images_per_pass(episode.query.shape[-1], setting.device)
    seconds = trial.time(
        lambda: attack_episodes(trial.net, episode, few_steps, generator, keep="last", max_images=most)
    )
    ends_early = threat.target == "query" and not trial.net.head.batch_dependent
    steps = threat.steps * threat.restarts
    return seconds / TRIAL_STEPS / len(few) * (1 + steps * (share if ends_early else 1))


def _time_images(trial: Trial, change: evaluation.Change | None, n: int = TRIAL_IMAGES) -> float:
    """Seconds of describing one image, changed as a column changes it."""
    rows = trial.setting.image_set.rows(trial.setting.split)[:n]
    describe = partial(evaluation.describe, trial.net, trial.setting.image_set, rows, trial.setting.device, change)
    return min(trial.time(describe), trial.time(describe)) / len(rows)


def _time_scoring(trial: Trial, few: EpisodeRows) -> float:
    """Seconds of scoring one episode from the descriptions of its images."""
    used = np.concatenate([few.support.ravel(), few.query.ravel()])
    clean = evaluation.describe(trial.net, trial.setting.image_set, used, trial.setting.device)
    return trial.time(lambda: evaluation.count_correct(trial.net, few, clean, clean)) / len(few)


def estimate_surrogate(setting: Setting) -> float:
    """Seconds that the small CNN of the transfer attack trains, from two batches."""
    image_set, rows = setting.image_set, setting.image_set.rows("train")
    sample = rows[np.linspace(0, len(rows) - 1, 2 * transfer.BATCH).astype(int)]  # from all classes
    seconds = 0.0
    for _ in range(2):  # the first time is slow
        started = time.perf_counter()
        transfer.train_surrogate(
            lambda numbers: image_set.batch(sample[numbers.numpy()]),
            image_set.labels[sample],
            randomness.make_generator(setting.protocol.seed, SURROGATE),
            epochs=1,
            device=setting.device,
            precision=setting.precision,
        )
        seconds = time.perf_counter() - started
    return seconds * setting.budget.surrogate_epochs * len(transfer.split_base(image_set)[0]) / len(sample)
