import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anrot_lib.core.errors import UserError
from anrot_lib.data import noise
from tests.helpers import rng


def check_moments(noisy_of, sigma):
    """200,000 draws at each of nine brightnesses against the closed form, within five standard errors."""
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    n = 200_000
    images = x.view(-1, 1, 1, 1).expand(-1, 1, 400, n // 400).contiguous()
    noisy = noisy_of(images, sigma).flatten(1)
    mean, std = noise.compute_censored_moments(x, sigma)
    assert ((noisy.mean(1) - mean).abs() < 5 * std / math.sqrt(n)).all(), "mean"
    assert ((noisy.std(1) - std).abs() < 5 * std / math.sqrt(n)).all(), "standard deviation"


@pytest.mark.parametrize("sigma", [0.05, 0.3])
def test_moments_are_those_of_the_censored_normal(sigma):
    check_moments(lambda x, s: noise.add_gaussian(x, s, rng()), sigma)


def test_clipping_on_one_side_only_does_not_pass():
    """The published step clips at 255: on [0, 1] data that is no clipping from above."""

    def published(images, sigma):
        return (images + sigma * torch.randn(images.shape, generator=rng(), dtype=images.dtype)).clamp(0, 255)

    with pytest.raises(AssertionError, match="mean"):
        check_moments(published, 0.3)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0])
def test_the_closed_form_agrees_with_quadrature(sigma):
    x = torch.tensor([0.0, 0.2, 0.5, 0.97, 1.0], dtype=torch.float64)
    z = torch.linspace(-9, 9, 400_001, dtype=torch.float64)
    density = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    y = (x[:, None] + sigma * z).clamp(0, 1)
    mean = torch.trapezoid(y * density, z)
    std = (torch.trapezoid(y**2 * density, z) - mean**2).sqrt()
    torch.testing.assert_close(noise.compute_censored_moments(x, sigma), (mean, std), rtol=0, atol=1e-8)


def test_the_mean_of_uniform_pixels_does_not_move():
    x = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert noise.compute_censored_moments(x, 0.3)[0].mean().item() == pytest.approx(0.5, abs=1e-12)


@given(
    seed=st.integers(0, 99), sigma=st.floats(0, 2), shape=st.sampled_from([(1, 4, 4), (2, 3, 5, 4), (2, 3, 1, 4, 4)])
)
def test_shape_range_and_repeatability(seed, sigma, shape):
    images = torch.rand(shape, generator=rng(seed))
    first, second = (noise.add_gaussian(images, sigma, rng(seed)) for _ in range(2))
    assert first.shape == images.shape
    assert first.dtype == images.dtype
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, second)


def test_zero_sigma_changes_nothing_and_each_image_has_its_own():
    images = torch.rand(2, 3, 1, 8, 8, generator=rng())
    assert torch.equal(noise.add_gaussian(images, 0.0, rng()), images)
    sigma = torch.tensor([[0.0, 0.01, 0.1], [0.2, 0.0, 0.3]])
    change = (noise.add_gaussian(images, sigma, rng()) - images).abs().mean((-3, -2, -1))
    assert torch.equal(change.flatten().argsort(stable=True), sigma.flatten().argsort(stable=True))
    assert not change[sigma == 0].any()
    grey = torch.full((2, 3, 8, 8), 0.5)
    planes = (noise.add_gaussian(grey, 0.1, rng()) - grey).flatten(0, 1).flatten(1)
    assert torch.corrcoef(planes).fill_diagonal_(0).abs().max() < 0.5, "channels and images are independent"


def test_sigma_is_drawn_for_each_image_in_its_range():
    images = torch.rand(500, 2, 1, 2, 2)
    sigma = noise.draw_sigma(images, 0.05, 0.3, rng())
    assert sigma.shape == (500, 2)
    assert 0.05 <= sigma.min() < 0.06
    assert 0.29 < sigma.max() <= 0.3
    assert noise.add_gaussian(images, sigma, rng()).shape == images.shape


def test_bad_input_is_named():
    images = torch.rand(2, 3, 4, 4)
    for sigma in (-0.1, float("nan"), torch.tensor([0.1, -0.1])):
        with pytest.raises(UserError, match="sigma"):
            noise.add_gaussian(images, sigma, rng())
    with pytest.raises(UserError, match="shape"):
        noise.add_gaussian(images, torch.rand(3), rng())
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        noise.add_gaussian(images * 255, 0.1, rng())
    with pytest.raises(UserError, match="sigma"):
        noise.draw_sigma(images, 0.3, 0.1, rng())
    with pytest.raises(UserError, match="sigma"):
        noise.compute_censored_moments(images, 0.0)


def test_uniform_noise_has_its_width_and_is_clipped_at_both_ends():
    images = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 3, 64, 64)
    noisy = noise.add_uniform(images, 0.2, torch.Generator().manual_seed(0))
    change = noisy - images
    assert noisy.min() == 0 and noisy.max() == 1
    assert change[1].abs().max() <= 0.2 + 1e-6 and change[1].std().item() == pytest.approx(0.2 / 3**0.5, rel=0.02)
    assert torch.equal(noise.add_uniform(images, 0.0, torch.Generator().manual_seed(0)), images)
    with pytest.raises(UserError, match="width of uniform noise"):
        noise.add_uniform(images, -0.1, torch.Generator().manual_seed(0))
