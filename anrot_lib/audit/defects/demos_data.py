"""Demos of what the release does with classes, labels and images before a net sees them."""

import inspect
import math
import random
import time
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from anrot_lib.audit import published
from anrot_lib.audit.defects.registry import Numbers, add_demo
from anrot_lib.data.episodes import EpisodeSampler
from anrot_lib.data.noise import compute_censored_moments
from anrot_lib.data.splits import load_standard

NAMES = [f"class{k}" for k in range(100)]
SEEDS = 2000


def count_leaked(split: published.PublishedSplit) -> int:
    return len({*split.train} & {*split.test})


@add_demo("D1")
def count_leaked_classes() -> Numbers:
    leaked = [count_leaked(published.split_twice(NAMES, seed)) for seed in range(SEEDS)]
    return {
        "test classes": 18,
        "of them trained on, mean of 2,000 seeds": round(float(np.mean(leaked)), 2),
        "expected, 18 x 0.64": 18 * 0.64,
        "in 95 of 100 draws": f"{np.percentile(leaked, 2.5):.0f} to {np.percentile(leaked, 97.5):.0f}",
    }


@add_demo("D2")
def count_leaked_by_runs() -> Numbers:
    once, twice = (
        [count_leaked(published.split_hela_vfa(NAMES, seed, runs)) for seed in range(SEEDS)] for runs in (1, 2)
    )
    return {
        "leaked test classes of 18, cell run once": round(float(np.mean(once)), 2),
        "cell run twice": round(float(np.mean(twice)), 2),
    }


@add_demo("D3")
def compare_test_classes() -> Numbers:
    """The names are those of the benchmark, in the order in which the release lists its folders."""
    standard = load_standard("mini-imagenet")
    names = sorted(name for members in standard.values() for name in members)
    drawn = published.split_classes(names, random.Random(published.TEST_SEED))
    return {
        "test classes": len(drawn.test),
        "of the benchmark": len(standard["test"]),
        "in both": len({*drawn.test} & {*standard["test"]}),
    }


@add_demo("D4")
def read_list_of_sets() -> Numbers:
    sets = [TensorDataset(torch.zeros(50, 3), torch.zeros(50)) for _ in range(3)]
    loader: DataLoader[Any] = DataLoader(sets, batch_size=16)  # type: ignore[arg-type]  # the defect
    try:
        next(iter(loader))
        error = "none"
    except TypeError as problem:
        error = type(problem).__name__
    return {"images": 150, "batches": len(loader), "error of the first": error}


@add_demo("D9")
def measure_noise() -> Numbers:
    g = torch.Generator().manual_seed(0)
    images = torch.rand(10**6, generator=g, dtype=torch.float64)
    noisy = published.add_unclipped_noise(images, 0.3 * torch.randn(10**6, generator=g, dtype=torch.float64))
    right = compute_censored_moments(torch.linspace(0, 1, 1001, dtype=torch.float64), 0.3)[0].mean().item() - 0.5
    return {
        "sigma": 0.3,
        "pixels above 1, %": round(100 * (noisy > 1).double().mean().item(), 1),
        "mean rises by": round((noisy - images).mean().item(), 4),
        "clipped on both sides it rises by": round(abs(right), 4),
    }


@add_demo("D10")
def measure_test_augmentation() -> Numbers:
    g = torch.Generator().manual_seed(0)
    images = torch.rand(2000, 1, 8, 8, generator=g)
    changed = (published.augment_always(images, published.draw_coins(2000, g)) != images).flatten(1).any(1)
    return {"test images that are flipped or turned, %": round(100 * changed.double().mean().item(), 1)}


class CountedImages(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Images that are made when they are asked for, as those of the release; it counts how many were."""

    def __init__(self, n: int):
        self.labels, self.made = [k // 600 for k in range(n)], 0
        self.image = torch.rand(3, 84, 84)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, k: int) -> tuple[torch.Tensor, int]:
        self.made += 1
        coins = torch.tensor([[True, True, True, False]])
        return published.augment_always(self.image[None], coins)[0], self.labels[k]


@add_demo("D11")
def count_images_made() -> Numbers:
    """A set of 1,200 images, read for its labels as in the release; and the same labels as an array."""
    images = CountedImages(1200)
    started = time.perf_counter()
    labels = published.read_labels(images[k] for k in range(len(images)))
    seconds = time.perf_counter() - started
    EpisodeSampler(np.array([k // 30 for k in range(1200)]), 5, 5, 15, 1).draw()
    return {
        "images made for their labels": images.made,
        "labels": len(labels),
        "images made by our sampler": 0,
        "seconds for the 38,400 of training, at this rate": round(38_400 * seconds / images.made, 1),
    }


@add_demo("D20")
def count_outputs() -> Numbers:
    fits = [n for n in range(1, 1001) if (math.floor(n * 0.64), n - math.floor(n * 0.64)) == (60, 36)]
    net = torch.nn.Linear(4, published.SURROGATE_HEADS["train"])
    targets = torch.eye(64)[:2]
    try:
        torch.nn.functional.cross_entropy(net(torch.zeros(2, 4)), targets)
        error = "none"
    except (RuntimeError, ValueError) as problem:
        error = type(problem).__name__
    return {
        "outputs": published.SURROGATE_HEADS["train"],
        "columns of the labels": 64,
        "error of the loss": error,
        "numbers of classes that fit 60 and 36": len(fits),
    }


@add_demo("D21")
def count_labels() -> Numbers:
    clean, attacked = published.number_classes(), published.number_classes_of_attacked()
    return {
        "held-out classes": len(clean["val"]),
        "labels of them, clean and attacked together": len({*clean["val"], *attacked["val"]}),
        "labels that training and held-out classes share": len({*clean["train"]} & {*clean["val"]}),
    }


@add_demo("D22")
def count_lost_functions() -> Numbers:
    names = [name for name, value in inspect.getmembers(torch.nn.functional, callable) if not name.startswith("_")]
    return {
        "functions of torch.nn.functional": len(names),
        "of them not in torch, which takes the name F": sum(not hasattr(torch, name) for name in names),
    }
