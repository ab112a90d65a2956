"""Destinations: the gradual adversary at its marks, its memory, and which recipe has which."""

import math

import pytest
import torch

from anrot_lib.ranking.recipe import build_recipe
from anrot_lib.ranking.training import destinations
from anrot_lib.ranking.training.destinations import Boosted, Constant, Custom, Gradual, Mined

NOTHING = torch.zeros(3)


def reached(destination, loss):
    destination.update(loss)
    return destination(NOTHING)[0].item()


@pytest.mark.parametrize(
    ("loss", "expected"), [(2.0, -0.2), (0.2, -0.2), (0.1, -0.1), (0.05, -0.05), (0.0, 0.0), (-1.0, 0.0)]
)
def test_linear_gradual_adversary(loss, expected):
    assert reached(Gradual(0.2, 0.2), loss) == pytest.approx(expected, abs=1e-6)


def test_it_rises_while_the_loss_falls_and_begins_weak():
    lga = Gradual(0.2, 0.2)
    assert lga(NOTHING)[0].item() == pytest.approx(-0.2)
    reach = [reached(lga, loss) for loss in (0.3, 0.2, 0.15, 0.1, 0.02, 0.0)]
    assert reach == sorted(reach)


def test_variants_at_a_loss_of_half_the_margin():
    assert reached(Gradual(0.2, 0.2, power=2), 0.1) == pytest.approx(-0.05)
    assert reached(Gradual(0.2, 0.2, power=0.5), 0.1) == pytest.approx(-0.2 * math.sqrt(0.5), abs=1e-6)
    boosted = Boosted("m", limit=0.2, boost=0.1)
    boosted.update(0.05)
    assert boosted(torch.tensor([-0.126]))[0].item() == pytest.approx(-0.051, abs=1e-6)


def test_a_loss_that_is_not_a_number_is_not_taken():
    lga = Gradual(0.2, 0.2)
    lga.update(0.1)
    for loss in (math.nan, math.inf):
        lga.update(loss)
    assert lga(NOTHING)[0].item() == pytest.approx(-0.1)


def test_checkpoints_keep_the_loss():
    lga, other = Gradual(0.2, 0.2), Gradual(0.2, 0.2)
    lga.update(0.07)
    other.load_state_dict(lga.state_dict())
    assert other(NOTHING)[0].item() == pytest.approx(-0.07)


def of(suffix, **changes):
    return destinations.build(build_recipe(f"cub:rres18{suffix}:ptripletN", **changes))


def test_which_recipe_has_which():
    assert isinstance(of("ghmetsm"), Gradual)
    assert of("hmetsm").miner == "m"
    assert isinstance(of("hmetsm", destination="-0.1"), Constant)
    assert isinstance(of("hmetsm", destination="boost"), Boosted)
    assert of("hmetsm", destination="lga2").power == 2
    assert of("hmetss") is None


def test_equal_miners_stop_a_gradual_attack_in_the_original_only():
    assert of("ghmetss", parity="robrank") is None
    assert isinstance(of("ghmetss"), Gradual)


def test_constant_mined_and_own():
    mined = torch.tensor([0.3, -0.4])
    assert Constant(-0.1)(mined).tolist() == pytest.approx([-0.1, -0.1])
    assert torch.equal(Mined("m")(mined), mined)
    assert torch.equal(Custom(lambda h: h.clamp(max=0))(mined), mined.clamp(max=0))
