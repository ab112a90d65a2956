"""2-Wasserstein distances, squared, of all pairs of Gaussians with full or low-rank covariances, and two look-alikes.

    W2^2 = |d|^2 + tr S_p + tr S_q - 2 T,   T = tr (S_p^1/2 S_q S_p^1/2)^1/2
Four routes to T, which agree:
- "eigen" (full): roots of the eigenvalues of L^T S_p L, S_q = L L^T; no matrix root is formed;
- "newton-schulz" (full): the coupled iteration Y <- Y (3 I - Z Y) / 2, Z <- (3 I - Z Y) Z / 2 on the same matrix;
- "nuclear" (low rank, no ridge): the sum of the singular values of A^T B, an n x m matrix; needs no shrinkage;
- "ridge" (low rank with ridge): eigenvalues of an (n + m) x (n + m) Gram matrix.
Finite for singular covariances. Symmetric; grows with the square of the scale of the features. Values between equal
Gaussians are 0 to about 1e-6 of their trace, of either sign: roots of eigenvalues that are 0 are smoothed. Kept
squared: the root has infinite slope at 0.
"""

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import FullGaussian, LowRankGaussian
from anrot_lib.divergences.linalg import SINGULAR, any_root, cross_gram, eigenvalues, square_root
from anrot_lib.divergences.pairs import compare_all_pairs

Spread = FullGaussian | LowRankGaussian
FULL_ROUTES, LOW_RANK_ROUTES = ("eigen", "newton-schulz"), ("nuclear", "ridge")
STEPS = 40  # of Newton-Schulz in float64; about log_1.5 of the root of the condition number are needed


def full_wasserstein2(p: FullGaussian, q: FullGaussian, route: str = "eigen") -> Tensor:
    """W2^2 of p (..., n) against q (..., m): (..., n, m) in [0, inf), squared feature units; route of FULL_ROUTES."""
    if route not in FULL_ROUTES:
        raise UserError(f"no route {route!r} for full covariances; choose one of {', '.join(FULL_ROUTES)}")
    root = _eigen if route == "eigen" else _newton_schulz

    def compare(p: FullGaussian, q: FullGaussian) -> Tensor:
        return _means(p, q) + _trace(p).unsqueeze(2) + _trace(q).unsqueeze(1) - 2 * root(p, q)

    return compare_all_pairs(compare, p, q, 3 * p.mean.shape[-1] ** 2)


