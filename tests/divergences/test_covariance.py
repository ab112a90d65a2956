"""Estimates of covariances: unbiased or not, masked, shrunk four ways, full and low rank alike."""

import pytest
import torch
from sklearn.covariance import ledoit_wolf_shrinkage

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.covariance import FLOOR, SHRINKAGES, estimate_gaussian, ledoit_wolf, make_dense, oracle
from anrot_lib.divergences.gaussian import FullGaussian, LowRankGaussian

F64 = torch.float64


def samples(*shape, seed=0, dtype=F64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("form", ["full", "low rank"])
def test_plain_moments(unbiased, form):
    x = samples(2, 3, 9, 5) + 7
    g = make_dense(estimate_gaussian(x, shrinkage="none", unbiased=unbiased, form=form))
    for i in range(2):
        for j in range(3):
            expected = torch.cov(x[i, j].T, correction=int(unbiased))
            torch.testing.assert_close(g.cov[i, j], expected)
            torch.testing.assert_close(g.mean[i, j], x[i, j].mean(0))


def test_auto_takes_low_rank_where_channels_exceed_samples():
    assert isinstance(estimate_gaussian(samples(2, 9, 10)), LowRankGaussian)
    assert isinstance(estimate_gaussian(samples(2, 10, 10)), FullGaussian)
    assert isinstance(estimate_gaussian(samples(2, 10, 9), axis=-1), LowRankGaussian)


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
def test_both_forms_and_both_axes_are_one_covariance(shrinkage):
    x = samples(2, 7, 12)
    full, low, turned = (
        make_dense(estimate_gaussian(t, shrinkage=shrinkage, form=form, axis=axis))
        for t, form, axis in ((x, "full", -2), (x, "low rank", -2), (x.mT, "full", -1))
    )
    torch.testing.assert_close(full.cov, low.cov)
    torch.testing.assert_close(full.cov, turned.cov)


def test_shrinkage_as_stated():
    x = samples(9, 5)
    plain = torch.cov(x.T)
    eye = torch.eye(5, dtype=F64)
    torch.testing.assert_close(estimate_gaussian(x, shrinkage="ridge", amount=0.3).cov, plain + 0.3 * eye)
    torch.testing.assert_close(estimate_gaussian(x, shrinkage="ridge").cov, plain + 0.01 * eye)
    usual = 0.9 * plain + (0.1 * plain.trace() / 5 + FLOOR) * eye
    torch.testing.assert_close(estimate_gaussian(x, shrinkage="trace").cov, usual)
    expected = 0.8 * plain + (0.2 * plain.trace() / 5 + FLOOR) * eye
    torch.testing.assert_close(estimate_gaussian(x, shrinkage="trace", amount=0.2).cov, expected)
    for name in ("trace", "lw", "oas"):  # they keep the trace
        assert estimate_gaussian(x, shrinkage=name).cov.trace().item() == pytest.approx(
            plain.trace().item() + 5 * FLOOR
        )


@pytest.mark.parametrize("shape", [(9, 5), (30, 12), (8, 40)])
def test_intensities(shape):
    """Ledoit-Wolf against scikit-learn; the oracle against its formula written with matrices."""
    x = samples(*shape) * torch.linspace(0.5, 2, shape[1], dtype=F64)
    n, c = shape
    centred, total = (x - x.mean(0)).T, torch.tensor(float(n), dtype=F64)
    assert ledoit_wolf(centred, total).item() == pytest.approx(ledoit_wolf_shrinkage(x.numpy()), abs=1e-9)
    s = centred @ centred.T / n
    square, trace = (s @ s).trace(), s.trace()
    expected = ((1 - 2 / c) * square + trace**2) / ((n + 1 - 2 / c) * (square - trace**2 / c))
    assert oracle(centred, total).item() == pytest.approx(min(1.0, expected.item()))
    g = estimate_gaussian(x, shrinkage="lw", form="full", unbiased=False)
    a = ledoit_wolf_shrinkage(x.numpy())
    torch.testing.assert_close(g.cov, (1 - a) * s + (a * trace / c + FLOOR) * torch.eye(c, dtype=F64))


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
def test_masked_samples_do_not_count(shrinkage):
    x, mask = samples(3, 8, 5), torch.ones(3, 8, dtype=torch.bool)
    mask[1, [2, 5]] = False
    spoilt = torch.where(mask[..., None], x, 1e3)
    found = make_dense(estimate_gaussian(spoilt, mask, shrinkage))
    torch.testing.assert_close(found.cov[0], make_dense(estimate_gaussian(x[0], shrinkage=shrinkage)).cov)
    left = make_dense(estimate_gaussian(x[1][mask[1]], shrinkage=shrinkage))
    torch.testing.assert_close(found.cov[1], left.cov)
    torch.testing.assert_close(found.mean[1], left.mean)


def test_copies_of_the_samples():
    """Five copies of four samples: the biased covariance stays, the unbiased one becomes 20/15 * 15/19 of 1."""
    x = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2]])
    copies = x.repeat(5, 1)
    torch.testing.assert_close(
        estimate_gaussian(copies, shrinkage="none", unbiased=False).cov,
        estimate_gaussian(x, shrinkage="none", unbiased=False).cov,
    )
    assert estimate_gaussian(copies, shrinkage="none").cov[0, 0].item() == pytest.approx(1.052632, abs=1e-6)


@pytest.mark.parametrize("shrinkage", ["trace", "lw", "oas"])
def test_it_scales_with_the_features_and_forgets_offsets(shrinkage):
    x = samples(30, 6)
    g, scaled = estimate_gaussian(x, shrinkage=shrinkage), estimate_gaussian(10 * x + 5, shrinkage=shrinkage)
    torch.testing.assert_close(scaled.cov, 100 * g.cov, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shrinkage", ["trace", "lw", "oas"])
def test_equal_samples_and_no_sample_can_still_be_inverted(shrinkage):
    x = torch.ones(2, 6, 4, requires_grad=True)
    g = make_dense(estimate_gaussian(x, torch.tensor([[True] * 6, [False] * 6]), shrinkage))
    assert torch.equal(g.mean, torch.tensor([[1.0] * 4, [0.0] * 4]))
    torch.linalg.cholesky(g.cov).sum().backward()
    assert x.grad.isfinite().all()


def test_a_common_offset_costs_no_digits():
    x = samples(50, 4, dtype=torch.float32)
    torch.testing.assert_close(estimate_gaussian(x + 1000).cov, estimate_gaussian(x).cov, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("shrinkage", ["none", "ridge", "trace"])
@pytest.mark.parametrize("form", ["full", "low rank"])
def test_gradients(shrinkage, form):
    def function(x):
        return make_dense(estimate_gaussian(x, shrinkage=shrinkage, form=form)).cov

    assert torch.autograd.gradcheck(function, samples(2, 5, 3).requires_grad_())


def test_errors():
    x = samples(4, 3)
    with pytest.raises(UserError, match=r"unknown shrinkage 'ledoit'.*lw"):
        estimate_gaussian(x, shrinkage="ledoit")
    with pytest.raises(UserError, match="unknown form"):
        estimate_gaussian(x, form="diagonal")
    with pytest.raises(UserError, match="at most 1 for trace"):
        estimate_gaussian(x, amount=1.5)


def test_an_axis_that_is_none_is_refused():
    with pytest.raises(UserError, match="axis must be -2"):
        estimate_gaussian(torch.randn(2, 5, 9), axis=2)
