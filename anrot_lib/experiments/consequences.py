"""What defects of the published evaluation do to the accuracy of a net, on the same episodes: columns of a record.

Beside "clean" and a noise column each stands the published way to the same number, so that the two are compared in
pairs: the augmentation of training on support and query images, noise that is clipped at 255, and, for a net whose
scores depend on the batch, queries that are asked one by one.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anrot_lib.audit import published
from anrot_lib.core import randomness
from anrot_lib.core.configs import to_dict
from anrot_lib.core.errors import Paused
from anrot_lib.core.paths import make_file_stem
from anrot_lib.data.episodes import EpisodeManifest, EpisodeRows
from anrot_lib.experiments.columns import name_noise_column
from anrot_lib.experiments.former import check_former
from anrot_lib.experiments.rows import make_record
from anrot_lib.experiments.setting import Setting
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.descriptions import Descriptions
from anrot_lib.fewshot.evaluation import (
    Change,
    Evaluator,
    count_right,
    make_noise_change,
    make_support_labels,
)
from anrot_lib.records import results
from anrot_lib.records.journal import Journal
from anrot_lib.records.measures import TrainingRecord
from anrot_lib.records.parts import ColumnAbout, ColumnRecord
from anrot_lib.settings import Recipe

TAG = "consequences"
AUGMENTED, ALONE = "clean, training augmentation", "clean, queries one by one"


def name_unclipped(sigma: float) -> str:
    """The name of the column of noise that is clipped at 255."""
    return name_noise_column(sigma).replace(" query", " unclipped query")


def make_published_augmentation(seed: int) -> Change:
    """Flips and turns of the release; those of an image depend on the seed and its row number alone."""

    def change(images: Tensor, rows: np.ndarray) -> Tensor:
        generators = [randomness.make_generator(seed, f"augmentation/{row}") for row in rows]
        coins = torch.cat([published.draw_coins(1, generator) for generator in generators])
        return published.augment_always(images, coins.to(images.device))

    return change


def make_unclipped_noise(sigma: float, seed: int) -> Change:
    """The very noise of `make_noise_change`, clipped to [0, 255] and not to [0, 1]."""

    def change(images: Tensor, rows: np.ndarray) -> Tensor:
        noisy = []
        for image, row in zip(images, rows, strict=True):
            generator = randomness.make_generator(seed, f"noise/{row}")
            noise = torch.randn(image.shape, generator=generator, device=generator.device, dtype=image.dtype)
            noisy.append(published.add_unclipped_noise(image, sigma * noise.to(image.device)))
        return torch.stack(noisy)

    return change


@torch.no_grad()
def count_alone(net: FewShotNet, rows: EpisodeRows, described: Descriptions) -> np.ndarray:
    """Correct queries of each task, every query scored in a batch of its own (and never beside another)."""
    _, way, shot = rows.support.shape
    device = next(net.parameters()).device
    counts = []
    for task in range(len(rows)):
        support = described.select(rows.support[task].reshape(1, -1))
        model = net.head.fit_described(support, make_support_labels(way, shot, 1).to(device))
        queries = rows.query[task].reshape(-1, 1, 1)
        logits = [net.head.score_described(model, described.select(query)).logits for query in queries]
        labels = torch.arange(way, device=device).repeat_interleave(rows.query.shape[2])[None]
        counts.append(count_right(torch.cat(logits, 1), labels))
    return np.concatenate(counts)


def list_questions(
    setting: Setting, net: FewShotNet, manifest: EpisodeManifest, evaluator: Evaluator
) -> dict[str, tuple[EpisodeRows, Callable[[EpisodeRows], np.ndarray]]]:
    """Column name -> its tasks, and what counts correct queries on them."""
    protocol, budget = setting.protocol, setting.budget
    clean = manifest.rows[: budget.clean_tasks].with_queries(budget.clean_query)
    attacked = manifest.rows[: budget.attacked_tasks].with_queries(budget.attacked_query)
    sigma, seed = protocol.sigma, protocol.seed

    def change(by: Change, target: str) -> Callable[[EpisodeRows], np.ndarray]:
        return lambda rows: evaluator.count_changed(rows, by, target)

    questions = {
        "clean": (clean, evaluator.count_clean),
        AUGMENTED: (clean, change(make_published_augmentation(seed), "both")),
        name_noise_column(sigma): (attacked, change(make_noise_change(sigma, seed), "query")),
        name_unclipped(sigma): (attacked, change(make_unclipped_noise(sigma, seed), "query")),
    }
    if net.is_transductive():
        questions[ALONE] = (clean, lambda rows: count_alone(evaluator.net, rows, evaluator.describe_images()))
    return questions


def run_consequences(
    setting: Setting, row: str, recipe: Recipe, net: FewShotNet, trained: TrainingRecord, manifest: EpisodeManifest
) -> Path:
    """Measure all columns of a net and write its record; finished columns outlive a kill, in a journal."""
    path = setting.folder / f"{make_file_stem(row)}.json"
    check_former(path, setting, recipe, trained.get("checkpoint"))
    evaluator = Evaluator(net, setting.image_set, setting.device, allow_seen=setting.allow_seen, split=setting.split)
    settings = {"protocol": to_dict(setting.protocol), "budget": to_dict(setting.budget)}
    belongs_to = {"net": trained.get("checkpoint", ""), "rows": manifest.hash, **settings}
    journal = Journal(setting.work / f"{make_file_stem(row)}-{TAG}.jsonl", belongs_to)
    questions = list_questions(setting, net, manifest, evaluator)
    columns: dict[str, ColumnRecord] = {}
    with setting.progress(f"test {row}", len(questions)) as bar:
        for done, (name, (rows, count)) in enumerate(questions.items()):
            bar(done, {"column": name})
            if name not in journal:
                started = time.perf_counter()
                journal[name] = {"correct": count(rows).tolist(), "seconds": time.perf_counter() - started}
                if setting.pause():
                    raise Paused
            about: ColumnAbout = {"sigma": setting.protocol.sigma} if name.startswith("noise") else {}
            columns[name] = results.make_column(
                np.array(journal[name]["correct"]), rows.query[0].size, journal[name]["seconds"], **about
            )
        bar(len(questions), {})
    results.write(path, make_record(setting, row, recipe, net, manifest, trained, columns))
    journal.remove()
    return path
