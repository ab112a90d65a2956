"""The capstone: a net of the reader's against one of the course, under one threat model, scored by the kit."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from anrot_lib.attacks import gradient
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import Interval, compare_paired, interval
from anrot_lib.course import catalogue
from anrot_lib.data.embedded.names import open_embedded
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.settings import get_radii

SUITE, EPISODES, QUERIES = "aa-lite", 20, 5  # queries of each of five classes
MOST_LOST = 3.0  # points of clean accuracy that robustness may cost
SEED = 2  # of the episodes; the notebooks look at others


@dataclass(frozen=True)
class Standing:
    """Accuracies of two nets on the same test episodes, in per cent, and the paired differences in points.

    clean, robust  differences mine - given, on clean queries and under the worst case of the suite.
    accuracies     row -> (clean, robust) of "given" and "yours".
    """

    clean: Interval
    robust: Interval
    accuracies: dict[str, tuple[Interval, Interval]]

    @property
    def verdict(self) -> str:
        """Whether the given net is beaten, or what is missing, in a sentence."""
        if self.clean.mean < -MOST_LOST:
            return f"not yet: clean accuracy is {-self.clean.mean:.1f} points lower; at most {MOST_LOST:g} may go"
        gain = f"{self.robust.mean:+z.1f} ± {self.robust.half_width:.1f} points"
        if self.robust.mean - self.robust.half_width <= 0:
            return f"not yet: under attack the difference is {gain}, which may be chance"
        return f"beaten, by {gain} under attack"


def make_threat(given: FewShotNet) -> ThreatModel:
    """That of the images which trained the given net: their radius, on queries, an adversary who knows the net."""
    eps = get_radii(_get_data(given)).eps
    return gradient.pgd(eps, steps=20, step=eps / 4, restarts=1, target="query")


def _get_data(net: FewShotNet) -> str:
    if net.origin is None:
        raise UserError("this net does not say what trained it; hand in one that `anrot train` or `train` has made")
    return net.origin.data


@cache
def _measure_given(name: str, tasks: int) -> tuple[np.ndarray, np.ndarray]:
    net = catalogue.open_net(name)
    return _measure(net, net, tasks)


def _measure(net: FewShotNet, given: FewShotNet, tasks: int) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies (tasks,) on clean queries and under the worst case of the suite."""
    image_set = open_embedded(_get_data(given))
    rows = EpisodeManifest.make(image_set, "test", 5, 5, QUERIES, tasks, SEED).rows
    judge = Evaluator(net, image_set)
    counts = judge.count_clean(rows), judge.count_worst(rows, SUITE, make_threat(given), SEED)
    return counts[0] / (5 * QUERIES), counts[1] / (5 * QUERIES)


def compare(mine: FewShotNet | str | Path, given: str = "mixture", tasks: int = EPISODES) -> Standing:
    """Both nets on the same test episodes. UserError for a net that has seen test classes, or hides what trained it."""
    net, target = (catalogue.open_net(mine) if isinstance(mine, str | Path) else mine), catalogue.open_net(given)
    if _get_data(net) != _get_data(target):
        raise UserError(f"yours was trained on {_get_data(net)!r}, the given net on {_get_data(target)!r}")
    yours, theirs = _measure(net.eval(), target, tasks), _measure_given(given, tasks)
    clean, robust = (compare_paired(b, a, bootstrap=False) for a, b in zip(yours, theirs, strict=True))
    rows = {"given": theirs, "yours": yours}
    accuracies = {name: (interval(a, bootstrap=False), interval(b, bootstrap=False)) for name, (a, b) in rows.items()}
    return Standing(clean, robust, accuracies)


def score(mine: FewShotNet | str | Path | None = None, given: str = "mixture") -> None:
    """Print how a net stands against the given one: accuracies, and whether it is beaten or what is missing.

    mine  a net, or the path of its file; None prints the task.
    """
    threat = make_threat(catalogue.open_net(given))
    task = f"the worst case of {SUITE} at eps {threat.eps:g} on {EPISODES} test episodes"
    if mine is None:
        print(f"Capstone: not attempted yet. The net to beat is {given!r}, under {task}.")
        return
    try:
        standing = compare(mine, given)
    except UserError as error:
        print(f"Capstone: not admitted: {error}")
        return
    for name, (clean, robust) in standing.accuracies.items():
        print(f"{name:5s}  clean {clean}   under attack {robust}")
    print(f"Capstone: {standing.verdict}.")
