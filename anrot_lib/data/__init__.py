"""Image sets with a class split, and the episodes that are drawn from them."""

from typing import TYPE_CHECKING

from anrot_lib.core.lazy import attach

if TYPE_CHECKING:
    from anrot_lib.data.episodes import Episode, EpisodeManifest, EpisodeRows, EpisodeSampler
    from anrot_lib.data.image_set import ImageSet, build_image_set, load, save
    from anrot_lib.data.preparation.prepare import prepare

__all__ = [
    "Episode",
    "EpisodeManifest",
    "EpisodeRows",
    "EpisodeSampler",
    "ImageSet",
    "build_image_set",
    "load",
    "prepare",
    "save",
]

__getattr__, __dir__ = attach(__name__, __file__)
