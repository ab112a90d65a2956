"""Heads that compare images at several levels: pixels, parts (channel maps or crops), distributions."""

from typing import TYPE_CHECKING

from anrot_lib.core.lazy import attach

if TYPE_CHECKING:
    from anrot_lib.fewshot.levels.crops import CropHead
    from anrot_lib.fewshot.levels.distribution import DistributionLevel
    from anrot_lib.fewshot.levels.fusion import Fusion, fit, measure_shares
    from anrot_lib.fewshot.levels.head import LevelHead, MultiLevelHead, compute_divergences, fit_levels
    from anrot_lib.fewshot.levels.matching import ClassMaps, group_by_class
    from anrot_lib.fewshot.levels.part import PartLevel, part_similarity
    from anrot_lib.fewshot.levels.pixel import PixelLevel, pixel_similarity

__all__ = [
    "ClassMaps",
    "CropHead",
    "DistributionLevel",
    "Fusion",
    "LevelHead",
    "MultiLevelHead",
    "PartLevel",
    "PixelLevel",
    "compute_divergences",
    "fit",
    "fit_levels",
    "group_by_class",
    "measure_shares",
    "part_similarity",
    "pixel_similarity",
]

__getattr__, __dir__ = attach(__name__, __file__)
