"""Testing a ranking model: retrieval on clean images, the ten attack numbers, the score; as one record."""

import dataclasses
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from anrot_lib.core import statistics
from anrot_lib.core.errors import UserError
from anrot_lib.core.ranks import ALONE, PartStore, Ranks, measure_parts
from anrot_lib.ranking import retrieval
from anrot_lib.ranking.attacks import suite
from anrot_lib.ranking.attacks.names import RankAttack
from anrot_lib.ranking.attacks.suite import BATCH, Subject, Values
from anrot_lib.ranking.data.sets import Part
from anrot_lib.ranking.gallery import Gallery, compute_chance
from anrot_lib.ranking.recipe import PARITIES
from anrot_lib.ranking.score import ers
from anrot_lib.ranking.shards import Shard, cut, embed

# bar(title, total) gives a context whose value is called with (done)
Bar = Callable[[str, int], AbstractContextManager[Callable[..., None]]]
OTHER = {"fixed": "GTM robrank", "robrank": "GTM fixed"}  # GTM is always measured both ways; this is the other one


@dataclass(frozen=True)
class ScoreProtocol:
    """What is asked of a model: attacks, number of attacked queries (None: all), seed, parity "fixed" or "robrank"."""

    attacks: tuple[RankAttack, ...]
    queries: int | None = None
    seed: int = 0
    parity: str = "fixed"

    def __post_init__(self) -> None:
        if self.parity not in PARITIES:
            raise UserError(f"unknown parity {self.parity!r}; choose fixed or robrank")

    def describe(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"attacks": [str(attack) for attack in self.attacks]}


def embed_part(
    net: nn.Module, metric: str, part: Part, device: torch.device | str, bar: Bar, ranks: Ranks = ALONE
) -> Shard:
    """The gallery of all images of the test part, of which each process encodes and holds its tiles."""
    net = net.to(device).eval()
    with bar("embed the test images", len(part)) as progress:
        return embed(net, partial(part.batch, device=device), part.labels.to(device), metric, progress, ranks)


def build_subject(
    net: nn.Module, metric: str, part: Part, device: torch.device | str, bar: Bar, ranks: Ranks = ALONE
) -> Subject:
    """The net, in eval mode, with the whole gallery of the test part: an attack asks for all of it at every step."""
    return gather_subject(net, embed_part(net, metric, part, device, bar, ranks), part)


def gather_subject(net: nn.Module, shard: Shard, part: Part) -> Subject:
    """The net with the whole gallery of the test part, in every process that holds a shard of it."""
    return Subject(net, shard.gather(), partial(part.batch, device=shard.labels.device))


def measure_benign(gallery: Gallery | Shard, bar: Bar, nmi: bool = True, seed: int = 0) -> dict[str, float]:
    """R@1, R@2, mAP, mAP@10, MAP@R and NMI in per cent, first hit, images alone in their class; chance and mean cosine.

    nmi=False leaves out NMI, whose k-means takes long where there are thousands of classes, and takes place in the
    first process, on the whole gallery.
    """
    shard = gallery if isinstance(gallery, Shard) else cut(gallery)
    with bar("retrieval on clean images", len(shard)) as progress:
        numbers = retrieval.retrieve(shard, progress=progress).summary()
    if nmi:
        whole = shard.gather()
        numbers["NMI"] = shard.ranks.gather(retrieval.measure_nmi(whole, seed) if shard.ranks.is_first else 0.0)[0]
    return numbers | {"chance": 100 * compute_chance(shard.labels), "mean cosine": shard.mean_cosine()}


