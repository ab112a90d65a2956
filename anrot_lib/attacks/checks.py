"""Is a score robust, or does the attack only lack a gradient? Comparisons of attacks on the same queries.

In the sense of Athalye et al. 2018 (arXiv 1802.00420): a stronger attack must not find more than noise, a larger ball
must never help, and a ball as large as the image must leave nothing.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from anrot_lib.core import statistics

TOLERANCE = 2.0  # points of the score, that another attack may find beyond noise
DEAD = 1.0  # per cent of images without a gradient


def check_not_lower(pgd: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Compare scores of the same queries (n,): passed unless the other attack's is lower beyond noise and TOLERANCE."""
    gap = statistics.compare_paired(pgd / 100, other / 100)
    lower = gap.mean + gap.half_width < 0 and gap.mean < -TOLERANCE
    return {
        "passed": bool(not lower),
        "score": round_score(other.mean()),
        "difference": round_score(gap.mean),
        "half_width": round_score(gap.half_width),
        "queries": len(other),
    }


def check_falling(balls: Mapping[float, np.ndarray], eps: float, gone: float) -> dict[str, Any]:
    """Scores (n,) of the same queries, in per cent, by factor of eps, 1 among them: passed if they never rise, and the
    last is at most `gone`, or half of that at eps. Factors beyond the range of pixels are left out.

    A score counts as higher than that of a smaller ball only beyond noise and TOLERANCE.
    """
    order = [f for f in sorted(balls) if f * eps <= 1 + 1e-9]
    gaps = [statistics.compare_paired(balls[a] / 100, balls[b] / 100) for a, b in itertools.pairwise(order)]
    rises = any(gap.mean - gap.half_width > 0 and gap.mean > TOLERANCE for gap in gaps)
    last, start = balls[order[-1]].mean(), balls[1.0].mean()
    return {
        "passed": bool(not rises and last <= max(start / 2, gone)),
        "scores": {f"{min(1.0, f * eps):.4g}": round_score(balls[f].mean()) for f in order},
    }


def round_score(value: float) -> float:
    """A score as records keep it, with four decimals."""
    return round(float(value), 4)
