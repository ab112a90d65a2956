"""Certificates against replaced shots: equal to brute force over all replacements, and never broken by an attack."""

import itertools

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot import poisoning
from anrot_lib.fewshot.classifier import change_head
from anrot_lib.fewshot.evaluation import describe
from anrot_lib.fewshot.methods import build_head
from tests.helpers import rng

HEADS = ("median-cosine", "median-cosine-mirror", "trimmed-cosine", "median-gaussian")


def middle_mean(values, rule):
    """The mean of the middle, by a plain sort."""
    values = sorted(values)
    trimmed = (len(values) - 1) // 2 if rule == "median" else int(0.3 * len(values) + 1e-9)
    kept = values[trimmed : len(values) - trimmed]
    return sum(kept) / len(kept)


def find_radius_by_force(divergences, rule, largest, every):
    """How many shots may be replaced in one class (or in every one): all subsets, with every extreme for each."""
    way, k = len(divergences), len(divergences[0])
    plain = [middle_mean(row, rule) for row in divergences]
    answer = int(np.argmin(plain))

    def reach(row, replaced, wanted):
        """The extreme mean of a class over all ways to replace so many of its shots."""
        means = [
            middle_mean([*(row[i] for i in range(k) if i not in chosen), *values], rule)
            for chosen in itertools.combinations(range(k), replaced)
            for values in itertools.combinations_with_replacement((0.0, largest), replaced)
        ]
        return wanted(means)

    for replaced in range(1, k + 1):
        highest = reach(divergences[answer], replaced, max)
        lowest = {j: reach(divergences[j], replaced, min) for j in range(way) if j != answer}
        more = 1 + poisoning.SLACK  # what may be rounding certifies nothing
        if every:
            stands = more * highest < min(lowest.values())
        else:
            others = [plain[j] for j in lowest]
            stands = more * highest < min(others) and more * plain[answer] < min(lowest.values())
        if not stands:
            return answer, replaced - 1
    return answer, k


DISTANCES = st.integers(1, 6).flatmap(
    lambda k: arrays.arrays(np.float64, (3, k), elements=st.floats(0.0, 1.9).map(lambda v: round(v, 3)))
)


@given(DISTANCES, st.sampled_from(["median", "trimmed"]), st.sampled_from([2.0, np.inf]))
@settings(max_examples=150)
def test_certificates_equal_brute_force_over_all_replacements(distances, rule, largest):
    means = sorted(middle_mean(row, rule) for row in distances.tolist())
    if means[1] - means[0] < 1e-6:
        return  # a tie has no answer
    certified = poisoning.certify_shots(torch.from_numpy(distances)[None], rule, largest)
    for every, radius in ((False, certified.one_class), (True, certified.every_class)):
        answer, expected = find_radius_by_force(distances.tolist(), rule, largest, every)
        assert certified.answers.item() == answer
        assert radius.item() == expected


def test_radii_by_hand():
    """Five shots: median at rank 3, so one or two replaced shots move it by one or two ranks; three have no bound."""
    distances = torch.tensor([[[0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.7, 0.8, 0.9, 1.0], [1.5, 1.6, 1.7, 1.8, 1.9]]])
    certified = poisoning.certify_shots(distances, "median", 2.0)
    assert [int(values) for values in certified] == [0, 2, 2]
    wider = distances + torch.tensor([0.0, -0.25, 0.0])[None, :, None]  # the second class: 0.35, 0.45, 0.55, 0.65, 0.75
    # One class: the answer at 0.4 against 0.55, at 0.3 against 0.45; then 0.5 against 0.55, but 0.3 against 0.35.
    # Every class: 0.4 against 0.45 stands, 0.5 against 0.35 does not.
    assert [int(values) for values in poisoning.certify_shots(wider, "median", 2.0)] == [0, 2, 1]
    assert poisoning.certify_shots(distances[..., :1], "median", 2.0).one_class.item() == 0, "one shot has no majority"


def test_a_bounded_divergence_bounds_what_more_shots_can_do():
    """The trimmed mean of five leaves out one at each end: of two replaced shots one counts, as 0 or as the largest."""
    near, far = [0.1] * 5, [1.9] * 5
    distances = torch.tensor([[near, far]])
    assert poisoning.certify_shots(distances, "trimmed", 2.0).one_class.item() == 3
    assert poisoning.certify_shots(distances, "trimmed", torch.inf).one_class.item() == 1


def test_heads_of_shots_take_the_mean_of_the_middle():
    maps = torch.rand(2, 18, 6, 2, 2, generator=rng())
    support, query = maps[:, :14], maps[:, 14:]
    labels = torch.tensor([0] * 5 + [1] * 9).expand(2, -1)  # unequal shots
    for name in HEADS:
        head = build_head(name, 6)
        model = head.fit(support, labels)
        logits = head.score(model, query).logits.detach()
        alone = head.measure_shots(head.describe(support), head.describe(query))
        for e, n, k in itertools.product(range(2), range(4), range(2)):
            members = alone[e, n][labels[e] == k].tolist()
            assert -logits[e, n, k] / head.log_scale.exp().item() == pytest.approx(
                middle_mean(members, head.rule), rel=1e-5
            )


def test_a_shot_of_nan_or_infinite_features_is_left_out():
    maps = torch.rand(1, 14, 6, 2, 2, generator=rng())
    labels, query = torch.arange(2).repeat_interleave(5)[None], maps[:, 10:]
    for name, value in itertools.product(HEADS, (torch.nan, torch.inf, 1e30)):
        head, spoilt = build_head(name, 6), maps[:, :10].clone()
        plain = head.score(head.fit(spoilt, labels), query).logits
        spoilt[0, 2] = value
        logits = head.score(head.fit(spoilt, labels), query).logits
        assert logits.isfinite().all() and torch.equal(logits[..., 1], plain[..., 1])


