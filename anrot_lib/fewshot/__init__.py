"""Few-shot nets: encoders, heads, the registry of methods, training and testing."""

from typing import TYPE_CHECKING

from anrot_lib.core.lazy import attach

if TYPE_CHECKING:
    from anrot_lib.fewshot.classifier import BoundEpisodes, FewShotNet, create_net
    from anrot_lib.fewshot.evaluation import Evaluator, count_attacked, count_changed, count_clean
    from anrot_lib.fewshot.hesim import BhattacharyyaCoefficient, Hesim, flatten_gaussians
    from anrot_lib.fewshot.methods import Method, build_head, get_method, list_methods, register_method
    from anrot_lib.fewshot.nets import load_net, save_net
    from anrot_lib.fewshot.prediction import predict
    from anrot_lib.fewshot.training import TrainedNet, train

__all__ = [
    "BhattacharyyaCoefficient",
    "BoundEpisodes",
    "Evaluator",
    "FewShotNet",
    "Hesim",
    "Method",
    "TrainedNet",
    "build_head",
    "count_attacked",
    "count_changed",
    "count_clean",
    "create_net",
    "flatten_gaussians",
    "get_method",
    "list_methods",
    "load_net",
    "predict",
    "register_method",
    "save_net",
    "train",
]

__getattr__, __dir__ = attach(__name__, __file__)
