"""Attacks on heads that draw: the gradient is the mean over draws, and averaging finds what a single draw hides."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from anrot_lib.attacks.episode import fit_support
from anrot_lib.attacks.expectation import attack_drawn_queries, make_expected_objective, measure_drawn_accuracy
from anrot_lib.attacks.gradient import pgd
from anrot_lib.core.errors import UserError
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.methods import get_method, list_rows
from tests.helpers import rng

THREAT = pgd(0.02, 8, 0.005, 1, target="query")


@pytest.fixture(scope="module")
def episode(small_set):
    return EpisodeManifest.make(small_set, "test", 5, 5, 3, 4, 0).rows.to_episode(small_set)


@pytest.fixture(scope="module")
def net():
    return create_net("tiny", "variational", generator=rng(5)).eval()


@pytest.mark.parametrize("method", [*list_rows(), "variational", "cosine", "mml", "easyfsl:SimpleShot"])
def test_a_head_says_whether_it_draws(method, episode):
    net = create_net("tiny", method, generator=rng()).eval()
    with torch.no_grad():
        model, maps = fit_support(net, episode), net.encode(episode.query)
        first, second = (net.head.score(model, maps, rng(k)).logits for k in (0, 1))
    assert net.head.samples == (not torch.equal(first, second)) == (method == "variational")
    assert get_method(method).name == method


def test_the_gradient_is_the_mean_of_those_of_single_draws(net, episode):
    """A plain loop: one draw after the other from the same stream, each with a graph of its own."""
    with torch.no_grad():
        model = fit_support(net, episode)
    owners, labels = torch.arange(4).repeat_interleave(15), episode.labels.flatten()
    images = episode.query.flatten(0, 1).clone().requires_grad_()
    loss, beaten = make_expected_objective(net, model, owners, labels, 6, rng(3))(images, None)
    (gradient,) = torch.autograd.grad(loss.sum(), images)
    generator, expected, right = rng(3), torch.zeros_like(images), torch.zeros(60)
    losses = torch.zeros(60)
    for _ in range(6):
        maps = net.encode(images).unsqueeze(1)
        some = model.map(lambda t: t[owners])
        logits = net.head.score(some, maps, generator).logits.squeeze(1)
        one = F.cross_entropy(logits, labels, reduction="none")
        expected += torch.autograd.grad(one.sum(), images)[0] / 6
        losses += one.detach() / 6
        right += (logits.argmax(1) == labels) / 6
    assert torch.allclose(gradient, expected, atol=1e-6) and gradient.abs().max() > 1e-4
    assert torch.allclose(loss, losses, atol=1e-5) and torch.equal(beaten, right < 0.5)


def test_the_moved_queries_lie_in_the_ball_and_the_net_is_left_as_it_was(net, episode):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    moved = attack_drawn_queries(net, episode, THREAT, 3, rng(), max_images=16)
    assert moved.shape == episode.query.shape and 0 < (moved - episode.query).abs().max() <= 0.02 + 1e-7
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


class NoisyHead(torch.nn.Module):
    """Prototypes of the averaged pixels whose logits carry a random slope: its single gradient is nearly noise."""

    batch_dependent, samples = False, True

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def fit(self, maps, labels, mask=None):
        return maps.flatten(2).view(len(maps), 5, -1, maps[0, 0].numel()).mean(2)

    def score(self, model, maps, generator=None):
        flat = maps.flatten(2)
        logits = -10 * torch.cdist(flat, model).square()
        if generator is not None:
            slopes = torch.randn(*flat.shape, 5, generator=generator) * self.slope
            logits = logits + ((flat - flat.detach()).unsqueeze(-1) * slopes).sum(2)
        return SimpleNamespace(logits=logits)


class Pixels(torch.nn.Module):
    """The images themselves as maps."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def encode(self, images):
        return images


def test_averaging_over_draws_beats_what_a_noisy_gradient_hides(episode):
    """The draws change no prediction, only the gradient, by far more than its size."""
    net, exact = Pixels(NoisyHead(3.0)), Pixels(NoisyHead(0.0))
    threat = pgd(0.06, 10, 0.015, 1, target="query")
    left = {}
    for draws in (1, 30):
        moved = attack_drawn_queries(net, episode, threat, draws, rng(1))
        left[draws] = measure_drawn_accuracy(net, episode, moved, 2, rng(2)).mean().item()
    moved = attack_drawn_queries(exact, episode, threat, 1, rng(1))
    left["no noise"] = measure_drawn_accuracy(exact, episode, moved, 2, rng(2)).mean().item()
    assert left["no noise"] <= left[30] < left[1] - 0.05


def test_the_accuracy_is_the_mean_over_draws(net, episode):
    measured = measure_drawn_accuracy(net, episode, episode.query, 5, rng(4))
    with torch.no_grad():
        model, maps, generator = fit_support(net, episode), net.encode(episode.query), rng(4)
        shares = [(net.head.score(model, maps, generator).logits.argmax(-1) == episode.labels) for _ in range(5)]
    expected = [sum(share[k].sum().item() for share in shares) / 75 for k in range(4)]
    assert measured.tolist() == pytest.approx(expected)


def test_what_cannot_be_averaged_is_refused(net, episode, small_net):
    with pytest.raises(UserError, match="at least 1 draw, got 0"):
        attack_drawn_queries(net, episode, THREAT, 0, rng())
    with pytest.raises(UserError, match="nothing to average over"):
        attack_drawn_queries(small_net, episode, THREAT, 2, rng())
