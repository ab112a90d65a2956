"""Is a model robust, or is only its gradient of no use? Checks in the sense of Athalye et al. 2018 (arXiv 1802.00420).

Each check attacks the same queries in another way and compares scores query by query. A score counts as lower only if
it is so beyond its noise and by more than TOLERANCE.

| check | what is done | passed if |
|---|---|---|
| gradient | the gradient at the images themselves | it is 0 for at most 1 % of them |
| restarts | random starts, the best of several runs | the score is not lower |
| steps | four times as many steps, half as long | the score is not lower |
| eps | larger balls, up to the whole pixel range | scores never rise; the last is at most half of that at eps, or 10 |
| nes | gradients guessed from the losses of noisy copies | the score is not lower |
| transfer | images that beat another net | the score is not lower |
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.checks import DEAD, check_falling, check_not_lower, round_score
from anrot_lib.core import randomness
from anrot_lib.core.errors import UserError
from anrot_lib.core.ranks import ALONE, PartStore, Ranks
from anrot_lib.ranking.attacks import suite
from anrot_lib.ranking.attacks.goals import GOALS, Goal
from anrot_lib.ranking.attacks.names import RankAttack
from anrot_lib.ranking.attacks.suite import Adversary, Subject
from anrot_lib.ranking.score import ers
from anrot_lib.ranking.score.testing import Bar, ScoreProtocol, attack_all

GONE = 10.0  # a score at which nothing is left: that of a model without a defense
NOISE_SIDE = 32  # noise of NES has at most this side and is enlarged to the images: fewer numbers to guess
Change = Callable[[RankAttack], RankAttack]
Maker = Callable[[RankAttack], Adversary]
CHECKS = ("gradient", "restarts", "steps", "eps", "nes", "transfer")


@dataclasses.dataclass(frozen=True)
class Effort:
    """How hard to look: restarts, factor of the steps, factors of eps, copies of an image and queries for NES."""

    restarts: int = 5
    more_steps: int = 4
    factors: tuple[float, ...] = (0.5, 2.0, 4.0)
    population: int = 100
    nes_queries: int = 32


def nes(attack: RankAttack, seed: int, population: int) -> Adversary:
    """Descent along gradients guessed by natural evolution strategies (Ilyas et al. 2018, arXiv 1804.08598).

    g = sum over pairs of (loss(x + s n) - loss(x - s n)) n / (population s), n standard normal, s = eps / 2; the net is
    only asked for embeddings. The steps, the ball and the loop are those of the attack.
    """
    sigma = attack.eps / 2

    def adversary(subject: Subject, goal: Goal, images: Tensor, first: int) -> Tensor:
        generator = randomness.make_generator(seed, f"nes/{attack}/{first}")

        @torch.no_grad()
        def guess(points: Tensor) -> Tensor:
            gradient = torch.zeros_like(points)
            for _ in range(population // 2):
                noise = _noise(points, generator)
                ahead, behind = (goal.loss(subject.embed(points + side * sigma * noise)) for side in (1, -1))
                gradient += (ahead - behind).to(points).view(-1, 1, 1, 1) * noise
            return gradient / (population * sigma)

        def objective(points: Tensor, active: Tensor | None) -> Tensor:
            at = points.detach()
            return (guess(at) * (points - at)).flatten(1).sum(1)  # 0, and its gradient is the guess

        return ascend(objective, images, attack.threat(), keep="last").images

    return adversary


def _noise(points: Tensor, generator: torch.Generator) -> Tensor:
    side = min(NOISE_SIDE, points.shape[-1])
    noise = torch.randn((*points.shape[:2], side, side), generator=generator, dtype=points.dtype).to(points.device)
    return F.interpolate(noise, size=points.shape[-2:], mode="nearest")


def build_transfer(attack: RankAttack, other: Subject, seed: int) -> Adversary:
    """Images that reach the goal on another net, in that net's own gallery of the same test images and partners."""

    def adversary(subject: Subject, goal: Goal, images: Tensor, first: int) -> Tensor:
        case = goal.case._replace(benign=other.gallery.embeddings[goal.case.rows])
        with frozen(other.net, training=False):
            return suite.pgd(attack, seed)(other, GOALS[attack.kind](attack, other.gallery, case, False), images, first)

    return adversary


