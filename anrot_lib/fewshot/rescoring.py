"""Queries that somebody else made, scored again: one episode at a time, by the net as it was stored.

Nothing of the attacks or of the batched test is used: the net keeps its batch norms, takes one support set by the
contract of easyfsl, and names the queries.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.classifier import FewShotNet

TIE = 1e-5  # of the spread of a query's logits: below, another order of additions may turn the answer


class Named(NamedTuple):
    """Which queries (n,) the net names right, and which answers are ties. A tie counts as right."""

    right: Tensor
    tied: Tensor


@torch.no_grad()
def name_queries(net: FewShotNet, support: Tensor, queries: Tensor, labels: Tensor) -> Named:
    """Score one episode: support images (way, shot, C, H, W), queries (n, C, H, W) with labels (n,).

    A query counts as misclassified if a wrong logit exceeds the right one by more than TIE of the spread of its logits:
    somebody who wants a row to fall must beat a query by more than rounding. UserError for a net in train mode.
    """
    if net.training:
        raise UserError("the net is in train mode; call net.eval()")
    way, shot = support.shape[:2]
    names = torch.tensor([c for c in range(way) for _ in range(shot)], device=support.device)
    net.process_support_set(support.flatten(0, 1), names)
    right, tied = [], []
    for logits, label in zip(net(queries).double().tolist(), labels.tolist(), strict=True):
        wrong = max(value for c, value in enumerate(logits) if c != label)
        allowed = TIE * (max(logits) - min(logits))
        right.append(wrong - logits[label] <= allowed)
        tied.append(abs(wrong - logits[label]) <= allowed)
    return Named(torch.tensor(right), torch.tensor(tied))
