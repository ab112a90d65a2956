"""Means over episodes with 95 % intervals, paired differences, curves. In per cent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, stdtr, stdtrit

from anrot_lib.core import randomness

BOOTSTRAP_SAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean over n episodes, in per cent: half-width of the 95 % t-interval, and the 95 % bootstrap interval."""

    mean: float
    half_width: float
    bootstrap_low: float
    bootstrap_high: float
    sd: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.1f} +/- {self.half_width:.1f}"


def compute_t_quantile(n: int, level: float = 0.975) -> float:
    """Quantile of Student's t with n - 1 degrees of freedom."""
    return float(stdtrit(n - 1, level))


def interval(values: np.ndarray, seed: int = 0, bootstrap: bool = True) -> Interval:
    """Mean and 95 % intervals of per-episode accuracies in [0, 1], reported in per cent.

    The t-interval takes episodes as independent draws; the bootstrap resamples episodes (percentile method), and is
    nan if it is not asked for: it costs a hundred times as much.
    With one episode both intervals are unbounded and reported as nan.
    """
    values = 100 * np.asarray(values, dtype=np.float64)
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()), float("nan"), float("nan"), float("nan"), float("nan"), n)
    sd = values.std(ddof=1)
    half = compute_t_quantile(n) * sd / n**0.5
    low, high = np.percentile(bootstrap_means(values, seed), [2.5, 97.5]) if bootstrap else (np.nan, np.nan)
    return Interval(
        mean=float(values.mean()),
        half_width=float(half),
        bootstrap_low=float(low),
        bootstrap_high=float(high),
        sd=float(sd),
        n=n,
    )


def compute_share_half_width(per_cent: float, n: int) -> float:
    """Half-width of the 95 % interval of a share of n hits or misses, both in per cent, by the normal law."""
    return 1.96 * math.sqrt(per_cent * (100 - per_cent) / n)


def describe_bound(hits: int, n: int) -> str | None:
    """ "< 0.3" for 0 hits of n = 1,000, "> 99.7" for n of n, in per cent; None in between, where there is an interval.

    The exact one-sided 95 % limit: 0 of n have a probability of at least 5 % only for shares up to 1 - 0.05^(1/n)
    (Clopper and Pearson 1934), about 300 / n per cent. Rounded outwards.
    """
    if n < 1 or 0 < hits < n:
        return None
    limit = 100 * (1 - 0.05 ** (1 / n))
    decimals = 1 if limit >= 0.1 else 1 - math.floor(math.log10(limit))
    limit = math.ceil(limit * 10**decimals) / 10**decimals
    return f"< {limit:.{decimals}f}" if hits == 0 else f"> {100 - limit:.{decimals}f}"


def compute_lower_bound(hits: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """Exact one-sided lower limits of shares, from `hits` (any shape) of n draws each (Clopper and Pearson 1934).

    The p at which n draws have that many hits or more with probability alpha: the alpha quantile of
    Beta(hits, n - hits + 1), and 0 for no hit. A true share is below its limit with probability at most alpha.
    """
    hits = np.asarray(hits)
    limits: np.ndarray = np.where(hits > 0, betaincinv(np.maximum(hits, 1), n - hits + 1, alpha), 0.0)
    return limits


def bootstrap_means(values: np.ndarray, seed: int) -> np.ndarray:
    """Means of BOOTSTRAP_SAMPLES resamples. Values that repeat are drawn by multinomial counts: fast and exact."""
    distinct, counts = np.unique(values, return_counts=True)
    rng = np.random.Generator(randomness.make_philox(seed, "bootstrap"))
    draws = rng.multinomial(len(values), counts / len(values), size=BOOTSTRAP_SAMPLES)
    means: np.ndarray = draws @ distinct / len(values)
    return means


def compare_paired(first: np.ndarray, second: np.ndarray, seed: int = 0, bootstrap: bool = True) -> Interval:
    """Interval of second - first on the same episodes, in points. ValueError for arrays of different length."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired differences need the same episodes, got {first.shape} and {second.shape}")
    return interval(second - first, seed, bootstrap)


def compute_paired_p(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p of the paired t-test that second and first have the same mean; 1 where they are equal throughout."""
    difference = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    n, spread = len(difference), difference.std(ddof=1)
    if spread == 0:
        return 1.0 if difference[0] == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(difference.mean()) * n**0.5 / spread))


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """p values of m comparisons made together, adjusted by Holm's step-down procedure (1979), in their order.

    Those at most 0.05 may all be called differences: the chance that one of them is none is at most 5 %, however the
    comparisons depend on each other.
    """
    order = np.argsort(p_values, kind="stable")
    m = len(order)
    raised = [min(1.0, (m - rank) * p_values[k]) for rank, k in enumerate(order)]
    adjusted = np.empty(m)
    adjusted[order] = np.maximum.accumulate(raised) if m else raised
    return adjusted.tolist()


