"""What a name such as cub:rres18ghmetsmi:ptripletN means: data set, backbone, defense, loss. Nothing is generated.

<dataset>:<backbone><defense>:<loss>

dataset   mnist, fashion (28 px), cub, cars, sop (224 px), or the name of a prepared image set
defense   nothing (vanilla), d (EST), p (ACT), e (SES), m or amd (min-max), r (REST), or hardness manipulation:
          (g)(hm|rh)(et|l2|kl)(source)(destination)(i), with miners r, m, s, d, h
loss      p (two images a class), c (single images) or t (triples), a miner (m s d h D, none is random), the kind,
          BT (Barlow Twins beside it), and the metric N, C, E or H (H: this kit's, see distances)
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from anrot_lib.core.errors import UserError

DATASETS_28, DATASETS_224 = ("mnist", "fashion"), ("cub", "cars", "sop")
BACKBONES_28 = ("rc2f2", "rlenet")
SWINS = ("rswint", "rswins", "rswinb", "rswinl")
BACKBONES_224 = ("rres18", "rres50", "rmnas05", "rmnas10", "reffb0", "ribn", *SWINS)
BACKBONES = (*BACKBONES_28, *BACKBONES_224)
MINERS = {"r": "random", "m": "semihard", "s": "softhard", "d": "distance", "h": "hardest"}
DISTANCES = {"et": "thresholded Euclidean", "l2": "Euclidean", "kl": "Kullback-Leibler"}
DEFENSES = {"": "vanilla", "d": "EST", "p": "ACT", "e": "SES", "m": "min-max", "amd": "min-max", "r": "REST"}
# Suffixes of the original code that were tried and given up by its authors; refused by name, not as a typing mistake.
LEFT_OUT = ("t", "a", "df", "pf", "px", "pbt", "hmix", "ramd", "amdsemi", "fatnone", "fatamd", "fatamdsemi")
METRICS = ("N", "C", "E", "H")
MARGINS = {"N": 0.2, "C": 0.2, "E": 1.0, "H": 0.1}  # of the triplet loss, under each metric


class Kind(NamedTuple):
    """What may stand around the kind of a loss: its batches, miners ("" is random) and metrics."""

    batches: str
    miners: tuple[str, ...]
    metrics: str


KINDS = {
    "triplet": Kind("pct", ("", "m", "s", "d", "h", "D"), "NECH"),
    "contrast": Kind("p", ("", "d", "D"), "NEC"),
    "margin": Kind("p", ("", "d"), "NEC"),
    "quad": Kind("p", ("", "d"), "NEC"),
    "glift": Kind("p", ("",), "NEC"),
    "npair": Kind("p", ("",), "NEC"),
    "ms": Kind("p", ("",), "NC"),
    "snr": Kind("p", ("",), "NEC"),
}
ON_UNIT_SPHERE = ("d", "D")  # miners whose weights are those of unit vectors: metric N, and C and E for pdtriplet
_LOSS = re.compile(rf"([pct])([msdhD]?)({'|'.join(KINDS)})(BT)?([NECH])")
_HARDNESS = re.compile(r"(g?)(hm|rh)(et|l2|kl)([rmsdh])([rmsdh])(i?)")


@dataclass(frozen=True)
class Hardness:
    """Hardness manipulation HM[source, destination].

    gradual      the destination follows the loss (LGA); then the destination's miner counts for nothing
    anchor       the anchor is perturbed too (hm), or only positive and negative are (rh)
    distance     "et", "l2" or "kl": how the hardness of the attacked triplets is drawn to that of the destination
    source       miner of the triplets that are trained on; destination: miner of those whose hardness is aimed at
    structure    the intra-class structure loss is added
    """

    gradual: bool
    anchor: bool
    distance: str
    source: str
    destination: str
    structure: bool

    def __str__(self) -> str:
        first = ("g" if self.gradual else "") + ("hm" if self.anchor else "rh")
        return first + self.distance + self.source + self.destination + ("i" if self.structure else "")


@dataclass(frozen=True)
class Loss:
    """batch "p", "c" or "t"; miner "r", "m", "s", "d", "h" or "D" (d, and for 15 % of batches positive = anchor)."""

    batch: str
    miner: str
    kind: str
    barlow: bool
    metric: str

    def __str__(self) -> str:
        miner = "" if self.miner == "r" else self.miner
        return self.batch + miner + self.kind + ("BT" if self.barlow else "") + self.metric


@dataclass(frozen=True)
class Name:
    """A whole name. `defense` is a key of DEFENSES, or a Hardness."""

    dataset: str
    backbone: str
    defense: str | Hardness
    loss: Loss

    def __str__(self) -> str:
        return f"{self.dataset}:{self.backbone}{self.defense}:{self.loss}"

    @property
    def hardness(self) -> Hardness | None:
        return self.defense if isinstance(self.defense, Hardness) else None

    @property
    def small(self) -> bool:
        """A backbone for 1 x 28 x 28 images."""
        return self.backbone in BACKBONES_28

    @property
    def title(self) -> str:
        """The defense as tables write it: "vanilla", "EST[R]", "HM[S,LGA]+ICS"."""
        if isinstance(self.defense, str):
            miner = self.loss.miner.upper()
            return f"N/A[{miner}]" if self.defense == "" else f"{DEFENSES[self.defense]}[{miner}]"
        hard = self.defense
        destination = "LGA" if hard.gradual else hard.destination.upper()
        tail = ("" if hard.anchor else " fixed anchor") + ("" if hard.distance == "et" else f" {hard.distance}")
        return f"HM[{hard.source.upper()},{destination}]{'+ICS' if hard.structure else ''}{tail}"


def parse(text: str) -> Name:
    """The parts of a name; `str` gives it back. UserError, in one sentence, for one that is not of the grammar."""
    parts = text.split(":")
    if len(parts) != 3 or not all(re.fullmatch(r"\w+", part, re.ASCII) for part in parts):
        raise UserError(f"{text!r} is not dataset:model:loss, such as cub:rres18ghmetsmi:ptripletN")
    dataset, model, loss_text = parts
    backbone, defense = parse_model(model)
    name = Name(dataset, backbone, defense, parse_loss(loss_text))
    _check(name)
    return name


def parse_model(model: str) -> tuple[str, str | Hardness]:
    """Backbone and defense of a model's name. UserError for an unknown one."""
    backbone = next((b for b in BACKBONES if model.startswith(b)), None)
    if backbone is None:
        if model[:1] in "ch" and any(model[1:].startswith(b[1:]) for b in BACKBONES):
            raise UserError(f"model {model!r} is for classification or both tasks; ranking models begin with r")
        raise UserError(f"unknown backbone in model {model!r}; it begins with one of {', '.join(BACKBONES)}")
    suffix = model[len(backbone) :]
    if suffix in DEFENSES:
        return backbone, suffix
    if match := _HARDNESS.fullmatch(suffix):
        gradual, anchor, distance, source, destination, structure = match.groups()
        return backbone, Hardness(bool(gradual), anchor == "hm", distance, source, destination, bool(structure))
    if suffix in LEFT_OUT:
        raise UserError(f"the defense {suffix!r} of model {model!r} was given up by its authors and is not here")
    known = ", ".join(filter(None, DEFENSES))
    raise UserError(
        f"unknown defense {suffix!r} in model {model!r}; after {backbone} comes nothing, one of {known}, "
        "or (g)(hm|rh)(et|l2|kl) and two of r m s d h, then (i)"
    )


