"""The masking card: two masked nets fail it, a clean and a robust one pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from anrot_lib.attacks import expectation
from anrot_lib.attacks.gradient import pgd
from anrot_lib.core import randomness
from anrot_lib.core.configs import change
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot import card, training
from anrot_lib.fewshot.classifier import FewShotNet, create_net
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.settings import Protocol, Recipe
from tests.helpers import rng

PROTOCOL = Protocol(way=5, shot=1, eps=4 / 255, step=1 / 255, steps=10)
EFFORT = card.CardEffort(restarts=3, more_steps=2, factors=(2.0, 4.0), squares=150)


@pytest.fixture(scope="module")
def rows(small_set):
    return EpisodeManifest.make(small_set, "test", 5, 1, 4, 6, 0).rows


def check(net, small_set, rows):
    return card.check_masking(Evaluator(net, small_set), rows, PROTOCOL, EFFORT)


def list_failed(results):
    return [name for name, result in results.items() if not result["passed"]]


class Blunted(nn.Module):
    """An encoder that rounds its images: its gradient is 0, its predictions are hardly changed."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.in_channels, self.out_channels, self.name = encoder.in_channels, encoder.out_channels, encoder.name

    def forward(self, images):
        return self.encoder((images * 64).round() / 64 + 0 * images)


def test_a_clean_and_a_robust_net_pass(small_set, small_net, small_budget, rows):
    assert list_failed(check(small_net, small_set, rows)) == []
    recipe = Recipe(clean=0.0, adversarial=1.0, eps=4 / 255)
    robust = training.train(small_set, recipe, change(small_budget, episodes=40), Protocol(way=5, shot=1)).net
    results = check(robust, small_set, rows)
    assert list_failed(results) == [] and results["gradient"]["queries"] > 20


def test_a_net_that_rounds_its_images_fails(small_set, small_net, rows):
    masked = FewShotNet(Blunted(small_net.backbone), small_net.head).eval()
    evaluator = Evaluator(small_net, small_set)
    evaluator.net = masked  # folding would take the encoder apart
    results = card.check_masking(evaluator, rows, PROTOCOL, EFFORT)
    assert results["gradient"]["dead"] == {"cross-entropy": 100.0}
    assert {"gradient", "squares"} <= set(list_failed(results))
    assert results["squares"]["difference"] < -5


class Misled(torch.autograd.Function):
    """The identity, whose gradient points the other way."""

    @staticmethod
    def forward(ctx, images):
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def shatter(images):
    """Images with fine waves in their grey levels: they move a pixel by a thousandth, and turn every slope."""
    return images + torch.sin(20_000 * images.double()).to(images) / 1000


class Behind(nn.Module):
    """An encoder behind a function of its images."""

    def __init__(self, encoder, change):
        super().__init__()
        self.encoder, self.change = encoder, change
        self.in_channels, self.out_channels, self.name = encoder.in_channels, encoder.out_channels, encoder.name

    def forward(self, images):
        return self.encoder(self.change(images))


@pytest.mark.parametrize("change", [shatter, Misled.apply], ids=["shattered", "misled"])
def test_a_gradient_that_is_there_and_leads_nowhere_fails(small_set, small_net, rows, change):
    """No gradient is 0 and no query depends on another: only an attack that asks for no gradient finds these out."""
    evaluator = Evaluator(small_net, small_set)
    evaluator.net = FewShotNet(Behind(small_net.backbone, change), small_net.head).eval()
    results = card.check_masking(evaluator, rows, PROTOCOL, EFFORT)
    assert results["gradient"]["passed"] and results["alone"]["passed"]
    assert "squares" in list_failed(results) and results["squares"]["difference"] < -5


def test_an_encoder_that_looks_at_the_images_beside_fails(small_set, small_net, rows):
    evaluator = Evaluator(small_net, small_set)
    beside = Behind(small_net.backbone, lambda images: images - 0.5 * images.mean(0))
    evaluator.net = FewShotNet(beside, small_net.head).eval()
    episode = rows.to_episode(small_set)
    result = card.check_alone(evaluator, episode)
    assert not result["passed"] and result["changed"] > 2
    evaluator.net = small_net
    assert card.check_alone(evaluator, episode)["passed"]


