"""The search by squares: its schedule, its ball, that it asks for no gradient, and that it finds."""

import pytest
import torch

from anrot_lib.attacks.ascent import ascend
from anrot_lib.attacks.squares import compute_side
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import UserError
from tests.helpers import rng


def make_threat(steps=60, eps=0.1, norm="linf", restarts=1):
    return ThreatModel(norm=norm, eps=eps, step=eps, steps=steps, restarts=restarts, start="random", target="query")


def match(target):
    """How near images are to a target, without a gradient."""

    def objective(points, active):
        some = slice(None) if active is None else active
        return -(points.detach().round(decimals=3) - target[some]).abs().flatten(1).mean(1)

    return objective


def test_squares_shrink_as_the_publication_says():
    sides = [compute_side(k, 10_000, 32, 32) for k in (0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)]
    expected = [max(round((0.8 / 2**k * 1024) ** 0.5), 1) for k in (0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)]
    assert sides == expected
    assert compute_side(150, 300, 32, 32) == compute_side(5000, 10_000, 32, 32), "the same course for fewer squares"
    assert compute_side(0, 10, 8, 40) == 8, "no larger than the image"


def test_it_finds_without_gradients_and_stays_in_the_ball():
    images = torch.rand(5, 3, 8, 8, generator=rng())
    target = (images + 0.1 * torch.randint(-1, 2, images.shape, generator=rng(3))).clamp(0, 1)
    ascent = ascend(match(target), images, make_threat(400), rng(1), rule="squares")
    clean = match(target)(images, None)
    stripes = ascend(match(target), images, make_threat(1), rng(1), rule="squares").loss
    assert (ascent.loss > clean).all() and (ascent.loss > stripes).all()
    change = ascent.images - images
    assert change.abs().max() <= 0.1 + 1e-6 and ascent.images.min() >= 0 and ascent.images.max() <= 1
    assert ascent.loss.tolist() == pytest.approx(match(target)(ascent.images, None).tolist())


def test_more_squares_never_find_less():
    images, target = torch.rand(4, 1, 8, 8, generator=rng()), torch.rand(4, 1, 8, 8, generator=rng(2))
    one, two = (ascend(match(target), images, make_threat(50, restarts=r), rng(1), rule="squares").loss for r in (1, 2))
    assert (two >= one).all()


def test_each_image_has_squares_of_its_own():
    images = torch.full((6, 1, 8, 8), 0.5)
    found = ascend(match(torch.zeros_like(images)), images, make_threat(3), rng(1), rule="squares").images
    assert len({tuple(image.flatten().tolist()) for image in found}) > 3


def test_other_norms_and_no_generator_are_refused():
    images = torch.rand(2, 1, 4, 4, generator=rng())
    with pytest.raises(UserError, match="norm linf only"):
        ascend(match(images), images, make_threat(norm="l2"), rng(), rule="squares")
    with pytest.raises(UserError, match=r"needs a torch\.Generator"):
        ascend(match(images), images, make_threat(), None, rule="squares")
