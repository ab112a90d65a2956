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
classes for a place in X; LTM leaves the own row among the class; ES starts against q + 1e-7 and ES:D is measured before
the last step; ties are broken by the order of rows.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from anrot_lib.core.errors import UserError
from anrot_lib.ranking.attacks.names import RankAttack
from anrot_lib.ranking.distances import cdist, distance
from anrot_lib.ranking.gallery import Gallery, sorted_rows

NEAREST_SHARE = 0.01  # of the gallery: where CA- and QA- take their partners
NEAREST_DISTANCE = 1e-4  # in a gradient no distance counts as less: float32 does not resolve it
KEPT = 4  # GTT: among how many the former nearest row must stay


class Case(NamedTuple):
    """A batch of images as an attack starts: row numbers (B,), benign embeddings (B, D), the row left out as the
    image's own (B,), partners (B, W)."""

    rows: Tensor
    benign: Tensor
    own: Tensor
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
        distances = self.gallery.distances(embeddings).scatter_(1, self.case.own[:, None], torch.inf)
        label = self.gallery.labels[self.case.rows]
        if self.parity:
            return 100.0 * (self.gallery.labels[distances.argmin(1)] == label)
        same = same_class(self.gallery, self.case.rows)
        return 100.0 * (_least(distances, same) < _least(distances, ~same))


