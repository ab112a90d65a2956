"""Demos of the released multi-level code, of 2021 and of 2022."""

import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from anrot_lib.audit import multilevel
from anrot_lib.audit.defects.registry import Numbers, add_demo
from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import FullGaussian
from anrot_lib.divergences.measures import pairwise
from anrot_lib.fewshot.levels.fusion import Fusion
from anrot_lib.fewshot.levels.matching import group_by_class
from anrot_lib.fewshot.levels.part import part_similarity


@add_demo("M1")
def compare_part_levels() -> Numbers:
    """One channel of two pixels, (3, 4) in the query and (4, 3) in the class."""
    query, support = torch.tensor([3.0, 4.0]).view(1, 1, 1, 1, 2), torch.tensor([4.0, 3.0]).view(1, 1, 1, 1, 2)
    pool = group_by_class(support, torch.zeros(1, 1, dtype=torch.long))
    return {
        "cosine": round(part_similarity(query, pool).item(), 2),
        "as published": round(multilevel.part_similarity(query, pool).item(), 2),
    }


@add_demo("M2")
def compare_kl_levels() -> Numbers:
    right: list[float] = []
    misplaced: list[float] = []
    for seed in range(5):
        queries, classes, labels = multilevel.draw_separated(seed)
        for hits, divergence in (
            (right, pairwise("kl", classes, queries).mT),
            (misplaced, multilevel.kl(queries, classes)),
        ):
            hits.append((divergence[0].argmin(-1) == labels).double().mean().item())
    return {
        "right of 100 by KL": round(100 * float(np.mean(right)), 1),
        "as published": round(100 * float(np.mean(misplaced)), 1),
        "chance": 20,
    }


@add_demo("M3")
def compare_wasserstein_levels() -> Numbers:
    """N(0, 1) against N(1, variance 4)."""
    first, second = (FullGaussian(torch.tensor([[[m]]]), torch.tensor([[[[v]]]])) for m, v in ((0.0, 1.0), (1.0, 4.0)))
    return {
        "squared Wasserstein distance": round(pairwise("wasserstein2", first, second).item(), 2),
        "as published": round(multilevel.wasserstein(first, second).item(), 2),
    }


@add_demo("M4")
def score_other_ways() -> Numbers:
    outcomes = {}
    for way in (5, 3):
        fusion = Fusion(("distribution", "pixel", "part"), mode="slot_bn", way=5).eval()
        level = torch.zeros(1, 4, way)
        try:
            fusion(level, level, level)
            outcomes[f"{way} ways"] = "scores"
        except (UserError, RuntimeError, IndexError) as problem:
            outcomes[f"{way} ways"] = f"{type(problem).__name__}"
    return outcomes


@add_demo("M5")
def measure_memory_of_statistics() -> Numbers:
    """Batch norm over 200 episodes whose mean drifts from 0 to 1: what the running mean remembers."""
    norm = nn.BatchNorm1d(1).train()
    for step in range(200):
        norm(step / 199 + torch.zeros(8, 1))
    assert norm.running_mean is not None
    return {
        "share of the last ten episodes in the statistics, %": round(100 * (1 - 0.9**10), 1),
        "mean of the 200 episodes": 0.5,
        "the running mean": round(norm.running_mean.item(), 2),
    }


@add_demo("M6")
def measure_selection_on_test() -> Numbers:
    """50 epochs of a net that stands still, each tested on 1,000 new episodes with a spread of 10 points."""
    rng = np.random.default_rng(0)
    largest = rng.normal(0, 10 / 1000**0.5, (2000, 50)).max(1)
    return {"points that the best of 50 epochs gains by chance": round(float(largest.mean()), 2)}


class DrawnNumbers(Dataset[float]):
    """Items that are drawn when they are asked for, as the episodes of the release."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, k: int) -> float:
        return random.random()


@add_demo("M7")
def compare_seeded_workers() -> Numbers:
    """`random.seed(7)` before each of two passes, by the main process and by a worker."""
    state = random.getstate()
    equal = {}
    for workers in (0, 1):
        passes = []
        for _ in range(2):
            random.seed(7)
            passes.append([float(x) for x in DataLoader(DrawnNumbers(), num_workers=workers)])
        equal[workers] = "equal" if passes[0] == passes[1] else "different"
    random.setstate(state)
    return {"two passes in the main process": equal[0], "two passes in a worker": equal[1]}


@add_demo("M8")
def count_edges() -> Numbers:
    labels = torch.arange(5 * 1 * 13)
    adjacency = labels[:, None] == labels
    of_classes = (labels // 13)[:, None] == (labels // 13)
    return {
        "parts": len(labels),
        "edges between different parts": int(adjacency.sum()) - len(labels),
        "edges if the labels were those of the classes": int(of_classes.sum()) - len(labels),
    }


@add_demo("M9")
def compare_sharpness() -> Numbers:
    """Squared distances of 640-dimensional averages, which differ by tens."""
    g = torch.Generator().manual_seed(0)
    means = torch.rand(5, 640, generator=g)
    queries = means[torch.arange(75) % 5] + 0.3 * torch.randn(75, 640, generator=g)
    scores = -torch.cdist(queries, means).square()
    return {
        "largest probability in training": round((scores / 64).softmax(1).amax(1).mean().item(), 3),
        "in the test": round(scores.softmax(1).amax(1).mean().item(), 6),
    }


@add_demo("M10")
def draw_from_keys() -> Numbers:
    keys = dict.fromkeys(range(20)).keys()
    try:
        random.Random(0).sample(keys, 5)  # type: ignore[arg-type]  # the defect
        return {"a draw of 5 of 20 keys": "works"}
    except TypeError as problem:
        return {"a draw of 5 of 20 keys": type(problem).__name__}
