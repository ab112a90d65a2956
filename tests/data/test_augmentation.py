import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from anrot_lib.core.errors import UserError
from anrot_lib.data import augmentation
from tests.helpers import rng


def pictures(*shape, seed=0):
    return torch.rand(*shape, generator=rng(seed))


SHAPES = [(6, 1, 8, 8), (6, 3, 8, 8), (2, 3, 3, 8, 8), (3, 7, 7)]


@pytest.mark.parametrize("name", augmentation.AUGMENTATIONS)
@given(seed=st.integers(0, 99), shape=st.sampled_from(SHAPES))
def test_shape_range_and_repeatability(name, seed, shape):
    images = pictures(*shape, seed=seed)
    kept = images.clone()
    first, second, other = (augmentation.AUGMENTATIONS[name](images, rng(s)) for s in (seed, seed, seed + 1))
    assert first.shape == images.shape
    assert first.dtype == images.dtype
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, second)
    assert torch.equal(images, kept)
    assert other.shape == images.shape


@pytest.mark.parametrize("name", augmentation.AUGMENTATIONS)
def test_every_image_draws_for_itself(name):
    """Eight copies of one image do not come out as eight equal images, and a batch does not depend on its content."""
    copies = pictures(1, 3, 8, 8).expand(8, -1, -1, -1)
    out = augmentation.AUGMENTATIONS[name](copies, rng())
    assert len({row.numpy().tobytes() for row in out}) > 1
    mixed = copies.clone()
    mixed[1:] = pictures(7, 3, 8, 8, seed=1)
    torch.testing.assert_close(augmentation.AUGMENTATIONS[name](mixed, rng())[0], out[0])


def test_flip_mirrors_half_of_the_images():
    images = pictures(400, 1, 2, 3)
    out = augmentation.flip(images, rng())
    mirrored = (out == images.flip(-1)).flatten(1).all(1)
    assert ((out == images).flatten(1).all(1) ^ mirrored).all()
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert torch.equal(augmentation.flip(images, rng(), p=0), images)
    assert torch.equal(augmentation.flip(images, rng(), p=1), images.flip(-1))


def test_rotations_are_by_90_and_270_degrees_only():
    images = pictures(400, 3, 4, 4)
    out = augmentation.rotate90(images, rng())
    shares = [(out == images.rot90(k, (-2, -1))).flatten(1).all(1).float().mean().item() for k in range(4)]
    assert shares == pytest.approx([0.5, 0.25, 0, 0.25], abs=0.08)
    assert sum(shares) == pytest.approx(1)
    with pytest.raises(UserError, match="square"):
        augmentation.rotate90(pictures(2, 3, 4, 5), rng())


