"""Corruptions: range, shape, determinism, severities that grow, and each kind by a property of its own."""

from itertools import pairwise

import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.data import corruptions
from anrot_lib.data.corruptions import SEVERITIES, STRENGTHS, corrupt
from tests.helpers import rng


def picture(channels=3, size=32):
    """A picture with an edge, some texture and colours."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    planes = [0.25 + 0.5 * y * x + 0.2 * (x > 0.37), 0.3 + 0.4 * x, 0.7 - 0.5 * y]
    texture = 0.1 * torch.rand((3, size, size), generator=rng(9))
    return (torch.stack(planes) + texture)[:channels].clamp(0, 1)


@pytest.mark.parametrize("size", [28, 32, 84])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", STRENGTHS)
def test_each_kind_keeps_shape_and_range_and_repeats(kind, channels, size):
    image = picture(channels, size)
    before = image.clone()
    for severity in SEVERITIES:
        one, two = (corrupt(image, kind, severity, rng(severity)) for _ in range(2))
        assert one.shape == image.shape and one.dtype == image.dtype and torch.equal(one, two)
        assert one.min() >= 0 and one.max() <= 1 and not torch.equal(one, image)
    assert torch.equal(image, before)


@pytest.mark.parametrize("kind", STRENGTHS)
def test_severities_grow(kind):
    image = picture()
    changes = [
        torch.stack([(corrupt(image, kind, s, rng(k)) - image).square().mean() for k in range(20)]).mean().item()
        for s in SEVERITIES
    ]
    assert all(a < b for a, b in pairwise(changes)), changes


def test_there_are_fifteen_kinds_of_five_severities():
    assert len(STRENGTHS) == 15 and all(len(strengths) == 5 for _, strengths in STRENGTHS.values())


def test_noises_have_their_moments():
    grey = torch.full((3, 64, 64), 0.5)
    assert (corruptions.gaussian_noise(grey, 0.1, rng()) - grey).std().item() == pytest.approx(0.1, rel=0.03)
    assert (corruptions.speckle_noise(grey, 0.2, rng()) - grey).std().item() == pytest.approx(0.1, rel=0.03)
    shot = corruptions.shot_noise(grey, 50, rng())
    assert shot.mean().item() == pytest.approx(0.5, rel=0.01) and shot.std().item() == pytest.approx(
        (0.5 / 50) ** 0.5, rel=0.05
    )
    hit = corruptions.impulse_noise(grey, 0.2, rng())
    assert ((hit == 0).float().mean().item(), (hit == 1).float().mean().item()) == pytest.approx((0.1, 0.1), abs=0.01)


@pytest.mark.parametrize("kind", ["gaussian blur", "defocus blur", "motion blur"])
def test_blurs_keep_a_plain_image_and_the_light_of_a_point(kind):
    plain = torch.full((3, 32, 32), 0.4)
    point = torch.zeros(1, 33, 33)
    point[0, 16, 16] = 1.0
    for severity in SEVERITIES:
        torch.testing.assert_close(corrupt(plain, kind, severity, rng()), plain)
        spread = corrupt(point, kind, severity, rng())
        assert spread.sum().item() == pytest.approx(1.0, abs=1e-4) and spread.max() < 1


def test_kinds_by_hand():
    image = picture()
    mean = image.mean()
    torch.testing.assert_close(corruptions.contrast(image, 0.5, rng()), mean + 0.5 * (image - mean))
    shifts = {
        round((corruptions.brightness(torch.full((1, 2, 2), 0.5), 0.2, rng(k)) - 0.5).mean().item(), 3)
        for k in range(9)
    }
    assert shifts == {0.2, -0.2}
    grey = picture(1).expand(3, -1, -1)
    torch.testing.assert_close(corruptions.saturation(grey, 2.0, rng()), grey, atol=1e-5, rtol=0)
    blocks = corruptions.pixelate(image, 0.25, rng())
    assert torch.equal(blocks[:, ::4, ::4], blocks[:, 3::4, 3::4])
    torch.testing.assert_close(blocks[:, 0, 0], image[:, :4, :4].mean((1, 2)))
    torch.testing.assert_close(corruptions.zoom_blur(image, 0.0, rng()), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(corruptions.elastic(image, 0.0, rng()), image, atol=1e-5, rtol=0)
    assert (corruptions.jpeg(image, 95, rng()) - image).abs().mean() < 0.03
    torch.testing.assert_close(corruptions.fog(image, 0.0, rng()), image)


def test_what_does_not_exist_is_refused():
    image = picture()
    with pytest.raises(UserError, match="unknown corruption 'snow'; choose from gaussian noise, shot noise"):
        corrupt(image, "snow", 1, rng())
    with pytest.raises(UserError, match="from 1 to 5, got 6"):
        corrupt(image, "fog", 6, rng())
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        corrupt(image + 1, "fog", 1, rng())