def attack_all(
    subject: Subject,
    protocol: ScoreProtocol,
    rows: np.ndarray,
    bar: Bar,
    journal: PartStore | None = None,
    adversary: Callable[[RankAttack], suite.Adversary] | None = None,
    key: str = "",
    both_gtm: bool = True,
    ranks: Ranks = ALONE,
) -> tuple[Values, Values, dict[str, float]]:
    """(benign numbers, attacked numbers, seconds of each number) of the queries in `rows`.

    Beside the ten numbers, with both_gtm, GTM as the other parity has it, under the name in OTHER. Batches of queries
    are attacked in turns by the processes; seconds are the sum of theirs.

    adversary  what attacks, from the attack; `suite.pgd` unless given.
    journal    finished batches are kept there, under names that begin with `key`, and are not computed again.
    """
    runs = [(attack, protocol.parity == "robrank") for attack in protocol.attacks]
    if both_gtm:
        runs += [(attack, not parity) for attack, parity in runs if attack.kind == "GTM"]
    names: list[list[str]] = []
    measures: dict[str, Callable[[], suite.Part]] = {}
    for attack, parity in runs:
        made = suite.list_parts(
            subject, attack, rows, protocol.seed, parity, None if adversary is None else adversary(attack)
        )
        kind = "robrank" if parity else "fixed"
        names.append([f"{key}{kind}/{name}" for name in made])
        measures |= zip(names[-1], made.values(), strict=True)
    times: dict[str, float] = {}
    with bar(f"attack {len(rows)} queries, {len(runs)} times", len(runs) * len(rows)) as progress:
        done = {name: round((k + 1) * len(runs) * len(rows) / len(measures)) for k, name in enumerate(measures)}

        def measure(name: str) -> suite.Part:
            started = time.perf_counter()
            part = measures[name]()
            times[name] = time.perf_counter() - started
            progress(done[name])
            return part

        parts = measure_parts({name: partial(measure, name) for name in measures}, journal, ranks)
    spent = ranks.gather(times)
    benign: Values = {}
    attacked: Values = {}
    seconds: dict[str, float] = {}
    for (_, parity), some in zip(runs, names, strict=True):
        result, other = suite.join_parts(parts[name] for name in some), parity != (protocol.parity == "robrank")
        for name in result.attacked:
            to = OTHER[protocol.parity] if other else name
            benign[to], attacked[to] = result.benign[name], result.attacked[name]
            seconds[to] = sum(of_process.get(part, 0.0) for part in some for of_process in spent)
    return benign, attacked, seconds


def summarise(
    protocol: ScoreProtocol, benign: Values, attacked: Values, seconds: dict[str, float], clean: dict[str, float]
) -> dict[str, Any]:
    """The parts "numbers", "ers" and "queries" of a record."""
    of_attack = {name: attack for attack in protocol.attacks for name in _names(attack)}
    of_attack[OTHER[protocol.parity]] = of_attack["GTM"]
    mean = _batch_mean if protocol.parity == "robrank" else _mean
    means = {name: _digits(mean(attacked[name])) for name in attacked}
    numbers = {
        name: {
            "attack": str(of_attack[name]),
            "benign": _digits(mean(benign[name])),
            "attacked": means[name],
            "half_width": _digits(_half_width(attacked[name])),
            "seconds": round(seconds[name], 2),
        }
        for name in attacked
    }
    score = ers.score(attacked)
    other = ers.score(attacked | {"GTM": attacked[OTHER[protocol.parity]]})
    return {
        "numbers": numbers,
        "ers": {
            "value": _digits(ers.ers({name: means[name] for name in ers.NUMBERS})),
            "half_width": _digits(score.half_width),
            "bootstrap": [_digits(score.low), _digits(score.high)],
            "ceiling": _digits(ers.score(benign).value),
            f"with {OTHER[protocol.parity]}": _digits(other.value),
            "collapsed": ers.has_collapsed(clean["R@1"], clean["chance"], clean["mean cosine"]),
        },
        "queries": [round(float(value), 2) for value in ers.ers({n: attacked[n] for n in ers.NUMBERS})],
    }


def _names(attack: RankAttack) -> tuple[str, ...]:
    return ("ES:D", "ES:R") if attack.kind == "ES" else (attack.title,)


def _digits(value: float) -> float:
    return round(float(value), 4)


def _half_width(values: np.ndarray) -> float:
    return statistics.interval(values / 100).half_width


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values))


def _batch_mean(values: np.ndarray) -> float:
    """The mean of the means of batches, the last and smaller one counting as much as the others: as published."""
    return float(np.mean([values[at : at + BATCH].mean() for at in range(0, len(values), BATCH)]))
