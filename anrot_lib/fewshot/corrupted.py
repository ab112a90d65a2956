"""Accuracy under common corruptions: every kind in every severity, on the same episodes."""

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core import randomness
from anrot_lib.data.corruptions import SEVERITIES, STRENGTHS, corrupt
from anrot_lib.data.episodes import EpisodeRows
from anrot_lib.fewshot.evaluation import Change, Evaluator, Progress


def make_corruption_change(kind: str, severity: int, seed: int) -> Change:
    """A corruption (`data.corruptions`); what an image gets depends on the seed and its row number alone."""

    def change(images: Tensor, rows: np.ndarray) -> Tensor:
        corrupted = [
            corrupt(image, kind, severity, randomness.make_generator(seed, f"corruption/{kind}/{severity}/{row}"))
            for image, row in zip(images, rows, strict=True)
        ]
        return torch.stack(corrupted)

    return change


def count_corrupted(
    evaluator: Evaluator,
    rows: EpisodeRows,
    seed: int,
    target: str = "query",
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Kind -> right queries (severities, E) of each episode, with the query, support or both images corrupted."""
    counts = {}
    for kind in STRENGTHS:
        changes = [make_corruption_change(kind, severity, seed) for severity in SEVERITIES]
        counts[kind] = np.stack([evaluator.count_changed(rows, change, target, progress) for change in changes])
    return counts
