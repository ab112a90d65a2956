"""FewShotNet: easyfsl's contract, many episodes at once, bound classifiers for attacks; the probe of every head."""

import dataclasses

import pytest
import torch
from torch import nn

from anrot_lib.core.errors import UserError
from anrot_lib.data.episodes import EpisodeSampler
from anrot_lib.fewshot.classifier import FewShotNet, create_net
from anrot_lib.fewshot.heads.easyfsl import easyfsl
from anrot_lib.fewshot.heads.trial import measure_batch_dependence
from anrot_lib.fewshot.methods import build_head, list_heads
from tests.helpers import rng

WAY, SHOT, QUERY, TASKS = 5, 2, 3, 3


@pytest.fixture(scope="module")
def episode(small_set):
    sampler = EpisodeSampler(small_set.labels, WAY, SHOT, QUERY, TASKS, rows=small_set.rows("test"))
    return sampler.draw().to_episode(small_set)


def net_of(method, episode) -> FewShotNet:
    """A tiny net in eval mode whose batch norms have seen these images, so that its maps are spread."""
    net = create_net("tiny", method, generator=rng())
    with torch.no_grad():
        net.encode(episode.query)
    return net.eval()


@pytest.fixture(scope="module")
def net(episode):
    return net_of("anrot", episode)


# --- the probe: does a score depend on the queries beside it? ---


def probe(name, seed=0, channels=32):
    g = rng(seed)
    centres = 2 * torch.rand(2, WAY, channels, 1, 1, generator=g)
    labels = torch.arange(WAY).repeat_interleave(SHOT).expand(2, -1)
    targets = torch.randint(WAY, (2, 30), generator=g)
    rows = torch.arange(2)[:, None]
    support, query = (
        (centres[rows, of] + 2 * torch.randn(*of.shape, channels, 3, 3, generator=g)).relu() for of in (labels, targets)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = build_head(name, channels).eval()
    return head, *measure_batch_dependence(head, head.fit(support, labels), query)


EASYFSL = ["easyfsl:PrototypicalNetworks", "easyfsl:SimpleShot", "easyfsl:MatchingNetworks"]


@pytest.mark.parametrize("name", [*(n for n in list_heads() if n not in ("published", "mml-2022")), *EASYFSL])
def test_no_score_depends_on_the_other_queries(name):
    head, difference, changed = probe(name)
    assert difference < 1e-5
    assert changed == 0
    assert not head.batch_dependent


@pytest.mark.parametrize("name", ["published", "easyfsl:BDCSPN"])
def test_the_probe_flags_what_is_batch_dependent(name):
    found = [probe(name, seed) for seed in range(3)]
    assert all(head.batch_dependent for head, _, _ in found)
    assert all(difference > 1e-3 for _, difference, _ in found)
    assert sum(changed for _, _, changed in found) > 0


def test_the_probe_sees_a_coupling_of_any_kind():
    head = build_head("prototypes", 8)
    plain = head.score_described
    head.score_described = lambda model, query, _: plain(model, query - query.mean(1, keepdim=True))
    maps = torch.rand(1, 20, 8, 2, 2, generator=rng())
    model = head.fit(maps[:, :5], torch.arange(5)[None])
    assert measure_batch_dependence(head, model, maps[:, 5:])[0] > 0.01


# --- easyfsl's contract ---


def test_it_is_an_easyfsl_classifier_with_the_same_logits_by_every_way(net, episode):
    assert isinstance(net, easyfsl.FewShotClassifier)
    with torch.no_grad():
        together = net.scores(episode).logits
        for e in range(TASKS):
            support, labels = episode.support[e].flatten(0, 1), episode.support_labels[e]
            net.process_support_set(support, labels)
            by_hand = net(episode.query[e])
            torch.testing.assert_close(by_hand, together[e], rtol=1e-4, atol=1e-4)
            bound = net.bind(support, labels)
            torch.testing.assert_close(bound(episode.query[e]), by_hand, rtol=1e-4, atol=1e-4)
    assert together.shape == (TASKS, WAY * QUERY, WAY)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_the_library_of_the_contract_can_evaluate_it(net, episode):
    from easyfsl.utils import evaluate

    def task(e):
        support, query = episode.support[e].flatten(0, 1), episode.query[e]
        return support, episode.support_labels[e], query, episode.labels[e], episode.class_ids[e].tolist()

    accuracy = evaluate(net, [task(e) for e in range(TASKS)], device="cpu", use_tqdm=False)
    with torch.no_grad():
        expected = (net.scores(episode).logits.argmax(-1) == episode.labels).float().mean().item()
    assert accuracy == pytest.approx(expected)


def test_easyfsl_can_store_its_prototypes(episode):
    net = net_of("anrot", episode)
    support, labels = episode.support[0].flatten(0, 1), episode.support_labels[0]
    net.compute_prototypes_and_store_support_set(support, labels)
    features = net.encode(support).mean((-2, -1))
    means = torch.stack([features[labels == k].mean(0) for k in range(int(labels.max()) + 1)])
    torch.testing.assert_close(net.prototypes, means)


def test_it_says_whether_it_is_transductive(episode):
    flags = {m: net_of(m, episode).is_transductive() for m in ("anrot", "published", "easyfsl:BDCSPN")}
    assert flags == {"anrot": False, "published": True, "easyfsl:BDCSPN": True}


def test_queries_before_a_support_set_are_an_error():
    with pytest.raises(UserError, match="process_support_set"):
        create_net("tiny", "anrot")(torch.rand(2, 3, 16, 16))


def test_images_outside_the_contract_are_an_error(net, episode):
    support, labels, query = episode.support[0].flatten(0, 1), episode.support_labels[0], episode.query[0]
    for bad, message in ((255 * support, r"support images must lie in \[0, 1\]"), (support.byte(), "float tensor")):
        with pytest.raises(UserError, match=message):
            net.process_support_set(bad, labels)
        with pytest.raises(UserError, match=message):
            net.bind(bad, labels)
    net.process_support_set(support, labels)
    with pytest.raises(UserError, match=r"query images must lie in \[0, 1\]"):
        net(2 * query - 1)


# --- bind ---


def test_a_bound_episode_is_a_plain_classifier(net, episode):
    """What an attack library needs: a module, logits from images alone, gradients to the images, eval mode kept."""
    bound = net.bind(episode.support[0].flatten(0, 1), episode.support_labels[0])
    assert isinstance(bound, nn.Module)
    assert not bound.eval().net.training
    images = episode.query[0].clone().requires_grad_()
    logits = bound(images)
    assert logits.shape == (WAY * QUERY, WAY)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, episode.labels[0]), images)
    assert gradient.flatten(1).any(1).all()
    alone = torch.cat([bound(image[None]) for image in images])
    torch.testing.assert_close(alone, logits, rtol=1e-4, atol=1e-4)


