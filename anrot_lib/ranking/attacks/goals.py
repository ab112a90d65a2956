"""The ranking attacks behind the ten numbers of the robustness score, each as a goal for the kit's one ascent loop.

A goal belongs to a batch of images that are rows of a gallery. `loss(embeddings)` (B, D) -> (B,) is what the adversary
raises; `values(embeddings)` are the numbers that are reported, in their published units, whatever the embeddings come
from: the images themselves, their attacked versions, another attack's. X is the whole gallery, N its size, d the
metric, q the attacked image's embedding. What is drawn at random is drawn once an image, before the attack.

| attack | partners | the adversary lowers | reported |
|---|---|---|---|
| CA+ | W rows Q drawn from X | mean over x of relu(d(Q, q) - d(Q, x)) | 100 #{x: d(Q, x) < d(Q, q)} / N |
| CA- | W of the nearest 1 % | mean over x of relu(d(Q, x) - d(Q, q)) | the same |
| QA+ | M rows C drawn from X | mean over x of relu(d(q, C) - d(q, x)) | 100 #{x: d(q, x) < d(q, C)} / N |
| QA- | M of the nearest 1 %, all different | mean over x of relu(d(q, x) - d(q, C)) | the same |
| TMA | a row t drawn from X | 1 - cos(q, t) | cos(q, t) |
| ES | itself | -d(q, benign q) | ES:D = d(q, benign q); ES:R = R@1, per cent |
| LTM | all | relu(max of d(q, x) over other classes - min over its own) | R@1, per cent |
| GTM | u, the nearest row of another class | d(q, u) | R@1, per cent |
| GTT | t, the nearest row | QA- with C = t | per cent of t still among the four nearest |

R@1, nearest rows and the four nearest leave out the image's own row; the ranks count it, as published. Ranks count
strictly nearer rows only; in R@1 a tie is a miss.

Under the metric H, which no publication has, similarity is the affinity 1 - H^2 in place of the cosine, and ES:D is
2 H, so that all ten numbers keep their ranges; ES starts against q + 0.01, because H has no direction at 0.

parity=True repeats the code that published the numbers where it differs: its own row is the nearest one; GTM asks
for a class other than that of the nearest row instead of the query's, and takes the place of u among the rows of other
classes for a place in X; LTM leaves the own row among the class, and its distances are exact, with nothing added; ES
starts against q + 1e-7, under C on 1 - cos itself, and ES:D is measured before the last step; ties are broken by the
order of rows.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from anrot_lib.core.errors import UserError
from anrot_lib.ranking.attacks.hinge import query_hinge
from anrot_lib.ranking.attacks.names import RankAttack
from anrot_lib.ranking.attacks.partners import choose_partners
from anrot_lib.ranking.distances import distance
from anrot_lib.ranking.gallery import Gallery, sort_rows

KEPT = 4  # GTT: among how many the former nearest row must stay


class Case(NamedTuple):
    """A batch of images as an attack starts.

    Row numbers (B,), benign embeddings (B, D), the row of each that counts as the image itself (B,), partners (B, W).
    """

    rows: Tensor
    benign: Tensor
    excluded: Tensor
    partners: Tensor


class Goal:
    """See the module."""

    def __init__(self, attack: RankAttack, gallery: Gallery, case: Case, parity: bool):
        self.attack, self.gallery, self.case, self.parity = attack, gallery, case, parity

    def loss(self, embeddings: Tensor) -> Tensor:
        raise NotImplementedError

    def values(self, embeddings: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError

    def partners(self) -> Tensor:
        """Embeddings of the partners, (B, W, D)."""
        return self.gallery.embeddings[self.case.partners]

    def top_one(self, embeddings: Tensor) -> Tensor:
        """100 where the nearest row, the own one left out, is of the image's class, else 0: (B,)."""
        distances = self.gallery.distances(embeddings).scatter_(1, self.case.excluded[:, None], torch.inf)
        label = self.gallery.labels[self.case.rows]
        if self.parity:
            return 100.0 * (self.gallery.labels[distances.argmin(1)] == label)
        same = self.gallery.mark_class(self.case.rows)
        return 100.0 * (_least(distances, same) < _least(distances, ~same))


