"""What an experiment works on and with: data, protocol, budget, device, and where its files go."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import Progress
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.core.statistics import count_tasks, interval
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.settings import Budget, Protocol

FROM = "from-"  # the tag of records of nets that were trained on another set; its name follows


@dataclass(frozen=True)
class Setting:
    """Everything a row needs beside its recipe."""

    image_set: ImageSet
    protocol: Protocol
    budget: Budget
    device: torch.device
    precision: str
    progress: Progress
    folder: Path  # records go here
    columns: tuple[str, ...] | None = None  # None: all
    allow_seen: bool = False  # test a net on what it was trained on, and mark the record
    pause: Callable[[], bool] = lambda: False  # asked often; once True, `Paused` is raised after saving
    suites: tuple[str, ...] = ()  # of strong attacks that are asked for beside the usual columns
    targets: tuple[str, ...] = ("query",)  # what they change
    stores: bool = False  # whether the adversarial queries of the strongest attack are written to a file
    corrupted: tuple[str, ...] = ()  # which images get common corruptions: query, support, both
    split: str = "test"  # whose classes are tested: "val" for a study that chooses among recipes
    ranks: Ranks = ALONE  # the processes that share trainings and tests

    def asks(self, column: str) -> bool:
        """Whether a column is to be tested: its name, or the first words of it, are asked for; any for None."""
        return self.columns is None or any(f"{column} ".startswith(f"{words} ") for words in self.columns)

    @property
    def work(self) -> Path:
        """Where checkpoints and journals of this setting live, apart from those of any other."""
        return paths.checkpoints_dir() / self.folder.name


def choose_folder(
    image_set: ImageSet, protocol: Protocol, budget: Budget, tag: str = "", reference: bool = False
) -> Path:
    """data/runs/<set>-<size>px-<way>way-<shot>shot-<preset>[-tag]; below data/results for a reference."""
    size = image_set.images.shape[1]
    name = f"{image_set.name}-{size}px-{protocol.way}way-{protocol.shot}shot-{budget.preset}"
    return paths.records_dir(reference) / (f"{name}-{tag}" if tag else name)


def make_manifest(setting: Setting, tasks: int | None = None) -> EpisodeManifest:
    """The episodes that a setting tests on. Its first tasks are the same whatever their number."""
    protocol, budget = setting.protocol, setting.budget
    n = max(tasks or budget.clean_tasks, budget.attacked_tasks)
    return EpisodeManifest.make(
        setting.image_set, setting.split, protocol.way, protocol.shot, budget.clean_query, n, protocol.seed
    )


def check_half_width(half_width: float) -> None:
    if not half_width >= 0.01:
        raise UserError(f"a half-width is at least 0.01 points, got {half_width:g}")
    if half_width > 50:
        raise UserError(f"a half-width is at most 50 points, got {half_width:g}")


def plan_tasks(setting: Setting, net: FewShotNet, half_width: float) -> int:
    """Number of clean episodes for a 95 % interval of +/- half_width points, from a pilot of 200."""
    check_half_width(half_width)
    rows = make_manifest(setting, 200).rows
    counts = evaluation.count_clean(net, setting.image_set, rows, setting.device)
    return max(200, count_tasks(interval(counts / (rows.query[0].size)).sd, half_width))
