"""Full and low-rank Gaussians: stated values, agreement of all routes, gradients, inequalities, an outside judge."""

import numpy as np
import ot
import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.divergences import linalg, pairs, wasserstein
from anrot_lib.divergences.covariance import estimate_gaussian, make_dense
from anrot_lib.divergences.gaussian import DiagonalGaussian, FullGaussian, LowRankGaussian
from anrot_lib.divergences.measures import PAIRWISE, pairwise
from tests.helpers import rng

F64 = torch.float64
NAMES = tuple(name for kind, name in PAIRWISE if kind is FullGaussian)
SYMMETRIC = tuple(name for name in NAMES if name != "kl")


def one(mean, cov, dtype=F64):
    """A single Gaussian, (1, C)."""
    return FullGaussian(torch.tensor([mean], dtype=dtype), cov=torch.tensor([cov], dtype=dtype))


def spd(*shape, c=4, seed=0, dtype=F64):
    """Random Gaussians with well-conditioned covariances."""
    g = rng(seed)
    root = torch.randn(*shape, c, c, generator=g, dtype=F64)
    mean = torch.randn(*shape, c, generator=g, dtype=F64)
    return FullGaussian(mean.to(dtype), cov=(root @ root.mT / c + 0.2 * torch.eye(c, dtype=F64)).to(dtype))


def low(*shape, c=40, rank=7, ridge=0.3, seed=0):
    g = rng(seed)
    factor = torch.randn(*shape, c, rank, generator=g, dtype=F64)
    mean = torch.randn(*shape, c, generator=g, dtype=F64)
    return LowRankGaussian(mean, factor=factor, ridge=torch.full(shape, ridge, dtype=F64))


def value(name, p, q):
    return pairwise(name, p, q).item()


def both_ways(p, q):
    """KL(S || Q) and KL(Q || S) with Q = p."""
    return value("kl", q, p), value("kl", p, q)


def test_one_dimension():
    p, q = one([0.0], [[1.0]]), one([1.0], [[4.0]])
    back, forth = both_ways(p, q)
    assert forth == pytest.approx(0.443147, abs=1e-6) and back == pytest.approx(1.306853, abs=1e-6)
    assert forth + back == pytest.approx(1.75, abs=1e-12)
    assert value("symmetric-kl", p, q) == pytest.approx(0.875, abs=1e-12)
    assert value("wasserstein2", p, q) == pytest.approx(2, abs=1e-6)
    assert value("wasserstein2-frobenius", p, q) == pytest.approx(10, abs=1e-12)
    assert value("bhattacharyya", p, q) == pytest.approx(0.161572, abs=1e-6)
    assert np.exp(-value("bhattacharyya", p, q)) == pytest.approx(0.850805, abs=1e-6)
    assert value("hellinger2", p, q) == pytest.approx(0.149195, abs=1e-6)
    assert value("hellinger", p, q) == pytest.approx(0.386257, abs=1e-6)


QUERY = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2]])
CLASS = torch.tensor([[0.0, 0], [4, 0], [0, 2], [4, 2]])


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_from_samples_to_divergences(dtype):
    p, q = (estimate_gaussian(x.to(dtype)[None], shrinkage="none") for x in (QUERY, CLASS))
    assert torch.allclose(p.mean, torch.ones(1, 2, dtype=dtype))
    assert torch.allclose(p.cov[0], torch.eye(2, dtype=dtype) * 4 / 3)
    assert torch.allclose(q.cov[0], torch.diag(torch.tensor([16 / 3, 4 / 3], dtype=dtype)))
    back, forth = both_ways(p, q)
    assert back == pytest.approx(1.181853, abs=1e-6) and forth == pytest.approx(0.411897, abs=1e-6)
    assert value("wasserstein2", p, q) == pytest.approx(7 / 3, abs=1e-6)
    assert value("wasserstein2-frobenius", p, q) == pytest.approx(17, abs=1e-5)
    assert value("bhattacharyya", p, q) == pytest.approx(0.149072, abs=1e-6)
    assert value("hellinger2", p, q) == pytest.approx(0.138493, abs=1e-6)


