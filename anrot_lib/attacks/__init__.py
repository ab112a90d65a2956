"""Threat models, and the attacks that search them: one ascent loop, many objectives."""

from typing import TYPE_CHECKING

from anrot_lib.core.lazy import attach

if TYPE_CHECKING:
    from anrot_lib.attacks.ascent import Ascent, ascend, frozen
    from anrot_lib.attacks.episode import attack_both, attack_episodes, attack_queries, attack_support
    from anrot_lib.attacks.gradient import attack, cross_entropy, fgsm, pgd
    from anrot_lib.attacks.threat import ThreatModel

__all__ = [
    "Ascent",
    "ThreatModel",
    "ascend",
    "attack",
    "attack_both",
    "attack_episodes",
    "attack_queries",
    "attack_support",
    "cross_entropy",
    "fgsm",
    "frozen",
    "pgd",
]

__getattr__, __dir__ = attach(__name__, __file__)
