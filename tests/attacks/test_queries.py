"""Queries of several episodes one by one, and one classifier of all of them for other libraries."""

from dataclasses import replace

import pytest
import torch

from anrot_lib.attacks.queries import TaggedClassifier, list_queries
from anrot_lib.core.errors import UserError
from anrot_lib.data.episodes import EpisodeManifest
from tests.helpers import rng

EPS = 0.3


@pytest.fixture(scope="module")
def episode(small_set):
    return EpisodeManifest.make(small_set, "test", 5, 2, 2, 6, 0).rows.to_episode(small_set)


def test_each_query_keeps_its_class_and_its_episode(small_net, episode):
    single = list_queries(small_net, episode)
    assert single.images.shape[0] == len(single.labels) == len(single.owners) == 60
    for k in range(60):
        assert torch.equal(single.images[k], episode.query[k // 10, k % 10])
        assert single.labels[k] == episode.labels[k // 10, k % 10] and single.owners[k] == k // 10


def test_one_classifier_answers_for_every_episode_as_its_own_does(small_net, episode):
    """Also in another order, and with every pixel moved, those of the tags by what turns a bit the furthest."""
    single = list_queries(small_net, episode, 7)
    classifier = TaggedClassifier(small_net, single, "linf", EPS)
    order = torch.randperm(60, generator=rng())
    tagged = classifier.tag(single.images[order], single.owners[order])
    size = single.images.shape[-1]
    assert tagged.shape == (60, 3, size + 1, size) and torch.equal(classifier.remove_tags(tagged), single.images[order])
    moved = tagged + EPS * (2 * torch.randint(2, tagged.shape, generator=rng(1)) - 1)
    moved[:, :, -1] = tagged[:, :, -1] + EPS * (1 - 2 * tagged[:, :, -1])
    with torch.no_grad():
        logits = classifier(moved.clamp(0, 1))
        for row, k in enumerate(order.tolist()):
            bound = small_net.bind(episode.support[k // 10].flatten(0, 1), episode.support_labels[k // 10])
            expected = bound(moved[row : row + 1, :, :size].clamp(0, 1))
            torch.testing.assert_close(logits[row : row + 1], expected, atol=1e-3, rtol=1e-3)


def test_tags_have_no_gradient_and_images_have(small_net, episode):
    single = list_queries(small_net, episode)
    classifier = TaggedClassifier(small_net, single, "linf", EPS)
    tagged = classifier.tag(single.images, single.owners).requires_grad_()
    (gradient,) = torch.autograd.grad(classifier(tagged).logsumexp(1).sum(), tagged)
    with torch.no_grad():
        assert classifier(torch.ones_like(tagged[:1])).shape == (1, 5), "a library tries the model on it"
    assert gradient[:, :, :-1].abs().flatten(1).amax(1).min() > 0 and not gradient[:, :, -1].any()


def test_one_episode_needs_no_tag(small_net, small_set):
    episode = EpisodeManifest.make(small_set, "test", 5, 2, 2, 1, 0).rows.to_episode(small_set)
    single = list_queries(small_net, episode)
    classifier = TaggedClassifier(small_net, single, "linf", EPS)
    tagged = classifier.tag(single.images, single.owners)
    assert torch.equal(tagged[:, :, :-1], single.images) and not tagged[:, :, -1].any()
    bound = small_net.bind(episode.support[0].flatten(0, 1), episode.support_labels[0])
    with torch.no_grad():
        torch.testing.assert_close(classifier(tagged), bound(single.images), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.5), ("l2", 0.1)])
def test_a_ball_in_which_tags_could_turn_is_refused(small_net, episode, norm, eps):
    with pytest.raises(UserError, match=r"below eps 0\.5 in the norm linf"):
        TaggedClassifier(small_net, list_queries(small_net, episode), norm, eps)


def test_images_too_narrow_for_the_number_are_refused(small_net, episode):
    single = list_queries(small_net, episode)
    with pytest.raises(UserError, match="a row of 2 pixels cannot number 6 episodes"):
        TaggedClassifier(small_net, replace(single, images=single.images[..., :2]), "linf", EPS)
