"""The arithmetic of `audit.recompute`: means, intervals and differences from counts, a second time, in plain Python.

It does not rest on `core.statistics`, which wrote the records. Only what draws at random is shared, the bootstrap and
the episodes: the stream is part of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from scipy.special import betainc, stdtrit

from anrot_lib.core.statistics import bootstrap_means, measure_image_variance
from anrot_lib.records.answers import draw_layout, unpack_answers
from anrot_lib.records.parts import ManifestRecord

ROUNDING = 0.51e-4  # records keep four decimals


@dataclass(frozen=True)
class Deviation:
    """A number that is not the one that its counts give."""

    where: str
    what: str
    stored: str
    computed: str


@dataclass
class Recomputation:
    """How much was computed again, by kind, and what differs.

    taken: printed numbers, by the kind of their table, that the record holds and nothing in it could give again, such
    as a Frechet distance. They are compared with the record.
    """

    counts: dict[str, int] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    deviations: list[Deviation] = field(default_factory=list)

    def compare(self, where: str, what: str, stored: float, computed: float, tolerance: float = ROUNDING) -> None:
        """Count a number, and keep it if it deviates."""
        kind = what.partition(" of ")[0]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if not abs(stored - computed) <= tolerance:
            self.deviations.append(Deviation(where, what, f"{stored:.4f}", f"{computed:.4f}"))

    def compare_exactly(self, where: str, what: str, stored: object, computed: object) -> None:
        """The same of a count, or of a verdict."""
        kind = what.partition(" of ")[0]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if stored != computed:
            self.deviations.append(Deviation(where, what, str(stored), str(computed)))

    def compare_text(self, where: str, what: str, stored: str, computed: str, taken: str = "") -> None:
        """The same of a printed number; `taken` names the kind of its table if it stands in the record as it is."""
        count, kind = (self.taken, taken) if taken else (self.counts, "printed number")
        count[kind] = count.get(kind, 0) + 1
        if stored.strip() != computed:
            self.deviations.append(Deviation(where, what, stored.strip(), computed))


def compute_mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of the 95 % t-interval of numbers: t sd / sqrt(n), sd with n - 1. Pure Python sums."""
    n = len(values)
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, float(stdtrit(n - 1, 0.975)) * math.sqrt(variance / n)


def compute_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[float, float]:
    """second - first of two columns over the episodes that both have, paired, in points, with its half-width."""
    pairs = zip(first["correct"], second["correct"], strict=False)  # the first tasks of a manifest are the same
    return compute_mean([100 * (b / second["queries"] - a / first["queries"]) for a, b in pairs])


def compute_p(differences: Sequence[float]) -> float:
    """Two-sided p of a mean of 0, from n paired differences: I_x((n - 1) / 2, 1/2) at x = (n - 1) / (n - 1 + t^2), the
    regularised incomplete beta function. 1 where all of them are 0."""
    n = len(differences)
    mean = math.fsum(differences) / n
    square = math.fsum((d - mean) ** 2 for d in differences) / (n - 1) / n
    if square < 1e-24:
        return 1.0 if abs(mean) < 1e-12 else 0.0
    return float(betainc((n - 1) / 2, 0.5, (n - 1) / (n - 1 + mean**2 / square)))


def adjust_p(values: Sequence[float]) -> list[float]:
    """p values of comparisons made together, after Holm: each is the largest of (m - k) p_k over those not above it."""
    ranked = sorted(values)
    raised = [min(1.0, (len(ranked) - k) * p) for k, p in enumerate(ranked)]
    return [max(r for r, other in zip(raised, ranked, strict=True) if other <= p) for p in values]


def compute_slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """(slope, height at 0) of the line of least squares."""
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    slope /= math.fsum((a - mean_x) ** 2 for a in x)
    return slope, mean_y - slope * mean_x


def recompute_column(
    name: str, column: Mapping[str, Any], where: str, again: Recomputation, manifest: Mapping[str, Any] | None = None
) -> None:
    """Mean, t-interval and bootstrap interval of a column; its open interval, too, if it holds one."""
    values = [100 * count / column["queries"] for count in column["correct"]]
    mean, half = compute_mean(values)
    again.compare(where, f"mean of {name}", column["mean"], mean)
    again.compare(where, f"half-width of {name}", column["half_width"], half)
    for stored, computed in zip(column["bootstrap"], compute_bootstrap(values), strict=True):
        again.compare(where, f"bootstrap limit of {name}", stored, computed)
    if "open_half_width" in column and manifest is not None:
        computed = compute_open(column, manifest)
        again.compare(where, f"open half-width of {name}", column["open_half_width"], computed)
    for kind, by_severity in column.get("kinds", {}).items():
        if not all(0 <= value <= 100 for value in by_severity):
            again.deviations.append(Deviation(where, f"{kind} of {name}", str(by_severity), "0 to 100"))


def compute_bootstrap(values: Sequence[float]) -> list[float]:
    """The 95 % percentile interval of resampled episodes, of the stream with seed 0."""
    limits: list[float] = np.percentile(bootstrap_means(np.array(values), 0), [2.5, 97.5]).tolist()
    return limits


def compute_open(column: Mapping[str, Any], manifest: Mapping[str, Any]) -> float:
    """Half-width of the 95 % interval over other classes and query images, from the answers of a column.

    The episodes are drawn again from the numbers of images of the classes. What a class adds to the accuracy of its
    episodes is fitted by least squares; only the draws of halves of the images are shared with what wrote the record.
    """
    n, way = len(column["correct"]), manifest["n_way"]
    rows = draw_layout(manifest["layout"], cast(ManifestRecord, manifest))[:n].with_queries(column["queries"] // way)
    right = unpack_answers(column["answers"], n, column["queries"])
    names, places = np.unique(rows.classes, return_inverse=True)
    accuracies, classes = 100 * right.mean(1), len(names)
    shares = np.zeros((n, classes))
    for share, members in zip(shares, places.reshape(n, way), strict=True):
        share[members] = 1 / way
    effects, residual, _, _ = np.linalg.lstsq(shares, accuracies, rcond=None)
    covariance = float(residual[0]) / (n - classes) * np.linalg.pinv(shares.T @ shares)
    centred = np.eye(classes) - 1 / classes  # of their spread, the part that is no chance of episodes
    spread = float(effects @ centred @ effects - np.trace(centred @ covariance)) / (classes - 1)
    of_class = np.repeat(rows.classes, rows.query.shape[2], axis=1)
    images = measure_image_variance(right, rows.query.reshape(right.shape), of_class)
    square = max(spread, 0.0) / classes + float(covariance.mean()) + images
    return float(stdtrit(classes - 1, 0.975)) * math.sqrt(square)