def jitter_only(images, **one):
    return augmentation.color_jitter(
        images, rng(), **({"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0} | one)
    )


def test_color_jitter_changes_only_what_it_is_asked_to():
    images = pictures(20, 3, 6, 6) * 0.3 + 0.3  # far enough from 0 and 1 that nothing is clipped
    gray = lambda x: (x * torch.tensor(augmentation.LUMA)[:, None, None]).sum(1)  # noqa: E731
    torch.testing.assert_close(jitter_only(images), images, atol=1e-5, rtol=0)
    factor = jitter_only(images, brightness=0.4) / images
    assert factor.flatten(1).std(1).max() < 1e-4
    assert factor[:, 0, 0, 0].std() > 0.1
    contrast = jitter_only(images, contrast=0.4)
    torch.testing.assert_close(gray(contrast).mean((1, 2)), gray(images).mean((1, 2)))
    assert (contrast - images).abs().max() > 0.01
    for change in ({"saturation": 0.4}, {"hue": 0.1}):
        out = jitter_only(images, **change)
        torch.testing.assert_close(gray(out), gray(images), atol=1e-4, rtol=0)
        assert (out - images).abs().max() > 0.01
        one_channel = images[:, :1]
        torch.testing.assert_close(jitter_only(one_channel, **change), one_channel)
    with pytest.raises(UserError, match="contrast"):
        augmentation.color_jitter(images, rng(), contrast=1.5)


def test_hue_turns_back():
    images = pictures(4, 3, 5, 5, seed=3).double()
    angle = torch.full((4, 1, 1, 1), 1.0, dtype=torch.float64)
    torch.testing.assert_close(augmentation._turn_hue(augmentation._turn_hue(images, angle), -angle), images)
    torch.testing.assert_close(augmentation._turn_hue(images, 2 * math.pi * angle), images)


def test_blur_is_a_convolution_with_a_gaussian_of_its_sigma():
    image = torch.zeros(1, 1, 31, 31)
    image[..., 15, 15] = 1
    out = augmentation.blur(image, rng(), p=1, sigma=(1.5, 1.5))
    offsets = torch.arange(-15, 16.0)
    assert out.sum().item() == pytest.approx(1, abs=1e-5)
    variance = (out[0, 0].sum(0) * offsets**2).sum().item()
    assert variance == pytest.approx(1.5**2, rel=0.05)
    torch.testing.assert_close(out, out.transpose(-2, -1))
    flat = torch.full((2, 3, 5, 5), 0.7)
    torch.testing.assert_close(augmentation.blur(flat, rng(), p=1), flat)
    images = pictures(50, 3, 9, 9)
    assert torch.equal(augmentation.blur(images, rng(), p=0), images)
    roughness = lambda x: x.diff(dim=-1).abs().mean((1, 2, 3))  # noqa: E731
    assert (roughness(augmentation.blur(images, rng(), p=1, sigma=(1, 2))) < 0.6 * roughness(images)).all()
    with pytest.raises(UserError, match="sigma"):
        augmentation.blur(images, rng(), sigma=(0, 1))


def test_two_views_differ_from_each_other():
    images = pictures(4, 3, 8, 8)
    first, second = augmentation.two_views(images, rng())
    assert first.shape == second.shape == images.shape
    assert (first != second).flatten(1).any(1).all()
    again = augmentation.two_views(images, rng(), augmentation.flip)
    assert all(((view == images) | (view == images.flip(-1))).all() for view in again)


@pytest.mark.parametrize("mix", [augmentation.mixup, augmentation.cutmix])
@given(seed=st.integers(0, 99), shape=st.sampled_from([(6, 1, 8, 8), (2, 5, 3, 6, 8)]))
def test_mixing_accounts_for_every_image(mix, seed, shape):
    labels = torch.arange(shape[-4]).expand(shape[:-3])
    images = pictures(*shape, seed=seed)
    mixed = mix(images, labels, rng(seed))
    assert mixed.images.shape == images.shape
    assert mixed.images.min() >= 0
    assert mixed.images.max() <= 1
    assert torch.equal(mixed.labels, labels)
    assert torch.equal(mixed.other_labels.sort(-1).values, labels)  # partners: a permutation within the row
    assert mixed.weight.shape == labels.shape
    assert mixed.weight.min() >= 0
    assert mixed.weight.max() <= 1
    partners = images.gather(-4 + images.ndim, mixed.other_labels[..., None, None, None].expand(shape))
    if mix is augmentation.mixup:
        weight = mixed.weight[..., None, None, None]
        torch.testing.assert_close(mixed.images, weight * images + (1 - weight) * partners)
    else:
        kept = (mixed.images == images).all(-3)
        assert ((mixed.images == partners).all(-3) | kept).all()
        moved = (mixed.other_labels != labels)[..., None, None] & ~kept
        share = 1 - moved.float().mean((-2, -1))
        torch.testing.assert_close(share[mixed.other_labels != labels], mixed.weight[mixed.other_labels != labels])
    again = mix(images, labels, rng(seed))
    assert all(torch.equal(a, b) for a, b in zip(mixed, again, strict=True))


def test_mixing_weights_follow_their_beta_distribution():
    labels = torch.zeros(4000, dtype=torch.long)
    images = torch.rand(4000, 1, 2, 2)
    for alpha in (0.2, 1.0, 4.0):
        weight = augmentation.mixup(images, labels, rng(), alpha).weight
        assert weight.mean().item() == pytest.approx(0.5, abs=0.03)
        assert weight.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_the_loss_of_a_mixture_weighs_both_labels():
    mixed = augmentation.cutmix(pictures(2, 6, 3, 8, 8), torch.arange(6).expand(2, 6) % 3, rng())
    logits = torch.randn(2, 6, 3, generator=rng())
    one, other = (
        F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        for labels in (mixed.labels, mixed.other_labels)
    )
    weight = mixed.weight.flatten()
    torch.testing.assert_close(mixed.cross_entropy(logits), (weight * one + (1 - weight) * other).mean())
    torch.testing.assert_close(mixed.soft_labels(3).sum(-1), torch.ones(2, 6))


def test_mixing_refuses_labels_that_do_not_fit():
    with pytest.raises(UserError, match="labels"):
        augmentation.mixup(pictures(4, 3, 8, 8), torch.zeros(3, dtype=torch.long), rng())
    with pytest.raises(UserError, match="alpha"):
        augmentation.cutmix(pictures(4, 3, 8, 8), torch.zeros(4, dtype=torch.long), rng(), alpha=0)


def test_a_pipeline_runs_its_parts_in_order_from_one_generator():
    images = pictures(2, 3, 3, 8, 8)
    g = rng()
    expected = augmentation.rotate90(augmentation.flip(images, g), g)
    assert torch.equal(augmentation.build_pipeline(("flip", "rotate90"))(images, rng()), expected)
    assert torch.equal(augmentation.build_pipeline(())(images, rng()), images)
    with pytest.raises(UserError, match="flip, crop, rotate90, color_jitter, blur"):
        augmentation.build_pipeline(("flip", "cutout"))
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        augmentation.build_pipeline(("flip",))(images - 1, rng())


def test_crop_shifts_each_image_by_whole_pixels():
    images = torch.arange(16 * 16, dtype=torch.float32).view(1, 1, 16, 16).expand(40, 3, 16, 16) / 256
    cropped = augmentation.crop(images, rng(), share=1 / 8)
    shifts = set()
    for one in cropped:
        down, right = divmod(round(float(one[0, 8, 8]) * 256) - (8 * 16 + 8) + 2 * 16 + 2, 16)
        shifts.add((down - 2, right - 2))
        rows, columns = torch.arange(16) + down - 2, torch.arange(16) + right - 2
        inside = (rows >= 0) & (rows < 16), (columns >= 0) & (columns < 16)
        expected = images[0][:, rows[inside[0]]][:, :, columns[inside[1]]]
        assert torch.equal(one[:, inside[0]][:, :, inside[1]], expected)
    assert len(shifts) > 15 and {abs(s) for pair in shifts for s in pair} == {0, 1, 2}
    with pytest.raises(UserError, match="share of the side"):
        augmentation.crop(images, rng(), share=1.0)
