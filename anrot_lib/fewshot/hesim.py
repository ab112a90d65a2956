"""Hesim: a contrastive loss on Hellinger similarity, on pytorch-metric-learning's base classes.

NT-Xent (Sohn 2016; Chen et al. 2020, arXiv 2002.05709) on the Bhattacharyya coefficient BC = 1 - H^2 of
embeddings, after ANROT-HELANet (arXiv 2509.11220), corrected: on embeddings instead of scores, with masks
applied before the exponential. Every miner, reducer and reference set of pytorch-metric-learning works with it.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import BaseDistance
from pytorch_metric_learning.losses import BaseMetricLossFunction
from pytorch_metric_learning.utils import common_functions as c_f
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import KINDS, DiagonalGaussian, full_precision
from anrot_lib.divergences.measures import compute_terms, pairwise

MetricLoss = Callable[[Tensor, Tensor], Tensor]  # embeddings (B, D), labels (B,) -> a scalar


def flatten_gaussians(gaussian: DiagonalGaussian) -> Tensor:
    """Diagonal Gaussians (..., C) as the rows that Hesim takes: [mean, var], (..., 2C)."""
    if not isinstance(gaussian, DiagonalGaussian):
        raise UserError(f"flatten_gaussians takes diagonal Gaussians, got a {KINDS.get(type(gaussian), 'wrong')} one")
    return torch.cat([gaussian.mean, gaussian.var], -1)


class BhattacharyyaCoefficient(BaseDistance):
    """Bhattacharyya coefficient of all pairs of embeddings: a similarity in [0, 1], 1 at equality.

    kind="gaussian": embeddings (B, 2C) are [mean, var] with var > 0; BC = exp(-D_B / C), the geometric mean of the
    coefficients of the C dimensions. per_dimension=False gives exp(-D_B) of all dimensions jointly. It is here to
    be looked at: beyond some dozens of dimensions it is 0 for every pair in float32, so that a loss on it is
    ln(1 + negatives) with no gradient.
    kind="simplex": embeddings (B, C) are logits; BC = sum_c sqrt(p_c q_c) for p, q their softmax.
    Computed in float32 (float64 stays), also under autocast. Symmetric; gradients are finite everywhere.
    """

    def __init__(self, kind: str = "gaussian", per_dimension: bool = True, **kwargs: Any):
        if kind not in ("gaussian", "simplex"):
            raise UserError(f"kind must be 'gaussian' or 'simplex', got {kind!r}")
        super().__init__(normalize_embeddings=False, is_inverted=True, **kwargs)
        self.kind = kind
        self.per_dimension = per_dimension

    @full_precision
    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """(Q, D), (R, D) -> (Q, R)."""
        if self.kind == "simplex":
            return _roots(query_emb) @ _roots(ref_emb).T
        query = _split(query_emb)
        ref = query if ref_emb is query_emb else _split(ref_emb)
        return self._coefficient(pairwise("bhattacharyya", query, ref), query)

    @full_precision
    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Row by row: (B, D), (B, D) -> (B,)."""
        if self.kind == "simplex":
            return (_roots(query_emb) * _roots(ref_emb)).sum(-1)
        query = _split(query_emb)
        return self._coefficient(compute_terms("bhattacharyya", query, _split(ref_emb)).sum(-1), query)

    def _coefficient(self, bhattacharyya: Tensor, gaussian: DiagonalGaussian) -> Tensor:
        return torch.exp(-bhattacharyya / (gaussian.mean.shape[-1] if self.per_dimension else 1))


def _roots(logits: Tensor) -> Tensor:
    return torch.exp(0.5 * logits.log_softmax(-1))


def _split(embeddings: Tensor) -> DiagonalGaussian:
    if embeddings.shape[-1] % 2:
        raise UserError(
            f"Gaussian embeddings are [mean, var] with an even number of columns, got {embeddings.shape[-1]}; "
            "pass kind='simplex' for plain logits"
        )
    mean, var = embeddings.chunk(2, -1)
    if (var <= 0).any():  # NaN passes, for the training loop's own stop to catch
        raise UserError(
            "the second half of Gaussian embeddings are variances and must be positive; "
            "build them with gaussian_embeddings, or pass kind='simplex' for plain logits"
        )
    return DiagonalGaussian(mean, var)


