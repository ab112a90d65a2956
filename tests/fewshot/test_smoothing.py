"""Randomised smoothing: votes, limits and radii against closed forms, abstention, and attacks within the radius."""

import math

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from torch import nn

from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot import smoothing
from anrot_lib.fewshot.certificates import Smoothing
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.heads.prototypes import Prototypes
from anrot_lib.fewshot.smoothing import ABSTAINS, SmoothedEffort
from tests.helpers import rng

SIGMA, SIDE = 0.1, 4


class Pixels(nn.Module):
    """An encoder whose features are the pixels: with class means and the Euclidean distance, a linear classifier."""

    name, in_channels, out_channels = "pixels", 3, 3 * SIDE**2

    def forward(self, images):
        return images.flatten(1)[..., None, None]


def linear_net():
    return FewShotNet(Pixels(), Prototypes(Pixels.out_channels, "euclid")).eval()


@pytest.fixture(scope="module")
def episode():
    """Two classes of grey images, whose means differ along one direction; queries at eight places along it."""
    from anrot_lib.data.episodes import Episode

    direction = torch.randn(3, SIDE, SIDE, generator=rng())
    direction /= direction.norm()
    grey = torch.full((3, SIDE, SIDE), 0.5)
    support = torch.stack([grey + 0.2 * direction, grey - 0.2 * direction])[None, :, None]
    places = torch.tensor([0.25, 0.15, 0.08, 0.02, -0.02, -0.08, -0.15, -0.25])
    query = (grey + places[:, None, None, None] * direction)[None]
    labels = (places < 0).long()[None]
    rows = torch.zeros(1, 8, dtype=torch.long)
    mask = torch.ones(1, 2, 1, dtype=torch.bool)
    return Episode(support, mask, query, labels, torch.arange(2)[None], rows[:, :2, None], rows), places


def settings(**changes):
    return Smoothing(**{"sigma": SIGMA, "first_draws": 50, "draws": 1000, "alpha": 0.001} | changes)


def certify(net, episode, smoothed, seed=0, max_images=100):
    return smoothing.certify_episode(net, episode, smoothed, rng(seed), max_images)


def test_the_votes_of_a_linear_classifier_have_the_share_of_the_closed_form(episode):
    images, places = episode
    draws = 20_000
    votes = smoothing.count_votes(linear_net(), images, settings(), draws, rng(), 4000)
    expected = ndtr(places.numpy() / SIGMA)  # clipping hardly matters: 0 and 1 are five sigma away
    assert votes.sum(1).eq(draws).all()
    assert votes[:, 0].numpy() / draws == pytest.approx(expected, abs=4 * 0.5 / draws**0.5)


def test_the_radius_of_a_linear_classifier_is_a_lower_limit_of_its_distance_to_the_border(episode):
    """The exact smoothed radius is the distance itself: sigma Phi^-1(Phi(distance / sigma))."""
    images, places = episode
    distance = places.abs().numpy()
    results = [certify(linear_net(), images, settings(alpha=0.05), seed) for seed in range(40)]
    radii = np.stack([r.radii for r in results])
    assert all((r.answers[[0, 1, 6, 7]] == [0, 0, 1, 1]).all() for r in results)
    assert (radii > distance).mean() <= 0.05, "each certificate is wrong with probability alpha"
    near = [1, 2, 5, 6]  # farther places all have p_A near 1, which 1000 draws cannot show
    assert (radii.mean(0) > 0.88 * distance)[near].all(), "and they are not far below"


def test_a_query_at_the_border_abstains(episode):
    images, _ = episode
    result = certify(linear_net(), images, settings(draws=100))
    near = result.answers[[3, 4]]
    assert (near == ABSTAINS).all() and (result.radii[[3, 4]] == 0).all()
    assert (result.answers[[0, 7]] == [0, 1]).all()


def test_radii_by_hand():
    hits = np.array([0, 500, 900, 990, 1000])
    radii = smoothing.compute_radii(hits, settings(sigma=0.25))
    assert radii[:2].tolist() == [0, 0]
    best = 0.001 ** (1 / 1000)  # the limit where all draws agree: p^n = alpha
    assert radii[4] == pytest.approx(0.25 * math.sqrt(2) * torch.erfinv(torch.tensor(2 * best - 1.0)).item(), rel=1e-3)
    assert 0 < radii[2] < radii[3] < radii[4]
    assert ndtr(radii[3] / 0.25) == pytest.approx(sum_to_alpha(990, 1000, 0.001), abs=1e-6)


def sum_to_alpha(hits, n, alpha):
    """The p at which n draws have at least that many hits with probability alpha, by bisection of the plain sum."""
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        terms = (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(hits, n + 1))
        powers = (k * math.log(p) + (n - k) * math.log1p(-p) for k in range(hits, n + 1))
        tail = sum(math.exp(a + b) for a, b in zip(terms, powers, strict=True))
        low, high = (p, high) if tail < alpha else (low, p)
    return low


def test_other_draws_choose_the_class_than_bound_it():
    first, votes = torch.tensor([[60, 40], [40, 60]]), torch.tensor([[10, 990], [990, 10]])
    result = smoothing.certify_votes(first, votes, settings())
    assert result.hits.tolist() == [10, 10] and (result.answers == ABSTAINS).all()