def measure_dead_gradients(
    subject: Subject, attacks: Sequence[RankAttack], rows: np.ndarray, seed: int
) -> dict[str, float]:
    """Per cent of images at which the gradient of a goal is exactly 0, by title, for goals that cannot be reached yet.

    CA+ and QA+ are left out, because an image that is first already has nothing to gain, and LTM for the same reason.
    """
    shares = {}
    with frozen(subject.net, training=False):
        for attack in attacks:
            if attack.pm == "+" or attack.kind == "LTM":
                continue
            dead, asked = 0, 0
            for k, make in enumerate(suite.list_goals(subject, attack, rows, seed, parity=False)):
                goal = make()
                images = subject.batch(rows[k * suite.BATCH : (k + 1) * suite.BATCH]).requires_grad_()
                with torch.enable_grad():
                    loss = goal.loss(subject.embed(images)).sum()
                (gradient,) = torch.autograd.grad(loss, images)
                some = (goal.case.partners != goal.case.rows[:, None]).all(1)  # drawn itself: it is there already
                dead += int((gradient.flatten(1).abs().amax(1) == 0)[some].sum())
                asked += int(some.sum())
            shares[attack.title] = 100 * dead / max(asked, 1)
    return shares


def check(
    subject: Subject,
    protocol: ScoreProtocol,
    rows: np.ndarray,
    bar: Bar,
    names: Sequence[str] = CHECKS,
    effort: Effort = Effort(),
    other: Subject | None = None,
    journal: PartStore | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Run checks by name on the queries in `rows`: {"pgd", "worst", "checks": {name: {"passed", ...}}, "passed"}.

    Always with the fixed attacks. other: the net of "transfer", which is left out without one. journal: finished parts
    are kept there. ranks: the processes that share the attacks. UserError for an unknown name.

    "pgd" is the score by the attacks as they are, "worst" that of the worst of each number, query by query, over PGD,
    restarts, steps and transfer.
    """
    if unknown := [name for name in names if name not in CHECKS]:
        raise UserError(f"unknown check {unknown[0]!r}; choose from {', '.join(CHECKS)}")
    if any(attack.eps == 0 for attack in protocol.attacks):
        raise UserError("the checks of the gradient compare attacks and need an eps above 0")
    base = dataclasses.replace(protocol, parity="fixed")

    def scores(key: str, change: Change, adversary: Maker | None = None, queries: np.ndarray = rows) -> np.ndarray:
        attacks = tuple(change(attack) for attack in base.attacks)
        asked = dataclasses.replace(base, attacks=attacks)
        _, attacked, _ = attack_all(
            subject, asked, queries, bar, journal, adversary, f"{key}/", both_gtm=False, ranks=ranks
        )
        if attacks[0].eps == base.attacks[0].eps and queries is rows:
            in_ball.append(attacked)
        return ers.ers({name: attacked[name] for name in ers.NUMBERS})

    in_ball: list[suite.Values] = []  # the numbers of all attacks of the same strength on all queries
    pgd = scores("pgd", lambda a: a)
    results: dict[str, dict[str, Any]] = {}
    if "gradient" in names:
        dead = measure_dead_gradients(subject, base.attacks, rows, base.seed)
        results["gradient"] = {"passed": max(dead.values()) <= DEAD, "dead": dead}
    if "restarts" in names:
        many = scores("restarts", lambda a: a, lambda a: suite.pgd(a, base.seed, effort.restarts))
        results["restarts"] = {"restarts": effort.restarts, **check_not_lower(pgd, many)}
    if "steps" in names:
        times = effort.more_steps
        longer = scores("steps", lambda a: dataclasses.replace(a, steps=times * a.steps, alpha=a.alpha / 2))
        results["steps"] = {"times": times, **check_not_lower(pgd, longer)}
    if "eps" in names:
        factors = sorted({*effort.factors, 1.0, 1 / base.attacks[0].eps})
        balls = {f: pgd if f == 1 else scores(f"eps x {f:g}", partial(_scale, factor=f)) for f in factors}
        results["eps"] = check_falling(balls, base.attacks[0].eps, GONE)
    if "nes" in names:
        some = rows[: effort.nes_queries]
        guessed = scores("nes", lambda a: a, lambda a: nes(a, base.seed, effort.population), some)
        results["nes"] = {"population": effort.population, **check_not_lower(pgd[: len(some)], guessed)}
    if "transfer" in names and other is not None:
        moved = scores("transfer", lambda a: a, lambda a: build_transfer(a, other, base.seed))
        results["transfer"] = check_not_lower(pgd, moved)
    return {
        "pgd": round_score(pgd.mean()),
        "worst": round_score(ers.ers(take_worst(in_ball)).mean()),
        "checks": results,
        "passed": all(part["passed"] for part in results.values()),
    }


def take_worst(runs: Sequence[suite.Values]) -> suite.Values:
    """The worst of each of the ten numbers over several attacks, query by query, the way its arrow says."""
    pick = {"↑": np.minimum.reduce, "↓": np.maximum.reduce}
    return {name: pick[ers.BETTER[name]]([run[name] for run in runs]) for name in ers.NUMBERS}


def _scale(attack: RankAttack, factor: float) -> RankAttack:
    eps = min(1.0, factor * attack.eps)
    return dataclasses.replace(attack, eps=eps, alpha=min(1.0, attack.alpha * eps / attack.eps))
