"""By which power of its size the work of an evaluation grows: episodes, ways, shots, images, classes.

Everything is held but one number, which runs over a factor of 16: the queries of an episode, too, while its ways do.
Episodes are drawn, and scored from descriptions of images. What an encoder takes is one pass an image.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from anrot_lib.core import randomness
from anrot_lib.data.episodes import EpisodeSampler
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import FewShotNet, create_net
from anrot_lib.fewshot.descriptions import Descriptions
from anrot_lib.records.growth import make_row, write_growth
from anrot_lib.records.parts import GrowthRowRecord

FACTORS = (1, 2, 4, 8, 16)
HELD = {"episodes": 200, "way": 5, "shot": 5, "queries": 75, "classes": 20, "images of a class": 100}
STARTS = {"episodes": 125, "way": 5, "shot": 2, "queries": 75, "classes": 20, "images of a class": 60}  # of what runs
CHANGES = {"way": {"classes": 80, "queries": 240}, "queries": {"images of a class": 300}}  # what is held instead


def measure(repeats: int = 5, method: str = "anrot") -> list[Path]:
    """Time every size, in turn; write data/runs/bench/growth.json.

    Seconds are those of the processor; of each size the least of the repeats counts.
    """
    net = create_net("tiny", method, generator=randomness.make_generator(0, "init")).eval()
    rows: dict[str, GrowthRowRecord] = {}
    for what, start in STARTS.items():
        sizes = [start * factor for factor in FACTORS]
        rows[what] = make_row(what, sizes, _time([prepare_episodes(net, what, size) for size in sizes], repeats))
    sizes = [256 * factor for factor in FACTORS]
    rows["images, encoded"] = make_row("images", sizes, _time([prepare_encoding(net, n) for n in sizes], repeats))
    about = f"episodes of {method} from descriptions of images, and their encoding"
    return [write_growth("growth", about, {"repeats": repeats, "encoder": "tiny"}, rows)]


def prepare_episodes(net: FewShotNet, what: str, size: int) -> Callable[[], object]:
    """Drawing and scoring of episodes, where the number called `what` is `size` and the others are as in `HELD`."""
    asked = {**HELD, **CHANGES.get(what, {}), what: size}
    classes, each = asked["classes"], asked["images of a class"]
    labels = np.repeat(np.arange(classes), each)
    described = evaluation.describe(net, synthetic(20, 4, 32), np.arange(80))
    values = described.select(np.arange(len(labels)) % 80)
    images = Descriptions(np.arange(len(labels)), values)

    def once() -> object:
        sampler = EpisodeSampler(
            labels, asked["way"], asked["shot"], asked["queries"] // asked["way"], asked["episodes"]
        )
        return evaluation.count_correct(net, sampler.draw(), images, images)

    return once


def prepare_encoding(net: FewShotNet, n: int) -> Callable[[], object]:
    """One pass of the encoder over n images, from bytes to descriptions."""
    images = synthetic(20, -(-n // 20), 32)
    return lambda: evaluation.describe(net, images, np.arange(n))


@torch.no_grad()
def _time(works: list[Callable[[], object]], repeats: int) -> list[float]:
    """The least seconds of the processor that each piece of work takes, one of each in turn, after a first round."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(repeats + 1):
        for work, taken in zip(works, seconds, strict=True):
            started = time.process_time()
            work()
            taken.append(time.process_time() - started)
    return [min(taken[1:]) for taken in seconds]
