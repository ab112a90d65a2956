"""Suites of strong attacks: losses by hand, the worst case, who falls to which attack, support sets."""

import pytest
import torch
from torch import nn

from anrot_lib.attacks import episode as episodes_module
from anrot_lib.attacks import objectives, suite
from anrot_lib.attacks.episode import attack_episodes
from anrot_lib.attacks.gradient import pgd
from anrot_lib.core.errors import UserError
from anrot_lib.data.episodes import EpisodeManifest, EpisodeSampler
from anrot_lib.fewshot.classifier import FewShotNet, create_net
from anrot_lib.fewshot.evaluation import Evaluator, count_right
from tests.helpers import rng, same

EPS = 4 / 255


@pytest.fixture(scope="module")
def episode(small_set):
    sampler = EpisodeSampler(small_set.labels, 5, 2, 2, 3, rows=small_set.rows("test"))
    return sampler.draw().to_episode(small_set)


@pytest.fixture(scope="module")
def net(small_training):
    return small_training.net.eval()


def test_losses_by_hand():
    logits, labels = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 4.0, 1.0, 2.0]]), torch.tensor([0, 0])
    assert objectives.compute_margin(logits, labels).tolist() == [-1.0, 4.0]
    targeted = objectives.compute_targeted_dlr(logits, labels, torch.tensor([1, 1]))
    assert targeted.tolist() == pytest.approx([(1 - 3) / (3 - (1 + 0) / 2), (4 - 0) / (4 - (1 + 0) / 2)])
    scaled = objectives.compute_targeted_dlr(7 * logits + 3, labels, torch.tensor([1, 1]))
    torch.testing.assert_close(scaled, targeted)
    three = objectives.compute_targeted_dlr(logits[:, :3], labels, torch.tensor([1, 1]))
    assert three.tolist() == pytest.approx([(1 - 3) / (3 - 1), (4 - 0) / (4 - 0)])
    assert objectives.compute_targeted_dlr(logits[:, :2], labels, torch.tensor([1, 1])).tolist() == [-2.0, 4.0]
    expected = nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(objectives.compute_cross_entropy(logits, labels), expected)


def test_the_suites_are_autoattacks_without_fab():
    attacks = suite.list_attacks("aa-lite", EPS, 5)
    assert [a.name for a in attacks] == [
        "APGD-CE-20", *(f"APGD-DLR-20 target {k}" for k in (1, 2, 3, 4)), "Square-300"
    ]  # fmt: skip
    assert [a.threat.steps for a in suite.list_attacks("aa", EPS, 5)] == [100] * 5 + [5000]
    assert [a.rule for a in attacks] == ["hasty"] * 5 + ["squares"]
    assert [a.rule for a in suite.list_attacks("aa", EPS, 5)] == ["adaptive"] * 5 + ["squares"]
    assert all(a.rule == "hasty" for a in suite.list_attacks("aa-lite", 0.5, 5, norm="l2"))
    with pytest.raises(UserError, match="unknown suite 'aa-light'; choose from aa-lite, aa"):
        suite.list_attacks("aa-light", EPS, 5)


def test_the_worst_case_is_no_better_than_pgd_and_its_images_prove_it(net, episode):
    before = {k: v.clone() for k, v in net.state_dict().items()}
    case = suite.attack_queries_by_suite(net, episode, suite.list_attacks("aa-lite", EPS, 5), rng(1))
    assert same(before, dict(net.state_dict()))
    strong = attack_episodes(net, episode, pgd(EPS, 20, EPS / 4, 1, target="query"), rng(1), stop="beaten")
    by_pgd = suite.classify(net, episode, strong.query)
    assert case.right.sum() <= by_pgd.sum() and 0 < case.right.sum() < case.right.numel()
    assert torch.equal(suite.classify(net, episode, case.images), case.right), "beaten, or right as it was"
    assert (case.images - episode.query).abs().max() <= EPS + 1e-6
    assert sum(case.beaten.values()) == int((~case.right).sum())
    assert torch.equal(case.images[case.right], episode.query[case.right])