def test_draws_do_not_depend_on_how_many_images_a_pass_holds(small_net, small_set):
    rows = EpisodeManifest.make(small_set, "test", 5, 1, 3, 1, 0).rows
    images = rows.to_episode(small_set)
    for noisy in ("query", "both"):
        few, many = (
            smoothing.count_votes(small_net, images, settings(noisy=noisy), 12, rng(), size) for size in (20, 200)
        )
        assert torch.equal(few, many) and few.sum() == 12 * 15


def test_the_support_set_carries_noise_only_where_it_is_asked_for(small_net, small_set):
    images = EpisodeManifest.make(small_set, "test", 5, 1, 3, 1, 0).rows.to_episode(small_set)
    fitted = []
    former = small_net.head.fit_described
    small_net.head.fit_described = lambda support, *rest: (fitted.append(support.mean), former(support, *rest))[1]
    smoothing.count_votes(small_net, images, settings(noisy="query"), 12, rng(), 60)
    assert len(fitted) == 1 and fitted[0].shape[0] == 1
    fitted.clear()
    smoothing.count_votes(small_net, images, settings(noisy="both"), 12, rng(), 60)
    seen = torch.cat(fitted)
    assert len(seen) == 12 and all(not torch.equal(a, b) for k, a in enumerate(seen) for b in seen[:k])


def test_an_attack_breaks_nothing_within_the_radius_and_much_beyond(episode):
    images, _ = episode
    smoothed, net = settings(), linear_net()
    result = certify(net, images, smoothed)
    effort = SmoothedEffort(steps=5, samples=8, draws=1000)

    def attack(factor):
        return smoothing.attack_certified(net, images, result, smoothed, rng(1), 400, effort, factor)

    within, beyond = attack(1.0), attack(3.0)
    assert within.queries == (result.answers != ABSTAINS).sum() >= 6 and within.broken == 0
    assert beyond.broken >= 4, "an attack that breaks nothing anywhere would prove nothing"


@pytest.mark.parametrize("noisy", ["query", "both"])
def test_attacks_within_the_radii_of_a_trained_net_break_nothing(noisy, small_net, small_set):
    images = EpisodeManifest.make(small_set, "test", 5, 5, 4, 1, 0).rows.to_episode(small_set)
    smoothed = settings(sigma=0.05, draws=200, noisy=noisy)
    result = smoothing.certify_episode(small_net, images, smoothed, rng(), 400)
    assert (result.answers == images.labels[0].numpy()).mean() > 0.3, "it stands small noise on these drawings"
    effort = SmoothedEffort(steps=4, samples=4, draws=200)
    attacked = smoothing.attack_certified(small_net, images, result, smoothed, rng(1), 400, effort)
    assert attacked.queries > 10 and attacked.broken == 0


def test_nothing_certified_is_nothing_attacked(episode):
    images, _ = episode
    nothing = smoothing.SmoothedAnswers(np.zeros(8, int), np.full(8, 500), np.zeros(8))
    assert smoothing.attack_certified(linear_net(), images, nothing, settings(), rng(), 100) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sigma": 0.0}, "sigma must be at least"),
        ({"sigma": float("nan")}, "sigma must be at least"),
        ({"sigma": 2.0}, "sigma must be at most"),
        ({"alpha": 0.0}, "alpha must be at least"),
        ({"alpha": 0.6}, "alpha must be at most"),
        ({"draws": 9}, "take at least 10"),
        ({"draws": 10**9}, "draws must be at most"),
        ({"first_draws": 0}, "first draws must be at least 1"),
        ({"noisy": "support"}, "noisy must be one of query, both"),
    ],
)
def test_settings_that_certify_nothing_are_refused(changes, reason):
    with pytest.raises(UserError, match=reason):
        settings(**changes)


def test_the_least_number_of_draws_is_exact():
    for alpha in (0.001, 0.05, 0.5, 0.25):
        least = next(n for n in range(1, 100) if alpha ** (1 / n) > 0.5)
        smoothed = settings(alpha=alpha, draws=least)
        assert smoothing.compute_radii(np.array([least]), smoothed)[0] > 0
        if least > 1:
            with pytest.raises(UserError, match=f"take at least {least}"):
                settings(alpha=alpha, draws=least - 1)


def test_a_transductive_net_and_a_broken_one_are_refused(small_net, small_set):
    images = EpisodeManifest.make(small_set, "test", 5, 1, 3, 1, 0).rows.to_episode(small_set)
    small_net.head.batch_dependent = True
    with pytest.raises(UserError, match="depend on the other queries"):
        smoothing.count_votes(small_net, images, settings(), 10, rng(), 60)
    small_net.head.batch_dependent = False
    with torch.no_grad():
        small_net.head.log_scale.fill_(float("nan"))
    with pytest.raises(NotFinite, match="not finite under noise"):
        smoothing.count_votes(small_net, images, settings(), 10, rng(), 60)
    both = EpisodeManifest.make(small_set, "test", 5, 1, 3, 2, 0).rows.to_episode(small_set)
    with pytest.raises(UserError, match="one episode at a time"):
        smoothing.count_votes(small_net, both, settings(), 10, rng(), 60)
