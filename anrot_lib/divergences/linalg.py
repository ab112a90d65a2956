"""Roots, determinants and Gram matrices of covariances; their gradients stay finite near singular ones."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import LowRankGaussian

SINGULAR = (
    "a covariance is singular, and this divergence needs its inverse; "
    "shrink it (shrinkage 'trace' or 'ridge'), or take wasserstein2, which stays finite"
)


JITTERS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4)  # of the mean variance


def cross_gram(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    """A^T B of all pairs of factors (B, n, C, a) and (B, m, C, b): (B, n, m, a, b), as one matrix product.

    Broadcasting the product instead would first copy every factor once for each partner.
    """
    (n, c, a), (m, _, b) = p.factor.shape[1:], q.factor.shape[1:]
    rows = p.factor.transpose(2, 3).reshape(-1, n * a, c)
    columns = q.factor.transpose(1, 2).reshape(-1, c, m * b)
    return (rows @ columns).view(-1, n, a, m, b).transpose(2, 3)


def solve_lower(lower: Tensor, right: Tensor) -> Tensor:
    """X with L X = right, for lower triangular L (..., C, C) and right (..., C, k)."""
    solution: Tensor = torch.linalg.solve_triangular(lower, right, upper=False)
    return solution


def _factorise(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Lower Cholesky factors, and for each 0 or where it failed."""
    factors: tuple[Tensor, Tensor] = torch.linalg.cholesky_ex(matrix)
    return factors


def cholesky(matrix: Tensor) -> Tensor:
    """Lower Cholesky factors (..., C, C). UserError for a singular matrix; NaN, for the caller's own stop, for NaN."""
    lower, info = _factorise(matrix)
    pivots = lower.detach().diagonal(dim1=-2, dim2=-1).square().amin(-1)
    size = matrix.detach().diagonal(dim1=-2, dim2=-1).amax(-1)
    bad = (info > 0) | (pivots <= torch.finfo(matrix.dtype).eps * matrix.shape[-1] * size)
    if not bad.any():
        return lower
    if matrix.isfinite().all():
        raise UserError(SINGULAR)
    return torch.where(bad[..., None, None], torch.nan, lower)


def any_root(matrix: Tensor) -> Tensor:
    """Some L with L L^T = matrix, also of a singular one: Cholesky, with the smallest jitter that lets it succeed."""
    size = matrix.detach().diagonal(dim1=-2, dim2=-1).mean(-1)
    size = torch.where(size > 0, size, 1.0)
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    wanted = torch.zeros_like(size)
    for jitter, following in zip(JITTERS, (*JITTERS[1:], math.nan), strict=True):
        lower, info = _factorise(matrix + (wanted * size)[..., None, None] * eye)
        if not (info > 0).any() or math.isnan(following):
            return torch.where((info > 0)[..., None, None], torch.nan, lower)
        wanted = torch.where((info > 0) & (wanted <= jitter), following, wanted)
    raise AssertionError("the loop returns in its last round")


def log_det(lower: Tensor) -> Tensor:
    """ln det of L L^T."""
    return 2 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class _LogDetAndForm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, lower: Tensor, matrix: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        solved = torch.cholesky_solve(vector.unsqueeze(-1), lower).squeeze(-1)
        ctx.save_for_backward(lower, solved)
        return log_det(lower), (vector * solved).sum(-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_log: Tensor, of_form: Tensor) -> tuple[None, Tensor, Tensor]:
        lower, solved = ctx.saved_tensors
        weighted = of_form.unsqueeze(-1) * solved
        grad = torch.cholesky_inverse(lower).mul_(of_log[..., None, None])
        return None, grad.sub_(weighted.unsqueeze(-1) * solved.unsqueeze(-2)), 2 * weighted


def log_det_and_form(matrix: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    """ln det M and v^T M^-1 v of matrices (..., C, C) and vectors (..., C). UserError for a singular matrix.

    Their gradients are M^-1 and -x x^T with x = M^-1 v: a third of the work of going back through the factors.
    """
    apply: Callable[..., tuple[Tensor, Tensor]] = _LogDetAndForm.apply
    return apply(cholesky(matrix.detach()), matrix, vector)


class _SquareRoot(torch.autograd.Function):
    """The symmetric root by eigenvalues, with the gradient from R dR + dR R = dS, which divides by sums of roots.

    The gradient of `eigh` itself divides by differences of eigenvalues and is NaN where two are equal.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        roots = values.clamp_min(0).sqrt()
        ctx.save_for_backward(roots, vectors)
        root: Tensor = (vectors * roots.unsqueeze(-2)) @ vectors.mT
        return root

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        saved: tuple[Tensor, Tensor] = ctx.saved_tensors
        roots, vectors = saved
        sums = roots.unsqueeze(-1) + roots.unsqueeze(-2)
        inner = vectors.mT @ (0.5 * (grad + grad.mT)) @ vectors
        return vectors @ torch.where(sums > 0, inner / torch.where(sums > 0, sums, 1.0), 0.0) @ vectors.mT


def square_root(matrix: Tensor) -> Tensor:
    """The symmetric positive root of positive semi-definite matrices (..., C, C), with a finite gradient."""
    finite = matrix.detach().isfinite().all(-1).all(-1)[..., None, None]
    apply: Callable[..., Tensor] = _SquareRoot.apply
    return torch.where(finite, apply(torch.where(finite, matrix, 0.0)), torch.nan)


def eigenvalues(matrix: Tensor) -> Tensor:
    """Eigenvalues (..., C) of symmetric matrices; NaN, not an error, for a matrix with NaN."""
    finite = matrix.detach().isfinite().all(-1).all(-1)[..., None, None]
    values = torch.linalg.eigvalsh(torch.where(finite, matrix, 0.0))
    return torch.where(finite[..., 0], values, torch.nan)
