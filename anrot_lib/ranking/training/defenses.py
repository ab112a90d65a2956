"""Training steps of the defenses: what is attacked, how, and which loss the attacked images give.

vanilla   L_T(a, p, n)
EST       every image away from its own embedding, max d(f(x + r), f(x)); the loss on the attacked batch
ACT       positive and negative together, min d(f(p + r), f(n + r')); L_T(a, p', n') with the benign anchor
SES       the images of EST; L_T(benign) + d(f(x'), f(x))
min-max   all three of a triplet, max d(a, p) - d(a, n); L_T(a', p', n')
REST      positive and negative as in EST; L_T(a, p', n') with the benign anchor
HM        min ||relu(H_D - H(a', p', n'))||^2: raise the hardness of a triplet to its destination, never lower it;
          L_T(a', p', n'), and for ICS + weight L_ICS(a, a', p) with the benign a and p
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from anrot_lib.ranking.distances import distance, hardness, normalise
from anrot_lib.ranking.embedders import Embedder
from anrot_lib.ranking.names import MARGINS, Hardness
from anrot_lib.ranking.recipe import RankingRecipe
from anrot_lib.ranking.training import destinations, losses
from anrot_lib.ranking.training.destinations import Destination
from anrot_lib.ranking.training.losses import RankingLoss, structure_loss, triplet_loss
from anrot_lib.ranking.training.miners import Triplets, mine
from anrot_lib.ranking.training.perturbation import (
    embed,
    embed_benign,
    make_threat,
    manipulate,
    maximise,
    pull_together,
    push_away,
)

# draw(name) -> generator of a stream that belongs to this step
Draw = Callable[[str], torch.Generator]


class Defense(nn.Module):
    """Gives the loss of a batch of a training in progress. State, such as that of a gradual adversary, is in buffers.

    Called as defense(net, images (2B, C, H, W), labels (2B,), draw); numbers of the last step are in `numbers`.
    """

    def __init__(self, recipe: RankingRecipe, loss: RankingLoss):
        super().__init__()
        self.recipe, self.loss, self.threat = recipe, loss, make_threat(recipe)
        self.metric, self.margin, self.precision = loss.metric, recipe.margin, recipe.attack_precision
        self.numbers: dict[str, float] = {}

    def forward(self, net: Embedder, images: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        raise NotImplementedError

    def finish_step(self) -> None:
        """Called when the step is done, with the loss known to be finite."""

    def mine(self, net: Embedder, images: Tensor, labels: Tensor, draw: Draw) -> Triplets:
        """Triplets of the loss's own miner on benign embeddings."""
        # The original passes the margin of metric E here for N too; for C it passes that of C.
        margin = MARGINS["E"] if self.recipe.parity == "robrank" and self.metric in "NE" else None
        return self.loss.mine(embed_benign(net, images, self.precision), labels, draw("mine"), margin)