def test_images_in_one_pass_change_nothing(net, episode):
    attacks = suite.list_attacks("aa-lite", EPS, 5)[:2]
    whole, parts = (suite.attack_queries_by_suite(net, episode, attacks, rng(1), n).right for n in (None, 4))
    assert torch.equal(whole, parts)


class Blunted(nn.Module):
    """An encoder that rounds its images: its gradient is 0 everywhere, its predictions are hardly changed."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.in_channels, self.out_channels = encoder.in_channels, encoder.out_channels

    def forward(self, images):
        return self.encoder((images * 64).round() / 64 + 0 * images)


def test_a_net_without_a_gradient_falls_to_squares(net, episode):
    masked = FewShotNet(Blunted(net.backbone), net.head).eval()
    attacks = suite.list_attacks("aa-lite", 8 / 255, 5)
    case = suite.attack_queries_by_suite(masked, episode, attacks, rng(1))
    by_gradient = sum(n for name, n in case.beaten.items() if name.startswith("APGD"))
    assert case.beaten["Square-300"] > by_gradient and case.beaten["Square-300"] >= 5


@pytest.mark.parametrize("target", ["support", "both"])
def test_attacks_on_support_sets_are_at_least_as_strong_as_pgd(target, net, episode):
    threat = pgd(EPS, 20, EPS / 4, 1, target=target)
    attacked = attack_episodes(net, episode, threat, rng(1))
    by_pgd = suite.count_right(net, attacked, attacked.query)
    worst = suite.count_by_suite(net, episode, "aa-lite", threat, rng(1))
    assert worst.shape == by_pgd.shape and worst.sum() <= by_pgd.sum()


@pytest.mark.parametrize("target", ["support", "both"])
def test_a_suite_never_leaves_more_than_the_attack_of_the_table(target, net, small_set, monkeypatch):
    """Poisoned sets are mere noise here, so that only the same random numbers find the same."""

    def disturb(net, episode, threat, generator, *rest, **options):
        support = episode.support + 0.5 * torch.randn(episode.support.shape, generator=generator)
        return support.clamp(0, 1), episode.query, None

    for module in (suite, episodes_module):
        monkeypatch.setattr(module, f"attack_{target}", disturb)
    monkeypatch.setattr(
        suite, "count_both", lambda net, poisoned, moved, *rest: suite.count_right(net, poisoned, moved)
    )
    evaluator = Evaluator(net, small_set)
    rows = EpisodeManifest.make(small_set, "test", 5, 1, 5, 12, 0).rows
    threat = pgd(EPS, 20, EPS / 4, 1, target=target)
    for seed in range(3):
        plain = evaluator.count_attacked(rows, threat, seed, first_task=4)
        assert (evaluator.count_worst(rows, "aa-lite", threat, seed, first_task=4) <= plain).all()


def test_on_queries_the_counts_are_those_of_the_worst_case(net, episode):
    threat = pgd(EPS, 20, EPS / 4, 1, target="query")
    counts = suite.count_by_suite(net, episode, "aa-lite", threat, rng(1))
    case = suite.attack_queries_by_suite(net, episode, suite.list_attacks("aa-lite", EPS, 5), rng(1))
    assert counts.tolist() == case.right.sum(1).tolist()


def test_a_transductive_head_is_refused(episode):
    published = create_net("tiny", "published", generator=rng()).eval()
    with pytest.raises(UserError, match="depend on the other queries"):
        suite.attack_queries_by_suite(published, episode, suite.list_attacks("aa-lite", EPS, 5), rng())


def test_the_counted_queries_are_those_of_the_evaluation(net, episode):
    with torch.no_grad():
        logits = net.scores(episode).logits
    assert suite.count_right(net, episode, episode.query).tolist() == count_right(logits, episode.labels).tolist()
