"""Divergences: stated values, quadrature, torch.distributions, inequalities, gradients."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import VARIANCE_FLOOR, DiagonalGaussian, FullGaussian, Gaussian
from anrot_lib.divergences.measures import NAMES, compute_terms, pairwise, to_standard

SIMPLEX_NAMES = ("hellinger", "hellinger2", "bhattacharyya", "kl")
SYMMETRIC = ("hellinger", "hellinger2", "bhattacharyya", "wasserstein2")


def one(mean, var, dtype=torch.float32):
    """A single Gaussian over one dimension, (1, 1)."""
    return DiagonalGaussian(torch.tensor([[mean]], dtype=dtype), torch.tensor([[var]], dtype=dtype))


def some(*shape, seed=0, dtype=torch.float32, grad=False):
    rng = torch.Generator().manual_seed(seed)
    mean = torch.randn(shape, generator=rng, dtype=dtype)
    var = torch.rand(shape, generator=rng, dtype=dtype) + VARIANCE_FLOOR
    return DiagonalGaussian(mean.requires_grad_(grad), var.requires_grad_(grad))


def probabilities(*shape, seed=0, dtype=torch.float32):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=dtype).softmax(-1)


def arguments(kind, *shape, seed=0, dtype=torch.float32):
    make = some if kind == "diagonal" else probabilities
    return make(*shape, seed=seed, dtype=dtype)


CASES = [("diagonal", name) for name in NAMES] + [("probabilities", n) for n in SIMPLEX_NAMES]


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        ((0.0, 1.0), (1.0, 4.0), {"bhattacharyya": 0.161572, "hellinger2": 0.149195}),
        ((0.0, 1.0), (3.0, 1.0), {"bhattacharyya": 1.125, "hellinger2": 0.675348}),
        ((3.0, 1.0), (0.0, 1.0), {"kl": 4.5, "wasserstein2": 9.0}),
        ((0.0, 4.0), (0.0, 1.0), {"kl": 0.806853, "wasserstein2": 1.0}),
        ((0.0, 4.0), (0.0, 1.0), {"hellinger2": 0.105573, "bhattacharyya": 0.111572}),
    ],
)
def test_stated_values_between_gaussians(p, q, expected):
    p, q = one(*p), one(*q)
    for name, value in expected.items():
        assert pairwise(name, p, q).item() == pytest.approx(value, abs=1e-6)
        assert compute_terms(name, p, q).item() == pytest.approx(value, abs=1e-6)


def test_stated_values_between_probabilities():
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
    assert pairwise("hellinger", p, q).item() == pytest.approx(0.541196, abs=1e-6)
    assert pairwise("bhattacharyya", p, q).exp().item() == pytest.approx(2**0.5, abs=1e-6)
    assert pairwise("kl", q, p).item() == pytest.approx(np.log(2), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "far", "wide"),
    [
        ("kl", 4.5, 0.806853),
        ("wasserstein2", 9.0, 1.0),
        ("hellinger2", 0.675348, 0.105573),
        ("hellinger", 0.675348**0.5, 0.105573**0.5),
        ("bhattacharyya", 1.125, 0.111572),
    ],
)
def test_stated_values_to_the_standard_normal(name, far, wide):
    mean, log_var = torch.tensor([3.0, 0.0]), torch.tensor([1.0, 4.0]).log()
    torch.testing.assert_close(to_standard(name, mean, log_var), torch.tensor([far, wide]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_to_standard_is_the_general_form_at_the_standard_normal(name):
    g = some(4, 6, dtype=torch.float64)
    standard = DiagonalGaussian(torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(
        to_standard(name, g.mean, g.var.log()), compute_terms(name, g, standard), atol=1e-12, rtol=1e-10
    )


@pytest.mark.parametrize(("m", "s", "n", "t"), [(0, 1, 1, 2), (-1, 0.3, 0.5, 0.25), (2, 3, 2, 1)])
def test_quadrature_in_one_dimension(m, s, n, t):
    p, q = norm(m, s), norm(n, t)
    ends = (min(m - 12 * s, n - 12 * t), max(m + 12 * s, n + 12 * t))
    fine = {"points": (m, n), "limit": 500}
    bc = quad(lambda x: np.exp((p.logpdf(x) + q.logpdf(x)) / 2), *ends, **fine)[0]
    kl = quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), *ends, **fine)[0]
    w2 = quad(lambda u: (p.ppf(u) - q.ppf(u)) ** 2, 0, 1, limit=500)[0]
    expected = {
        "bhattacharyya": -np.log(bc),
        "hellinger2": 1 - bc,
        "hellinger": np.sqrt(1 - bc),
        "kl": kl,
        "wasserstein2": w2,
    }
    for name in NAMES:
        got = pairwise(name, one(m, s**2, torch.float64), one(n, t**2, torch.float64)).item()
        assert got == pytest.approx(expected[name], abs=1e-6), name


def test_kl_is_that_of_torch_distributions():
    p, q = some(5, 7), some(4, 7, seed=1)
    normals = [
        torch.distributions.Normal(g.mean.unsqueeze(axis), g.var.sqrt().unsqueeze(axis)) for g, axis in ((p, 1), (q, 0))
    ]
    expected = torch.distributions.kl_divergence(*normals)
    torch.testing.assert_close(pairwise("kl", p, q), expected.sum(-1))
    torch.testing.assert_close(compute_terms("kl", p.map(lambda t: t[:, None]), q), expected, atol=1e-6, rtol=1e-5)
    p, q = probabilities(5, 7), probabilities(4, 7, seed=1)
    categorical = torch.distributions.Categorical
    expected = torch.distributions.kl_divergence(categorical(p[:, None]), categorical(q[None]))
    torch.testing.assert_close(pairwise("kl", p, q), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_pairwise_is_every_pair_in_double_precision(kind, name):
    """(2, 1, 3, 6) x (5, 4, 6) -> (2, 5, 3, 4), against the direct definition of each pair."""
    p, q = arguments(kind, 2, 1, 3, 6), arguments(kind, 5, 4, 6, seed=1)
    got = pairwise(name, p, q)
    assert got.shape == (2, 5, 3, 4) and got.dtype == torch.float32

    def direct(x, y):
        if kind == "probabilities":
            bc, kl, w2 = (x * y).sqrt().sum(), (x * (x / y).log()).sum(), None
        else:
            (m, a), (n, b) = (x.mean, x.var), (y.mean, y.var)
            exponent = -((m - n) ** 2) / (4 * (a + b))
            bc = ((2 * (a * b).sqrt() / (a + b)).sqrt() * exponent.exp()).prod()
            kl = 0.5 * (a / b - 1 - (a / b).log() + (m - n) ** 2 / b).sum()
            w2 = ((m - n) ** 2 + (a.sqrt() - b.sqrt()) ** 2).sum()
        table = {"bhattacharyya": -bc.log(), "hellinger2": 1 - bc, "hellinger": (1 - bc).sqrt()}
        return (table | {"kl": kl, "wasserstein2": w2})[name].item()

    def at(x, *index):
        pick = lambda t: t.double()[index]  # noqa: E731
        return x.map(pick) if kind == "diagonal" else pick(x)

    for e, f, i, j in np.ndindex(2, 5, 3, 4):
        assert got[e, f, i, j].item() == pytest.approx(direct(at(p, e, 0, i), at(q, f, j)), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_summands_sum_to_the_whole(kind, name):
    p, q = arguments(kind, 3, 8), arguments(kind, 3, 8, seed=1)
    whole = pairwise(name, p, q).diagonal()
    if (kind, name) == ("probabilities", "bhattacharyya"):
        with pytest.raises(UserError, match="bhattacharyya between probabilities"):
            compute_terms(name, p, q)
        return
    parts = compute_terms(name, p, q)
    assert (parts >= 0).all()
    if kind == "diagonal" and name.startswith("hellinger"):  # there 1 - H^2 multiplies
        h2 = parts if name == "hellinger2" else parts.square()
        joint = 1 - (1 - h2).prod(-1)
        torch.testing.assert_close(whole, joint if name == "hellinger2" else joint.sqrt())
    elif name == "hellinger":
        torch.testing.assert_close(whole, parts.square().sum(-1).sqrt())
    else:
        torch.testing.assert_close(whole, parts.sum(-1))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_equality_is_exactly_zero_with_zero_gradient(kind, name):
    p, q = arguments(kind, 40, 9), arguments(kind, 40, 9)  # cdist takes a matrix product from 25 rows on
    leaves = [t.requires_grad_() for x in (p, q) for t in (x[:2] if kind == "diagonal" else [x])]
    layers = [pairwise]
    if (kind, name) != ("probabilities", "bhattacharyya"):
        layers.append(compute_terms)
    for layer in layers:
        value = layer(name, p, q)
        value = value.diagonal() if layer is pairwise else value
        assert torch.equal(value, torch.zeros_like(value))
        gradients = torch.autograd.grad(value.sum(), leaves)
        assert all(g.abs().max() < 1e-6 for g in gradients), layer  # also fails on NaN


@pytest.mark.parametrize("name", NAMES)
def test_to_standard_is_exactly_zero_at_the_prior(name):
    mean, log_var = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    value = to_standard(name, mean, log_var)
    assert torch.equal(value, torch.zeros(3))
    for gradient in torch.autograd.grad(value.sum(), (mean, log_var)):
        assert torch.equal(gradient, torch.zeros(3))


@pytest.mark.parametrize("name", NAMES)
def test_to_standard_is_finite_far_out(name):
    log_var = torch.tensor([-80.0, -20.0, 20.0, 80.0], requires_grad=True)
    mean = torch.tensor([1e4, -30.0, 0.0, 1.0], requires_grad=True)
    value = to_standard(name, mean, log_var)
    gradients = torch.autograd.grad(value.sum(), (mean, log_var))
    assert all(t.isfinite().all() for t in (value, *gradients))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gap", [0.0, 1e-20, 1e-6, 1e-3, 1.0, 1e4])
def test_gradients_are_finite_at_the_variance_floor(name, gap):
    p = DiagonalGaussian(torch.zeros(1, 256), torch.full((1, 256), VARIANCE_FLOOR))
    q = DiagonalGaussian(torch.full((1, 256), gap), torch.full((1, 256), VARIANCE_FLOOR))
    leaves = [t.requires_grad_() for t in (*p[:2], *q[:2])]
    for layer in (pairwise, compute_terms):
        value = layer(name, p, q)
        gradients = torch.autograd.grad(value.sum(), leaves)
        assert all(t.isfinite().all() for t in (value, *gradients))


@pytest.mark.parametrize("name", SIMPLEX_NAMES)
def test_probabilities_at_the_corners(name):
    corners = torch.eye(2).requires_grad_()
    value = pairwise(name, corners, corners)
    far = {"hellinger": 1.0, "hellinger2": 1.0, "bhattacharyya": 43.0, "kl": 87.3}[name]
    expected = torch.tensor([[0.0, far], [far, 0.0]])
    torch.testing.assert_close(value, expected, atol=0.05 if far > 1 else 1e-6, rtol=0)
    assert torch.autograd.grad(value.sum(), corners)[0].isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_close_gaussians_keep_their_digits(name):
    """Relative offset 1e-3 in mean and variance: float32 against float64, to 4 digits."""
    q = some(1, 16, dtype=torch.float64)
    q = q.map(lambda t: t.float().double())
    p = DiagonalGaussian((q.mean + 1e-3).float().double(), (q.var * 1.001).float().double())
    exact = pairwise(name, p, q)
    got = pairwise(name, p.map(Tensor.float), q.map(Tensor.float))
    torch.testing.assert_close(got.double(), exact, rtol=1e-4, atol=0)


finite = {"allow_nan": False, "allow_infinity": False, "width": 32}
gaussian_entry = st.tuples(st.floats(-50, 50, **finite), st.floats(0.0625, 64, **finite), st.floats(0.0, 1.0, **finite))
triples = st.integers(1, 6).flatmap(lambda c: st.lists(gaussian_entry, min_size=3 * c, max_size=3 * c))


@settings(max_examples=150, deadline=None)
@given(triples)
def test_properties(entries):
    """Symmetry, range, KL >= 2 D_B >= 2 H^2, triangle inequality of H; Gaussians and simplex."""
    numbers = torch.tensor(entries).reshape(3, -1, 3)
    weights = numbers[..., 2] + 1e-3
    for x in (DiagonalGaussian(numbers[..., 0], numbers[..., 1]), weights / weights.sum(-1, keepdim=True)):
        names = NAMES if isinstance(x, Gaussian) else SIMPLEX_NAMES
        d = {name: pairwise(name, x, x) for name in names}
        for name, value in d.items():
            assert (value >= 0).all(), name
            assert value.isfinite().all(), name
            if name in SYMMETRIC:
                torch.testing.assert_close(value, value.T, rtol=1e-5, atol=1e-6)
        slack = 1e-5 * (1 + d["kl"])
        assert (d["kl"] + slack >= 2 * d["bhattacharyya"]).all()
        assert (d["bhattacharyya"] + 1e-6 >= d["hellinger2"]).all()
        h = d["hellinger"]
        assert (h <= 1).all()
        assert (h.unsqueeze(1) <= h.unsqueeze(2) + h.unsqueeze(0) + 1e-5).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.floats(-3, 3), st.integers(0, 1000))
def test_shifting_both_changes_nothing_and_scaling_only_wasserstein(n, c, shift, seed):
    p, q = some(n, c, seed=seed, dtype=torch.float64), some(2, c, seed=seed + 1, dtype=torch.float64)
    for name in NAMES:
        moved = [DiagonalGaussian(2 * (g.mean + shift), 4 * g.var) for g in (p, q)]
        factor = 4 if name == "wasserstein2" else 1
        torch.testing.assert_close(pairwise(name, *moved), factor * pairwise(name, p, q))


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck_gaussians(name):
    leaves = [t for s in (0, 1) for t in some(2, 3, 4, seed=s, dtype=torch.float64, grad=True)[:2]]

    def both(m, a, n, b):
        p, q = DiagonalGaussian(m, a), DiagonalGaussian(n, b)
        return pairwise(name, p, q), compute_terms(name, p, q)

    assert torch.autograd.gradcheck(both, leaves)
    assert torch.autograd.gradcheck(lambda m, a, n, b: to_standard(name, m, a), leaves)


@pytest.mark.parametrize("name", SIMPLEX_NAMES)
def test_gradcheck_probabilities(name):
    leaves = [probabilities(3, 4, seed=s, dtype=torch.float64).requires_grad_() for s in (0, 1)]
    assert torch.autograd.gradcheck(lambda p, q: pairwise(name, p, q), leaves)


def test_bhattacharyya_by_blocks_is_the_plain_expression(monkeypatch):
    """One block, many blocks and plain autograd agree; so do second derivatives."""
    from anrot_lib.divergences import diagonal

    p, q = (some(2, n, 4, seed=n, dtype=torch.float64, grad=True) for n in (3, 5))
    leaves = (*p[:2], *q[:2])
    plain = compute_terms("bhattacharyya", p.map(lambda t: t[:, :, None]), q.map(lambda t: t[:, None]))
    weight = torch.rand(2, 3, 5, dtype=torch.float64)
    expected = torch.autograd.grad((plain.sum(-1) * weight).sum(), leaves)
    for step in (1, 2, 5, 64):
        cuts = [slice(i, i + step) for i in range(0, 5, step)]
        monkeypatch.setattr(diagonal, "_slices", lambda m, n, cuts=cuts: cuts)
        value = pairwise("bhattacharyya", p, q)
        torch.testing.assert_close(value, plain.sum(-1))
        for a, b in zip(torch.autograd.grad((value * weight).sum(), leaves), expected, strict=True):
            torch.testing.assert_close(a, b)
    both = lambda m, a, n, b: pairwise("bhattacharyya", DiagonalGaussian(m, a), DiagonalGaussian(n, b))  # noqa: E731
    assert torch.autograd.gradgradcheck(both, leaves)


def test_bhattacharyya_keeps_no_tensor_of_all_pairs():
    p, q = some(40, 64, grad=True), some(30, 64, seed=1, grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        pairwise("bhattacharyya", p, q)
    assert saved and max(saved) <= 40 * 64


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_autocast_and_half_precision_give_float32(kind, name):
    p, q = arguments(kind, 3, 64), arguments(kind, 2, 64, seed=1)
    exact = pairwise(name, p, q)
    half = lambda x: x.map(Tensor.bfloat16) if kind == "diagonal" else x.bfloat16()  # noqa: E731
    rounded = [x.map(Tensor.float) if kind == "diagonal" else x.float() for x in map(half, (p, q))]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pairwise(name, p, q), exact)
        got = pairwise(name, half(p), half(q))
    assert got.dtype == torch.float32
    assert torch.equal(got, pairwise(name, *rounded))


def test_hellinger_saturates_and_its_gradient_dies_where_bhattacharyya_does_not():
    """256 dimensions, half a unit apart: H is 1 and pulls no more; D_B still does."""
    far = DiagonalGaussian(torch.full((1, 256), 1.0, requires_grad=True), torch.full((1, 256), 0.1))
    near = DiagonalGaussian(torch.zeros(1, 256), torch.full((1, 256), 0.1))
    h, d = pairwise("hellinger", far, near), pairwise("bhattacharyya", far, near)
    assert h.item() == 1.0 and d.item() == pytest.approx(320.0)
    assert not torch.autograd.grad(h.sum(), far.mean)[0].any()
    assert torch.autograd.grad(d.sum(), far.mean)[0].abs().min() > 1


def test_errors_name_what_is_offered():
    g, p = some(2, 3), probabilities(2, 3)
    full = FullGaussian(torch.zeros(2, 3), cov=torch.eye(3).expand(2, 3, 3))
    with pytest.raises(UserError, match="unknown divergence 'jeffreys'; choose one of hellinger"):
        pairwise("jeffreys", g, g)
    with pytest.raises(UserError, match="unknown divergence 'jeffreys'"):
        to_standard("jeffreys", g.mean, g.var)
    with pytest.raises(UserError, match=r"wasserstein2 between probabilities .* one of: diagonal"):
        pairwise("wasserstein2", p, p)
    with pytest.raises(UserError, match="kl between diagonal and probabilities"):
        pairwise("kl", g, p)
    with pytest.raises(UserError, match="kl between full and diagonal is not defined here"):
        pairwise("kl", full, some(2, 3))


@pytest.mark.parametrize("log_var", [1e-7, -1e-4, 1e-4, 1e-2, -0.3, 0.3999, 0.4001, -0.45, 3.0, -3.0])
def test_kl_keeps_its_digits_near_equality(log_var):
    """Against 60 digits: in fp32 and fp64, to the prior and between two Gaussians whose variances differ little."""
    with mpmath.workdps(60):
        for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-14)):
            exponent = torch.tensor([log_var], dtype=dtype)
            x = mpmath.mpf(exponent.item())
            exact = float((mpmath.expm1(x) - x) / 2)
            value = to_standard("kl", torch.zeros_like(exponent), exponent).item()
            assert value == pytest.approx(exact, rel=tolerance), dtype
            p = DiagonalGaussian(torch.zeros(1, 1, dtype=dtype), exponent.exp().unsqueeze(0))
            q = DiagonalGaussian(torch.zeros(1, 1, dtype=dtype), torch.ones(1, 1, dtype=dtype))
            var = mpmath.mpf(p.var.item())
            exact = float((var - 1 - mpmath.log(var)) / 2)
            assert pairwise("kl", p, q).item() == pytest.approx(exact, rel=tolerance, abs=1e-300), dtype