class Vanilla(Defense):
    def forward(self, net: Embedder, images: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        loss: Tensor = self.loss(net(images), labels, draw("mine"))
        return loss


class Est(Defense):
    def forward(self, net: Embedder, images: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        attacked = push_away(net, images, self.threat, draw("attack"), self.precision)
        loss: Tensor = self.loss(net(attacked), labels, draw("mine"))
        return loss


class Ses(Defense):
    def forward(self, net: Embedder, images: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        attacked = push_away(net, images, self.threat, draw("attack"), self.precision)
        clean = net(images)
        moved, still = (normalise(rows, self.metric) for rows in (net(attacked), clean))
        if self.recipe.parity == "robrank" and self.metric == "E":  # the original normalises one side only
            moved = normalise(moved, "N")
        shift = distance(moved, still, self.metric).mean()
        self.numbers = {"shift": shift.item()}
        loss: Tensor = self.loss(clean, labels, draw("mine"))
        return loss + self.recipe.shift_weight * shift


class Act(Defense):
    def forward(self, net: Embedder, images: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        a, p, n = self.mine(net, images, labels, draw)
        anchor = embed(net, images[a])
        positive, negative = pull_together(net, images[p], images[n], self.threat, self.precision)
        return triplet_loss(anchor, embed(net, positive), embed(net, negative), self.metric, self.margin)


class Rest(Defense):
    def forward(self, net: Embedder, images: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        a, p, n = self.mine(net, images, labels, draw)
        moved = push_away(net, images[torch.cat([p, n])], self.threat, draw("attack"), self.precision)
        anchor, positive, negative = embed(net, torch.cat([images[a], moved])).chunk(3)
        return triplet_loss(anchor, positive, negative, self.metric, self.margin)


class MinMax(Defense):
    def forward(self, net: Embedder, images: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        triplets = images[torch.stack(self.mine(net, images, labels, draw), 1)]
        moved = maximise(net, triplets, self.threat, self.precision)
        a, p, n = split_triplets(embed(net, moved.flatten(0, 1)))
        return triplet_loss(a, p, n, self.metric, self.margin)


def split_triplets(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors, positives and negatives, (B, D) each, of rows (3B, D) that stand triplet by triplet."""
    return rows[0::3], rows[1::3], rows[2::3]


class HardnessManipulation(Defense):
    """`destination` replaces the one that the recipe's words say, with any of `destinations`."""

    def __init__(self, recipe: RankingRecipe, loss: RankingLoss, destination: Destination | None = None):
        super().__init__(recipe, loss)
        spec = recipe.parsed.hardness
        if spec is None:
            raise ValueError(f"{recipe.name} manipulates no hardness")
        self.spec: Hardness = spec
        self.destination = destinations.build(recipe) if destination is None else destination
        self.last: Tensor | None = None

    def forward(self, net: Embedder, images: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        rows = embed_benign(net, images, self.precision)
        source = torch.stack(self.choose_triplets(self.spec.source, rows, labels, draw("source")), 1)
        triplets = images[source]
        first = 0 if self.spec.anchor else 1  # the first of a triplet's images that is attacked
        if self.destination is not None:
            aim = self.set_aim(self.destination, rows, labels, draw)
            start = hardness(rows[source[:, 0]], rows[source[:, 1]], rows[source[:, 2]], self.metric)
            # With et, those that are there already would stand still: they need not even be looked at.
            some = (start < aim).nonzero().flatten() if self.spec.distance == "et" else torch.arange(len(aim))
            if len(some):
                moved = manipulate(
                    net,
                    triplets[some, first:],
                    aim[some],
                    self.threat,
                    kind=self.spec.distance,
                    anchor=None if self.spec.anchor else rows[source[some, 0]],
                    precision=self.precision,
                )
                triplets[some, first:] = moved
            means = {"destination": aim, "source": start, "attacked": (start < aim).float()}
            self.numbers = {name: values.mean().item() for name, values in means.items()}
        clean = embed(net, images[source[:, :2]].flatten(0, 1)) if self.spec.structure else None
        a, p, n = split_triplets(embed(net, triplets.flatten(0, 1)))
        loss = triplet_loss(a, p, n, self.metric, self.margin)
        self.last = loss.detach()
        if clean is None:
            return loss
        benign_anchor, benign_positive = clean[0::2], clean[1::2]
        structure = structure_loss(benign_anchor, a, benign_positive, self.metric, self.recipe.structure_margin)
        self.numbers["structure"] = structure.item()
        return loss + self.recipe.structure_weight * structure

    def choose_triplets(self, miner: str, rows: Tensor, labels: Tensor, generator: torch.Generator) -> Triplets:
        return mine(miner, rows, labels, self.metric, self.margin, generator, self.recipe.parity)

    def set_aim(self, destination: Destination, rows: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        """H_D (B,) of this step."""
        mined = rows.new_zeros(len(rows) // 2)
        if destination.miner:
            a, p, n = self.choose_triplets(destination.miner, rows, labels, draw("destination"))
            mined = hardness(rows[a], rows[p], rows[n], self.metric)
        aim: Tensor = destination(mined)
        return aim

    def finish_step(self) -> None:
        if self.destination is not None and self.last is not None:
            self.destination.update(self.last.item())


DEFENSES: dict[str, type[Defense]] = {"": Vanilla, "d": Est, "p": Act, "e": Ses, "m": MinMax, "amd": MinMax, "r": Rest}


def build(recipe: RankingRecipe, destination: Destination | None = None) -> Defense:
    """The defense of a recipe. `destination` is for hardness manipulation alone: any function of hardness, say.

    Raises ValueError for a destination where none is used.
    """
    loss = losses.build(recipe)
    if recipe.parsed.hardness is not None:
        return HardnessManipulation(recipe, loss, destination)
    if destination is not None:
        raise ValueError(f"{recipe.name} manipulates no hardness, so it has no destination")
    return DEFENSES[str(recipe.parsed.defense)](recipe, loss)
