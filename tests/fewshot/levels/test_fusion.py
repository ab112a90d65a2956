"""Fusion: the stated sum, what may be permuted, statistics, shares, and fitting on validation scores."""

import pytest
import torch
from torch.nn.functional import conv1d, cross_entropy

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.levels.fusion import MODES, Fusion, fit, measure_shares
from tests.helpers import rng

LEVELS = ("distribution", "pixel", "part")


def some(e=2, n=6, way=5, seed=0):
    g = rng(seed)
    return [scale * torch.rand(e, n, way, generator=g) + shift for scale, shift in ((30.0, 5.0), (0.2, 0.1), (0.01, 0))]


def logits(fusion, found):
    return torch.stack(list(fusion(*found).values())).sum(0)


def warmed(mode, way=5):
    fusion = Fusion(LEVELS, mode, [0.5, 1.0, 0.25], way=way)
    for seed in range(20):
        fusion(*some(4, 10, way, seed=seed + 1))
    return fusion.eval()


def test_the_stated_sum_and_the_dilated_convolution():
    scores = torch.tensor([[-1.0, -2], [3, 1], [2, 5]])  # levels x classes; the distribution is negated already
    weights = [0.5, 1.0, 0.25]
    fusion = Fusion(LEVELS, "fixed", weights)
    found = logits(fusion, [-row.view(1, 1, 2) for row in scores])
    torch.testing.assert_close(found, torch.tensor([[[3.0, 1.25]]]))
    kernel = torch.tensor(weights).view(1, 1, 3)
    torch.testing.assert_close(conv1d(scores.view(1, 1, 6), kernel, dilation=2), found)


@pytest.mark.parametrize("mode", MODES)
def test_permuting_classes_permutes_logits(mode):
    fusion, found = warmed(mode), some()
    if mode == "slot_bn":
        with torch.no_grad():
            fusion.norm.bias.copy_(torch.randn(15, generator=rng()))
    order = torch.tensor([2, 0, 4, 1, 3])
    moved = torch.allclose(logits(fusion, [d[..., order] for d in found]), logits(fusion, found)[..., order], atol=1e-5)
    assert moved == (mode != "slot_bn")


@pytest.mark.parametrize("mode", MODES)
def test_in_eval_mode_queries_do_not_see_each_other(mode):
    fusion, found = warmed(mode), some()
    together = logits(fusion, found)
    alone = torch.cat([logits(fusion, [d[:, i : i + 1] for d in found]) for i in range(6)], 1)
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", [3, 5, 20])
@pytest.mark.parametrize("mode", MODES)
def test_any_number_of_classes(mode, way):
    assert logits(warmed(mode, way), some(way=way)).shape == (2, 6, way)


@pytest.mark.parametrize("mode", [m for m in MODES if m != "slot_bn"])
def test_one_fusion_serves_several_numbers_of_classes(mode):
    fusion = warmed(mode)
    assert [logits(fusion, some(way=way)).shape[-1] for way in (2, 5, 20)] == [2, 5, 20]
    with pytest.raises(UserError, match="built for 5 classes, got 3"):
        logits(warmed("slot_bn"), some(way=3))


@pytest.mark.parametrize("mode", MODES)
def test_a_smaller_divergence_raises_the_logit(mode):
    fusion, found = warmed(mode), some()
    for level in range(3):
        nearer = [d.clone() for d in found]
        nearer[level][0, 0, 2] -= 0.5 * nearer[level].std()
        change = logits(fusion, nearer)[0, 0] - logits(fusion, found)[0, 0]
        assert change[2] > 0 and (mode == "zscore" or change[[0, 1, 3, 4]].abs().max() < 1e-5)


def test_shared_bn_uses_statistics_of_the_batch_then_of_all_batches():
    fusion = Fusion(LEVELS)
    batches = [some(seed=s) for s in range(3)]
    for batch in batches:
        parts = fusion(*batch)
        weight = fusion.log_scale.exp() * fusion.weights[0]
        assert (parts["distribution"] / weight).mean().item() == pytest.approx(0, abs=1e-4)
        assert (parts["distribution"] / weight).std().item() == pytest.approx(1, abs=0.02)
    for level in range(3):  # a plain average of the batches: none of the first values of zero and one is left
        means = torch.stack([batch[level].mean() for batch in batches])
        assert fusion.norm.running_mean[level].item() == pytest.approx(means.mean().item(), rel=1e-4)
    fusion.eval()
    before = fusion.norm.running_mean.clone(), fusion.spread.clone()
    fusion(*batches[0])
    assert torch.equal(fusion.norm.running_mean, before[0]) and torch.equal(fusion.spread, before[1])


