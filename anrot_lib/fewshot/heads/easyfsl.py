"""The methods of easyfsl as heads: `--method easyfsl:NAME`."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from anrot_lib.core.errors import UserError
from anrot_lib.core.torchvision_compat import load_torchvision
from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.fewshot.heads.contract import Head, Scores, mark_membership

load_torchvision()  # easyfsl imports it, and beside a CPU build of torch it loads only this way
import easyfsl.methods as easyfsl  # noqa: E402
from easyfsl.modules import MultiHeadAttention  # noqa: E402

__all__ = ["SELF_FITTING", "EasyFSLHead", "EasyFSLModel", "easyfsl", "list_builders"]

# They optimise prototypes inside each call, on features that must be leaves, and hand back logits without a gradient.
SELF_FITTING = ("Finetune", "TIM", "TransductiveFinetuning", "PTMAP")


def list_builders() -> dict[str, Callable[[int], easyfsl.FewShotClassifier]]:
    """Every concrete method of easyfsl by class name, as a function of the feature width."""

    def maker(cls: Callable[..., easyfsl.FewShotClassifier]) -> Callable[[int], easyfsl.FewShotClassifier]:
        wanted = inspect.signature(cls).parameters

        def make(channels: int) -> easyfsl.FewShotClassifier:
            known: dict[str, Any] = {"feature_dimension": channels}
            if "attention_module" in wanted:  # FEAT's; without dropout, which would draw beside our generators
                known["attention_module"] = MultiHeadAttention(1, channels, channels, channels, dropout=0.0)
            return cls(**{k: v for k, v in known.items() if k in wanted})

        return make

    return {
        name: maker(cls)
        for name, cls in vars(easyfsl).items()
        if inspect.isclass(cls) and issubclass(cls, easyfsl.FewShotClassifier) and cls is not easyfsl.FewShotClassifier
    }


class EasyFSLModel(NamedTuple):
    """The support set of E episodes as an easyfsl method wants it: features (E, S, ...), labels and mask (E, S)."""

    features: Tensor
    labels: Tensor
    mask: Tensor


class EasyFSLHead(Head):
    """Any method of easyfsl as a head, episode by episode, as that library does; RelationNetworks on maps, the others
    on averaged features.

    name is the class name in `easyfsl.methods`. Raises UserError for an unknown name.

    The methods of SELF_FITTING give no gradient. In training and under attack their logits keep their values and get
    the gradient of cosine prototypes instead (a straight-through pass; for attacks, BPDA of Athalye et al. 2018), so
    that an encoder can be trained below them, and an attack is not stopped by a gradient that is merely missing.
    """

    def __init__(self, channels: int, name: str):
        super().__init__()
        builders = list_builders()
        if name not in builders:
            raise UserError(f"easyfsl has no method {name!r}; choose one of {', '.join(sorted(builders))}")
        self.method = builders[name](channels)
        self.batch_dependent = bool(self.method.is_transductive())
        self.takes_maps = name == "RelationNetworks"
        self.fits_itself = name in SELF_FITTING

    def describe(self, maps: Tensor) -> Tensor:
        return (maps if self.takes_maps else maps.mean((-2, -1))).float()

    def fit_described(self, support: Tensor, labels: Tensor, mask: Tensor | None = None) -> EasyFSLModel:
        mask = torch.ones_like(labels, dtype=torch.bool) if mask is None else mask
        return EasyFSLModel(support, labels.expand(support.shape[:2]), mask.expand(support.shape[:2]))

    @full_precision
    def score_described(self, model: EasyFSLModel, query: Tensor, generator: torch.Generator | None = None) -> Scores:
        leaf = torch.Tensor.detach if self.fits_itself else lambda features: features
        logits = []
        for features, labels, mask, queries in zip(*model, query, strict=True):
            self.method.process_support_set(leaf(features)[mask], labels[mask])
            logits.append(self.method(leaf(queries)))
        stacked = torch.stack(logits)
        if self.fits_itself and torch.is_grad_enabled():
            stand_in = _cosine(model, query)
            stacked = stacked.detach() + (stand_in - stand_in.detach())
        return Scores(stacked, {}, query.mean((-2, -1)) if self.takes_maps else query)


def _cosine(model: EasyFSLModel, query: Tensor) -> Tensor:
    """10 x the cosine similarity of queries to class means: (E, n, way)."""
    weights = mark_membership(model.labels, model.mask)
    means = weights @ model.features / weights.sum(-1, keepdim=True)
    return 10 * nn.functional.normalize(query, dim=-1) @ nn.functional.normalize(means, dim=-1).mT
