"""Grouping by class and the nearest vectors: exact, whatever the blocks, the mask, the ties and the order."""

import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.experiments.benchmarks.levels import compute_dense_similarity
from anrot_lib.fewshot.levels.matching import (
    ClassMaps,
    compute_similarity,
    find_nearest,
    group_by_class,
    make_unit,
    mark_counted,
)
from tests.helpers import rng

F64 = torch.float64


def vectors(*shape, seed=0, dtype=F64):
    return make_unit(torch.randn(*shape, generator=rng(seed), dtype=dtype))


def test_shots_are_sorted_by_class_with_the_masked_ones_left_out():
    maps = torch.arange(2 * 6.0).view(2, 6, 1, 1, 1)
    labels = torch.tensor([[2, 0, 1, 0, 2, 0], [0, 1, 2, 2, 1, 0]])
    mask = torch.tensor([[True] * 6, [True, True, False, True, True, True]])
    pool = group_by_class(maps, labels, mask)
    assert pool.maps.shape == (2, 3, 3, 1, 1, 1)
    assert pool.valid.tolist() == [
        [[True] * 3, [True, False, False], [True, True, False]],
        [[True, True, False], [True, True, False], [True, False, False]],
    ]
    found = pool.maps.flatten(2)
    expected = [[[1, 3, 5], [2], [0, 4]], [[6, 11], [7, 10], [9]]]
    for e in range(2):
        for c in range(3):
            assert found[e, c][pool.valid[e, c]].tolist() == expected[e][c]


def test_one_row_of_labels_serves_all_episodes():
    maps = torch.randn(3, 4, 2, 2, 2, generator=rng())
    pool = group_by_class(maps, torch.tensor([[0, 1, 0, 1]]))
    assert torch.equal(pool.maps[:, 0], maps[:, [0, 2]]) and torch.equal(pool.maps[:, 1], maps[:, [1, 3]])
    assert pool.valid.all() and pool.valid.shape == (3, 2, 2) and mark_counted(pool, 4) is None


def test_unit_vectors_and_dead_ones():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    found = make_unit(x)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    found.sum().backward()
    assert x.grad.isfinite().all() and not x.grad[1].any() and x.grad[0].any()


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("j", [5, 67, 203, 256])  # below and above what is searched by tiles; 203 is padded
@pytest.mark.parametrize("buffer", [1, 3000, None])
def test_values_indices_and_gradients_are_those_of_the_full_matrix(k, j, buffer):
    query, pool = vectors(2, 7, 6).requires_grad_(), vectors(2, 3, j, 6, seed=1).requires_grad_()
    values, indices = find_nearest(query, pool, k, buffer=buffer)
    products = torch.einsum("erd,ewjd->erwj", query, pool)
    best = products.topk(k)
    torch.testing.assert_close(values, best.values)
    assert torch.equal(indices, best.indices)
    weight = torch.rand(values.shape, generator=rng(2), dtype=F64)
    found = torch.autograd.grad((values * weight).sum(), (query, pool))
    expected = torch.autograd.grad((best.values * weight).sum(), (query, pool))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("j", [5, 203])
def test_masked_vectors_are_never_chosen(j):
    query, pool = vectors(2, 7, 6), vectors(2, 3, j, 6, seed=1)
    valid = torch.rand(2, 3, j, generator=rng(3)) > 0.4
    valid[..., 0] = True
    pool = torch.where(valid[..., None], pool, 100.0)
    values, indices = find_nearest(query, pool, 1, valid)
    for e in range(2):
        for w in range(3):
            kept = pool[e, w][valid[e, w]]
            torch.testing.assert_close(values[e, :, w, 0], (query[e] @ kept.T).amax(-1))
            assert valid[e, w][indices[e, :, w, 0]].all()


@pytest.mark.parametrize("j", [4, 130])
def test_gradcheck(j):
    query, pool = vectors(2, 3, 4).requires_grad_(), vectors(2, 2, j, 4, seed=1).requires_grad_()
    for k in (1, 2):
        assert torch.autograd.gradcheck(lambda q, p, k=k: find_nearest(q, p, k)[0], (query, pool))


def test_only_one_side_may_ask_for_a_gradient():
    query, pool = vectors(1, 3, 4), vectors(1, 2, 5, 4, seed=1)
    (find_nearest(query.requires_grad_(), pool)[0]).sum().backward()
    assert query.grad.any()
    (find_nearest(query.detach(), pool.requires_grad_())[0]).sum().backward()
    assert pool.grad.any()


@pytest.mark.parametrize("buffer", [1, 7 * 50, None])
@pytest.mark.parametrize("k", [1, 3])
def test_the_mean_similarity_is_the_dense_one(k, buffer):
    query, pool = vectors(2, 4, 5, 6).requires_grad_(), vectors(2, 3, 10, 6, seed=1).requires_grad_()
    found, expected = compute_similarity(query, pool, None, k, buffer=buffer), compute_dense_similarity(query, pool, k)
    torch.testing.assert_close(found, expected)
    weight = torch.rand(found.shape, generator=rng(), dtype=F64)
    gradients = [torch.autograd.grad((x * weight).sum(), (query, pool)) for x in (found, expected)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(compute_similarity(query, pool, None, k, reduce="sum"), found * 5 * k)


def test_directions():
    query, pool = vectors(2, 4, 5, 6), vectors(2, 3, 10, 6, seed=1)
    forth = compute_similarity(query, pool, None)
    back = compute_similarity(pool, query, None).mT
    torch.testing.assert_close(compute_similarity(query, pool, None, direction="class"), back)
    torch.testing.assert_close(compute_similarity(query, pool, None, direction="both"), 0.5 * (forth + back))
    assert not torch.allclose(forth, back, atol=1e-3)
    valid = torch.ones(2, 3, 10, dtype=torch.bool)
    valid[..., 7:] = False
    for direction in ("query", "class", "both"):
        masked = compute_similarity(query, pool, valid, direction=direction)
        torch.testing.assert_close(masked, compute_similarity(query, pool[:, :, :7], None, direction=direction))
        summed = compute_similarity(query, pool, valid, direction=direction, reduce="sum")
        torch.testing.assert_close(
            summed, compute_similarity(query, pool[:, :, :7], None, direction=direction, reduce="sum")
        )


def test_errors():
    query, pool = vectors(1, 2, 3, 4), vectors(1, 2, 3, 4)
    with pytest.raises(UserError, match="4 nearest vectors were asked for, but a class has only 3"):
        compute_similarity(query, pool, None, k=4)
    valid = torch.tensor([[[True, True, True], [True, False, False]]])
    with pytest.raises(UserError, match="only 1"):
        compute_similarity(query, pool, valid, k=2)
    with pytest.raises(UserError, match="unknown direction 'up'"):
        compute_similarity(query, pool, None, direction="up")
    with pytest.raises(UserError, match="unknown reduction"):
        compute_similarity(query, pool, None, reduce="max")
    assert isinstance(group_by_class(torch.zeros(1, 2, 1, 1, 1), torch.tensor([[0, 1]])), ClassMaps)
