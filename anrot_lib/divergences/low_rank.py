"""Kullback-Leibler and Bhattacharyya of all pairs of Gaussians with low-rank covariances S = r I + A A^T, A (C, n).

Formulas as in `full`. Only Gram matrices A^T A and A^T B of size n are built, and the C dimensions appear in dot
products alone. A covariance without a ridge is singular: a UserError. Values between equal Gaussians are 0 to the
rounding of float64, of either sign.
"""

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import LowRankGaussian
from anrot_lib.divergences.linalg import SINGULAR, cholesky, cross_gram, log_det, log_det_and_form, solve_lower
from anrot_lib.divergences.pairs import compare_all_pairs


def kl(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    """KL(p || q), p (..., n) and q (..., m) -> (..., n, m) in [0, inf). Inverts the covariances of q."""
    c, a, b = p.mean.shape[-1], p.factor.shape[-1], q.factor.shape[-1]
    return compare_all_pairs(_kl, p, q, 2 * (c + b * (a + 1)))


def bhattacharyya(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    """D_B, symmetric: (..., n, m) in [0, inf). One Cholesky factor a pair."""
    return compare_all_pairs(_bhattacharyya, p, q, 3 * (p.factor.shape[-1] + q.factor.shape[-1]) ** 2)


def _kl(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    (n, a), c = (p.factor.shape[1], p.factor.shape[-1]), p.mean.shape[-1]
    lower = cholesky(_inner(q))
    cross = cross_gram(q, p).transpose(2, 3).flatten(-2)  # (B, m, b, n a)
    explained = solve_lower(lower, cross).square().sum(-2).view(*cross.shape[:2], n, a).sum(-1)
    gaps = p.mean.mT.unsqueeze(1) - q.mean.unsqueeze(-1)  # (B, m, C, n)
    along = solve_lower(lower, q.factor.mT @ gaps).square().sum(-2)
    ridge_p, ridge_q = p.ridge.unsqueeze(1), q.ridge.unsqueeze(2)  # (B, 1, n), (B, m, 1)
    inverse = torch.cholesky_inverse(lower).diagonal(dim1=-2, dim2=-1).sum(-1)
    rank = q.factor.shape[-1] - q.ridge * inverse  # tr(K^-1 B^T B)
    spread = ridge_p * c + p.factor.square().sum((-2, -1)).unsqueeze(1) - ridge_p * rank.unsqueeze(2) - explained
    distance = gaps.square().sum(-2) - along
    logs = _log_det(q, lower).unsqueeze(2) - _log_det(p, cholesky(_inner(p))).unsqueeze(1)
    return (0.5 * ((spread + distance) / ridge_q - c + logs)).mT


def _bhattacharyya(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    c, (a, b) = p.mean.shape[-1], (p.factor.shape[-1], q.factor.shape[-1])
    inner_p, inner_q = _inner(p), _inner(q)  # with their ridges: (B, n, a, a), (B, m, b, b)
    ridge = 0.5 * (p.ridge.unsqueeze(2) + q.ridge.unsqueeze(1))
    cross = cross_gram(p, q)  # (B, n, m, a, b)
    shape = cross.shape[:-2]
    gram_p = (inner_p - _eye(a, p) * p.ridge[..., None, None]).unsqueeze(2).expand(*shape, a, a)
    gram_q = (inner_q - _eye(b, q) * q.ridge[..., None, None]).unsqueeze(1).expand(*shape, b, b)
    gram = torch.cat([torch.cat([gram_p, cross], -1), torch.cat([cross.mT, gram_q], -1)], -2)
    gaps = p.mean.unsqueeze(2) - q.mean.unsqueeze(1)  # (B, n, m, C)
    along_q = (gaps.transpose(1, 2) @ q.factor).transpose(1, 2)
    along = torch.cat([gaps @ p.factor, along_q], -1) * 0.5**0.5
    logs_inside, inside = log_det_and_form(0.5 * gram + ridge[..., None, None] * _eye(a + b, p), along)
    distance = (gaps.square().sum(-1) - inside) / ridge
    middle = (c - a - b) * ridge.log() + logs_inside
    logs = _log_det(p, cholesky(inner_p)).unsqueeze(2) + _log_det(q, cholesky(inner_q)).unsqueeze(1)
    return distance / 8 + 0.5 * middle - 0.25 * logs


def _eye(size: int, like: LowRankGaussian) -> Tensor:
    return torch.eye(size, dtype=like.mean.dtype, device=like.mean.device)


def _inner(g: LowRankGaussian) -> Tensor:
    """K = ridge I + A^T A, (B, n, r, r); UserError without a ridge, for then the covariance is singular."""
    if (g.ridge <= 0).any():
        raise UserError(SINGULAR)
    return g.factor.mT @ g.factor + g.ridge[..., None, None] * _eye(g.factor.shape[-1], g)


def _log_det(g: LowRankGaussian, lower: Tensor) -> Tensor:
    return (g.mean.shape[-1] - g.factor.shape[-1]) * g.ridge.log() + log_det(lower)
