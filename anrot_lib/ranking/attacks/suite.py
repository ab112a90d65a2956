"""Running ranking attacks over the images of a gallery, through the one ascent loop: an attack's numbers by image."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.search import Objective
from anrot_lib.core import randomness
from anrot_lib.core.errors import UserError
from anrot_lib.ranking.attacks.goals import Goal, build_goal
from anrot_lib.ranking.attacks.names import RankAttack
from anrot_lib.ranking.attacks.partners import draw_chance
from anrot_lib.ranking.distances import normalise
from anrot_lib.ranking.gallery import Batch, Gallery, Labelled

BATCH = 128

Part = list[dict[str, list[float]]]  # the numbers of a batch before and after an attack
Values = dict[str, np.ndarray]  # number (CA+, ..., ES:D, ES:R, ...) -> value of each query, float64 (n,)


@dataclass(frozen=True, eq=False)
class Subject:
    """A net in eval mode, the gallery of its embeddings of a test set, and `batch`: row numbers to those images."""

    net: nn.Module
    gallery: Gallery
    batch: Batch

    def embed(self, images: Tensor) -> Tensor:
        return normalise(self.net(images), self.gallery.metric)


@dataclass(frozen=True)
class AttackNumbers:
    """The numbers of each query before and after an attack."""

    benign: Values
    attacked: Values


# (subject, goal, images, first row of the batch) -> attacked images
Adversary = Callable[[Subject, Goal, Tensor, int], Tensor]


def pgd(attack: RankAttack, seed: int, restarts: int = 0) -> Adversary:
    """Projected gradient descent from the image itself, last iterate: `steps` passes, as the published suites do.

    restarts of at least 1: so many runs from random starts, and the best candidate of all by the goal's loss, the image
    and its FGSM point among them.
    """
    threat = attack.threat(restarts, "random") if restarts else attack.threat()

    def adversary(subject: Subject, goal: Goal, images: Tensor, first: int) -> Tensor:
        generator = randomness.make_generator(seed, f"start/{attack}/{first}")
        keep = "best" if restarts else "last"
        return ascend(build_objective(subject, goal), images, threat, generator, keep=keep).images

    return adversary


def build_objective(subject: Subject, goal: Goal) -> Objective:
    def objective(images: Tensor, active: Tensor | None) -> Tensor:
        assert active is None  # no unit leaves early and batches are not cut: the goal's rows are the images
        return goal.loss(subject.embed(images))

    return objective


def list_goals(
    subject: Subject, attack: RankAttack, rows: np.ndarray, seed: int, parity: bool, batch: int = BATCH
) -> list[Callable[[], Goal]]:
    """One maker of a goal for each batch of the rows; the partners of all of them are drawn here."""
    gallery = subject.gallery
    chance = draw_chance(attack, len(rows), randomness.make_generator(seed, f"partners/{attack.title}"))
    numbers = torch.as_tensor(rows, device=gallery.labels.device)

    def maker(part: slice) -> Callable[[], Goal]:
        some = numbers[part]
        return lambda: build_goal(attack, gallery, some, gallery.embeddings[some], chance[part], parity)

    return [maker(slice(at, at + batch)) for at in range(0, len(rows), batch)]


def list_parts(
    subject: Subject,
    attack: RankAttack,
    rows: np.ndarray,
    seed: int,
    parity: bool = False,
    adversary: Adversary | None = None,
    batch: int = BATCH,
) -> dict[str, Callable[[], Part]]:
    """Name -> what attacks a batch of some rows (n,) of the gallery, in order; the net is left as it was.

    Partners depend on the seed, the attack's title and the place in `rows`, on nothing else. adversary: `pgd` unless
    given.
    """
    if not len(rows):
        raise UserError("there is no image to attack: no class of the test set has two")
    goals = list_goals(subject, attack, rows, seed, parity, batch)
    batches = ((at, rows[at : at + batch]) for at in range(0, len(rows), batch))
    return {
        f"{attack}/{at}": partial(_attack_batch, subject, make, adversary or pgd(attack, seed), some)
        for (at, some), make in zip(batches, goals, strict=True)
    }


def join_parts(parts: Iterable[Part]) -> AttackNumbers:
    """The numbers of all images, from those of their batches."""
    benign, attacked = zip(*parts, strict=True)
    return AttackNumbers(_joined(benign), _joined(attacked))


def run_attack(
    subject: Subject,
    attack: RankAttack,
    rows: np.ndarray,
    seed: int,
    parity: bool = False,
    adversary: Adversary | None = None,
    batch: int = BATCH,
) -> AttackNumbers:
    """The numbers of an attack for each of some rows (n,) of the gallery, as `list_parts` has them."""
    return join_parts(part() for part in list_parts(subject, attack, rows, seed, parity, adversary, batch).values())


def _attack_batch(subject: Subject, make: Callable[[], Goal], adversary: Adversary, rows: np.ndarray) -> Part:
    """The numbers before and after, (B,) each."""
    with frozen(subject.net, training=False):
        goal = make()
        benign = goal.values(goal.case.benign)
        images = adversary(subject, goal, subject.batch(rows), int(rows[0]))
        with torch.no_grad():
            return [_listed(values) for values in (benign, goal.values(subject.embed(images)))]


def _listed(values: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: value.double().tolist() for name, value in values.items()}


def _joined(parts: Sequence[dict[str, list[float]]]) -> Values:
    return {name: np.array([value for part in parts for value in part[name]]) for name in parts[0]}


def choose_queries(gallery: Labelled, n: int | None, seed: int) -> np.ndarray:
    """Row numbers of the images to attack, ascending: n drawn from those with another image of their class (all: None).

    A sample and not the first n, because test sets often lie sorted by class.
    """
    labels = gallery.labels.cpu().numpy()
    some = np.flatnonzero(np.bincount(labels)[labels] > 1)
    if n is None or n >= len(some):
        return some
    if n < 2:
        raise UserError(f"attack at least 2 queries, got {n}")
    order = torch.randperm(len(some), generator=randomness.make_generator(seed, "queries")).numpy()
    return np.sort(some[order[:n]])
