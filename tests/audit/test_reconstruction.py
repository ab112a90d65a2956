"""The published reconstruction terms do what the released code does, and the exact ones do what they should."""

import math

import pytest
import torch

from anrot_lib.audit import reconstruction
from anrot_lib.divergences.measures import to_standard


def term(mean, log_var):
    return reconstruction.hellinger_term(torch.tensor(float(mean)), torch.tensor(float(log_var))).item()


# From a run of the released lines themselves, in float64; the last four are on both sides of the pole at 1.384294.
RELEASED_TERMS = [
    *((0, -1, 0.10485282525), (3, -1, 0.01532653454), (0, 1, -0.65054298291), (1, 2, 0.74493341934)),
    *((0, 1.3842, -3667.29433057), (0, 1.384294, -958334.085), (0, 1.3843, 61373.0019577), (0, 1.3845, 1683.16905741)),
]


@pytest.mark.parametrize(("mean", "log_var", "expected"), RELEASED_TERMS)
def test_the_term_is_that_of_the_release(mean, log_var, expected):
    found = reconstruction.hellinger_term(*torch.tensor([mean, log_var], dtype=torch.float64)).item()
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_regulariser_is_that_of_the_release():
    """One number for a batch of 3 images with 4 latent dimensions, and its gradients, from a run of the release."""
    mean, log_var = (torch.linspace(*ends, 12, dtype=torch.float64).view(3, 4) for ends in ((-2, 3), (-3, 1)))
    value = reconstruction.hellinger_regulariser(mean.requires_grad_(), log_var.requires_grad_())
    assert value.ndim == 0 and value.item() == pytest.approx(-1.8433984316, abs=1e-9)
    gradients = torch.autograd.grad(value, (mean, log_var))
    expected = [
        [0.1324925100, 0.1447160359, 0.1279687297, 0.0824192766],
        [0.0227408442, -0.0284463946, -0.0530442994, -0.0457613297],
        [-0.0118266124, 0.0432755781, 0.1293324356, 0.3318326720],
    ]
    torch.testing.assert_close(gradients[0], torch.tensor(expected, dtype=torch.float64), atol=1e-9, rtol=0)
    expected = [
        [-0.0111539939, -0.0215955641, -0.0377997482, -0.0594484476],
        [-0.0840950300, -0.1084409658, -0.1316305324, -0.1588033407],
        [-0.2041372403, -0.3004356545, -0.5563553674, -1.7189024785],
    ]
    torch.testing.assert_close(gradients[1], torch.tensor(expected, dtype=torch.float64), atol=1e-9, rtol=0)


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
        one = m.view(1, 1), torch.tensor([[log_var]])  # a batch of one image with one latent dimension
        (pushed,) = torch.autograd.grad(reconstruction.hellinger_regulariser(*one), m)
        (pulled,) = torch.autograd.grad(to_standard("hellinger2", m, torch.tensor(log_var)), m)
        assert pushed < 0 < pulled


def test_minimising_it_drives_the_posterior_away():
    def descend(loss):
        mean = torch.tensor(1.0, requires_grad=True)
        for _ in range(90):
            (gradient,) = torch.autograd.grad(loss(mean.view(1, 1), torch.full((1, 1), -1.0)).sum(), mean)
            mean = (mean - 0.05 * gradient).detach().requires_grad_()
        return mean.item()

    assert descend(reconstruction.hellinger_regulariser) > 5
    assert 0 < descend(lambda *posterior: to_standard("hellinger2", *posterior)) < 0.6


def test_it_has_a_pole_and_no_lower_bound():
    assert term(0, reconstruction.POLE - 1e-3) < -300 and term(0, reconstruction.POLE + 1e-3) > 300
    near = [reconstruction.hellinger_regulariser(torch.zeros(2, 3), torch.full((2, 3), v)) for v in (1e-2, 1e-4, 1e-8)]
    assert near[0] > near[1] > near[2] and near[2] < -18
    assert reconstruction.hellinger_regulariser(torch.zeros(2, 3), torch.zeros(2, 3)).item() == -math.inf


def test_terms_of_opposite_signs_cancel_in_the_total():
    """The logarithm is of one total: no entry is 0 here, and the loss is as low as the total is small."""
    v = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    below, above = reconstruction.hellinger_term(torch.zeros(2, 1, dtype=torch.float64), v).flatten()
    assert below > 0.1 and above < -0.6
    mean = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    mean[1] = (4 * (torch.sqrt(v[1].exp() + 1) + 5e-4) * torch.log(-above / below)).sqrt()  # now the two terms cancel
    assert reconstruction.hellinger_regulariser(mean, v) < -30


@pytest.mark.parametrize("batch", [4, 128])
def test_the_published_weighing_is_a_small_beta(batch):
    """Its gradients are those of one bound an image with beta = channels / batch, times batch / channels."""
    rng = torch.Generator().manual_seed(0)
    images, decoded = (torch.rand(batch, 3, 8, 8, generator=rng, dtype=torch.float64) for _ in range(2))
    divergence = torch.rand(batch, generator=rng, dtype=torch.float64)
    found = reconstruction.weigh_loss(images, decoded, divergence)
    bound = (images - decoded).square().sum((1, 2, 3)) + reconstruction.effective_beta(batch) * divergence
    assert found.item() == pytest.approx(bound.mean().item() * batch / 3, rel=1e-12)
    assert reconstruction.effective_beta(128) == pytest.approx(0.0234, abs=1e-4)


def test_the_inputs_of_the_published_distance():
    images = torch.rand(5, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    rows = reconstruction.take_rows_of_last_image(images)
    assert rows.shape == (8, 3, 6, 3) and torch.equal(rows[2, 0].T, images[-1, :, 2])
    seen = reconstruction.scale_twice(images)
    assert seen.min() >= -1 and seen.max() <= -0.992