class CandidateRank(Goal):
    """CA: the image is a candidate. d(Q, X) never changes: sorted and summed once, a step costs O(W log N)."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        shape = self.case.partners.shape
        distances = self.gallery.distances(self.gallery.embeddings[self.case.partners.flatten()])
        self.sorted = sorted_rows(distances).view(*shape, -1)
        self.sums = F.pad(self.sorted.double().cumsum(-1), (1, 0))

    def _to_queries(self, embeddings: Tensor) -> Tensor:
        return distance(embeddings.unsqueeze(1), self.partners(), self.gallery.metric)

    def _nearer(self, distances: Tensor) -> Tensor:
        return torch.searchsorted(self.sorted, distances.detach().unsqueeze(-1)).squeeze(-1)

    def loss(self, embeddings: Tensor) -> Tensor:
        distances = self._to_queries(embeddings)
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


class _QueryHinge(torch.autograd.Function):
    """`query_hinge` with its gradient in q for N, C and E.

    Forward and backward need the same matrix of distances and one matrix product each, so both are done at once.
    """

    @staticmethod
    def forward(ctx, embeddings: Tensor, gallery: Gallery, partners: Tensor, sign: int) -> Tensor:
        distances = gallery.distances(embeddings)
        at, total, weights = distances.gather(1, partners), 0.0, None
        for j in range(partners.shape[1]):
            hinge = torch.sub(at[:, j : j + 1], distances).mul_(sign).relu_()
            total = total + hinge.sum(1)
            active = hinge.sign_()
            count = active.sum(1, keepdim=True)
            active.neg_().scatter_add_(1, partners[:, j : j + 1], count)
            weights = active if weights is None else weights.add_(active)
        scale = sign / (partners.shape[1] * len(gallery))
        if gallery.metric != "C":  # d is a root: its gradient is (q - x) / d; of 1 - cos = d^2 / 2 it is q - x
            weights.div_(distances.clamp_min_(NEAREST_DISTANCE))
        rows = embeddings - gallery.centre
        gradient = weights.sum(1, keepdim=True) * rows - weights @ gallery.centred
        ctx.save_for_backward(gradient.mul_(scale))
        return total * abs(scale)

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        (gradient,) = ctx.saved_tensors
        return grad_output.unsqueeze(1) * gradient, None, None, None


def query_hinge(embeddings: Tensor, gallery: Gallery, partners: Tensor, sign: int) -> Tensor:
    """Mean over partners C and all x of relu(sign (d(q, C) - d(q, x))), for embeddings (B, D): (B,)."""
    if gallery.metric != "H":
        return _QueryHinge.apply(embeddings, gallery, partners, sign)
    distances = cdist(embeddings, gallery.embeddings, "H")
    at = distances.gather(1, partners).unsqueeze(2)
    return (sign * (at - distances.unsqueeze(1))).relu().mean((1, 2))


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

    def __init__(self, *arguments):
        super().__init__(*arguments)
        rows = self.case.rows
        other = ~same_class(self.gallery, rows)
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
        return -(distance(embeddings, rows[far], metric) - distance(embeddings, rows[near], metric)).relu()

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
        distances = self.gallery.distances(embeddings).scatter_(1, self.case.own[:, None], torch.inf)
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


def goal_of(
    attack: RankAttack, gallery: Gallery, rows: Tensor, benign: Tensor, chance: Tensor, parity: bool = False
) -> Goal:
    """The goal of an attack on the images of some rows (B,), benign embeddings (B, D); `chance` rows of `draw`.

    UserError if the gallery has one class only, or fewer rows than the attack needs partners.
    """
    if bool((gallery.labels == gallery.labels[0]).all()):
        raise UserError("a ranking is attacked between classes, and all images are of one")
    distances = gallery.distances(benign)
    own = distances.argmin(1) if parity else rows
    others = distances.scatter_(1, own[:, None], torch.inf)
    partners = _partners(attack, gallery, rows, others, chance, parity)
    return GOALS[attack.kind](attack, gallery, Case(rows, benign, own, partners), parity)


def draw(attack: RankAttack, n: int, generator: torch.Generator) -> Tensor:
    """The chance behind the partners of n images: numbers in [0, 1), float64 (n, W), on the CPU.

    Drawn for all images before the first is attacked, so that partners do not depend on how images are batched.
    """
    count = {"TMA": 1}.get(attack.kind, attack.count)
    return torch.rand((n, count), generator=generator, dtype=torch.float64)


def _partners(attack: RankAttack, gallery: Gallery, rows: Tensor, others: Tensor, chance: Tensor, parity: bool):
    chance = chance.to(others.device)
    if attack.kind == "GTT":
        return others.argmin(1, keepdim=True)
    if attack.kind == "GTM":
        return mismatch(others, gallery.labels, gallery.labels[rows], parity).unsqueeze(1)
    if attack.pm == "-":
        nearest = max(1, int(NEAREST_SHARE * len(gallery)))
        if attack.kind == "QA" and attack.count > nearest:
            raise UserError(f"{attack} needs {attack.count} different rows among the nearest {nearest}")
        order = others.topk(nearest, 1, largest=False).indices
        places = different(chance, nearest) if attack.kind == "QA" else (chance * nearest).long()
        return order.gather(1, places)
    return (chance * len(gallery)).long()


def mismatch(distances: Tensor, labels: Tensor, label: Tensor, parity: bool = False) -> Tensor:
    """GTM's row u for each query: the nearest row of another class than the query's `label` (B,).

    distances (B, N) with the own row at infinity. parity: of another class than the nearest row's, and the number of u
    *among the rows of other classes* is used as a number of X, a mistake of the published code.
    """
    if parity:
        label = labels[distances.argmin(1)]
    other = labels != label[:, None]
    nearest = distances.masked_fill(~other, torch.inf).argmin(1)
    return other.cumsum(1).gather(1, nearest[:, None]).squeeze(1) - 1 if parity else nearest


def different(chance: Tensor, n: int) -> Tensor:
    """Numbers below n, all different in a row, from numbers in [0, 1) of shape (B, M): drawing without putting back."""
    places = (chance[:, :1] * n).long()
    for j in range(1, chance.shape[1]):
        place = (chance[:, j : j + 1] * (n - j)).long()
        for taken in places.sort(1).values.split(1, 1):
            place = place + (place >= taken)
        places = torch.cat([places, place], 1)
    return places


def same_class(gallery: Gallery, rows: Tensor) -> Tensor:
    """Which rows of the gallery are of the class of each of `rows`: bool (B, N), the row itself included."""
    return gallery.labels == gallery.labels[rows, None]


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