class CandidateRank(Goal):
    """CA: the image is a candidate. d(Q, X) never changes: sorted and summed once, a step costs O(W log N)."""

    def __init__(self, attack: RankAttack, gallery: Gallery, case: Case, parity: bool):
        super().__init__(attack, gallery, case, parity)
        shape = self.case.partners.shape
        distances = self.gallery.distances(self.gallery.embeddings[self.case.partners.flatten()])
        self.sorted = sort_rows(distances).view(*shape, -1)
        self.sums = F.pad(self.sorted.double().cumsum(-1), (1, 0))

    def _measure_to_queries(self, embeddings: Tensor) -> Tensor:
        return distance(embeddings.unsqueeze(1), self.partners(), self.gallery.metric)

    def _nearer(self, distances: Tensor) -> Tensor:
        return torch.searchsorted(self.sorted, distances.detach().unsqueeze(-1)).squeeze(-1)

    def loss(self, embeddings: Tensor) -> Tensor:
        distances = self._measure_to_queries(embeddings)
        nearer, n = self._nearer(distances), len(self.gallery)
        sums = self.sums.gather(-1, nearer.unsqueeze(-1)).squeeze(-1)
        if self.attack.pm == "+":
            hinge = nearer * distances - sums
        else:
            hinge = self.sums[..., -1] - sums - (n - nearer) * distances
        return -hinge.mean(1) / n

    def values(self, embeddings: Tensor) -> dict[str, Tensor]:
        # Exact distances here, as in the gallery: with the 1e-6 of `distance` every row of a collapsed net were nearer.
        exact = self.gallery.distances(embeddings).gather(1, self.case.partners)
        nearer = self._nearer(exact)
        return {self.attack.title: 100 * nearer.double().mean(1) / len(self.gallery)}


class QueryRank(Goal):
    """QA: the image is a query, and the rank of the partners is raised or lowered."""

    def loss(self, embeddings: Tensor) -> Tensor:
        return -query_hinge(embeddings, self.gallery, self.case.partners, 1 if self.attack.pm == "+" else -1)

    def values(self, embeddings: Tensor) -> dict[str, Tensor]:
        nearer = _nearer(self.gallery.distances(embeddings), self.case.partners, self.parity)
        return {self.attack.title: 100 * nearer.double().mean(1) / len(self.gallery)}


class Target(Goal):
    """TMA: towards a row drawn at random."""

    def loss(self, embeddings: Tensor) -> Tensor:
        target = self.partners()[:, 0]
        if self.gallery.metric == "H":
            return 1 - distance(embeddings, target, "H").square()
        return F.cosine_similarity(embeddings, target, dim=1)

    def values(self, embeddings: Tensor) -> dict[str, Tensor]:
        return {"TMA": self.loss(embeddings)}


class Shift(Goal):
    """ES: away from where the image was. `seen` are the embeddings of the last step's start."""

    seen: Tensor | None = None

    def loss(self, embeddings: Tensor) -> Tensor:
        metric, nudge = self.gallery.metric, 1e-7 if self.parity and self.seen is None else 0.0
        self.seen = embeddings.detach()
        if metric == "C" and self.parity:
            cosine: Tensor = F.cosine_similarity(embeddings, self.case.benign + nudge, dim=1)
            return -(cosine - 1)
        if metric == "C":  # 1 - cos has gradient 0 where an attack starts; the distance grows with it
            metric = "N"
        elif metric == "H":
            nudge = 0.01
        return distance(embeddings, self.case.benign + nudge, metric)

    def values(self, embeddings: Tensor) -> dict[str, Tensor]:
        moved = self.seen if self.parity and self.seen is not None else embeddings
        shift = distance(moved, self.case.benign, self.gallery.metric)
        return {"ES:D": 2 * shift if self.gallery.metric == "H" else shift, "ES:R": self.top_one(embeddings)}