def test_weights_start_equal_and_stay_positive():
    fusion = Fusion(LEVELS)
    torch.testing.assert_close(fusion.weights, torch.ones(3))
    with torch.no_grad():
        fusion.raw -= 100
    assert (fusion.weights >= 0).all()
    torch.testing.assert_close(Fusion(LEVELS, weights=[0.5, 1, 2]).weights, torch.tensor([0.5, 1, 2]))


def test_shares_say_which_level_moves_the_logits():
    fusion = Fusion(LEVELS, weights=[1.0, 1.0, 1e-6])
    base = torch.rand(4, 50, 1, generator=rng())
    varied = torch.rand(4, 50, 5, generator=rng(1))
    # The first level differs from query to query, hardly from class to class: batch norm hides it, the share does not.
    parts = fusion(base.expand(4, 50, 5) + 1e-3 * varied, varied, varied)
    for shares in (fusion.shares(), measure_shares(parts)):
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["pixel"] > 0.98 and shares["distribution"] < 0.02 and shares["part"] < 1e-4


def test_state_survives_saving():
    fusion, other = warmed("shared_bn"), Fusion(LEVELS)
    other.load_state_dict(fusion.state_dict())
    assert torch.equal(logits(other.eval(), some()), logits(fusion, some()))
    assert other.shares() == fusion.shares()


def informative(n=400, seed=0):
    """A level that tells the class, one that tells it less, one that tells nothing."""
    g = rng(seed)
    labels = torch.randint(5, (2, n), generator=g)
    truth = 1 - torch.nn.functional.one_hot(labels, 5).float()
    noise = [torch.randn(2, n, 5, generator=g) for _ in range(3)]
    return labels, {"good": 20 * (truth + 0.6 * noise[0]), "weak": truth + 2 * noise[1], "empty": 0.1 * noise[2]}


@pytest.mark.parametrize("mode", ["shared_bn", "zscore", "fixed"])
def test_fitting_lowers_the_loss_and_finds_the_level_that_knows(mode):
    labels, found = informative()
    fusion = Fusion(list(found), mode)
    with torch.no_grad():
        at_first = cross_entropy(logits(fusion.eval(), list(found.values())).flatten(0, 1), labels.flatten()).item()
    loss = fit(fusion, found, labels)
    assert loss < at_first
    held_out_labels, held_out = informative(seed=1)
    with torch.no_grad():
        parts = fusion(*held_out.values())
    accuracy = (sum(parts.values()).argmax(-1) == held_out_labels).float().mean()
    if mode != "fixed":
        shares = measure_shares(parts)
        assert shares["good"] > shares["weak"] > shares["empty"]
        assert shares["empty"] < 0.05
        alone = (held_out["good"].argmin(-1) == held_out_labels).float().mean()
        assert accuracy > alone - 0.01
    assert not fusion.training and all(p.grad is None for p in fusion.parameters())


def test_errors():
    for options, message in (
        ({"mode": "mean"}, "unknown fusion 'mean'"),
        ({"weights": [1.0]}, "3 levels need 3 weights, got 1"),
        ({"mode": "slot_bn"}, "give way"),
        ({"weights": [1.0, 0.0, 1.0]}, "positive"),
    ):
        with pytest.raises(UserError, match=message):
            Fusion(LEVELS, **options)


@pytest.mark.parametrize("mode", ["shared_bn", "zscore"])
def test_any_positive_weight_is_kept(mode):
    given = torch.tensor([100.0, 1.0, 1e-4])
    assert torch.allclose(Fusion(LEVELS, mode, given.tolist()).weights, given, rtol=1e-5)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="positive"):
            Fusion(LEVELS, mode, [1.0, bad, 1.0])


def test_fitting_takes_the_statistics_of_what_is_given_in_slot_bn_too():
    given = dict(zip(LEVELS, some(4, 10), strict=True))
    fusion = Fusion(LEVELS, "slot_bn", way=5)
    fit(fusion, given, torch.randint(0, 5, (4, 10), generator=rng(1)))
    columns = -torch.stack(list(given.values()), -1).transpose(2, 3).flatten(0, 1).flatten(1)
    assert torch.allclose(fusion.norm.running_mean, columns.mean(0), rtol=1e-4)
    assert fusion.norm.momentum == 0.1, "left as it was found"
