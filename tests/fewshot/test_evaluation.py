"""Evaluation: correct counts against a plain loop, noise, attacks, and how often an image is encoded."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.attacks.transfer import train_on_base
from anrot_lib.core import randomness
from anrot_lib.core.errors import UserError
from anrot_lib.data.episodes import EpisodeManifest, EpisodeRows
from anrot_lib.data.image_set import build_image_set
from anrot_lib.fewshot import evaluation, passes
from anrot_lib.fewshot.classifier import create_net, fold_net

EPS = 8 / 255
WAY, QUERY = 5, 4


@pytest.fixture(scope="module")
def rows(small_set):
    return EpisodeManifest.make(small_set, "test", WAY, 5, QUERY, 12, 0).rows


def accuracy(counts):
    return counts.mean() / (WAY * QUERY)


def plain_loop(net, image_set, rows):
    """Correct counts as anybody would write them: an episode at a time, all its images through the encoder."""
    counts = []
    for k in range(len(rows)):
        episode = rows[k : k + 1].to_episode(image_set)
        with torch.no_grad():
            counts.append(int((net.scores(episode).logits.argmax(-1) == episode.labels).sum()))
    return counts


@pytest.fixture
def images_encoded(small_net):
    """How many images went through the encoder, as a list of one number."""
    seen = [0]

    def hook(_, inputs):
        seen[0] += len(inputs[0])

    handle = small_net.backbone.register_forward_pre_hook(hook)
    yield seen
    handle.remove()


# Clean


METHODS = (
    *("prototypes", "cosine", "anrot", "hela-vfa", "variational", "published"),
    *("easyfsl:SimpleShot", "easyfsl:BDCSPN"),
)


@pytest.mark.parametrize("method", METHODS)
def test_clean_counts_are_those_of_a_plain_loop(method, small_training, small_set, rows):
    net = create_net("tiny", method, generator=randomness.make_generator(1, "init"))
    net.backbone.load_state_dict(small_training.net.backbone.state_dict())
    net.eval()
    counts = evaluation.count_clean(net, small_set, rows[:6])
    assert counts.dtype == np.int64 and counts.tolist() == plain_loop(net, small_set, rows[:6])
    assert accuracy(counts) > 0.3, "above chance, so that equal counts mean something"


def test_a_trained_net_is_well_above_chance(small_net, small_set, rows):
    assert accuracy(evaluation.count_clean(small_net, small_set, rows)) > 0.5


def test_every_distinct_image_is_encoded_once(small_net, small_set, rows, images_encoded):
    support, query = np.unique(rows.support), np.unique(rows.query)
    assert rows.support.size > 2 * len(support), "the episodes share images"
    evaluation.count_clean(small_net, small_set, rows)
    assert images_encoded == [len(np.union1d(support, query))]
    evaluation.count_changed(small_net, small_set, rows, evaluation.make_noise_change(0.1, 0))
    assert images_encoded == [len(np.union1d(support, query)) + len(support) + len(query)]


def test_progress_counts_images(small_net, small_set, rows):
    done = []
    evaluation.count_clean(small_net, small_set, rows, progress=done.append)
    assert sum(done) == len(np.unique(np.concatenate([rows.support.ravel(), rows.query.ravel()])))


def test_no_episodes_give_no_counts(small_net, small_set, rows):
    found = evaluation.describe(small_net, small_set, rows.query)
    assert evaluation.count_correct(small_net, rows[:0], found, found).shape == (0,)


def test_block_sizes_change_no_count(small_net, small_set, rows, monkeypatch):
    def counts():
        return [
            evaluation.count_clean(small_net, small_set, rows).tolist(),
            evaluation.count_attacked(small_net, small_set, rows[:4], pgd(EPS / 4, 3, EPS / 8, 1, "query"), 0).tolist(),
            evaluation.count_attacked(small_net, small_set, rows[:4], pgd(EPS / 4, 3, EPS / 8, 1, "both"), 0).tolist(),
        ]

    whole = counts()
    monkeypatch.setattr(passes, "IMAGES_PER_PASS", 7)
    monkeypatch.setattr(passes, "EPISODES_PER_PASS", 5)
    assert counts() == whole
    monkeypatch.setattr(passes, "LOGITS_PER_PASS", 20)  # of one episode, some queries
    monkeypatch.setattr(passes, "LOGITS_TOGETHER", 20)
    assert counts() == whole
    halves = [evaluation.count_clean(small_net, small_set, part) for part in (rows[:5], rows[5:])]
    assert np.concatenate(halves).tolist() == whole[0]


def test_a_pass_on_a_cpu_holds_fewer_images_the_larger_they_are():
    assert [evaluation.count_images_per_pass(size, "cpu") for size in (16, 32, 84, 4096)] == [256, 256, 37, 1]
    assert evaluation.count_images_per_pass(84, "cuda") == 256


def test_no_pass_under_attack_holds_more_images_than_it_may(small_net, small_set, rows, monkeypatch):
    monkeypatch.setattr(passes, "IMAGES_PER_PASS", 7)
    seen = []
    hook = small_net.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    evaluation.count_attacked(small_net, small_set, rows[:6], pgd(EPS / 4, 2, EPS / 8, 1, "query"), 0)
    hook.remove()
    assert seen and max(seen) <= 7, "the support images, too"


# Labels must matter


def test_queries_in_places_of_other_classes_fall_to_chance(small_net, small_set, rows):
    order = np.random.default_rng(0).permuted(np.tile(np.arange(WAY * QUERY), (len(rows), 1)), axis=1)
    shuffled = np.take_along_axis(rows.query.reshape(len(rows), -1), order, 1).reshape(rows.query.shape)
    counts = evaluation.count_clean(small_net, small_set, replace(rows, query=shuffled))
    assert accuracy(counts) < 0.3
    turned = replace(rows, query=np.roll(rows.query, 1, axis=1))  # every query in a wrong place
    clean = accuracy(evaluation.count_clean(small_net, small_set, rows))
    assert accuracy(evaluation.count_clean(small_net, small_set, turned)) < 1 - clean + 1e-9


def test_a_set_with_shuffled_labels_gives_chance(small_net, small_set):
    labels = small_set.labels.copy()
    test = small_set.rows("test")
    labels[test] = np.random.default_rng(0).permutation(labels[test])
    shuffled = build_image_set("shuffled", small_set.images, labels, small_set.class_names, small_set.splits)
    rows = EpisodeManifest.make(shuffled, "test", WAY, 5, 8, 40, 0).rows
    assert 0.1 < evaluation.count_clean(small_net, shuffled, rows).mean() / (WAY * 8) < 0.3


# Noise


def test_noise_of_an_image_does_not_depend_on_its_batch(small_set):
    change = evaluation.make_noise_change(0.2, 3)
    rows = np.array([5, 9, 200, 31])
    together = change(small_set.batch(rows), rows)
    assert not torch.equal(together, small_set.batch(rows))
    for k in (2, 0):
        alone = change(small_set.batch(rows[k : k + 1]), rows[k : k + 1])
        assert torch.equal(alone[0], together[k])
    assert torch.equal(change(small_set.batch(rows[::-1]), rows[::-1]), together.flip(0))
    other = evaluation.make_noise_change(0.2, 4)(small_set.batch(rows), rows)
    assert not torch.equal(other, together)


def test_noise_differs_between_images(small_set):
    rows = np.array([0, 1])
    gray = torch.full((2, 3, 16, 16), 0.5)
    first, second = evaluation.make_noise_change(0.1, 0)(gray, rows) - gray
    assert (first - second).abs().mean() > 0.05


def test_noise_of_0_is_clean_and_strong_noise_costs_accuracy(small_net, small_set, rows):
    counts = {
        sigma: evaluation.count_changed(small_net, small_set, rows, evaluation.make_noise_change(sigma, 0))
        for sigma in (0.0, 0.8)
    }
    clean = evaluation.count_clean(small_net, small_set, rows)
    assert counts[0.0].tolist() == clean.tolist()
    assert accuracy(counts[0.8]) < accuracy(clean) - 0.1


@pytest.mark.parametrize("target", ["query", "support", "both"])
def test_only_the_target_is_changed(target, small_net, small_set, rows):
    seen = []

    def change(images, numbers):
        seen.extend(numbers.tolist())
        return images

    counts = evaluation.count_changed(small_net, small_set, rows, change, target)
    wanted = {"query": [rows.query], "support": [rows.support], "both": [rows.support, rows.query]}[target]
    assert seen == [r for part in wanted for r in np.unique(part).tolist()]
    assert counts.tolist() == evaluation.count_clean(small_net, small_set, rows).tolist()


# Attacks


@pytest.mark.parametrize("target", ["query", "support", "both"])
def test_an_attack_lowers_the_accuracy_and_a_no_op_does_not(target, small_net, small_set, rows):
    rows = rows[:6]
    clean = evaluation.count_clean(small_net, small_set, rows)
    before = {k: v.clone() for k, v in small_net.state_dict().items()}
    for threat in (fgsm(EPS, target), pgd(EPS, 5, EPS / 3, 1, target)):
        attacked = evaluation.count_attacked(small_net, small_set, rows, threat, 0)
        assert accuracy(attacked) < accuracy(clean) - 0.15, f"{threat.name} does nothing"
        nothing = replace(threat, eps=0.0, step=0.0)
        assert evaluation.count_attacked(small_net, small_set, rows, nothing, 0).tolist() == clean.tolist()
    assert all(torch.equal(v, before[k]) for k, v in small_net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in small_net.parameters()) and not small_net.training


def test_a_query_counts_only_if_no_candidate_beats_it(small_net, small_set, rows):
    clean = evaluation.count_clean(small_net, small_set, rows)
    weak, strong = (
        evaluation.count_attacked(small_net, small_set, rows, pgd(eps, 5, eps / 3, 1, "query"), 0)
        for eps in (EPS / 8, EPS)
    )
    assert (weak <= clean).all() and accuracy(strong) < accuracy(weak) < accuracy(clean)


def test_beaten_queries_leave_the_batch(small_net, small_set, rows, images_encoded):
    steps = 10
    evaluation.count_attacked(small_net, small_set, rows, pgd(EPS, steps, EPS / 4, 1, "query"), 0)
    everything = rows.support.size + rows.query.size * (steps + 2)
    assert images_encoded[0] < 0.6 * everything


def test_the_attacks_random_stream_belongs_to_the_tasks(small_net, small_set, rows, monkeypatch):
    names = []
    real = randomness.make_generator
    monkeypatch.setattr(randomness, "make_generator", lambda seed, name: names.append((seed, name)) or real(seed, name))
    threat = pgd(EPS / 8, 2, EPS / 16, 1, "query")
    for first in (0, 4):
        evaluation.count_attacked(small_net, small_set, rows[first : first + 2], threat, 7, first_task=first)
    assert names == [(7, f"attack/{threat.name}/0"), (7, f"attack/{threat.name}/4")]


def test_a_method_that_looks_at_all_queries_is_attacked_as_a_whole(small_training, small_set, rows):
    net = create_net("tiny", "published", generator=randomness.make_generator(1, "init"))
    net.backbone.load_state_dict(small_training.net.backbone.state_dict())
    net.eval()
    assert net.is_transductive()
    clean = evaluation.count_clean(net, small_set, rows[:6])
    attacked = evaluation.count_attacked(net, small_set, rows[:6], pgd(EPS, 5, EPS / 3, 1, "query"), 0)
    assert accuracy(attacked) < accuracy(clean) - 0.1


def test_a_transferred_attack_keeps_the_ball_and_attacks_each_image_once(small_net, small_set, rows):
    surrogate = train_on_base(small_set, randomness.make_generator(0, "surrogate"), epochs=1)
    change = evaluation.make_transfer_change(surrogate, fgsm(EPS, "query"), 0)
    some = rows.query.ravel()[:6]
    with torch.no_grad():  # as `describe` calls it
        changed = change(small_set.batch(some), some)
    moved = (changed - small_set.batch(some)).abs()
    assert 0 < moved.max() <= EPS + 1e-6 and changed.min() >= 0 and changed.max() <= 1
    assert evaluation.count_changed(small_net, small_set, rows, change).shape == (len(rows),)


def test_an_evaluator_answers_as_the_functions_do_and_describes_the_test_images_once(small_net, small_set, rows):
    surrogate = train_on_base(small_set, randomness.make_generator(0, "surrogate"), epochs=1)
    built, passes = [], []
    evaluator = evaluation.Evaluator(small_net, small_set, build_surrogate=lambda: built.append(1) or surrogate)
    net = fold_net(small_net)  # as the evaluator tests it: a rounding of the unfolded net may flip a query
    noise, threat = evaluation.make_noise_change(0.1, 3), fgsm(EPS, "query")
    questions = (
        (evaluator.count_clean(rows, passes.append), evaluation.count_clean(net, small_set, rows)),
        (evaluator.count_changed(rows, noise), evaluation.count_changed(net, small_set, rows, noise)),
        (evaluator.count_attacked(rows, threat, 0), evaluation.count_attacked(net, small_set, rows, threat, 0)),
    )
    for answer, expected in questions:
        assert answer.tolist() == expected.tolist()
    assert sum(passes) == len(small_set.rows("test"))
    evaluator.count_clean(rows, pytest.fail)
    change = evaluation.make_transfer_change(surrogate, threat, 0)
    expected = evaluation.count_changed(small_net, small_set, rows, change).tolist()
    assert [evaluator.count_transferred(rows, threat, 0).tolist() for _ in range(2)] == [expected] * 2
    assert built == [1]
    with pytest.raises(UserError, match="give the Evaluator one by build_surrogate"):
        evaluation.Evaluator(small_net, small_set).count_transferred(rows, threat, 0)


def test_descriptions_are_looked_up_in_any_shape(small_net, small_set):
    rows = np.array([[7, 3], [3, 11]])
    selected = evaluation.describe(small_net, small_set, rows).select(rows)
    with torch.no_grad():
        expected = small_net.head.describe(small_net.encode(small_set.batch(rows)))
    for a, b in zip(selected, expected, strict=True):
        assert (a is b is None) or torch.allclose(a, b, atol=1e-5)


def test_images_that_were_not_described_are_refused(small_net, small_set, rows):
    described = evaluation.describe(small_net, small_set, np.array([0, 3, 7, 11]))
    for unknown in (-1, -9, 2, 5, 12, 99):
        with pytest.raises(UserError, match="were not described"):
            described.select(np.array([[7, unknown]]))
    other = evaluation.Evaluator(small_net, small_set, split="val")
    with pytest.raises(UserError, match="are they of the split that was"):
        other.count_clean(rows)


def test_parts_of_episodes_keep_their_rows(rows):
    part = rows[2:5].with_queries(2)
    assert isinstance(part, EpisodeRows) and part.query.shape == (3, WAY, 2)
    assert (part.query == rows.query[2:5, :, :2]).all() and (part.support == rows.support[2:5]).all()