def test_diagonal_covariances():
    p, q = one([0.0, 0], [[1.0, 0], [0, 4]]), one([0.0, 0], [[9.0, 0], [0, 16]])
    assert value("wasserstein2", p, q) == pytest.approx(8, abs=1e-6)
    assert value("wasserstein2-roots", p, q) == pytest.approx(8, abs=1e-9)
    assert value("wasserstein2-frobenius", p, q) == pytest.approx(208, abs=1e-9)
    back, forth = both_ways(p, q)
    assert back == pytest.approx(0.5 * (11 - np.log(36)), abs=1e-9) and forth == pytest.approx(0.972315, abs=1e-6)
    assert value("bhattacharyya", p, q) == pytest.approx(0.366985, abs=1e-6)


def test_diagonal_covariances_agree_with_the_diagonal_kind():
    mean, var = torch.randn(2, 5, 6, generator=rng(), dtype=F64), torch.rand(2, 5, 6, generator=rng(1), dtype=F64) + 0.1
    p, q = DiagonalGaussian(mean[:, :3], var[:, :3]), DiagonalGaussian(mean[:, 3:], var[:, 3:])
    for name in ("kl", "symmetric-kl", "bhattacharyya", "hellinger", "hellinger2", "wasserstein2"):
        torch.testing.assert_close(
            pairwise(name, make_dense(p), make_dense(q)), pairwise(name, p, q), rtol=1e-7, atol=1e-7
        )


