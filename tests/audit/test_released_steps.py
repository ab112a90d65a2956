"""The published steps around the net do what the released code does: same numbers out for same numbers in."""

import itertools
import random

import numpy as np
import pytest
import torch

from anrot_lib.audit import published
from anrot_lib.core.torchvision_compat import load_torchvision
from tests.helpers import rng

NAMES = [f"n{k}" for k in range(100)]


def test_the_split_is_that_of_the_release():
    """Names of a run of the released lines with their seed 10, and with 0 for the state that training finds."""
    split = published.split_twice(NAMES, seed=0)
    assert split.train[:3] == ["n49", "n97", "n53"]
    expected = "63 70 7 40 25 74 89 86 29 94 67 97 69 16 43 60 50 21"
    assert split.test == [f"n{k}" for k in expected.split()]
    assert split.val[:3] == ["n95", "n82", "n64"]
    assert [len(names) for names in split] == [64, 18, 18]
    assert len({*split.train} & {*split.test}) == 11


def test_one_draw_leaks_nothing_and_two_leak_64_in_100():
    once = published.split_classes(NAMES, random.Random(3))
    assert not {*once.train} & {*once.test} and sorted(itertools.chain(*once)) == sorted(NAMES)
    leaked = [
        len({*split.train} & {*split.test}) for split in (published.split_twice(NAMES, seed) for seed in range(2000))
    ]
    assert np.mean(leaked) == pytest.approx(11.52, abs=4 * np.std(leaked) / 2000**0.5)


def test_hela_vfa_leaks_unless_its_cell_runs_twice():
    once, twice = (published.split_hela_vfa(NAMES, 0, runs) for runs in (1, 2))
    assert len({*once.train} & {*once.test}) > 5
    assert not {*twice.train} & {*twice.test} and sorted(itertools.chain(*twice)) == sorted(NAMES)


def test_labels_of_different_classes_coincide():
    clean, attacked = published.number_classes(), published.number_classes_of_attacked()
    assert sorted({*clean["train"]} & {*clean["val"]}) == [60, 61, 62, 63]
    assert {*clean["val"]} & {*clean["test"]}
    assert attacked["val"][0] == attacked["train"][0] == 0 != clean["val"][0]


def test_noise_is_that_of_the_release():
    """A run of the released lines with numpy's seed 3."""
    noise = [0.08943142, 0.02182549, 0.00482487, -0.09317464, -0.01386941, -0.01773795]
    noise += [-0.00413707, -0.03135003, -0.00219091, -0.0238609, -0.06569324, 0.04423112]
    expected = [0.08943142, 0.11273459, 0.18664306, 0.17955265, 0.34976696, 0.43680752]
    expected += [0.54131749, 0.60501359, 0.72508184, 0.79432091, 0.8433977, 1.04423112]
    images = torch.linspace(0, 1, 12, dtype=torch.float64)
    noisy = published.add_unclipped_noise(images, torch.tensor(noise, dtype=torch.float64))
    torch.testing.assert_close(noisy, torch.tensor(expected, dtype=torch.float64), atol=1e-7, rtol=0)
    assert published.add_unclipped_noise(images[:1], torch.tensor(-0.5)).item() == 0


def test_noise_leaves_the_range_and_raises_the_mean():
    """Uniform pixels, sigma 0.30: a share of 0.12 above 1, and a mean that rises by 0.0225."""
    images = torch.rand(10**6, generator=rng(), dtype=torch.float64)
    noisy = published.add_unclipped_noise(images, 0.3 * torch.randn(10**6, generator=rng(1), dtype=torch.float64))
    assert (noisy > 1).double().mean().item() == pytest.approx(0.1197, abs=0.001)
    assert (noisy - images).mean().item() == pytest.approx(0.0225, abs=0.001)


def test_augmentation_is_that_of_torchvision():
    load_torchvision()
    from torchvision import transforms as T

    image = torch.rand(3, 12, 12, generator=rng())
    certain = [
        T.RandomVerticalFlip(1),
        T.RandomHorizontalFlip(1),
        T.RandomRotation((90, 90)),
        T.RandomRotation((270,) * 2),
    ]
    for case in range(16):
        coins = torch.tensor([[bool(case >> k & 1) for k in range(4)]])
        expected = image
        for coin, step in zip(coins[0], certain, strict=True):
            expected = step(expected) if coin else expected
        torch.testing.assert_close(published.augment_always(image[None], coins)[0], expected)


def test_coins_are_fair_and_independent():
    coins = published.draw_coins(4000, rng()).float()
    assert coins.shape == (4000, 4)
    assert ((coins.mean(0) - 0.5).abs() < 0.04).all()
    assert (torch.corrcoef(coins.T) - torch.eye(4)).abs().max() < 0.06


def test_reading_labels_makes_every_image():
    class Images:
        made = 0

        def __len__(self):
            return 30

        def __getitem__(self, k):
            if k >= 30:
                raise IndexError
            self.made += 1
            return torch.zeros(3), k % 3

    images = Images()
    assert published.read_labels(images) == [k % 3 for k in range(30)] and images.made == 30


def test_the_evaluation_leaves_a_line():
    assert published.pool_accuracy([40, 45], queries=50) == "85.00%"


def test_the_distance_of_features_is_that_of_the_release():
    """A run of the released function on the same two arrays, whose covariances are singular: there the root of a matrix
    is right to half of the digits, and the others depend on the number of threads."""
    a, b = np.sin(np.arange(40.0)).reshape(10, 4), np.cos(np.arange(32.0) * 1.3).reshape(8, 4)
    assert published.compute_published_fid(a, b) == pytest.approx(0.46396155116715143, rel=1e-6)


def test_rows_are_the_pictures_that_the_release_compares():
    """`scikit-image`'s resize, to the nearest pixel, of the rows of an image (4, 5, 3) to (10, 9, 3)."""
    image = torch.linspace(0, 1, 60).view(4, 5, 3).permute(2, 0, 1)
    rows = published.take_rows_of_last_image(image[None])
    assert rows.shape == (4, 3, 5, 3)
    seen = torch.nn.functional.interpolate(rows, (10, 9), mode="nearest-exact")
    assert (seen[:, 0] == seen[:, 2]).all()
    column = torch.tensor([0.0000, 0.0169, 0.0339])
    torch.testing.assert_close(seen[0, 0, 0], column.repeat_interleave(3), atol=5e-5, rtol=0)
    torch.testing.assert_close(seen[0, 0, 9], column.repeat_interleave(3) + 0.2034, atol=1e-4, rtol=0)