class Hesim(BaseMetricLossFunction):
    """NT-Xent on the Bhattacharyya coefficient s (or on any of the library's distances).

    For an anchor i, each of its positives p, and all its negatives n:
    l(i, p) = -log( e^{s_ip / T} / (e^{s_ip / T} + sum_n e^{s_in / T}) ) = softplus(logsumexp_n(s_in / T) - s_ip / T).

    embeddings (B, D) as the distance takes them, labels (B,). The default distance is
    `BhattacharyyaCoefficient(kind)`: [mean, var] rows for "gaussian" (see `flatten_gaussians`), logits for
    "simplex". Optional: indices_tuple of a miner (pairs or triplets; a pair listed twice counts twice, as in the
    library's NTXentLoss), ref_emb and ref_labels. The reducer receives one loss for each positive pair, in float32
    (float64 stays) also under autocast. l >= 0; an anchor without negatives has l = 0; without any positive pair
    the loss is 0 with gradient 0. With cosine similarity as the distance it is NTXentLoss.
    The library's wrappers CrossBatchMemory and SelfSupervisedLoss know losses by a list of class names, and this one
    is not on it. As it takes and returns what NTXentLoss does, a subclass of that name is all they need:
    `class NTXentLoss(Hesim): pass`.
    temperature > 0: T in units of the similarity. Memory: one (B, B) matrix, nothing of pairs x pairs.
    """

    def __init__(
        self, temperature: float = 0.1, kind: str = "gaussian", distance: BaseDistance | None = None, **kwargs: Any
    ):
        if not temperature > 0:
            raise UserError(f"the temperature of Hesim must be positive, got {temperature}")
        super().__init__(distance=BhattacharyyaCoefficient(kind) if distance is None else distance, **kwargs)
        self.temperature = temperature
        self.add_to_recordable_attributes(list_of_names=["temperature"], is_stat=False)

    @full_precision
    def _similarity(self, embeddings: Tensor, ref_emb: Tensor) -> Tensor:
        similarity: Tensor = self.distance(embeddings, ref_emb)
        return similarity if self.distance.is_inverted else -similarity

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: tuple[Tensor, ...] | None,
        ref_emb: Tensor,
        ref_labels: Tensor,
    ) -> dict[str, Any]:
        """The library's contract: losses of the positive pairs, their indices, and how to reduce them."""
        c_f.labels_or_indices_tuple_required(labels, indices_tuple)
        anchor, positive, anchor_of_negative, negative = lmu.convert_to_pairs(indices_tuple, labels, ref_labels)
        if len(anchor) == 0 or len(anchor_of_negative) == 0:
            nothing: dict[str, Any] = self.zero_losses()
            return nothing
        logits = self._similarity(embeddings, ref_emb) / self.temperature
        against = _logsumexp_by_row(logits[anchor_of_negative, negative], anchor_of_negative, len(logits))
        losses = -F.logsigmoid(logits[anchor, positive] - against[anchor])
        return {"loss": {"losses": losses, "indices": (anchor, positive), "reduction_type": "pos_pair"}}


def _logsumexp_by_row(values: Tensor, row: Tensor, n_rows: int) -> Tensor:
    """log of the sum of e^value over the values of each row: (K,), (K,) -> (n_rows,).

    A row without values gets a quarter of the most negative float: e^it is 0, and differences stay finite.
    """
    nothing = torch.finfo(values.dtype).min / 4
    peak = values.new_full((n_rows,), nothing).scatter_reduce(0, row, values.detach(), "amax")
    total = torch.zeros_like(peak).index_add(0, row, torch.exp(values - peak[row]))
    empty = total == 0
    return torch.where(empty, nothing, peak + torch.where(empty, 1.0, total).log())
