"""Experiments on ranking models: few-shot accuracy of an embedder, checkpoints by name, records of trainings."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core import devices, paths
from anrot_lib.core.configs import to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import shorten
from anrot_lib.core.ranks import ALONE, PartStore, Ranks, measure_parts
from anrot_lib.data.episodes import EpisodeRows, EpisodeSampler
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.ranking import gallery, names, retrieval, shards
from anrot_lib.ranking.data.sets import Part, RankingSet
from anrot_lib.ranking.embedders import Embedder
from anrot_lib.ranking.recipe import RankingRecipe
from anrot_lib.ranking.training.loop import TrainedEmbedder
from anrot_lib.records import results
from anrot_lib.records.describe import count_parameters, describe_run, describe_threat
from anrot_lib.records.parts import ColumnRecord, DataRecord
from anrot_lib.records.schema import SCHEMA_VERSION, RankingRecord, RankingTrainingRecord
from anrot_lib.records.settings import RankingRecipeRecord

TASKS_PER_PART = 20


class PartImages:
    """The images of a part by numbers of any shape, as `evaluation` asks for them."""

    def __init__(self, part: Part):
        self.part = part

    def batch(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
        rows = np.asarray(rows)
        images = self.part.batch(rows.reshape(-1), device)
        return images.reshape(*rows.shape, *images.shape[1:])


def draw_episodes(part: Part, way: int, shot: int, tasks: int, queries: int = 5, seed: int = 0) -> EpisodeRows:
    """The episodes of `measure_few_shot_columns`. UserError if the classes do not suffice."""
    labels = part.labels.cpu().numpy()
    enough = np.flatnonzero(np.bincount(labels)[labels] >= shot + queries)  # classes of Stanford products may be small
    return EpisodeSampler(labels, way, shot, queries, tasks, seed=seed, rows=enough, split="test").draw()


def measure_few_shot_columns(
    net: FewShotNet,
    part: Part,
    threat: ThreatModel,
    way: int,
    shot: int,
    tasks: int,
    queries: int = 5,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
    journal: PartStore | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, ColumnRecord]:
    """Few-shot accuracy on test images, clean and under the white-box attack `threat`: columns of a record.

    The same `tasks` episodes of `way` classes for both, `queries` a class. UserError if the classes do not suffice.
    progress is called with the tasks done under attack; finished parts are kept in the journal, and the processes take
    turns at the others.
    """
    rows = draw_episodes(part, way, shot, tasks, queries, seed)
    images: Any = PartImages(part)
    clean = evaluation.count_clean(net, images, rows, device)

    def attack(at: int) -> list[int]:
        counts = evaluation.count_attacked(net, images, rows[at : at + TASKS_PER_PART], threat, seed, device, at)
        if progress is not None:
            progress(min(at + TASKS_PER_PART, tasks))
        return [int(count) for count in counts]

    measures = {f"few-shot/{at}": partial(attack, at) for at in range(0, tasks, TASKS_PER_PART)}
    parts = measure_parts(measures, journal, ranks)
    attacked = np.array([count for name in measures for count in parts[name]])
    return {
        "clean": results.make_column(clean, way * queries, 0.0),
        threat.name: results.make_column(attacked, way * queries, 0.0, threat=describe_threat(threat)),
    }


@dataclass(frozen=True)
class Tested:
    """A checkpoint, opened: the net, what its file says, and the images it is tested on."""

    path: Path
    net: Embedder
    about: dict[str, Any]
    data: RankingSet

    @property
    def name(self) -> names.Name:
        return names.parse(self.about["name"])

    def record_path(self, kind: str, tag: str, reference: bool = False) -> Path:
        """data/runs/ranking/<data>-<size>px/<checkpoint's name>[-tag].<kind>.json"""
        folder = f"{self.data.name}-{self.data.test.size}px"
        stem = self.path.stem + (f"-{tag}" if tag else "")
        return paths.records_dir(reference) / "ranking" / folder / f"{stem}.{kind}.json"


def find_checkpoint(name: str) -> Path:
    """The one checkpoint of a name; UserError if there is none, or more than one to choose from."""
    parsed = names.parse(name)
    _, model, loss = str(parsed).split(":")
    root = paths.checkpoints_dir() / "ranking"
    files = sorted(root.glob(f"{parsed.dataset}-*px/{model}-{loss}-*.pt"))
    if not files:
        raise UserError(f"there is no checkpoint of {name}; train one: anrot retrieve train -C {name}")
    if len(files) > 1:
        raise UserError(f"choose one by --checkpoint: {', '.join(shorten(path) for path in files)}")
    return files[0]


def read_records(name: str | None, files: list[Path] | None = None, dataset: str | None = None) -> list[RankingRecord]:
    """Records of attacks: of some files, or all, of a name or of a data set if given. UserError if there are none."""
    if files:
        return [results.read(file, "ranking") for file in files]
    wanted = str(names.parse(name)) if name else None
    folders = (paths.results_dir(), paths.runs_dir())
    records = [record for folder in folders for record in results.read_all(folder / "ranking", "ranking")]
    records = [r for r in records if wanted in (None, r["name"]) and dataset in (None, r["data"]["name"])]
    if wanted and not records:
        raise UserError(f"there is no record of {name}; make one: anrot retrieve attack -C {name}")
    return records


def evaluate(net: Embedder, data: RankingSet) -> dict[str, float]:
    """R@1, R@2, mAP, mAP@10 and MAP@R in per cent on the test images; queries are the gallery itself."""
    part, device = data.test, next(net.parameters()).device
    return retrieval.retrieve(
        shards.embed(net, partial(part.batch, device=device), part.labels.to(device), net.metric)
    ).summary()


def describe_chance(recall: float, labels: Tensor) -> str | None:
    """A sentence if R@1 in per cent is no more than a ranking drawn at random has; labels (N,) of the gallery."""
    chance = 100 * gallery.compute_chance(labels)
    if recall > chance:
        return None
    return (
        f"the net is not above chance: R@1 {recall:.1f}, where guessing has {chance:.1f}; train longer, or at a "
        "smaller learning rate"
    )


def name_file(recipe: RankingRecipe, data: RankingSet, tag: str) -> str:
    """fashion-28px/rc2f2ghmetsm-ptripletN-eta32, for checkpoint and record."""
    _, model, loss = recipe.name.split(":")
    attacked = "" if model == recipe.parsed.backbone else f"-eta{recipe.eta}"
    parts = [
        f"{model}-{loss}{attacked}",
        *([f"to{recipe.destination}"] if recipe.destination else []),
        f"seed{recipe.seed}",
    ]
    return f"{data.name}-{recipe.size}px/" + "-".join([*parts, *([tag] if tag else [])])


def make_training_record(
    recipe: RankingRecipe, data: RankingSet, trained: TrainedEmbedder, device: torch.device, precision: str
) -> RankingTrainingRecord:
    """The record of a training."""
    return {
        "schema": SCHEMA_VERSION,
        "kind": "ranking-training",
        "row": recipe.title,
        "run": describe_run(devices.describe_device(device)),
        "data": cast(DataRecord, data.about),
        "recipe": cast(RankingRecipeRecord, to_dict(recipe)),
        "parameters": count_parameters(trained.net),
        "training": {
            "steps": trained.steps,
            "seconds": round(trained.seconds, 2),
            "seconds_per_step": round(trained.seconds_per_step, 4),
            "precision": precision,
            "start": trained.start,
            "note": data.note,
            "history": trained.history,
        },
    }
