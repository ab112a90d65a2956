"""As published, bug for bug: how the released code splits and numbers classes, adds noise, augments and counts.

Re-stated from what the released code of ANROT-HELANet computes (commit a7de814, beside arXiv 2509.11220), and for
`split_hela_vfa` that of HELA-VFA. This module is the one place to import all of it from: its distance, its Hesim and
its head stand in `fewshot.heads.published`, its surrogate in `audit.surrogate`, the terms of its autoencoder in
`audit.reconstruction`. Nothing here is a default anywhere. Whether the published numbers came from exactly this code
is unknown.
"""

import math
import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from anrot_lib.audit.reconstruction import (
    effective_beta,
    hellinger_regulariser,
    hellinger_term,
    scale_twice,
    take_rows_of_last_image,
    weigh_loss,
)
from anrot_lib.audit.surrogate import EPS_TEST, PublishedSurrogate, published_step, train_published_surrogate
from anrot_lib.fewshot.heads.published import PublishedHead, hellinger_distance, hesim

__all__ = [
    "EPS_TEST",
    "EVALUATION_TASKS",
    "SURROGATE_HEADS",
    "TEST_SEED",
    "TRAINING_EPISODES",
    "PublishedHead",
    "PublishedSplit",
    "PublishedSurrogate",
    "add_unclipped_noise",
    "augment_always",
    "compute_published_fid",
    "draw_coins",
    "effective_beta",
    "hellinger_distance",
    "hellinger_regulariser",
    "hellinger_term",
    "hesim",
    "number_classes",
    "number_classes_of_attacked",
    "pool_accuracy",
    "published_step",
    "read_labels",
    "scale_twice",
    "split_classes",
    "split_hela_vfa",
    "split_twice",
    "take_rows_of_last_image",
    "train_published_surrogate",
    "weigh_loss",
]

TRAIN_SHARE, VAL_SHARE = 0.64, 0.50  # of all classes; of those that are left
TEST_SEED, HELA_VFA_SEED = 10, 500
LABELS_OF_VAL, LABELS_OF_TEST = 60, 80  # where their labels start; those of training run from 0 to 63
SURROGATE_HEADS = {"train": 60, "val": 36, "test": 18}  # outputs of the three surrogates, written out as numbers
WAY, SHOT, QUERIES, EVALUATION_TASKS, TRAINING_EPISODES = 5, 5, 10, 100, 80_000
NOISE_SIGMA = 0.05


class PublishedSplit(NamedTuple):
    """Class names of a split: of 100 classes 64, 18 and 18. The usual split of mini-ImageNet has 64, 16 and 20."""

    train: list[str]
    val: list[str]
    test: list[str]


def split_classes(names: Sequence[str], rng: random.Random) -> PublishedSplit:
    """One call of the published procedure: shuffle all names, 64 % for training, the rest halved, rounding down."""
    shuffled = rng.sample(list(names), len(names))
    rest = shuffled[math.floor(len(shuffled) * TRAIN_SHARE) :]
    half = math.floor(len(rest) * VAL_SHARE)
    return PublishedSplit(shuffled[: len(shuffled) - len(rest)], rest[:half], rest[half:])


def split_twice(names: Sequence[str], seed: int) -> PublishedSplit:
    """The split that the release trains and tests on: the training classes from one draw, the others from another.

    The draw for training is not seeded there; `seed` stands for the state that it happens to find. The test script
    shuffles all classes again, with seed 10, and takes its test classes from that. So each test class is a training
    class with probability 0.64: 11.52 of 18 in expectation.
    """
    train = split_classes(names, random.Random(seed)).train
    again = split_classes(names, random.Random(TEST_SEED))
    return PublishedSplit(train, again.val, again.test)


def split_hela_vfa(names: Sequence[str], seed: int, runs: int = 1) -> PublishedSplit:
    """The same of HELA-VFA's release, where the seed 500 is set *after* the draw for training, not before it.

    seed  the state that the first draw finds; runs: how often the cell is run. From the second time on the draw finds
    the seed that the run before has set, and the splits agree.
    """
    rng = random.Random(seed)
    for _ in range(runs):
        train = split_classes(names, rng).train
        rng.seed(HELA_VFA_SEED)
    again = split_classes(names, random.Random(HELA_VFA_SEED))
    return PublishedSplit(train, again.val, again.test)


def number_classes(train: int = 64, held_out: int = 36, test: int = 18) -> dict[str, range]:
    """The labels of the clean images: training from 0, held out from 60, test from 80. They overlap."""
    return {
        "train": range(train),
        "val": range(LABELS_OF_VAL, LABELS_OF_VAL + held_out),
        "test": range(LABELS_OF_TEST, LABELS_OF_TEST + test),
    }


def number_classes_of_attacked(train: int = 64, held_out: int = 36, test: int = 18) -> dict[str, range]:
    """The labels of the attacked images of the same classes: they come back from one-hot vectors, so each from 0."""
    return {"train": range(train), "val": range(held_out), "test": range(test)}


def add_unclipped_noise(images: Tensor, noise: Tensor) -> Tensor:
    """The published noise on images in [0, 1]: clip(x + noise, 0, 255), so that only the low side is clipped."""
    return (images + noise).clamp(0, 255)


def draw_coins(n: int, generator: torch.Generator) -> Tensor:
    """Four fair coins (n, 4) for each image, for `augment_always`."""
    return torch.rand((n, 4), generator=generator, device=generator.device) < 0.5


def augment_always(images: Tensor, coins: Tensor) -> Tensor:
    """The augmentation of the release, which its data set applies in training, validation and test alike.

    images (n, C, S, S), coins (n, 4): flip up-down, flip left-right, turn by 90, turn by 270 degrees, in this order,
    where the coin is true. Support and query images pass it too. (The release then normalises with the statistics of
    ImageNet; here normalisation stands in the encoder.)
    """
    x = torch.where(_stretch(coins[:, 0]), images.flip(-2), images)
    x = torch.where(_stretch(coins[:, 1]), x.flip(-1), x)
    x = torch.where(_stretch(coins[:, 2]), x.rot90(1, (-2, -1)), x)
    return torch.where(_stretch(coins[:, 3]), x.rot90(3, (-2, -1)), x)


def _stretch(coins: Tensor) -> Tensor:
    return coins[:, None, None, None]


def read_labels(dataset: Iterable[tuple[Any, Any]]) -> list[Any]:
    """The published way to the labels: every item is made, decoded and augmented, for its label alone."""
    return [item[1] for item in dataset]


def pool_accuracy(correct: Sequence[int], queries: int) -> str:
    """All that the published evaluation leaves of its tasks: a line of print, and no value."""
    return f"{100 * sum(correct) / (len(correct) * queries):.2f}%"


def compute_published_fid(first: np.ndarray, second: np.ndarray) -> float:
    """The published Frechet distance of two arrays of features (N, D), (M, D): d^2 with the real part of the root.

    The formula is the usual one. What goes in is not: see `take_rows_of_last_image` and `scale_twice`.
    """
    mean, cov = zip(*((x.mean(0), np.cov(x, rowvar=False)) for x in (first, second)), strict=True)
    root = np.real(sqrtm(cov[0] @ cov[1]))
    return float(((mean[0] - mean[1]) ** 2).sum() + np.trace(cov[0] + cov[1] - 2 * root))
