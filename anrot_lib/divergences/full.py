"""Kullback-Leibler and Bhattacharyya of all pairs of Gaussians with full covariances.

With d = m_p - m_q and M = (S_p + S_q) / 2:
    KL(p || q) = [tr(S_q^-1 S_p) - C + ln det S_q - ln det S_p + d^T S_q^-1 d] / 2
    D_B        = d^T M^-1 d / 8 + ln det M / 2 - ln det S_p / 4 - ln det S_q / 4
Everything is computed by Cholesky factors, traces as one matrix product over flattened matrices. A singular covariance
is a UserError. Values between equal Gaussians are 0 to the rounding of float64, of either sign.
"""

import torch
from torch import Tensor

from anrot_lib.divergences.gaussian import FullGaussian
from anrot_lib.divergences.linalg import cholesky, log_det, log_det_and_form, solve_lower
from anrot_lib.divergences.pairs import compare_all_pairs


def kl(p: FullGaussian, q: FullGaussian) -> Tensor:
    """KL(p || q), p (..., n) and q (..., m) -> (..., n, m) in [0, inf). Inverts the covariances of q."""
    return compare_all_pairs(_kl, p, q, 2 * p.mean.shape[-1])


def bhattacharyya(p: FullGaussian, q: FullGaussian) -> Tensor:
    """D_B, symmetric: (..., n, m) in [0, inf). One Cholesky factor a pair."""
    return compare_all_pairs(_bhattacharyya, p, q, 3 * p.mean.shape[-1] ** 2)


def _kl(p: FullGaussian, q: FullGaussian) -> Tensor:
    lower = cholesky(q.cov)
    trace = p.cov.flatten(-2) @ torch.cholesky_inverse(lower).flatten(-2).mT
    gaps = p.mean.mT.unsqueeze(1) - q.mean.unsqueeze(-1)  # (B, m, C, n)
    distance = solve_lower(lower, gaps).square().sum(-2).mT
    logs = log_det(lower).unsqueeze(1) - log_det(cholesky(p.cov)).unsqueeze(2)
    return 0.5 * (trace - p.mean.shape[-1] + logs + distance)


def _bhattacharyya(p: FullGaussian, q: FullGaussian) -> Tensor:
    gaps = p.mean.unsqueeze(2) - q.mean.unsqueeze(1)
    middle, distance = log_det_and_form(0.5 * (p.cov.unsqueeze(2) + q.cov.unsqueeze(1)), gaps)
    logs = log_det(cholesky(p.cov)).unsqueeze(2) + log_det(cholesky(q.cov)).unsqueeze(1)
    return distance / 8 + 0.5 * middle - 0.25 * logs
