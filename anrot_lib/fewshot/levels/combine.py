"""Few-shot heads that compare images at several levels: pixels, parts (channel maps) and distributions.

`METHODS` are the names of `--method`; any other combination is `levels:NAME+NAME+...`, with the names pixel, part and
those of `distribution.MEASURES`, and with @MODE behind it for a fusion other than shared_bn.
"""

from collections.abc import Callable
from functools import partial

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.heads.contract import Head
from anrot_lib.fewshot.levels.crops import CropHead
from anrot_lib.fewshot.levels.distribution import MEASURES, DistributionLevel
from anrot_lib.fewshot.levels.fusion import MODES, Fusion, fit, level_shares
from anrot_lib.fewshot.levels.head import Level, LevelHead, MultiLevelHead
from anrot_lib.fewshot.levels.part import PartLevel
from anrot_lib.fewshot.levels.pixel import PixelLevel

__all__ = [
    "METHODS",
    "OF_IMAGES",
    "CropHead",
    "DistributionLevel",
    "Fusion",
    "LevelHead",
    "MultiLevelHead",
    "PartLevel",
    "PixelLevel",
    "build",
    "fit",
    "level_shares",
]

PREFIX = "levels:"
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


METHODS: dict[str, Callable[[int], Head]] = {
    "mml": partial(build, "pixel+part+kl-reverse"),
    "mml-wasserstein2": partial(build, "pixel+part+wasserstein2"),
    "mml-hellinger": partial(build, "pixel+part+hellinger"),
    "dn4": lambda channels: LevelHead(channels, PixelLevel(k=3)),
    "adm": partial(build, "pixel+kl"),
    "part": partial(build, "part"),
    **{f"distribution-{name}": partial(build, name) for name in MEASURES},
}

# Heads that look at the image themselves, and so work in a whole net only.
OF_IMAGES: dict[str, Callable[[int], Head]] = {"mml-2022": CropHead}