class LearntMismatch(Goal):
    """LTM: other classes nearer, its own farther. One row of each counts: only two distances have a gradient."""

    def __init__(self, attack: RankAttack, gallery: Gallery, case: Case, parity: bool):
        super().__init__(attack, gallery, case, parity)
        rows = case.rows
        other = ~self.gallery.mark_class(rows)
        self.other = other.to(self.gallery.embeddings.dtype)  # numbers: a product with bools takes twice as long
        self.columns, self.mates = self.gallery.classmates(rows)
        if self.parity:
            self.mates = self.mates | (self.columns == rows[:, None])

    def loss(self, embeddings: Tensor) -> Tensor:
        distances = self.gallery.distances(embeddings.detach())
        mates = distances.gather(1, self.columns).masked_fill_(~self.mates, torch.inf)
        near = self.columns.gather(1, mates.argmin(1, keepdim=True)).squeeze(1)
        far = distances.mul_(self.other).max(1).indices
        rows, metric = self.gallery.embeddings, self.gallery.metric
        if self.parity and metric in "NE":  # exact, with gradient 0 at distance 0
            away, apart = (torch.linalg.vector_norm(embeddings - rows[index], dim=1) for index in (far, near))
        else:
            away, apart = (distance(embeddings, rows[index], metric) for index in (far, near))
        hinge: Tensor = (away - apart).relu()
        return -hinge

    def values(self, embeddings: Tensor) -> dict[str, Tensor]:
        return {"LTM": self.top_one(embeddings)}


class GreedyMismatch(Goal):
    """GTM: towards one row of another class."""

    def loss(self, embeddings: Tensor) -> Tensor:
        return -distance(embeddings, self.partners()[:, 0], self.gallery.metric)

    def values(self, embeddings: Tensor) -> dict[str, Tensor]:
        return {"GTM": self.top_one(embeddings)}


class GreedyTranslocation(Goal):
    """GTT: the former nearest row out of the nearest four."""

    def loss(self, embeddings: Tensor) -> Tensor:
        return -query_hinge(embeddings, self.gallery, self.case.partners, -1)

    def values(self, embeddings: Tensor) -> dict[str, Tensor]:
        distances = self.gallery.distances(embeddings).scatter_(1, self.case.excluded[:, None], torch.inf)
        nearer = _nearer(distances, self.case.partners, self.parity)[:, 0]
        return {"GTT": 100.0 * (nearer < KEPT)}


GOALS: dict[str, type[Goal]] = {
    "CA": CandidateRank,
    "QA": QueryRank,
    "TMA": Target,
    "ES": Shift,
    "LTM": LearntMismatch,
    "GTM": GreedyMismatch,
    "GTT": GreedyTranslocation,
}


def build_goal(
    attack: RankAttack, gallery: Gallery, rows: Tensor, benign: Tensor, chance: Tensor, parity: bool = False
) -> Goal:
    """The goal of an attack on the images of some rows (B,), benign embeddings (B, D); `chance` rows of `draw_chance`.

    UserError if the gallery has one class only, or fewer rows than the attack needs partners.
    """
    if bool((gallery.labels == gallery.labels[0]).all()):
        raise UserError("a ranking is attacked between classes, and all images are of one")
    distances = gallery.distances(benign)
    excluded = distances.argmin(1) if parity else rows
    others = distances.scatter_(1, excluded[:, None], torch.inf)
    partners = choose_partners(attack, gallery, rows, others, chance, parity)
    return GOALS[attack.kind](attack, gallery, Case(rows, benign, excluded, partners), parity)


def _least(distances: Tensor, where: Tensor) -> Tensor:
    return distances.masked_fill(~where, torch.inf).amin(1)


def _nearer(distances: Tensor, partners: Tensor, parity: bool) -> Tensor:
    """How many rows stand before each partner: (B, M). Strictly nearer ones; by parity equally far earlier ones too."""
    at = distances.gather(1, partners).unsqueeze(2)
    before = distances.unsqueeze(1) < at
    if parity:
        earlier = torch.arange(distances.shape[1], device=distances.device) < partners.unsqueeze(2)
        before |= (distances.unsqueeze(1) == at) & earlier
    return before.sum(2)
