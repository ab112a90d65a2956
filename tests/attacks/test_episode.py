import dataclasses

import pytest
import torch

from anrot_lib.attacks.episode import attack_both, attack_episodes, attack_queries, attack_support, count_loss
from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.core.trees import map_tree, pick
from tests.helpers import rng

EPS = 0.06


def threats(target):
    return [
        fgsm(EPS, target),
        fgsm(EPS, target, random_start=True),
        pgd(EPS, 6, EPS / 3, 1, target),
        pgd(1.0, 6, 0.4, 2, target, norm="l2"),
    ]


def check_attack(toy, attack, threat):
    """What an episode attack must do: change what it may, keep the ball, and lower the accuracy."""
    episode, found = toy.episode, attack(toy.episode)
    for name in ("support", "query"):
        clean, points = getattr(episode, name), getattr(found, name)
        assert points.shape == clean.shape
        if threat.target in (name, "both"):
            change = (points - clean).flatten(-3)
            size = change.abs().amax(-1) if threat.norm == "linf" else change.norm(dim=-1)
            assert size.max() <= threat.eps + 1e-6, "outside the ball"
            assert points.min() >= 0
            assert points.max() <= 1
        else:
            assert torch.equal(points, clean), f"{name} is not the target"
    assert torch.equal(found.labels, episode.labels)
    assert toy.accuracy(found) < toy.accuracy(episode) - 0.1, "the attack lowers no accuracy"


@pytest.mark.parametrize("target", ["query", "support", "both"])
def test_attacks_lower_the_accuracy_and_a_no_op_does_not_pass(toy, target):
    assert toy.accuracy(toy.episode) > 0.8
    for threat in threats(target):
        check_attack(toy, lambda e, t=threat: attack_episodes(toy.net, e, t, rng()), threat)
    threat = threats(target)[0]
    with pytest.raises(AssertionError, match="lowers no accuracy"):
        check_attack(toy, lambda e: e, threat)
    with pytest.raises(AssertionError, match="outside the ball"):
        check_attack(toy, lambda e: attack_episodes(toy.net, e, pgd(0.2, 2, 0.2, 1, target), rng()), threat)


def test_an_adversary_of_whole_episodes_counts_the_beaten_queries():
    """One more beaten query outweighs everything else, and one that is clearly beaten asks for nothing more."""
    labels = torch.zeros(1, 3, dtype=torch.long)
    many = torch.tensor([[[0.9, 1.0, 0.0], [0.9, 1.0, 0.0], [50.0, 0.0, 0.0]]], dtype=torch.double)
    deep = torch.tensor([[[-500.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.0, 0.0]]], dtype=torch.double)
    entropy = torch.nn.functional.cross_entropy
    assert entropy(deep.flatten(0, 1), labels.flatten()) > entropy(many.flatten(0, 1), labels.flatten())
    assert 0.5 < count_loss(deep, labels) < 1.5 < count_loss(many, labels) < 2.5
    logits = torch.tensor([[[0.0, 3.0, 0.0], [1.0, 0.5, 0.0], [3.0, 0.0, 0.0]]], requires_grad=True)
    count_loss(logits, labels).sum().backward()
    beaten, near, far = logits.grad[0].abs().sum(-1)
    assert beaten == 0 and near > 0 and far > 0


def test_both_is_at_least_as_strong_as_either(toy):
    losses = {}
    for target in ("query", "support", "both"):
        found = attack_episodes(toy.net, toy.episode, pgd(EPS, 10, EPS / 4, 1, target), rng())
        losses[target] = toy.count(found)
    assert (losses["both"] >= losses["query"]).all()
    assert (losses["both"] >= losses["support"]).all()
    assert losses["support"].mean() > toy.count(toy.episode).mean()