def low_rank_wasserstein2(p: LowRankGaussian, q: LowRankGaussian, route: str | None = None) -> Tensor:
    """W2^2 of p (..., n) against q (..., m): (..., n, m) in [0, inf), squared feature units.

    route: of LOW_RANK_ROUTES; None takes "nuclear" where no ridge is given, else "ridge".
    """
    ridged = bool((p.ridge > 0).any() or (q.ridge > 0).any())
    if route is None:
        route = "ridge" if ridged else "nuclear"
    if route not in LOW_RANK_ROUTES:
        raise UserError(f"no route {route!r} for low rank covariances; choose one of {', '.join(LOW_RANK_ROUTES)}")
    if route == "nuclear" and ridged:
        raise UserError("the route 'nuclear' is for covariances without a ridge; take 'ridge'")
    a, b = p.factor.shape[-1], q.factor.shape[-1]
    root = _nuclear if route == "nuclear" else _ridge

    def compare(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
        return _means(p, q) + _trace(p).unsqueeze(2) + _trace(q).unsqueeze(1) - 2 * root(p, q)

    return compare_all_pairs(compare, p, q, 3 * (a * b if route == "nuclear" else (a + b) ** 2))


def full_frobenius(p: FullGaussian, q: FullGaussian) -> Tensor:
    """|d|^2 + |S_p - S_q|_F^2: (..., n, m) in [0, inf). Not W2^2: it adds squares and fourth powers of features.

    A formula printed in place of W2^2; the two differ even where covariances commute (208 against 8 for
    diag(1, 4) and diag(9, 16)).
    """

    def compare(p: FullGaussian, q: FullGaussian) -> Tensor:
        squares = _square(p).unsqueeze(2) + _square(q).unsqueeze(1)
        products = p.cov.flatten(-2) @ q.cov.flatten(-2).mT
        return _means(p, q) + (squares - 2 * products).clamp_min(0)

    return compare_all_pairs(compare, p, q, p.mean.shape[-1] + 1)


def low_rank_frobenius(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    """The same of low-rank covariances."""

    def compare(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
        squares = _square(p).unsqueeze(2) + _square(q).unsqueeze(1)
        return _means(p, q) + (squares - 2 * _inner_product(p, q)).clamp_min(0)

    return compare_all_pairs(compare, p, q, p.mean.shape[-1] + p.factor.shape[-1] * q.factor.shape[-1])


def full_roots(p: FullGaussian, q: FullGaussian) -> Tensor:
    """|d|^2 + |S_p^1/2 - S_q^1/2|_F^2: (..., n, m), at least W2^2, and equal to it where covariances commute.

    n + m matrix roots instead of n m spectra.
    """

    def compare(p: FullGaussian, q: FullGaussian) -> Tensor:
        product = square_root(p.cov).flatten(-2) @ square_root(q.cov).flatten(-2).mT
        return _means(p, q) + _trace(p).unsqueeze(2) + _trace(q).unsqueeze(1) - 2 * product

    return compare_all_pairs(compare, p, q, p.mean.shape[-1] + 2)


def low_rank_roots(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    """The same of low-rank covariances, which need a ridge (UserError without)."""
    if (p.ridge <= 0).any() or (q.ridge <= 0).any():
        raise UserError(SINGULAR)

    def compare(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
        product = _low_rank_root_product(p, q)
        return _means(p, q) + _trace(p).unsqueeze(2) + _trace(q).unsqueeze(1) - 2 * product

    return compare_all_pairs(compare, p, q, p.mean.shape[-1] + 2 * p.factor.shape[-1] * q.factor.shape[-1])


def _means(p: Spread, q: Spread) -> Tensor:
    return (p.mean.unsqueeze(2) - q.mean.unsqueeze(1)).square().sum(-1)


def _trace(g: Spread) -> Tensor:
    if isinstance(g, FullGaussian):
        return g.cov.diagonal(dim1=-2, dim2=-1).sum(-1)
    return g.mean.shape[-1] * g.ridge + g.factor.square().sum((-2, -1))


def _smooth_root(values: Tensor) -> Tensor:
    """Roots of eigenvalues that may be 0 or, by rounding, below: smoothed, so that the slope stays bounded."""
    largest = values.detach().amax(-1, keepdim=True).clamp_min(1e-30)
    return (values.clamp_min(0) + torch.finfo(values.dtype).eps * largest).sqrt()


def _core(p: FullGaussian, q: FullGaussian) -> Tensor:
    """L^T S_p L (B, n, m, C, C): the spectrum of S_p S_q."""
    lower = any_root(q.cov).unsqueeze(1)
    core = lower.mT @ p.cov.unsqueeze(2) @ lower
    return 0.5 * (core + core.mT)


def _eigen(p: FullGaussian, q: FullGaussian) -> Tensor:
    return _smooth_root(eigenvalues(_core(p, q))).sum(-1)


def _newton_schulz(p: FullGaussian, q: FullGaussian) -> Tensor:
    core = _core(p, q)
    size: Tensor = torch.linalg.matrix_norm(core).clamp_min(torch.finfo(core.dtype).tiny)[..., None, None]
    eye = torch.eye(core.shape[-1], dtype=core.dtype, device=core.device)
    y: Tensor = core / size
    z = eye.expand_as(core)
    for _ in range(STEPS):
        step = 0.5 * (3 * eye - z @ y)
        y, z = y @ step, step @ z
        if (step.detach() - eye).abs().max() < 1e-12:
            break
    return (y * size.sqrt()).diagonal(dim1=-2, dim2=-1).sum(-1)


def _nuclear(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    cross = cross_gram(p, q)
    finite = cross.detach().isfinite().all(-1).all(-1)[..., None]
    values = torch.linalg.svdvals(torch.where(finite[..., None], cross, 0.0))
    # Smoothed: centred samples always leave a singular value of 0, where the plain sum has a corner.
    return torch.where(finite, _smooth_root(values.square()), torch.nan).sum(-1)


def _ridge(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    """S_p^1/2 S_q S_p^1/2 = r_p r_q I + H H^T with H = [sqrt(r_q) A, S_p^1/2 B]; the spectrum of H^T H is enough.

    A^T S_p^1/2 = (r_p I + A^T A)^1/2 A^T, so H^T H needs Gram matrices only.
    """
    c, a, b = p.mean.shape[-1], p.factor.shape[-1], q.factor.shape[-1]
    eye = torch.eye(a, dtype=p.mean.dtype, device=p.mean.device)
    gram_p, gram_q = p.factor.mT @ p.factor, q.factor.mT @ q.factor
    root = square_root(gram_p + p.ridge[..., None, None] * eye).unsqueeze(2)
    cross = cross_gram(p, q)  # (B, n, m, a, b)
    r_p, r_q = p.ridge[:, :, None, None, None], q.ridge[:, None, :, None, None]
    corner = _safe_root(r_q) * (root @ cross)
    first, last = r_q * gram_p.unsqueeze(2), r_p * gram_q.unsqueeze(1) + cross.mT @ cross
    gram = torch.cat([torch.cat([first, corner], -1), torch.cat([corner.mT, last], -1)], -2)
    base = (p.ridge.unsqueeze(2) * q.ridge.unsqueeze(1)).unsqueeze(-1)
    inside = _smooth_root(eigenvalues(gram).clamp_min(0) + base).sum(-1)
    return inside + (c - a - b) * _safe_root(base.squeeze(-1))


def _safe_root(x: Tensor) -> Tensor:
    return torch.where(x > 0, torch.where(x > 0, x, 1.0).sqrt(), 0.0)


def _square(g: Spread) -> Tensor:
    """|S|_F^2, (B, n)."""
    if isinstance(g, FullGaussian):
        return g.cov.square().sum((-2, -1))
    gram = (g.factor.mT @ g.factor).square().sum((-2, -1))
    return g.mean.shape[-1] * g.ridge.square() + 2 * g.ridge * g.factor.square().sum((-2, -1)) + gram


def _inner_product(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    """<S_p, S_q> of all pairs, (B, n, m)."""
    r_p, r_q = p.ridge.unsqueeze(2), q.ridge.unsqueeze(1)
    size_p, size_q = (g.factor.square().sum((-2, -1)) for g in (p, q))
    cross = cross_gram(p, q).square().sum((-2, -1))
    return p.mean.shape[-1] * r_p * r_q + r_p * size_q.unsqueeze(1) + r_q * size_p.unsqueeze(2) + cross


def _low_rank_root_product(p: LowRankGaussian, q: LowRankGaussian) -> Tensor:
    """tr(S_p^1/2 S_q^1/2): a root is sqrt(r) I + A X A^T with X = (sqrt(r) I + (r I + A^T A)^1/2)^-1."""
    inner: list[Tensor] = []
    traces: list[Tensor] = []
    for g in (p, q):
        gram, ridge = g.factor.mT @ g.factor, g.ridge[..., None, None]
        eye = torch.eye(g.factor.shape[-1], dtype=g.mean.dtype, device=g.mean.device)
        inner.append(torch.linalg.inv(square_root(gram + ridge * eye) + ridge.sqrt() * eye))
        traces.append((inner[-1] * gram).sum((-2, -1)))
    cross = cross_gram(p, q)
    both = ((inner[0].unsqueeze(2) @ cross) * (cross @ inner[1].unsqueeze(1))).sum((-2, -1))
    s_p, s_q = p.ridge.sqrt().unsqueeze(2), q.ridge.sqrt().unsqueeze(1)
    return p.mean.shape[-1] * s_p * s_q + s_p * traces[1].unsqueeze(1) + s_q * traces[0].unsqueeze(2) + both
