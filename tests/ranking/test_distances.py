"""Distances against closed forms and torch; gradients at equality; hardness of known triplets."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anrot_lib.core.errors import UserError
from anrot_lib.divergences import measures, stable
from anrot_lib.divergences.gaussian import DiagonalGaussian
from anrot_lib.ranking.distances import cdist, distance, hardness, normalise, read_gaussians

E1, E2 = torch.eye(2, dtype=torch.float64)


def rows(n, d, seed, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("metric", ["N", "C", "E"])
def test_matrix_agrees_with_pairs(metric):
    x, y = normalise(rows(5, 7, 0), metric), normalise(rows(4, 7, 1), metric)
    pairs = torch.stack([torch.stack([distance(a, b, metric) for b in y]) for a in x])
    torch.testing.assert_close(cdist(x, y, metric), pairs, atol=5e-6, rtol=0)  # the 1e-6 of pairs


def test_matrix_is_that_of_torch():
    x, y = rows(5, 7, 0), rows(4, 7, 1)
    torch.testing.assert_close(cdist(x, y, "E"), torch.cdist(x, y))


@pytest.mark.parametrize("metric", ["N", "C", "E"])
def test_equal_rows_are_near_zero_with_a_finite_gradient(metric):
    x = normalise(rows(6, 512, 2, torch.float32), metric).requires_grad_()
    matrix = cdist(x, x.detach(), metric)
    assert matrix.diagonal().max() < (0.03 if metric == "E" else 1e-3)
    matrix.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_the_distance_of_a_row_to_itself_has_a_gradient():
    v = normalise(torch.ones(512), "N").requires_grad_()
    d = distance(v, v.detach(), "N")
    assert d.item() == pytest.approx(math.sqrt(512) * 1e-6, rel=1e-2)
    d.backward()
    assert v.grad.abs().min() > 0


def test_float32_is_kept_under_autocast():
    x = normalise(rows(8, 64, 3, torch.float32), "N")
    with torch.autocast("cpu", torch.bfloat16):
        inside = cdist(x.bfloat16().float(), x, "N")
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, cdist(x.bfloat16().float(), x, "N"))


def test_hardness_of_known_triplets():
    assert hardness(E1, E2, -E1, "N").item() == pytest.approx(math.sqrt(2) - 2, abs=1e-4)
    assert hardness(E1, -E1, E1, "N").item() == pytest.approx(2, abs=1e-4)


@given(st.integers(0, 10_000))
def test_swapping_positive_and_negative_negates_hardness_and_bounds_hold(seed):
    a, p, n = normalise(rows(3, 4, seed), "N")
    h = hardness(a, p, n, "N")
    assert h == -hardness(a, n, p, "N")
    assert -2 - 1e-5 <= h <= 2 + 1e-5


def test_an_unknown_metric_is_the_users_mistake():
    with pytest.raises(UserError, match="N, C, E or H"):
        normalise(E1, "n")


def test_h_is_the_hellinger_distance_of_the_gaussians():
    """One dimension: the closed form; more: of the mean Bhattacharyya distance over dimensions."""
    x, y = torch.tensor([[1.0, 0.3]]).double(), torch.tensor([[-0.5, -0.7]]).double()
    log_vars = [4 * np.tanh(v / 4) for v in (0.3, -0.7)]
    s, t = (np.exp(v / 2) for v in log_vars)
    coefficient = np.sqrt(2 * s * t / (s * s + t * t)) * np.exp(-(1.5**2) / (4 * (s * s + t * t)))
    assert distance(x, y, "H").item() == pytest.approx(np.sqrt(1 - coefficient))
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 12, generator=generator).double() for n in (5, 4))
    found = cdist(x, y, "H")
    p, q = (DiagonalGaussian(m, (4 * torch.tanh(v / 4)).exp()) for m, v in (z.chunk(2, 1) for z in (x, y)))
    wanted = stable.compute_hellinger(measures.pairwise("bhattacharyya", p, q) / 6)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(distance(x[:4], y, "H"), found[:4].diagonal())
    torch.testing.assert_close(cdist(y, x, "H"), found.T)


def test_h_stays_in_its_range_and_is_flat_at_equality():
    x = torch.full((2, 8), 1e4).requires_grad_()
    far = cdist(x, -x.detach(), "H")
    assert (far <= 1).all() and (far > 0.99).all()
    same = distance(x, x.detach(), "H")
    assert (same == 0).all()
    (gradient,) = torch.autograd.grad(same.sum() + far.sum(), x)
    assert torch.isfinite(gradient).all()


def test_h_takes_pairs_of_numbers():
    with pytest.raises(UserError, match="odd"):
        read_gaussians(torch.zeros(2, 5))