@pytest.mark.parametrize("target", ["query", "support", "both"])
def test_pgd_is_never_below_fgsm_nor_below_the_clean_loss(toy, target):
    measure = toy.loss if target == "query" else toy.count  # where an episode is the unit, its beaten queries count
    one, many = (
        measure(attack_episodes(toy.net, toy.episode, threat, rng()))
        for threat in (fgsm(EPS, target), pgd(EPS, 5, EPS / 4, 2, target))
    )
    clean = measure(toy.episode)
    assert (many >= one - 1e-9).all()
    assert (many >= clean - 1e-9).all()


def test_dropping_beaten_queries_gives_the_same_verdicts_for_fewer_images(toy):
    threat = pgd(0.02, 8, 0.005, 2, "query")
    toy.net.images_seen = 0
    full = attack_episodes(toy.net, toy.episode, threat, rng())
    cost, toy.net.images_seen = toy.net.images_seen, 0
    dropping = attack_episodes(toy.net, toy.episode, threat, rng(), stop="beaten")
    assert toy.net.images_seen < 0.9 * cost
    # The run without stop keeps the largest loss, which may forget a success of a candidate with a smaller one.
    assert toy.accuracy(dropping) <= toy.accuracy(full)
    assert 0.1 < toy.accuracy(dropping) < 0.9


def test_dropping_gives_what_every_query_alone_would_get(toy):
    threat = pgd(0.02, 8, 0.005, 1, "query", random_start=False)
    episode = toy.episode
    together = attack_episodes(toy.net, episode, threat, stop="beaten").query
    for i in range(episode.labels.shape[1]):
        one = dataclasses.replace(episode, query=episode.query[:, i : i + 1], labels=episode.labels[:, i : i + 1])
        alone = attack_episodes(toy.net, one, threat, stop="beaten").query
        torch.testing.assert_close(together[:, i : i + 1], alone)


def test_the_support_set_is_encoded_once(toy):
    e, n = toy.episode.labels.shape
    toy.net.images_seen = 0
    attack_episodes(toy.net, toy.episode, pgd(EPS, 5, EPS / 4, 1, "query"), rng(), keep="last")
    assert toy.net.images_seen == e * 10 + 5 * e * n
    toy.net.images_seen = 0
    attack_episodes(toy.net, toy.episode, pgd(EPS, 5, EPS / 4, 1, "support"), rng(), keep="last")
    assert toy.net.images_seen == e * n + 5 * e * 10


def test_a_model_that_is_there_already_is_used_and_its_graph_left_alone(toy):
    """A training step: the clean pass keeps its graph, the attack reuses the model, both give gradients after."""
    net, episode = toy.net, toy.episode
    e = len(episode.labels)
    support = net.encode(episode.support.flatten(0, 2)).unflatten(0, (e, 10))
    labels = torch.arange(5).repeat_interleave(2).expand(e, -1)
    model = net.head.fit(support, labels, episode.mask.flatten(1))
    net.images_seen = 0
    found = attack_queries(net, model, episode.query, episode.labels, fgsm(EPS, "query"))
    assert net.images_seen == episode.labels.numel()  # one pass of the queries, and nothing else
    assert not found.images.requires_grad
    assert torch.equal(found.images, attack_episodes(net, episode, fgsm(EPS, "query")).query)
    maps = net.encode(found.images.flatten(0, 1)).unflatten(0, found.images.shape[:2])
    net.head.score(model, maps).logits.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()


@pytest.mark.parametrize("target", ["query", "support", "both"])
@pytest.mark.parametrize("max_images", [1, 7, 45])
def test_bounding_the_images_of_a_pass_changes_no_result(toy, target, max_images):
    threat = pgd(EPS, 3, EPS / 2, 2, target)
    whole, parts = (attack_episodes(toy.net, toy.episode, threat, rng(), max_images=m) for m in (None, max_images))
    torch.testing.assert_close(whole.query, parts.query)
    torch.testing.assert_close(whole.support, parts.support)


def test_the_images_of_a_pass_are_bounded(toy, monkeypatch):
    sizes, encode = [], toy.net.encode
    monkeypatch.setattr(toy.net, "encode", lambda x: (sizes.append(len(x)), encode(x))[1])
    for target in ("query", "support", "both"):
        attack_episodes(toy.net, toy.episode, pgd(EPS, 2, EPS / 2, 1, target), rng(), max_images=30)
    assert max(sizes) == 30