def test_a_net_that_draws_in_secret_fails(small_set, small_net, rows):
    """Noise that the head does not tell of: the answer to a query is another one when it is asked again."""
    stream = rng(3)
    evaluator = Evaluator(small_net, small_set)
    secret = Behind(small_net.backbone, lambda images: images + 0.1 * torch.randn(images.shape, generator=stream))
    evaluator.net = FewShotNet(secret, small_net.head).eval()
    results = card.check_masking(evaluator, rows, PROTOCOL, replace(EFFORT, squares=2, restarts=1))
    assert not results["alone"]["passed"]


def test_the_published_distance_fails_because_it_depends_on_the_batch(small_set, rows):
    published = create_net("tiny", "published", generator=rng()).eval()
    results = check(published, small_set, rows)
    assert "alone" in list_failed(results) and results["alone"]["changed"] > 0
    assert "squares" not in results, "its queries have no worst case one by one"


def test_a_transfer_check_needs_a_useful_surrogate(small_set, small_net, rows):
    evaluator = Evaluator(small_net, small_set)
    evaluator.count_transferred = lambda rows, threat, seed: np.full(len(rows), 20)
    assert "transfer" in card.check_masking(evaluator, rows[:2], replace(PROTOCOL, steps=1), EFFORT, transfers=True)
    assert "transfer" not in card.check_masking(evaluator, rows[:2], replace(PROTOCOL, steps=1), EFFORT)


def test_the_surface_crosses_its_query_in_the_middle(small_set, small_net, rows):
    evaluator = Evaluator(small_net, small_set)
    episode = rows[:1].to_episode(small_set)
    surface = card.measure_surface(evaluator, episode, 8 / 255, 0, points=5)
    with torch.no_grad():
        logits = small_net.scores(episode).logits[0]
    right = logits.argmax(-1) == episode.labels[0]
    first = int(right.nonzero()[0])
    wrong = logits[first].clone()
    wrong[episode.labels[0, first]] = -torch.inf
    margin = (wrong.max() - logits[first, episode.labels[0, first]]).item()
    assert surface.shape == (5, 5) and surface[2, 2] == pytest.approx(margin, abs=1e-3) and margin < 0
    assert surface[4, 2] > surface[2, 2], "along the gradient the margin rises"


def test_a_head_that_draws_has_an_eot_gap_and_no_other(small_set, rows):
    evaluator = Evaluator(create_net("tiny", "variational", generator=rng(5)).eval(), small_set)
    effort = replace(EFFORT, squares=2, restarts=1, draws=4)
    results = card.check_masking(evaluator, rows[:3], replace(PROTOCOL, steps=2), effort)
    assert results["eot"]["draws"] == 4 and results["eot"]["queries"] == 3
    assert results["eot"]["difference"] == pytest.approx(
        results["eot"]["score"] - one_draw(evaluator, rows[:3]), abs=1e-3
    )


def one_draw(evaluator, rows):
    """Accuracy in per cent under PGD that follows one draw, scored by four."""
    episode = rows.to_episode(evaluator.image_set)
    threat = pgd(PROTOCOL.eps, 2, PROTOCOL.step, 1, target="query")
    stream = randomness.make_generator(0, f"card/eot/{threat.name}")
    moved = expectation.attack_drawn_queries(evaluator.net, episode, threat, 1, stream)
    judge = randomness.make_generator(0, "card/eot")
    return 100 * expectation.measure_drawn_accuracy(evaluator.net, episode, moved, 4, judge).mean().item()


def test_a_gradient_that_only_one_draw_hides_fails_the_card(small_set, rows, monkeypatch):
    """An adversary who averages leaves far less than one who does not: the row without averaging means nothing."""
    left = {1: torch.full((6,), 0.8), 10: torch.full((6,), 0.3)}
    monkeypatch.setattr(card, "attack_drawn_queries", lambda net, episode, threat, draws, *rest: draws)
    monkeypatch.setattr(card, "measure_drawn_accuracy", lambda net, episode, moved, *rest: left[moved])
    evaluator = Evaluator(create_net("tiny", "variational", generator=rng(5)).eval(), small_set)
    result = card.check_draws(evaluator, rows.to_episode(small_set), pgd(0.1, 2, 0.05, 1, "query"), 0, 10)
    assert not result["passed"] and result["score"] == 30 and result["difference"] == -50
