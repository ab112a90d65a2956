"""The training of a ranking model in numbers; the defaults follow from its name. Loads no torch."""

from dataclasses import dataclass
from typing import Annotated, Any

from anrot_lib.core.configs import check_at_least, check_at_most, check_types
from anrot_lib.core.errors import UserError
from anrot_lib.core.options import PIXELS, Option
from anrot_lib.ranking import names
from anrot_lib.ranking.names import MARGINS, Name

PARITIES = ("fixed", "robrank")
ATTACK_PRECISIONS = ("fp32", "bf16")
GRADUAL = ("lga", "lga2", "lga0.5", "boost")
STRUCTURE_WEIGHTS = {"cub": 0.5, "cars": 0.5, "sop": 0.05}


@dataclass(frozen=True)
class RankingRecipe:
    """A training in full. Build one with `build_recipe(name)`, which knows the published numbers.

    limit, boost       of the gradual destinations: the loss at which they are weakest; xi of "boost"
    structure_margin   of the intra-class structure loss
    shift_weight       of the embedding shift in SES
    stored             side of the images that crops are cut from
    """

    name: str
    eps: Annotated[float, Option("radius of the training attack", metavar=PIXELS)]
    step: Annotated[float, Option("length of one step of the attack; a single step has length eps", metavar=PIXELS)]
    eta: Annotated[int, Option("steps of the attack")]
    margin: Annotated[float, Option("margin of the triplet loss and of the miners")]
    learning_rate: Annotated[float, Option("learning rate")]
    weight_decay: Annotated[float, Option("weight decay")]
    batch: Annotated[int, Option("items in a batch: pairs, images or triples")]
    epochs: Annotated[int, Option("passes over the training images; 0 keeps the net as it begins")]
    size: Annotated[int, Option("side of the images that the net sees, for 224 px backbones")]
    stored: int
    flip: bool
    embedding: int
    freeze_bn: Annotated[bool, Option("batch norms keep their statistics")]
    pretrain_epochs: Annotated[int, Option("epochs of the classifier that stands in for missing ImageNet weights")]
    destination: Annotated[
        str,
        Option("hardness to aim at: lga, lga2, lga0.5, boost, a miner (r m s d h) or a number in [-2, 2]"),
    ] = ""
    limit: float = 0.2
    boost: float = 0.1
    structure_weight: Annotated[float, Option("weight of the intra-class structure loss")] = 0.5
    structure_margin: float = 0.0
    shift_weight: float = 1.0
    barlow_weight: float = 1e-5
    beta: float = 0.6  # of the margin loss, learnt at a separate rate
    beta_rate: float = 5e-4
    parity: Annotated[str, Option("robrank: with the oddities of the original code", choices=PARITIES)] = "fixed"
    attack_precision: Annotated[str, Option("arithmetic of the attack", choices=ATTACK_PRECISIONS)] = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        name = names.parse(self.name)
        if name.small and (self.size, self.stored) != (28, 28):
            raise UserError(f"{self.name}: the backbone {name.backbone} takes 28 px images, not {self.size}")
        least = dict.fromkeys(("eps", "step", "margin", "weight_decay", "structure_weight"), 0)
        least |= dict.fromkeys(("eta", "batch", "size", "embedding"), 1)
        least |= dict.fromkeys(("epochs", "pretrain_epochs", "boost", "shift_weight", "barlow_weight"), 0)
        check_at_least(self, **least, stored=self.size, learning_rate=1e-12)
        weights = ("margin", "structure_weight", "shift_weight", "barlow_weight", "boost", "weight_decay")
        check_at_most(self, **dict.fromkeys(weights, 1e6), batch=65_536)
        check_at_most(self, step=1, size=4096, stored=8192, embedding=65_536)
        if not 0 <= self.eps <= 1:
            raise UserError(f"eps is in units of the pixel range [0, 1], got {self.eps:g}; write k/255")
        if not self.limit > 0:
            raise UserError(
                f"limit, the loss at which a gradual destination is weakest, must be positive: {self.limit}"
            )
        if self.parity not in PARITIES:
            raise UserError(f"unknown parity {self.parity!r}; choose fixed or robrank")
        if self.attack_precision not in ATTACK_PRECISIONS:
            raise UserError(f"unknown precision of the attack {self.attack_precision!r}; choose fp32 or bf16")
        if self.destination and name.hardness is None:
            raise UserError(f"{self.name} manipulates no hardness, so it has no destination to set")
        parse_destination(self.destination)

    @property
    def parsed(self) -> Name:
        return names.parse(self.name)

    @property
    def title(self) -> str:
        """The defense as tables write it, with the destination that is really aimed at: "HM[S,-0.1]+ICS"."""
        title = self.parsed.title
        if not self.destination:
            return title
        source, _, rest = title.partition(",")
        aim = self.destination.upper() if self.destination in (*GRADUAL, *names.MINERS) else self.destination
        return f"{source},{aim}]{rest.partition(']')[2]}"


def build_recipe(name: Name | str, **changes: Any) -> RankingRecipe:
    """The published recipe of a name, with those `changes` that are not None.

    28 px: eps 77/255, step 3/255, 32 steps (fewer do not reach eps). 224 px: eps 8/255, step 1/255, 8 steps, which is
    the paper's default; the original code's is 32. Under parity "robrank" it is 32, and 7 for min-max on rc2f2.
    Another `size` than 224 scales the side that crops are cut from with it.
    """
    name = names.parse(str(name))
    changes = {key: value for key, value in changes.items() if value is not None}
    original = changes.get("parity") == "robrank"
    margin = changes.get("margin", MARGINS[name.loss.metric])
    values: dict[str, Any] = {"name": str(name), "margin": margin, "limit": margin}
    values["structure_weight"] = STRUCTURE_WEIGHTS.get(name.dataset, 0.5)
    if name.small:
        minmax = original and name.defense in ("m", "amd") and name.backbone == "rc2f2"
        values |= {"eps": 77 / 255, "step": 3 / 255, "eta": 7 if minmax else 32, "learning_rate": 1e-3}
        values |= {"weight_decay": 1e-7, "batch": 128, "epochs": 16, "size": 28, "stored": 28, "flip": False}
        values |= {"embedding": 128 if name.backbone == "rlenet" else 512, "freeze_bn": False, "pretrain_epochs": 0}
    else:
        size = changes.get("size", 224)
        batch = {"p": 56, "c": 112, "t": 37}[name.loss.batch]
        frozen = not name.backbone.startswith("rswin") and not (original and name.defense == "d")
        values |= {"eps": 8 / 255, "step": 1 / 255, "eta": 32 if original else 8, "learning_rate": 1e-5}
        values |= {"weight_decay": 4e-4, "batch": batch, "epochs": 150, "size": size, "flip": True}
        values |= {"stored": round(size * 256 / 224), "embedding": 512, "freeze_bn": frozen, "pretrain_epochs": 10}
    values["epochs"] //= {"p": 2, "c": 1, "t": 3}[name.loss.batch]  # a pair shows two images, a triple three
    return RankingRecipe(**values | changes)


def parse_destination(text: str) -> str | float:
    """A destination as words write it: "", a gradual one's name, a miner's letter, or a number in [-2, 2]."""
    if text == "" or text in GRADUAL or text in names.MINERS:
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -2 <= value <= 2:
        raise UserError(
            f"unknown destination {text!r}; it is one of {', '.join(GRADUAL)}, a miner ({' '.join(names.MINERS)}), "
            "or a hardness from -2 to 2"
        )
    return value
