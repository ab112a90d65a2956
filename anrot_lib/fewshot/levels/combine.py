"""Few-shot heads that compare images at several levels: pixels, parts (channel maps) and distributions.

A combination is `levels:NAME+NAME+...`, with the names of `levels.names`, and with @MODE behind it for a fusion other
than shared_bn. Published ones have names of their own in `fewshot.methods`.
"""

from collections.abc import Callable
from functools import partial

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.heads.contract import Head
from anrot_lib.fewshot.levels.distribution import DistributionLevel
from anrot_lib.fewshot.levels.fusion import MODES, Fusion
from anrot_lib.fewshot.levels.head import Level, LevelHead, MultiLevelHead
from anrot_lib.fewshot.levels.names import MEASURES
from anrot_lib.fewshot.levels.part import PartLevel
from anrot_lib.fewshot.levels.pixel import PixelLevel

LEVELS: dict[str, Callable[[], Level]] = {
    "pixel": PixelLevel,
    "part": PartLevel,
    **{name: partial(DistributionLevel, name) for name in MEASURES},
}


def build(spec: str, channels: int) -> Head:
    """The head of a combination such as "pixel+part+kl" or "pixel+kl@zscore". UserError for unknown names."""
    names, at, mode = spec.partition("@")
    levels = names.split("+")
    if unknown := [name for name in levels if name not in LEVELS]:
        raise UserError(f"unknown level {', '.join(map(repr, unknown))}; choose from {', '.join(LEVELS)}")
    if len(set(levels)) < len(levels):
        raise UserError(f"a level can stand only once in {names!r}")
    modes = [m for m in MODES if m != "slot_bn"]  # which is built for one number of classes
    if at and mode not in modes:
        raise UserError(f"unknown fusion {mode!r}; choose one of {', '.join(modes)}")
    if at and len(levels) == 1:
        raise UserError(f"one level has nothing to fuse; leave @{mode} out, or name several levels with + between them")
    if len(levels) == 1:
        return LevelHead(channels, LEVELS[levels[0]]())
    return MultiLevelHead(
        channels, {name: LEVELS[name]() for name in levels}, partial(Fusion, mode=mode or "shared_bn")
    )
