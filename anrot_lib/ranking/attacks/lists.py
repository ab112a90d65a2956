"""Lists of a ranking before and after an attack: which images stand where, to be looked at."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anrot_lib.attacks.ascent import frozen
from anrot_lib.ranking.attacks import suite
from anrot_lib.ranking.attacks.names import RankAttack
from anrot_lib.ranking.attacks.suite import Subject
from anrot_lib.ranking.distances import distance


@dataclass(frozen=True, eq=False)
class AttackedLists:
    """Lists of B queries in an attacked gallery.

    changed   (B, C, H, W): the attacked images; rows (B,) their numbers
    query     (B,): whose list it is: the attacked image itself, for CA the image in whose list it is to move
    nearest   (B, k): the first k of each list, the query left out
    followed  (B,): for CA the attacked image, for QA and the targeted attacks the partner, for ES and LTM the first hit
              that the benign image had
    place     (B,): where the followed one stands, from 1; strictly nearer rows count
    """

    changed: Tensor
    rows: Tensor
    query: Tensor
    nearest: Tensor
    followed: Tensor
    place: Tensor

    def images(self, subject: Subject, k: int) -> Tensor:
        """Query, nearest, followed of list k as they are after the attack: (2 + nearest, C, H, W)."""
        line = torch.cat([self.query[k : k + 1], self.nearest[k], self.followed[k : k + 1]])
        images = subject.batch(line.cpu().numpy()).clone()
        images[line == self.rows[k]] = self.changed[k]
        return images

    def relevant(self, subject: Subject, k: int) -> list[bool]:
        """Which of the nearest of list k are of the query's class."""
        labels = subject.gallery.labels
        return (labels[self.nearest[k]] == labels[self.query[k]]).tolist()


def list_attacked(subject: Subject, attack: RankAttack, rows: np.ndarray, seed: int, k: int = 5) -> AttackedLists:
    """The lists after an attack with one partner on the images of some rows (B,), in one batch; eps = 0 changes none.

    The partners are those that `suite.run_attack` draws for these rows and this seed, whatever eps.
    """
    gallery = subject.gallery
    numbers = torch.as_tensor(rows, device=gallery.labels.device)
    with frozen(subject.net, training=False):
        goal = suite.list_goals(subject, attack, rows, seed, parity=False, batch=len(rows))[0]()
        changed = suite.pgd(attack, seed)(subject, goal, subject.batch(rows), 0)
        with torch.no_grad():
            moved = subject.embed(changed)
    partner = goal.case.partners[:, 0] if goal.case.partners.shape[1] else None
    if attack.kind == "CA" and partner is not None:
        query, followed = partner, numbers
        table = gallery.distances(gallery.embeddings[query])
        to_moved = distance(gallery.embeddings[query], moved, gallery.metric)
        table.scatter_(1, numbers[:, None], to_moved[:, None])
    else:
        query, table = numbers, gallery.distances(moved)
        if partner is None:
            before = gallery.distances(gallery.embeddings[numbers])
            partner = before.scatter_(1, numbers[:, None], torch.inf).argmin(1)
        followed = partner
    place = 1 + (table.scatter(1, query[:, None], torch.inf) < table.gather(1, followed[:, None])).sum(1)
    nearest = table.scatter_(1, query[:, None], torch.inf).argsort(1)[:, :k]
    return AttackedLists(changed, numbers, query, nearest, followed, place)
