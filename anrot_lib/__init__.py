"""Adversarially and naturally robust few-shot learning: the library behind the ANROT-HELANet course.

    import anrot_lib as anrot

    photos = anrot.prepare("photos", split="random")  # a folder with one folder of images a class
    net = anrot.train(photos, "anrot").net
    print(anrot.evaluate(net, photos))

The names below are all that most work needs. They are loaded when they are first used, so that the command line's help
does not wait for torch. What is beyond them is in the rooms, the packages of this one.
"""

from typing import TYPE_CHECKING

from anrot_lib.core.lazy import attach
from anrot_lib.core.version import __version__ as __version__

if TYPE_CHECKING:
    from anrot_lib.attacks.gradient import attack
    from anrot_lib.attacks.threat import ThreatModel
    from anrot_lib.data.embedded.names import open_embedded
    from anrot_lib.data.episodes import EpisodeManifest
    from anrot_lib.data.image_set import ImageSet
    from anrot_lib.data.preparation.prepare import prepare
    from anrot_lib.experiments.accuracy import evaluate, train
    from anrot_lib.fewshot.classifier import FewShotNet, create_net
    from anrot_lib.fewshot.heads.contract import Head
    from anrot_lib.fewshot.methods import register_method
    from anrot_lib.fewshot.nets import load_net, save_net
    from anrot_lib.reports.comparison import compare
    from anrot_lib.settings import Protocol, Recipe, preset

__all__ = [
    "EpisodeManifest",
    "FewShotNet",
    "Head",
    "ImageSet",
    "Protocol",
    "Recipe",
    "ThreatModel",
    "attack",
    "compare",
    "create_net",
    "evaluate",
    "load_net",
    "open_embedded",
    "prepare",
    "preset",
    "register_method",
    "save_net",
    "train",
]

__getattr__, __dir__ = attach(__name__, __file__)
