"""Robust deep metric learning: embeddings that keep their ranking when images are attacked."""

from typing import TYPE_CHECKING

from anrot_lib.core.lazy import attach

if TYPE_CHECKING:
    from anrot_lib.ranking.attacks.names import RankAttack
    from anrot_lib.ranking.attacks.suite import Subject, run_attack
    from anrot_lib.ranking.embedders import Embedder
    from anrot_lib.ranking.gallery import Gallery
    from anrot_lib.ranking.recipe import RankingRecipe, build_recipe
    from anrot_lib.ranking.retrieval import retrieve
    from anrot_lib.ranking.score.testing import ScoreProtocol, build_subject
    from anrot_lib.ranking.training.loop import TrainedEmbedder, train

__all__ = [
    "Embedder",
    "Gallery",
    "RankAttack",
    "RankingRecipe",
    "ScoreProtocol",
    "Subject",
    "TrainedEmbedder",
    "build_recipe",
    "build_subject",
    "retrieve",
    "run_attack",
    "train",
]

__getattr__, __dir__ = attach(__name__, __file__)
