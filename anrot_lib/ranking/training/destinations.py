"""What hardness the training attack aims at: a constant, a miner's triplets, or one that follows the loss.

With l the adversarial loss of the previous step (2 before the first), u its limit, g the margin and
x = clip(l, 0, u) / u:

    lga     -g x            linear gradual adversary: -g at first, 0 once the loss is 0
    lga2    -g x^2          eager
    lga0.5  -g sqrt(x)      conservative
    boost   H + xi (1 - x)  on the hardness H of a miner's triplets
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from anrot_lib.ranking.names import MINERS
from anrot_lib.ranking.recipe import RankingRecipe, parse_destination

FIRST_LOSS = 2.0
POWERS = {"lga": 1.0, "lga2": 2.0, "lga0.5": 0.5}


class Destination(nn.Module):
    """Called with the hardness (B,) of the destination miner's triplets, it gives the hardness (B,) to reach.

    `miner` is the miner whose triplets it needs; "" if it needs none, and then it is called with the shape of zeros.
    """

    miner = ""

    def forward(self, mined: Tensor) -> Tensor:
        raise NotImplementedError

    def update(self, loss: float) -> None:
        """Told the adversarial loss after every step."""


class Constant(Destination):
    """H_D = value, in [-2, 2]; at 2 the attack is that of min-max training."""

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, mined: Tensor) -> Tensor:
        return torch.full_like(mined, self.value)


class Mined(Destination):
    """The hardness of the triplets that another miner chooses for the same anchors."""

    def __init__(self, miner: str):
        super().__init__()
        self.miner = miner

    def forward(self, mined: Tensor) -> Tensor:
        return mined


class Custom(Destination):
    """Any function of the mined hardness (B,)."""

    def __init__(self, function: Callable[[Tensor], Tensor], miner: str = "r"):
        super().__init__()
        self.function, self.miner = function, miner

    def forward(self, mined: Tensor) -> Tensor:
        return self.function(mined)


class Following(Destination):
    """Follows the loss. `last_loss` is a buffer, so checkpoints keep it; a loss that is not finite is not taken."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = limit
        self.last_loss: Tensor
        self.register_buffer("last_loss", torch.tensor(FIRST_LOSS, dtype=torch.float64))

    @property
    def share(self) -> float:
        """x = clip(l, 0, u) / u, in [0, 1]."""
        return min(max(self.last_loss.item(), 0.0), self.limit) / self.limit

    def update(self, loss: float) -> None:
        if math.isfinite(loss):
            self.last_loss.fill_(loss)


class Gradual(Following):
    """-margin x^power."""

    def __init__(self, margin: float, limit: float, power: float = 1.0):
        super().__init__(limit)
        self.margin, self.power = margin, power

    def forward(self, mined: Tensor) -> Tensor:
        return torch.full_like(mined, -self.margin * self.share**self.power)


class Boosted(Following):
    """H + boost (1 - x) of a miner's triplets."""

    def __init__(self, miner: str, limit: float, boost: float):
        super().__init__(limit)
        self.miner, self.boost = miner, boost

    def forward(self, mined: Tensor) -> Tensor:
        return mined + self.boost * (1 - self.share)


def build(recipe: RankingRecipe) -> Destination | None:
    """The destination of a recipe; None where there is nothing to attack: source and destination are one miner.

    The original code attacks nothing either when both miners are the same in a gradual name; parity "robrank" keeps
    that, "fixed" lets the gradual destination work.
    """
    hard = recipe.parsed.hardness
    if hard is None:
        raise ValueError(f"{recipe.name} manipulates no hardness, so it has no destination")
    chosen = parse_destination(recipe.destination) or ("lga" if hard.gradual else hard.destination)
    if isinstance(chosen, float):
        return Constant(chosen)
    if chosen in POWERS:
        same = hard.source == hard.destination and not recipe.destination
        if same and recipe.parity == "robrank":
            return None
        return Gradual(recipe.margin, recipe.limit, POWERS[chosen])
    if chosen == "boost":
        return Boosted(hard.destination, recipe.limit, recipe.boost)
    assert chosen in MINERS
    return None if chosen == hard.source else Mined(chosen)
