"""Exercises of 01: pixels to a batch, the expected leak, copies across splits, what a manifest's hash covers."""

import numpy as np
import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def to_batch(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _pixels():
    rng = np.random.default_rng(0)
    shapes = ((1, 1, 2, 3), (2, 3, 4, 3), (3, 4, 2, 1))
    return [(rng.integers(0, 256, shape, dtype=np.uint8),) for shape in shapes]


def _not_divided(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


def _reshaped(images):
    n, h, w, c = images.shape
    return torch.from_numpy(images).reshape(n, c, h, w).float() / 255


def leaks(digests, splits):
    pairs = []
    for i in range(len(digests)):
        for j in range(i + 1, len(digests)):
            if digests[i] == digests[j] and splits[i] != splits[j]:
                pairs.append((i, j))
    return pairs


def _copies():
    return [
        (["a", "b", "a", "c"], ["train", "train", "test", "test"]),
        (["a", "a", "b", "b"], ["train", "train", "val", "test"]),
        (["a", "b", "b", "a", "b"], ["test", "val", "train", "train", "val"]),
        (["a", "b", "c"], ["train", "val", "test"]),
    ]


def _within_a_split_too(digests, splits):
    n = len(digests)
    return [(i, j) for i in range(n) for j in range(i + 1, n) if digests[i] == digests[j]]


def _neighbours_only(digests, splits):
    n = len(digests)
    return [(i, i + 1) for i in range(n - 1) if digests[i] == digests[i + 1] and splits[i] != splits[i + 1]]


EXERCISES = {
    "1.1": Fill(to_batch, _pixels, (_not_divided, _reshaped)),
    "1.2": Predict(
        12.8,
        tell="Each of the 20 test classes was trained on with probability 64/100, and 20 x 0.64 = 12.8.",
        hint="What is the probability that one given test class is among 64 training classes of 100?",
        wrong=(20, 11.52),
        tolerance=0.05,
    ),
    "1.3": Fill(leaks, _copies, (_within_a_split_too, _neighbours_only)),
    "1.4": Predict(
        "b",
        tell="The hash covers the rows that are drawn and the pixels of the set; computer and versions play no part.",
        hint="Read again what goes into the hash of a manifest, and which numbers are the same on every machine.",
        wrong=("a", "c"),
    ),
}
