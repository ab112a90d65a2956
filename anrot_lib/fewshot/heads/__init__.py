"""Heads: from the feature maps of a support set and of queries to logits."""

from anrot_lib.fewshot.heads.contract import Head, ScaledHead, Scores, mark_membership
from anrot_lib.fewshot.heads.gaussian import GaussianHead, VariationalHead
from anrot_lib.fewshot.heads.prototypes import Prototypes

__all__ = ["GaussianHead", "Head", "Prototypes", "ScaledHead", "Scores", "VariationalHead", "mark_membership"]
