"""Estimates of Gaussians: against numpy in double precision, and at the edges."""

import numpy as np
import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import (
    VARIANCE_FLOOR,
    DiagonalGaussian,
    FullGaussian,
    Gaussian,
    LowRankGaussian,
    estimate_diagonal,
    estimate_from_maps,
    pool,
)


def samples(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_moments_are_those_of_numpy():
    x = samples(3, 40, 5)
    g = estimate_diagonal(x)
    np.testing.assert_allclose(g.mean, x.double().numpy().mean(1), atol=1e-6)
    np.testing.assert_allclose(g.var, x.double().numpy().var(1) + VARIANCE_FLOOR, atol=1e-6)


def test_weighted_moments_are_those_of_repeated_samples():
    x, counts = samples(6, 4), torch.tensor([3, 1, 0, 2, 0, 5])
    expected = estimate_diagonal(x.repeat_interleave(counts, 0))
    for got in (estimate_diagonal(x, counts), estimate_diagonal(x.T.contiguous(), counts, axis=-1)):
        torch.testing.assert_close(got.mean, expected.mean)
        torch.testing.assert_close(got.var, expected.var)


def test_a_sample_of_weight_zero_has_no_influence():
    x, weights = samples(5, 3), torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0])
    other = x.clone()
    other[2] = 1e3
    for a, b in zip(estimate_diagonal(x, weights)[:2], estimate_diagonal(other, weights)[:2], strict=True):
        assert torch.equal(a, b)


def test_a_large_offset_costs_no_digits():
    x = samples(500, 8)
    offset = 2.0**12  # a power of two, so that adding it is all the rounding there is
    shifted = (x + offset).double()
    expected = shifted.var(0, correction=0) + VARIANCE_FLOOR
    torch.testing.assert_close(estimate_diagonal(x + offset).var.double(), expected, rtol=1e-5, atol=0)


def test_one_sample_has_the_floor_as_variance():
    x = samples(2, 1, 3)
    g = estimate_diagonal(x, floor=0.125)
    assert torch.equal(g.mean, x[:, 0])
    assert torch.equal(g.var, torch.full((2, 3), 0.125))
    assert torch.equal(estimate_diagonal(x).var, torch.full((2, 3), 0.05)), "the floor of all results"


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_are_samples_by_position(layout):
    maps = samples(6, 7, 3, 4).contiguous(memory_format=layout)
    g, expected = estimate_from_maps(maps), estimate_diagonal(maps.flatten(2).transpose(1, 2))
    torch.testing.assert_close(g.mean, expected.mean)
    torch.testing.assert_close(g.var, expected.var)
    assert maps.flatten(-2).data_ptr() == maps.data_ptr(), "the maps were copied"


def test_pooled_maps_are_all_their_positions_together():
    """Two episodes, 3 classes of 4, 1 and 2 shots: shots pooled by membership, floor counted once."""
    maps, labels = samples(2, 7, 5, 3, 3), torch.tensor([0, 0, 0, 0, 1, 2, 2]).expand(2, 7)
    membership = torch.nn.functional.one_hot(labels, 3).transpose(1, 2)
    pooled = pool(estimate_from_maps(maps).map(lambda t: t[:, None]), membership)
    assert pooled.mean.shape == pooled.var.shape == (2, 3, 5)
    for e in range(2):
        for c in range(3):
            own = maps[e, labels[e] == c].transpose(0, 1).flatten(1)
            expected = estimate_diagonal(own, axis=-1)
            torch.testing.assert_close(pooled.mean[e, c], expected.mean)
            torch.testing.assert_close(pooled.var[e, c], expected.var)


def test_a_padded_class_is_finite():
    x = samples(2, 4, 3).requires_grad_()
    g = estimate_diagonal(x, torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0]]))
    assert torch.equal(g.mean[1], torch.zeros(3))
    assert torch.equal(g.var[1], torch.full((3,), VARIANCE_FLOOR))
    (g.mean.sum() + g.var.log().sum()).backward()
    assert x.grad.isfinite().all() and not x.grad[1].any() and x.grad[0].any()


def test_gradient_is_finite_where_all_samples_are_equal():
    x = torch.ones(2, 5, 3, requires_grad=True)
    estimate_diagonal(x).var.log().sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_gradients_in_double_precision():
    x, w = samples(2, 4, 3, dtype=torch.float64), torch.rand(2, 4, dtype=torch.float64)
    x.requires_grad_(), w.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: estimate_diagonal(x, w)[:2], (x, w))
    parts = (x, (x.detach().square() + 0.1).requires_grad_())
    assert torch.autograd.gradcheck(lambda m, v, w: pool(DiagonalGaussian(m, v), w)[:2], (*parts, w))


def test_half_precision_is_lifted_and_double_kept():
    x = samples(2, 50, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        g = estimate_diagonal(x.bfloat16())
        assert estimate_diagonal(x.double()).var.dtype == torch.float64
    assert g.mean.dtype == g.var.dtype == torch.float32
    torch.testing.assert_close(g.var, estimate_diagonal(x.bfloat16().float()).var)


def test_map_keeps_the_type_and_takes_every_tensor():
    mean, cov = torch.zeros(4, 3), torch.eye(3).expand(4, 3, 3)
    low_rank = LowRankGaussian(mean, factor=torch.zeros(4, 3, 2), ridge=torch.ones(4))
    rows = torch.tensor([2, 0])
    for g in (DiagonalGaussian(mean, mean + 1), FullGaussian(mean, cov), low_rank):
        picked = g.map(lambda t: t[rows])
        assert type(picked) is type(g) and isinstance(picked, Gaussian)
        assert all(torch.equal(a, b[rows]) for a, b in zip(picked, g, strict=True))
    picked = low_rank.map(lambda t: t[rows])
    assert picked.mean.shape == (2, 3) and picked.factor.shape == (2, 3, 2) and picked.ridge.shape == (2,)


@pytest.mark.parametrize("held", [{}, {"var": 1, "cov": 1}, {"factor": 1}, {"var": 1, "factor": 1, "ridge": 1}])
@pytest.mark.parametrize("kind", [DiagonalGaussian, FullGaussian, LowRankGaussian])
def test_a_gaussian_that_holds_too_much_or_too_little_cannot_be_made(kind, held):
    with pytest.raises(TypeError):
        kind(torch.zeros(3), **{name: torch.ones(3) for name in held})


def test_errors_say_what_to_do():
    with pytest.raises(UserError, match="axis must be -2"):
        estimate_diagonal(torch.zeros(2, 3), axis=1)
    with pytest.raises(UserError, match="pool takes diagonal Gaussians, got a full one"):
        pool(FullGaussian(torch.zeros(2, 3), cov=torch.zeros(2, 3, 3)), torch.ones(2))