def count_tasks(sd: float, half_width: float) -> int:
    """Episodes needed so that 1.96 sd / sqrt(n) <= half_width; both in points."""
    return math.ceil((1.96 * sd / half_width) ** 2)


def measure_area_under(x: np.ndarray, y: np.ndarray) -> float:
    """Mean height of a curve over its range: trapezoids divided by the width. Same unit as y."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def find_halving_point(x: np.ndarray, y: np.ndarray) -> float | None:
    """The first x, by linear interpolation, where y falls to half of y[0]; None if it never does."""
    half = y[0] / 2
    for k in range(1, len(x)):
        if y[k] <= half:
            if y[k] == y[k - 1]:
                return float(x[k])
            return float(x[k - 1] + (y[k - 1] - half) / (y[k - 1] - y[k]) * (x[k] - x[k - 1]))
    return None


@dataclass(frozen=True)
class OpenInterval:
    """A mean accuracy as that of *other* classes, in per cent: 95 % half-width, and the spread of single classes."""

    mean: float
    half_width: float
    class_sd: float
    classes: int


IMAGE_DRAWS = 1000


def measure_image_variance(right: np.ndarray, images: np.ndarray, classes: np.ndarray, seed: int = 0) -> float:
    """Squared standard error of a mean accuracy in points, if the query images are draws: a bootstrap of halves.

    right, images, classes (E, n): whether a query is right, the number of its image, that of its class. In each of
    `IMAGE_DRAWS` draws half of the images of every class are drawn *without* replacement, and the queries of the others
    are left out. A half of N has the variance s^2 / N around the mean of all, which is that of N draws from a
    population: so the variance over the draws is what is asked for. It holds the chance of single answers, too.
    """
    flat, hits = images.ravel(), right.ravel()
    names, places = np.unique(flat, return_inverse=True)
    asked, sums = np.bincount(places), np.bincount(places, weights=hits)
    of_class = np.empty(len(names), dtype=np.int64)
    of_class[places] = classes.ravel()
    rng = np.random.Generator(randomness.make_philox(seed, "open interval"))
    total, weight = np.zeros(IMAGE_DRAWS), np.zeros(IMAGE_DRAWS)
    for name in np.unique(of_class):
        members = np.flatnonzero(of_class == name)
        half = np.argsort(rng.random((IMAGE_DRAWS, len(members))), axis=1)[:, : -(-len(members) // 2)]
        total += sums[members][half].sum(1)
        weight += asked[members][half].sum(1)
    return float(np.var(100 * total / weight))


def measure_open_interval(accuracies: np.ndarray, classes: np.ndarray, image_variance: float = 0.0) -> OpenInterval:
    """The interval of a mean if the test classes are draws too, from per-episode accuracies (E,) and classes (E, way).

    y_e = mean over the episode's classes of b_c + rest: least squares gives the accuracy b_c of each of the K classes
    and their covariance C. The variance of b between classes, without that of its estimates, is

        s^2 = var(b) - (tr C - sum C / K) / (K - 1), at least 0

    and the squared standard error of the mean over classes is s^2 / K + sum C / K^2; t has K - 1 degrees of freedom.
    A closed interval over episodes has the second part alone: it is about these classes. The images of a class are
    held fixed in both, unless `image_variance`, see `measure_image_variance`, is added to the square. ValueError for
    fewer than 3 classes, or too few episodes to tell them apart.
    """
    y, numbers = 100 * np.asarray(accuracies, dtype=np.float64), np.asarray(classes)
    names, places = np.unique(numbers, return_inverse=True)
    k, (n, way) = len(names), numbers.shape
    design = np.zeros((n, k))
    np.add.at(design, (np.arange(n)[:, None], places.reshape(n, way)), 1 / way)
    if k < 3 or n <= k or np.linalg.matrix_rank(design) < k:
        raise ValueError(f"{n} episodes of {k} classes say nothing of the spread between classes")
    inverse = np.linalg.inv(design.T @ design)
    effects = inverse @ design.T @ y
    noise = ((y - design @ effects) ** 2).sum() / (n - k)
    covariance = noise * inverse
    spread = effects.var(ddof=1) - (np.trace(covariance) - covariance.sum() / k) / (k - 1)
    error = math.sqrt(max(spread, 0.0) / k + covariance.sum() / k**2 + image_variance)
    return OpenInterval(float(effects.mean()), compute_t_quantile(k) * error, math.sqrt(max(spread, 0.0)), k)
