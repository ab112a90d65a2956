"""Heads made of levels: one level with a learnt scale, or several fused. DN4, ADM and MML are all of these.

A level is a small object without parameters: `fit(ClassMaps)` gives what it keeps of the classes beyond their maps
(or None), `divergence(ClassMaps, that, query maps)` gives (E, n, way), 0 for a query equal to its class.
"""

from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Protocol

import torch
from torch import Tensor

from anrot_lib.core.trees import map_tree
from anrot_lib.divergences.gaussian import Gaussian, full_precision
from anrot_lib.fewshot.heads.contract import Head, ScaledHead, Scores
from anrot_lib.fewshot.levels.fusion import Fusion
from anrot_lib.fewshot.levels.matching import ClassMaps, group_by_class

NUMBERS_AT_ONCE = 2**23  # of query maps whose levels are computed together; more episodes go one after the other


class Level(Protocol):
    @property
    def scale(self) -> float | None:
        """Where the learnt scale of a head starts; None means the number of channels."""

    def fit(self, pool: ClassMaps) -> Gaussian | None: ...

    def divergence(self, pool: ClassMaps, model: Any, query: Tensor) -> Tensor: ...


def describe_maps(maps: Tensor) -> Tensor:
    """Levels need the maps themselves: (..., C, h, w) in float32 (float64 stays)."""
    return maps if maps.dtype == torch.float64 else maps.float()


def fit_levels(levels: Mapping[str, Level], maps: Tensor, labels: Tensor, mask: Tensor | None) -> dict[str, Any]:
    """The model of E episodes: the support maps by class under "pool", once, and what levels keep beside them."""
    pool = group_by_class(maps, labels, mask)
    kept = {name: level.fit(pool) for name, level in levels.items()}
    return {"pool": pool, **{name: model for name, model in kept.items() if model is not None}}


def compute_divergences(levels: Mapping[str, Level], model: dict[str, Any], query: Tensor) -> dict[str, Tensor]:
    """Every level's divergences (E, n, way) of query maps (E, n, C, h, w), episodes in turn where they are large."""
    parts: dict[str, list[Tensor]] = {name: [] for name in levels}
    for rows in _episodes(query):
        part = model if rows is None else map_tree(itemgetter(rows), model)
        maps = query if rows is None else query[rows]
        for name, level in levels.items():
            parts[name].append(level.divergence(part["pool"], part.get(name), maps))
    return {name: some[0] if len(some) == 1 else torch.cat(some) for name, some in parts.items()}


def _episodes(query: Tensor) -> Iterator[slice | None]:
    step = max(1, NUMBERS_AT_ONCE // max(1, query[0].numel()))
    if step >= len(query):
        yield None
        return
    for first in range(0, len(query), step):
        yield slice(first, first + step)


class LevelHead(ScaledHead):
    """One level alone: logits = -scale x divergence, the scale learnt."""

    def __init__(self, channels: int, level: Level):
        super().__init__(level.scale or float(channels))
        self.channels, self.level = channels, level

    def describe(self, maps: Tensor) -> Tensor:
        return describe_maps(maps)

    @full_precision
    def fit_described(self, support: Tensor, labels: Tensor, mask: Tensor | None = None) -> dict[str, Any]:
        return fit_levels({"level": self.level}, support, labels, mask)

    @full_precision
    def score_described(self, model: dict[str, Any], query: Tensor, generator: torch.Generator | None = None) -> Scores:
        divergence = compute_divergences({"level": self.level}, model, query)["level"]
        return Scores(self._logits(divergence), {}, query.mean((-2, -1)))


class MultiLevelHead(Head):
    """Several levels, fused. `Scores.levels` holds each level's contribution; they add up to the logits."""

    def __init__(self, channels: int, levels: Mapping[str, Level], fusion: Callable[[list[str]], Fusion] = Fusion):
        super().__init__()
        self.channels, self.levels = channels, dict(levels)
        self.fusion = fusion(list(levels))

    def describe(self, maps: Tensor) -> Tensor:
        return describe_maps(maps)

    @full_precision
    def fit_described(self, support: Tensor, labels: Tensor, mask: Tensor | None = None) -> dict[str, Any]:
        return fit_levels(self.levels, support, labels, mask)

    def divergences(self, model: dict[str, Any], query: Tensor) -> dict[str, Tensor]:
        """Every level's divergences before fusion, (E, n, way) each."""
        return compute_divergences(self.levels, model, query)

    @full_precision
    def score_described(self, model: dict[str, Any], query: Tensor, generator: torch.Generator | None = None) -> Scores:
        divergences = self.divergences(model, query)
        parts = self.fusion(*(divergences[name] for name in self.levels))
        return Scores(torch.stack(list(parts.values())).sum(0), parts, query.mean((-2, -1)))

    def shares(self) -> dict[str, float]:
        """Each level's share of the logits, over training so far: see `Fusion.shares`."""
        return self.fusion.shares()
