"""Calibration: does a net that says 70 % answer right in 70 of 100 cases?"""

from collections.abc import Iterable

import numpy as np
from torch import Tensor

BINS = 15


def measure_calibration_error(confidences: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error, sum_b n_b / n |right_b - confidence_b|, in [0, 1] (Guo et al. 2017).

    confidences  (n,) the largest softmax probability of each query, in [0, 1].
    right        (n,) whether that class is the query's.

    Bins are of equal width: bin b of B holds the confidences in (b / B, (b + 1) / B]. Source: arXiv 1706.04599.
    """
    place = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right.astype(np.float64) - confidences, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidences))


def measure_calibration(scored: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The error over all queries of some blocks of tasks: (logits (E, n, way), labels (n,)) each."""
    confidences, right = [], []
    for logits, labels in scored:
        confidence, named = logits.softmax(-1).max(-1)
        confidences.append(confidence.flatten().cpu().numpy())
        right.append((named == labels).flatten().cpu().numpy())
    return measure_calibration_error(np.concatenate(confidences), np.concatenate(right))