def test_many_bound_episodes_answer_by_index(net, episode):
    labels = episode.support_labels
    bound = net.bind(episode.support.flatten(1, 2), labels)
    index = torch.tensor([2, 0, 1, 2])
    images = torch.stack([episode.query[e, i] for i, e in enumerate(index)])
    with torch.no_grad():
        found = bound(images, index)
        for i, e in enumerate(index):
            one = net.bind(episode.support[e].flatten(0, 1), labels[e])(images[i : i + 1])
            torch.testing.assert_close(found[i : i + 1], one, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(bound(images), bound(images, torch.zeros(4, dtype=torch.long)))


@pytest.mark.parametrize("method", ["prototypes", "anrot", "easyfsl:SimpleShot"])
def test_masked_shots_do_not_count(method, episode):
    net = net_of(method, episode)
    mask = torch.ones(TASKS, WAY, SHOT, dtype=torch.bool)
    mask[:, 1, 1] = mask[:, 3, 0] = False
    masked = dataclasses.replace(episode, mask=mask)
    spoilt = dataclasses.replace(masked, support=torch.where(mask[..., None, None, None], episode.support, 1.0))
    with torch.no_grad():
        a, b, c = (net.scores(e).logits for e in (masked, spoilt, episode))
        kept = mask[0].flatten()
        support, labels = episode.support[0].flatten(0, 1), episode.support_labels[0]
        left_out = net.bind(support[kept], labels[kept])(episode.query[0])
        by_mask = net.bind(support, labels, kept)(episode.query[0])
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(a[0], left_out, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(by_mask, left_out, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(a, c, atol=1e-3)


# --- building ---


@pytest.mark.parametrize(
    "method", [*list_heads(), "easyfsl:MatchingNetworks", "easyfsl:RelationNetworks", "easyfsl:FEAT"]
)
def test_all_weights_come_from_the_generator(method):
    def weights(seed, global_seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            return torch.cat([p.flatten() for p in create_net("tiny", method, generator=rng(seed)).parameters()])

    assert torch.equal(weights(0, 1), weights(0, 2))
    assert not torch.equal(weights(0, 1), weights(1, 1))


def test_the_head_fits_the_encoder():
    net = create_net("resnet12_anrot", "variational", in_channels=1, attention=False)
    assert net.head.to_mean.in_features == 256
    assert net.backbone.in_channels == 1
    assert not net.backbone.attention


def test_encoding_keeps_any_leading_shape(net, episode):
    with torch.no_grad():
        maps = net.encode(episode.support)
        assert maps.shape[:3] == (TASKS, WAY, SHOT)
        torch.testing.assert_close(maps[1, 2], net.encode(episode.support[1, 2]), rtol=1e-4, atol=1e-5)