def test_covariances_that_do_not_commute():
    p, q = one([0.0, 0], [[1.0, 0], [0, 4]]), one([0.0, 0], [[2.0, 1], [1, 2]])
    exact = 9 - 2 * np.sqrt(10 + 2 * np.sqrt(12))
    assert exact == pytest.approx(0.771220, abs=1e-6)
    for route in wasserstein.FULL_ROUTES:
        assert wasserstein.full_wasserstein2(p, q, route).item() == pytest.approx(exact, abs=1e-6)
    factors = [
        LowRankGaussian(g.mean, factor=torch.linalg.cholesky(g.cov), ridge=torch.zeros(1, dtype=F64)) for g in (p, q)
    ]
    for route in wasserstein.LOW_RANK_ROUTES:
        assert wasserstein.low_rank_wasserstein2(*factors, route).item() == pytest.approx(exact, abs=1e-6)
    assert value("wasserstein2-roots", p, q) == pytest.approx(0.803848, abs=1e-6)
    assert value("wasserstein2-frobenius", p, q) == pytest.approx(7, abs=1e-9)
    assert both_ways(p, q)[0] == pytest.approx(0.393841, abs=1e-6)
    assert value("bhattacharyya", p, q) == pytest.approx(0.102233, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("c", [40, 12])  # 12: fewer dimensions than the ranks together
def test_low_rank_equals_dense(name, c):
    p, q = low(2, 3, c=c, rank=7, ridge=0.3), low(2, 4, c=c, rank=11, ridge=0.2, seed=1)
    torch.testing.assert_close(pairwise(name, p, q), pairwise(name, make_dense(p), make_dense(q)), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_low_rank_gradients_equal_dense_ones(name):
    leaves = [low(3, c=20, rank=4, ridge=0.3), low(2, c=20, rank=6, ridge=0.2, seed=1)]
    leaves = [g.map(lambda t: t.requires_grad_()) for g in leaves]
    held = [t for g in leaves for t in (g.mean, g.factor, g.ridge)]
    weight = torch.rand(3, 2, generator=rng(), dtype=F64)
    found = torch.autograd.grad((pairwise(name, *leaves) * weight).sum(), held)
    expected = torch.autograd.grad((pairwise(name, *map(make_dense, leaves)) * weight).sum(), held)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_without_ridge_both_low_rank_routes_agree_with_dense():
    p, q = low(3, c=20, rank=4, ridge=0.0), low(2, c=20, rank=6, ridge=0.0, seed=1)
    nuclear = wasserstein.low_rank_wasserstein2(p, q)
    torch.testing.assert_close(nuclear, wasserstein.low_rank_wasserstein2(p, q, "ridge"), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(
        nuclear, wasserstein.full_wasserstein2(make_dense(p), make_dense(q)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("form", ["low rank", "full"])
def test_disjoint_lines_are_finite_in_wasserstein_only(form):
    x, y = torch.tensor([[1.0, 0], [-1, 0]], requires_grad=True), torch.tensor([[0.0, 1], [0, -1]])
    p, q = (estimate_gaussian(t[None], shrinkage="none", form=form) for t in (x, y))
    found = pairwise("wasserstein2", p, q)
    assert found.item() == pytest.approx(4, abs=1e-4)
    found.sum().backward()
    assert x.grad.isfinite().all() and x.grad.any()
    for name in ("kl", "symmetric-kl", "bhattacharyya", "hellinger"):
        with pytest.raises(UserError, match="covariance is singular"):
            pairwise(name, p, q)
    shrunk = [estimate_gaussian(t[None], shrinkage="trace", form=form) for t in (x, y)]
    assert pairwise("kl", *shrunk).isfinite().all()


@pytest.mark.parametrize("c", [3, 8])
def test_an_independent_implementation_of_wasserstein_agrees(c):
    p, q = spd(4, c=c), spd(3, c=c, seed=1)
    found = pairwise("wasserstein2", p, q)
    schulz = wasserstein.full_wasserstein2(p, q, "newton-schulz")
    for i in range(4):
        for j in range(3):
            arguments = (p.mean[i], q.mean[j], p.cov[i], q.cov[j])
            expected = ot.gaussian.bures_wasserstein_distance(*(t.numpy() for t in arguments)) ** 2
            assert found[i, j].item() == pytest.approx(expected, abs=1e-6)
            assert schulz[i, j].item() == pytest.approx(expected, abs=1e-6)


def test_kl_agrees_with_torch_distributions():
    p, q = spd(4), spd(3, seed=1)
    normal = torch.distributions.MultivariateNormal
    rows = [
        torch.distributions.kl_divergence(normal(m, s), normal(q.mean, q.cov))
        for m, s in zip(p.mean, p.cov, strict=True)
    ]
    expected = torch.stack(rows)
    torch.testing.assert_close(pairwise("kl", p, q), expected)


def test_bhattacharyya_is_the_overlap_integral():
    p, q = one([0.2], [[0.5]]), one([-0.6], [[2.0]])
    x = torch.linspace(-25, 25, 200_001, dtype=F64)
    normals = [torch.distributions.Normal(g.mean[0], g.cov[0, 0].sqrt()) for g in (p, q)]
    overlap = torch.trapezoid((0.5 * (normals[0].log_prob(x) + normals[1].log_prob(x))).exp(), x)
    assert value("bhattacharyya", p, q) == pytest.approx(-overlap.log().item(), abs=1e-9)


@pytest.mark.parametrize("kind", ["full", "low rank"])
@pytest.mark.parametrize("name", NAMES)
def test_all_pairs_with_leading_dims_that_broadcast(name, kind):
    make = spd if kind == "full" else low
    p, q = make(2, 1, 3), make(5, 4, seed=1)
    found = pairwise(name, p, q)
    assert found.shape == (2, 5, 3, 4)
    for e, f, i, j in ((0, 0, 0, 0), (1, 4, 2, 3), (0, 3, 1, 2)):
        alone = pairwise(name, p.map(lambda t: t[e, 0, i][None]), q.map(lambda t: t[f, j][None]))  # noqa: B023
        assert found[e, f, i, j].item() == pytest.approx(alone.item(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kind", ["full", "low rank"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("budget", [1, 2000])
def test_blocks_change_neither_values_nor_gradients(name, kind, budget, monkeypatch):
    make = spd if kind == "full" else low
    p, q = (make(3, n, seed=n).map(lambda t: t.requires_grad_()) for n in (5, 2))
    held = [t for g in (p, q) for t in g if t is not None]
    weight = torch.rand(3, 5, 2, generator=rng(), dtype=F64)
    runs = []
    for numbers in (2**30, budget):
        monkeypatch.setattr(pairs, "NUMBERS_ON_CPU", numbers)
        found = pairwise(name, p, q)
        runs.append((found, *torch.autograd.grad((found * weight).sum(), held, allow_unused=True)))
    for a, b in zip(*runs, strict=True):
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_blocks_cover_everything_once():
    for e, n, numbers, budget in ((3, 5, 7, 1), (3, 5, 7, 20), (3, 5, 7, 80), (4, 1, 9, 20), (2, 6, 1, 10**6)):
        seen = np.zeros((e, n), int)
        for episodes, rows in pairs.cut_blocks(e, n, numbers, budget):
            seen[episodes, rows] += 1
            held = len(range(*episodes.indices(e))) * len(range(*rows.indices(n))) * numbers
            assert held <= max(budget, numbers)
        assert (seen == 1).all()


# --- gradients ---


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck_of_full_covariances(name):
    p, q = spd(2), spd(2, seed=1)
    held = [t.clone().requires_grad_() for t in (p.mean, p.cov, q.mean, q.cov)]

    def function(m, s, n, t):
        symmetric = (0.5 * (x + x.mT) for x in (s, t))
        s, t = symmetric
        return pairwise(name, FullGaussian(m, cov=s), FullGaussian(n, cov=t))

    assert torch.autograd.gradcheck(function, held)


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck_of_low_rank_covariances(name):
    p, q = low(2, c=4, rank=2), low(2, c=4, rank=3, seed=1)
    held = [t.clone().requires_grad_() for g in (p, q) for t in (g.mean, g.factor, g.ridge)]

    def function(m, a, r, n, b, s):
        return pairwise(name, LowRankGaussian(m, factor=a, ridge=r), LowRankGaussian(n, factor=b, ridge=s))

    assert torch.autograd.gradcheck(function, held)


def test_gradcheck_of_the_routes_without_default():
    p, q = spd(2), spd(2, seed=1)
    held = [t.clone().requires_grad_() for t in (p.cov, q.cov)]

    def schulz(s, t):
        s, t = 0.5 * (s + s.mT), 0.5 * (t + t.mT)
        return wasserstein.full_wasserstein2(FullGaussian(p.mean, cov=s), FullGaussian(q.mean, cov=t), "newton-schulz")

    assert torch.autograd.gradcheck(schulz, held)
    x = torch.randn(2, 3, 5, generator=rng(), dtype=F64, requires_grad=True)
    y = torch.randn(2, 4, 5, generator=rng(1), dtype=F64, requires_grad=True)

    def nuclear(x, y):
        return pairwise("wasserstein2", *(estimate_gaussian(t, shrinkage="none") for t in (x, y)))

    assert torch.autograd.gradcheck(nuclear, (x, y))


def test_closed_form_gradients():
    q, s = spd(1), spd(1, seed=1)
    leaves = [t.clone().requires_grad_() for t in (q.mean, q.cov, s.mean, s.cov)]
    gq, gs = FullGaussian(leaves[0], cov=leaves[1]), FullGaussian(leaves[2], cov=leaves[3])
    d, sq, ss = (q.mean - s.mean)[0], q.cov[0], s.cov[0]
    iq, i_s, mid = sq.inverse(), ss.inverse(), (0.5 * (sq + ss)).inverse()
    outer = torch.outer(d, d)
    root = linalg.square_root(ss)
    middle = torch.linalg.inv(linalg.square_root(root @ sq @ root))
    close = {"rtol": 1e-6, "atol": 1e-6}

    def gradient(name, p, r, leaf):
        (found,) = torch.autograd.grad(pairwise(name, p, r).sum(), leaf, retain_graph=True)
        return 0.5 * (found + found.mT)[0] if found.ndim == 3 else found[0]

    torch.testing.assert_close(gradient("kl", gs, gq, leaves[2]), iq @ -d, **close)
    torch.testing.assert_close(gradient("kl", gs, gq, leaves[3]), 0.5 * (iq - i_s), **close)
    torch.testing.assert_close(gradient("kl", gs, gq, leaves[1]), 0.5 * (iq - iq @ (ss + outer) @ iq), **close)
    torch.testing.assert_close(gradient("wasserstein2", gq, gs, leaves[0]), 2 * d, **close)
    expected = torch.eye(4, dtype=F64) - root @ middle @ root
    torch.testing.assert_close(gradient("wasserstein2", gq, gs, leaves[1]), expected, **close)
    torch.testing.assert_close(gradient("wasserstein2", gs, gq, leaves[1]), expected, **close)
    torch.testing.assert_close(gradient("bhattacharyya", gq, gs, leaves[0]), 0.25 * mid @ d, **close)
    expected = 0.25 * (mid - iq) - mid @ outer @ mid / 16
    torch.testing.assert_close(gradient("bhattacharyya", gq, gs, leaves[1]), expected, **close)


def test_the_matrix_root_has_a_finite_gradient_at_equal_and_at_zero_eigenvalues():
    matrix = torch.diag(torch.tensor([2.0, 2, 0, 0], dtype=F64)).requires_grad_()
    linalg.square_root(matrix).sum().backward()
    assert matrix.grad.isfinite().all() and matrix.grad.any()
    full = spd(3).cov.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: linalg.square_root(0.5 * (s + s.mT)), full)
    torch.testing.assert_close(linalg.square_root(full) @ linalg.square_root(full), full)


# --- properties ---


@pytest.mark.parametrize("seed", range(5))
def test_inequalities(seed):
    p, q = spd(6, seed=2 * seed), spd(6, seed=2 * seed + 1)
    forth, back = pairwise("kl", p, q), pairwise("kl", q, p).mT
    distance, squared = pairwise("bhattacharyya", p, q), pairwise("hellinger2", p, q)
    assert (torch.minimum(forth, back) >= 2 * distance).all()
    assert (2 * distance >= 2 * squared).all() and (squared >= 0).all()
    assert (pairwise("wasserstein2", p, q) <= pairwise("wasserstein2-roots", p, q) + 1e-9).all()
    assert (forth - back).abs().max() > 0.1
    for name in SYMMETRIC:
        torch.testing.assert_close(pairwise(name, p, q), pairwise(name, q, p).mT, rtol=1e-7, atol=1e-7)
    every = FullGaussian(torch.cat([p.mean, q.mean]), cov=torch.cat([p.cov, q.cov]))
    for table in (pairwise("wasserstein2", every, every).clamp_min(0).sqrt(), pairwise("hellinger", every, every)):
        assert (table.unsqueeze(1) <= table.unsqueeze(2) + table.mT.unsqueeze(0) + 1e-6).all()


@pytest.mark.parametrize("form", ["full", "low rank"])
@pytest.mark.parametrize("name", NAMES)
def test_equal_gaussians_are_at_0_in_single_precision_with_finite_gradients(name, form):
    x = torch.randn(3, 90 if form == "full" else 20, 64, generator=rng()).relu().requires_grad_()
    g = estimate_gaussian(x, form=form)
    found = pairwise(name, g, g).diagonal()
    assert found.dtype == torch.float32
    assert found.abs().max() < (2e-3 if name == "hellinger" else 1e-5)
    found.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["full", "low rank"])
def test_single_precision_is_close_to_double(name, form):
    x = torch.randn(2, 5, 40, 64, generator=rng(), dtype=F64)
    a, b = (estimate_gaussian(t, form=form) for t in (x[0], x[1] * 1.3 + 0.2))
    found = pairwise(name, *(g.map(torch.Tensor.float) for g in (a, b)))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), pairwise(name, a, b), rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name):
    p, q = spd(3, dtype=torch.float32), spd(2, seed=1, dtype=torch.float32)
    plain = pairwise(name, p, q)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pairwise(name, p, q), plain)


@pytest.mark.parametrize("kind", ["full", "low rank"])
@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan(name, kind):
    p, q = (spd if kind == "full" else low)(2), (spd if kind == "full" else low)(3, seed=1)
    broken = p.map(lambda t: torch.where(torch.arange(2).view(2, *[1] * (t.ndim - 1)) == 0, torch.nan, t))
    found = pairwise(name, broken, q)
    assert found[0].isnan().all()
    torch.testing.assert_close(found[1], pairwise(name, p, q)[1])


def test_errors_say_what_to_do():
    p, q = low(2), spd(2, c=40)
    with pytest.raises(UserError, match="kl between low rank and full is not defined here"):
        pairwise("kl", p, q)
    with pytest.raises(UserError, match="no route 'nuclear' for full"):
        wasserstein.full_wasserstein2(q, q, "nuclear")
    with pytest.raises(UserError, match="take 'ridge'"):
        wasserstein.low_rank_wasserstein2(p, p, "nuclear")
    for name in ("kl", "bhattacharyya", "wasserstein2-roots"):
        with pytest.raises(UserError, match="covariance is singular"):
            pairwise(name, low(2, ridge=0.0), low(2, ridge=0.0))
