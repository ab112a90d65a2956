"""The published reconstruction terms do what the released code does, and the exact ones do what they should."""

import math

import pytest
import torch

from anrot_lib.audit import reconstruction
from anrot_lib.divergences.measures import to_standard


def term(mean, log_var):
    return reconstruction.hellinger_term(torch.tensor(float(mean)), torch.tensor(float(log_var))).item()


@pytest.mark.parametrize(("mean", "log_var", "expected"), [(0, -1, 0.10476), (3, -1, 0.01530), (0, 1, -0.64717)])
def test_values_of_the_formula(mean, log_var, expected):
    assert term(mean, log_var) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("mean", [0, 0.5, 3, -10])
def test_at_unit_variance_it_is_zero_whatever_the_mean(mean):
    assert term(mean, 0) == 0
    exact = to_standard("hellinger2", torch.tensor(float(mean)), torch.tensor(0.0)).item()
    assert exact == pytest.approx(1 - math.exp(-(mean**2) / 8), abs=1e-6)
    assert mean == 0 or exact > 0.03


@pytest.mark.parametrize("log_var", [-3.0, -1.0, 0.7, 2.0])
def test_it_rewards_leaving_the_prior(log_var):
    """Its gradient pushes the mean away from 0, the exact one's pulls it back."""
    for mean in (0.1, 1.0, 4.0):
        m = torch.tensor(mean, requires_grad=True)
        (pushed,) = torch.autograd.grad(reconstruction.hellinger_regulariser(m, torch.tensor(log_var)), m)
        (pulled,) = torch.autograd.grad(to_standard("hellinger2", m, torch.tensor(log_var)), m)
        assert pushed < 0 < pulled


def test_minimising_it_drives_the_posterior_away():
    def descend(loss):
        mean = torch.tensor(1.0, requires_grad=True)
        for _ in range(90):
            (gradient,) = torch.autograd.grad(loss(mean, torch.tensor(-1.0)), mean)
            mean = (mean - 0.05 * gradient).detach().requires_grad_()
        return mean.item()

    assert descend(reconstruction.hellinger_regulariser) > 5
    assert 0 < descend(lambda *posterior: to_standard("hellinger2", *posterior)) < 0.6


def test_it_has_a_pole_and_no_lower_bound():
    assert term(0, reconstruction.POLE - 1e-3) > 10 or term(0, reconstruction.POLE - 1e-3) < -10
    assert term(0, reconstruction.POLE - 1e-3) * term(0, reconstruction.POLE + 1e-3) < 0
    near = reconstruction.hellinger_regulariser(torch.zeros(3), torch.tensor([1e-2, 1e-4, 1e-8]))
    assert near[0] > near[1] > near[2] and near[2] < -18
    assert reconstruction.hellinger_regulariser(torch.zeros(1), torch.zeros(1)).item() == -math.inf


@pytest.mark.parametrize("batch", [4, 128])
def test_the_published_weighing_is_a_small_beta(batch):
    """Its gradients are those of one bound an image with beta = channels / batch, times batch / channels."""
    rng = torch.Generator().manual_seed(0)
    images, decoded = (torch.rand(batch, 3, 8, 8, generator=rng, dtype=torch.float64) for _ in range(2))
    divergence = torch.rand(batch, generator=rng, dtype=torch.float64)
    found = reconstruction.weighed_loss(images, decoded, divergence)
    bound = (images - decoded).square().sum((1, 2, 3)) + reconstruction.effective_beta(batch) * divergence
    assert found.item() == pytest.approx(bound.mean().item() * batch / 3, rel=1e-12)
    assert reconstruction.effective_beta(128) == pytest.approx(0.0234, abs=1e-4)


def test_the_inputs_of_the_published_distance():
    images = torch.rand(5, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    rows = reconstruction.rows_of_last_image(images)
    assert rows.shape == (8, 3, 1, 6) and torch.equal(rows[2, :, 0], images[-1, :, 2])
    seen = reconstruction.scaled_twice(images)
    assert seen.min() >= -1 and seen.max() <= -0.992