def parse_loss(text: str) -> Loss:
    """The parts of a loss's name. UserError for one that does not exist."""
    match = _LOSS.fullmatch(text)
    if match is None:
        raise UserError(
            f"unknown loss {text!r}; it is p, c or t, a miner (m s d h D or none), "
            f"one of {', '.join(KINDS)}, BT or nothing, then N, C, E or H, such as ptripletN"
        )
    batch, miner, kind, barlow, metric = match.groups()
    rule = KINDS[kind]
    allowed = batch in rule.batches and miner in rule.miners and metric in rule.metrics
    anywhere = miner not in ON_UNIT_SPHERE or (miner == "d" and kind == "triplet" and metric in "CE")
    allowed &= metric == "N" or (anywhere and not barlow)
    allowed &= batch == "p" or (miner == "" and not barlow)
    allowed &= kind == "triplet" or not barlow
    if not allowed:
        raise UserError(f"the loss {text!r} is not registered: {_rule(kind)}")
    return Loss(batch, miner or "r", kind, bool(barlow), metric)


def _rule(kind: str) -> str:
    rule = KINDS[kind]
    also = ", but pdtripletC and pdtripletE too" if kind == "triplet" else ""
    named = " ".join(filter(None, rule.miners))
    miners = f"miners {named} (d and D with N only{also})" if named else "no miner"
    barlow = "; BT with p and N only" if kind == "triplet" else ""
    return f"{kind} goes with {'/'.join(rule.batches)}, {miners} and the metrics {' '.join(rule.metrics)}{barlow}"


def _check(name: Name) -> None:
    """UserError for parts that do not go together."""
    for datasets, backbones, size in ((DATASETS_28, BACKBONES_28, 28), (DATASETS_224, BACKBONES_224, 224)):
        if name.dataset in datasets and name.backbone not in backbones:
            raise UserError(
                f"{name}: {name.dataset} has {size} px images and goes with the backbones {', '.join(backbones)}"
            )
    if name.hardness is not None and name.loss.metric not in "NH":
        raise UserError(f"{name}: hardness manipulation goes with the metrics N and H; end the loss with one of them")
    if name.hardness is not None and name.loss.kind != "triplet":
        raise UserError(f"{name}: hardness manipulation goes with the triplet loss; use ptripletN")
    if name.defense in ("p", "m", "amd", "r") and name.loss.kind != "triplet":
        raise UserError(f"{name}: {DEFENSES[name.defense]} attacks triplets and goes with the triplet loss only")
    if name.defense != "" and name.loss.batch != "p":
        raise UserError(f"{name}: a defense needs batches of two images a class; begin the loss with p")


def get_warning(name: Name) -> str | None:
    """What to know before a training of this name, if its authors gave it up."""
    hard = name.hardness
    if hard is not None and hard.distance in ("l2", "kl"):
        return (
            f"{name}: the alignment {DISTANCES[hard.distance]} did not train in the original; et is the one that works"
        )
    return None