@pytest.mark.parametrize("target", ["support", "both"])
def test_missing_shots_stay_out_of_the_attack(toy, target):
    mask = toy.episode.mask.clone()
    mask[:, ::2, 1] = False
    support = torch.where(mask[..., None, None, None], toy.episode.support, torch.zeros(()).double())
    episode = dataclasses.replace(toy.episode, mask=mask, support=support)
    found = attack_episodes(toy.net, episode, pgd(EPS, 4, EPS / 3, 1, target), rng())
    assert not found.support[~mask].any()
    assert (found.support[mask] != support[mask]).any()
    garbage = dataclasses.replace(episode, support=support.masked_fill(~mask[..., None, None, None], 1.0))
    other = attack_episodes(toy.net, garbage, pgd(EPS, 4, EPS / 3, 1, target), rng())
    torch.testing.assert_close(other.support[mask], found.support[mask])


def test_queries_that_influence_one_another_are_attacked_together(toy, monkeypatch):
    """A head that centres its queries: the unit is the episode, and nothing leaves the batch."""
    head, score = toy.net.head, toy.net.head.score
    monkeypatch.setattr(head, "batch_dependent", True, raising=False)
    monkeypatch.setattr(head, "score", lambda model, maps: score(model, maps - 0.1 * maps.mean(1, keepdim=True)))
    threat = pgd(EPS, 5, EPS / 4, 1, "query")
    check_attack(toy, lambda e: attack_episodes(toy.net, e, threat, rng(), stop="beaten"), threat)
    whole = attack_episodes(toy.net, toy.episode, threat, rng(), max_images=25).query
    torch.testing.assert_close(whole, attack_episodes(toy.net, toy.episode, threat, rng()).query)


@pytest.mark.parametrize("target", ["query", "support", "both"])
def test_the_net_is_left_as_it_was(toy, target):
    net = toy.net.train()
    try:
        state = {k: v.clone() for k, v in net.state_dict().items()}
        attack_episodes(net, toy.episode, pgd(EPS, 2, EPS / 2, 1, target), rng())
        assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in net.parameters())
        assert all(m.training for m in net.modules())
    finally:
        net.eval()


@pytest.mark.parametrize("target", ["query", "support", "both"])
def test_same_generator_same_episode_also_in_inference_mode(toy, target):
    threat = fgsm(EPS, target, random_start=True)  # its points depend on the start; PGD's often end in one corner
    first = attack_episodes(toy.net, toy.episode, threat, rng())
    with torch.inference_mode():
        second = attack_episodes(toy.net, map_tree(torch.clone, toy.episode), threat, rng())
    third = attack_episodes(toy.net, toy.episode, threat, rng(1))
    for name in ("support", "query"):
        assert torch.equal(getattr(first, name), getattr(second, name))
        assert torch.equal(getattr(first, name), getattr(third, name)) == (threat.target not in (name, "both"))


def test_losses_returned_are_those_of_the_images_returned(toy):
    threat = pgd(EPS, 3, EPS / 2, 2, "both")
    for attacker in (attack_support, attack_both):
        support, query, found = attacker(toy.net, toy.episode, threat, rng())
        episode = dataclasses.replace(toy.episode, support=support, query=query)
        torch.testing.assert_close(found.loss, toy.count(episode))


def test_rows_are_picked_through_a_whole_pytree(toy):
    tree = {"a": torch.arange(4), "b": [torch.ones(4, 2), (None, 3.5)], "scale": torch.tensor(2.0)}
    picked = pick(tree, torch.tensor([2, 1]))
    assert picked["a"].tolist() == [2, 1]
    assert picked["b"][0].shape == (2, 2)
    assert picked["b"][1] == (None, 3.5)
    assert picked["scale"] == 2
    assert pick(tree, None) is tree
    assert map_tree(torch.neg, toy.episode.__class__(*(torch.ones(1),) * 4)).query.item() == -1
