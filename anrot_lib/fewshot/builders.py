"""What builds the head of each method. A head is imported when it is built: this module loads no torch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from anrot_lib.fewshot.heads.contract import Head


def build_gaussian(divergence: str, channels: int) -> "Head":
    from anrot_lib.fewshot.heads.gaussian import GaussianHead

    return GaussianHead(channels, divergence)


def build_variational(channels: int) -> "Head":
    from anrot_lib.fewshot.heads.gaussian import VariationalHead

    return VariationalHead(channels)


def build_prototypes(metric: str, channels: int) -> "Head":
    from anrot_lib.fewshot.heads.prototypes import Prototypes

    return Prototypes(channels, metric)


def build_shots(metric: str, rule: str, channels: int) -> "Head":
    from anrot_lib.fewshot.heads.shots import CosineShots, GaussianShots

    return CosineShots(channels, rule) if metric == "cosine" else GaussianShots(channels, rule)


def build_mirrored_shots(channels: int) -> "Head":
    from anrot_lib.fewshot.heads.shots import MirroredShots

    return MirroredShots(channels, "median")


def build_mirrored(channels: int) -> "Head":
    from anrot_lib.fewshot.heads.prototypes import MirroredPrototypes

    return MirroredPrototypes(channels, "cosine")


def build_published(channels: int) -> "Head":
    from anrot_lib.fewshot.heads.published import PublishedHead

    return PublishedHead(channels)


def compute_released_hesim(embeddings: "Tensor", labels: "Tensor") -> "Tensor":
    """The released Hesim on rows of embeddings (B, D) in place of scores: a constant, whatever the rows are."""
    from anrot_lib.fewshot.heads.published import hesim

    return hesim(embeddings, labels)


def build_easyfsl(name: str, channels: int) -> "Head":
    from anrot_lib.fewshot.heads.easyfsl import EasyFSLHead

    return EasyFSLHead(channels, name)


def build_levels(spec: str, channels: int) -> "Head":
    from anrot_lib.fewshot.levels.combine import build

    return build(spec, channels)


def build_dn4(channels: int) -> "Head":
    from anrot_lib.fewshot.levels.head import LevelHead
    from anrot_lib.fewshot.levels.pixel import PixelLevel

    return LevelHead(channels, PixelLevel(k=3))


def build_crops(channels: int) -> "Head":
    from anrot_lib.fewshot.levels.crops import CropHead

    return CropHead(channels)