@pytest.fixture(scope="module")
def episodes(small_set):
    return EpisodeManifest.make(small_set, "test", 5, 5, 4, 6, 0).rows


def prepare(small_net, small_set, rows, name):
    net = change_head(small_net, name)
    described = describe(net, small_set, small_set.rows("test"))
    distances = poisoning.measure_shots(net, rows, described)
    return net, described, poisoning.certify_shots(distances, net.head.rule, net.head.largest)


@pytest.mark.parametrize("name", HEADS)
def test_the_answers_are_those_of_the_net(name, small_net, small_set, episodes):
    net, _, certified = prepare(small_net, small_set, episodes, name)
    with torch.no_grad():
        logits = net.scores(episodes.to_episode(small_set)).logits
    assert (logits.argmax(-1) == certified.answers).float().mean() > 0.99


@pytest.mark.parametrize("name", HEADS)
def test_attacks_by_images_break_no_certificate_and_many_others(name, small_net, small_set, episodes):
    net, described, certified = prepare(small_net, small_set, episodes, name)
    attacks = poisoning.attack_poisoned(net, small_set, episodes, described, certified.answers, 4, 256)
    asked = turned = 0
    for replaced, attack in enumerate(attacks, 1):
        for radius, turns in zip((certified.one_class, certified.every_class), attack, strict=True):
            holds = radius >= replaced
            assert not (turns & holds).any(), (replaced, "a certified answer was turned")
            asked, turned = asked + int((~holds).sum()), turned + int(turns[~holds].sum())
    assert (certified.one_class >= 1).float().mean() > 0.3
    assert (certified.one_class >= certified.every_class).all()
    assert turned / asked > 0.98, "what is not certified falls to the attack, but where an image cannot be far enough"


@pytest.mark.parametrize("name", HEADS)
def test_certificates_are_exact_in_feature_space(name, small_net, small_set, episodes):
    """Of a query certified for r shots, r + 1 shots with features of the query, or far from it, turn the answer."""
    net, described, certified = prepare(small_net, small_set, episodes, name)
    head, way, k = net.head, 5, 5
    support, query = described.select(episodes.support.reshape(6, -1)), described.select(episodes.query.reshape(6, -1))
    distances = poisoning.measure_shots(net, episodes, described)
    labels = torch.arange(way).repeat_interleave(k)[None]
    exact = 0
    for e, n in itertools.product(range(2), range(20)):
        answer, r = certified.answers[e, n].item(), certified.one_class[e, n].item()
        results = {}
        for replaced in {min(r, k), min(r + 1, k)} - {0}:
            turned = False
            for target in range(way):
                order = distances[e, n, target].argsort(descending=target != answer)[:replaced] + target * k
                model = head.fit_described(replace(support, query, e, n, order, target == answer), labels)
                logits = head.score_described(model, select(query, e, n)).logits[0, 0]
                turned |= not logits.isfinite().all() or int(logits.argmax()) != answer
            results[replaced] = turned
        assert not results.get(r, False), "certified, and turned"
        exact += results[min(r + 1, k)]
    assert exact >= 39, "all but near ties fall to one shot more"


def select(tree, e, n):
    return poisoning.map_tree(lambda t: t[e : e + 1, n : n + 1], tree)


def replace(support, query, e, n, places, far):
    """The support set of an episode with features of the query in some places, or with such as far as can be."""

    def change(pair):
        theirs, mine = pair
        changed = theirs[e : e + 1].clone()
        changed[0, places] = -mine[e, n] if far else mine[e, n]
        return changed

    if isinstance(support, torch.Tensor):
        return change((support, query))
    return type(support)(
        change((support.mean, query.mean - 1e4 if far else query.mean)),
        change((support.var, -query.var if far else query.var)),
    )


def test_features_at_random_break_no_certificate(small_net, small_set, episodes):
    """A thousand random replacements of certified queries, from tiny to huge."""
    net, described, certified = prepare(small_net, small_set, episodes, "median-cosine")
    support = described.select(episodes.support.reshape(6, -1))
    query = described.select(episodes.query.reshape(6, -1))
    labels, generator, tried = torch.arange(5).repeat_interleave(5)[None], rng(), 0
    for e, n in itertools.product(range(6), range(20)):
        r = int(certified.one_class[e, n])
        for target in range(5 if r else 0):
            poison = support[e].expand(5, -1, -1).clone()
            size = 10.0 ** torch.randint(-3, 4, (5, 1, 1), generator=generator)
            places = target * 5 + torch.randperm(5, generator=generator)[:r]
            poison[:, places] = size * torch.randn(5, r, poison.shape[-1], generator=generator)
            model = net.head.fit_described(poison, labels.expand(5, -1))
            logits = net.head.score_described(model, query[e, n].expand(5, 1, -1)).logits
            assert (logits.argmax(-1) == certified.answers[e, n]).all()
            tried += 5
    assert tried > 1000


def test_only_a_head_of_shots_is_certified(small_net, small_set, episodes):
    with pytest.raises(UserError, match="only a head that takes a median over shots has a certificate"):
        prepare_plain = describe(small_net, small_set, small_set.rows("test"))
        poisoning.measure_shots(small_net, episodes, prepare_plain)
    with pytest.raises(NotFinite, match="no answer to certify"):
        poisoning.certify_shots(torch.full((1, 2, 3), torch.nan), "median", torch.inf)
