"""The empirical robustness score (ERS) of ten attack numbers, its ceiling without an attack, a flag for collapse.

    ERS = (2 CA+ + (100 - CA-) + 2 QA+ + (100 - QA-) + 100 (1 - TMA) + 50 (2 - ES:D) + ES:R + LTM + GTM + GTT) / 10

Each of the ten parts is meant to lie in 0..100; that of TMA exceeds 100 for a negative cosine. CA+ and QA+ are per cent
of the ranking and about 50 for a model that nothing moves. Warnings that belong to a score:

- under the metric H the numbers are analogues of this kit (see `attacks.goals`): no published score compares.
- even a model that nothing can move has no 100: three parts are its R@1 then, and one its mean cosine. The score at
  eps = 0 is its ceiling.
- a collapsed model, for which all images look alike, has a middling score: ES:D = 0, and ranks are chance. Published:
  HM[S, 0] on CUB with R@1 = 0.8 and ERS = 29.7.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np

from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import interval
from anrot_lib.ranking.attacks.suite import Values

NUMBERS = ("CA+", "CA-", "QA+", "QA-", "TMA", "ES:D", "ES:R", "LTM", "GTM", "GTT")  # in the order of published tables
BETTER = dict(zip(NUMBERS, "↑↓↑↓↓↓↑↑↑↑", strict=True))
COLLAPSED_COSINE = 0.98
ROUNDING = 0.07  # of published rows: the largest distance of their score from the formula on their ten rounded numbers

Numeric = TypeVar("Numeric", float, np.ndarray)


def compute_parts(numbers: Mapping[str, Numeric]) -> dict[str, Numeric]:
    """The ten parts of the score, from the ten numbers by name. UserError for a missing one."""
    if missing := [name for name in NUMBERS if name not in numbers]:
        raise UserError(f"the score takes ten numbers; {', '.join(missing)} missing")
    turned = {
        "CA+": lambda v: 2 * v,
        "CA-": lambda v: 100 - v,
        "QA+": lambda v: 2 * v,
        "QA-": lambda v: 100 - v,
        "TMA": lambda v: 100 * (1 - v),
        "ES:D": lambda v: 50 * (2 - v),
    }
    return {name: turned.get(name, lambda v: v)(numbers[name]) for name in NUMBERS}


def check_numbers(numbers: Mapping[str, float]) -> Mapping[str, float]:
    """The ten numbers, if each is in its range: TMA, a cosine, in -1 to 1; ES:D in 0 to 2; the others in per cent."""
    for name, value in numbers.items():
        low, high = {"TMA": (-1, 1), "ES:D": (0, 2)}.get(name, (0, 100))
        if not low <= value <= high:
            raise UserError(f"{name} is a number from {low} to {high}, got {value:g}")
    return numbers


def ers(numbers: Mapping[str, Numeric]) -> Numeric:
    """The score of ten numbers. It is linear: the mean of the scores of single queries is the score of the means."""
    total, *rest = compute_parts(numbers).values()
    for part in rest:
        total = total + part
    return total / len(NUMBERS)


@dataclass(frozen=True)
class Score:
    """A score over queries: value, half-width of its 95 % t-interval, 95 % bootstrap interval over queries.

    The gallery and the one draw of partners an image are held fixed; what is resampled are the queries, with all their
    ten numbers.
    """

    value: float
    half_width: float
    low: float
    high: float


def score(values: Values) -> Score:
    """The score of the ten numbers of each query, arrays (n,), with its interval."""
    result = interval(ers({name: values[name] for name in NUMBERS}) / 100)
    return Score(result.mean, result.half_width, result.bootstrap_low, result.bootstrap_high)


def has_collapsed(r_at_1: float, chance: float, mean_cosine: float) -> bool:
    """Whether a model has stopped to tell images apart, so that its score means nothing.

    R@1 and chance in per cent: below twice what a random ranking has; or the mean cosine of two benign embeddings
    exceeds 0.98.
    """
    return r_at_1 < min(2 * chance, 50) or mean_cosine > COLLAPSED_COSINE


@cache
def read_published() -> dict[str, Any]:
    """The printed tables: "about" them, and "rows"; facts as they were printed, nothing measured here."""
    content: dict[str, Any] = json.loads((files("anrot_lib.ranking.score") / "published.json").read_text("utf-8"))
    return content


def title(row: Mapping[str, Any]) -> str:
    """ "CUB ResNet-18 HM[S,LGA], 8 steps": what a published row is about."""
    steps = f", {row['steps']} steps" if row["steps"] else ""
    loss = f" {row['name'].split(':')[2]}" if "name" in row else ""
    return f"{row['set']} {row['net']} {row['defense']}{loss}{steps}{' (withdrawn)' if row.get('withdrawn') else ''}"


def recompute_published() -> list[tuple[float, str]]:
    """(printed score - formula, title) of every published row that prints both, the worst first."""
    rows = [row for row in read_published()["rows"] if "numbers" in row and "ERS" in row]
    differences = [(round(row["ERS"] - ers(row["numbers"]), 6), title(row)) for row in rows]
    return sorted(differences, key=lambda pair: -abs(pair[0]))
