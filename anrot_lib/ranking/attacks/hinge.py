"""The loss of the query attacks: how far a query lies from its partners, against its distances to all rows."""

from typing import Any

import torch
from torch import Tensor

from anrot_lib.ranking.distances import cdist
from anrot_lib.ranking.gallery import Gallery

NEAREST_DISTANCE = 1e-4  # in a gradient no distance counts as less: float32 does not resolve it


class _QueryHinge(torch.autograd.Function):
    """`query_hinge` with its gradient in q for N, C and E.

    Forward and backward need the same matrix of distances and one matrix product each, so both are done at once.
    """

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, gallery: Gallery, partners: Tensor, sign: int) -> Tensor:
        distances = gallery.distances(embeddings)
        at = distances.gather(1, partners)
        total = distances.new_zeros(len(distances))
        weights: Tensor | None = None
        for j in range(partners.shape[1]):
            hinge = torch.sub(at[:, j : j + 1], distances).mul_(sign).relu_()
            total = total + hinge.sum(1)
            active = hinge.sign_()
            count = active.sum(1, keepdim=True)
            active.neg_().scatter_add_(1, partners[:, j : j + 1], count)
            weights = active if weights is None else weights.add_(active)
        assert weights is not None, "there is at least one partner"
        scale = sign / (partners.shape[1] * len(gallery))
        if gallery.metric != "C":  # d is a root: its gradient is (q - x) / d; of 1 - cos = d^2 / 2 it is q - x
            weights.div_(distances.clamp_min_(NEAREST_DISTANCE))
        rows = embeddings - gallery.centre
        gradient = weights.sum(1, keepdim=True) * rows - weights @ gallery.centred
        ctx.save_for_backward(gradient.mul_(scale))
        return total * abs(scale)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad_output.unsqueeze(1) * gradient, None, None, None


def query_hinge(embeddings: Tensor, gallery: Gallery, partners: Tensor, sign: int) -> Tensor:
    """Mean over partners C and all x of relu(sign (d(q, C) - d(q, x))), for embeddings (B, D): (B,)."""
    if gallery.metric != "H":
        loss: Tensor = _QueryHinge.apply(embeddings, gallery, partners, sign)  # type: ignore[no-untyped-call]
        return loss
    distances = cdist(embeddings, gallery.embeddings, "H")
    at = distances.gather(1, partners).unsqueeze(2)
    return (sign * (at - distances.unsqueeze(1))).relu().mean((1, 2))
