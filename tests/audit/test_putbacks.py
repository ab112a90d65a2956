"""Each defect is put back into the library, and its guard has to turn red."""

import importlib
import random
import re
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.audit import published
from anrot_lib.data import image_set, noise, splits
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.image_set import ImageSet
from anrot_lib.divergences.gaussian import DiagonalGaussian
from anrot_lib.divergences.measures import to_standard
from anrot_lib.fewshot import episode_loss, evaluation
from anrot_lib.fewshot.heads.published import PublishedHead
from anrot_lib.reconstruction import frechet
from tests.attacks import conftest as toys

trained_net, toy = toys.trained_net, toys.toy  # fixtures of the guard of D27
RED = (AssertionError, pytest.fail.Exception)


def test_module(name):
    return importlib.import_module(f"tests.{name}")


test_module.__test__ = False


@pytest.fixture
def rows(small_set):
    return EpisodeManifest.make(small_set, "test", 5, 5, 4, 12, 0).rows


@pytest.fixture
def task(small_set):
    return test_module("fewshot.test_episode_loss").task.__wrapped__(small_set)


def as_split(drawn):
    return {"train": tuple(drawn.train), "val": tuple(drawn.val), "test": tuple(drawn.test)}


def split_ten(names, seed, drawn_again):
    """The published procedure on a short list, whose second draw has a seed of its own."""
    first, again = (published.split_classes(names, random.Random(s)) for s in (seed, drawn_again))
    return as_split(published.PublishedSplit(first.train, again.val, again.test))


def check_d1(put, _):
    put(splits, "draw_split", lambda names, seed: split_ten(names, seed, published.TEST_SEED))
    guard = test_module("data.test_splits").test_a_drawn_split_holds_every_class_once_whatever_their_order
    guard.hypothesis.inner_test([f"n{k}" for k in range(20)], 3, random.Random(0))


def check_d2(put, _):
    state = random.Random(0)  # the draw comes before the seed is set
    put(splits, "draw_split", lambda names, seed: as_split(published.split_classes(names, state)))
    test_module("data.test_splits").test_a_drawn_split_is_the_same_on_every_machine()


def check_d4(put, request):
    def load_together(net, episode, recipe, draw):
        noisy = noise.add_gaussian(episode.query, 0.1, draw("noise"))
        sets = [TensorDataset(x.flatten(0, 1)) for x in (episode.query, episode.query, noisy)]
        return dict(zip(("clean", "adversarial", "noisy"), next(iter(DataLoader(sets, batch_size=16))), strict=True))

    put(episode_loss, "make_query_versions", load_together)
    test_module("audit.test_guards").test_one_training_step_uses_every_version_of_the_mixture(
        request.getfixturevalue("small_set")
    )


def check_d5(put, request):
    put(
        episode_loss,
        "make_query_versions",
        lambda net, e, recipe, draw: dict.fromkeys(episode_loss.list_shares(recipe), e.query),
    )
    test_module("fewshot.test_episode_loss").test_shares_weigh_the_versions_in_the_loss(request.getfixturevalue("task"))


def check_d6(put, request):
    put(evaluation, "count_attacked", lambda net, images, rows, *_, **__: evaluation.count_clean(net, images, rows))
    net, images, rows = (request.getfixturevalue(name) for name in ("small_net", "small_set", "rows"))
    guard = test_module("fewshot.test_evaluation").test_an_attack_lowers_the_accuracy_and_a_no_op_does_not
    guard("query", net, images, rows)


def check_d8(put, _):
    put(ThreatModel, "project", lambda self, points, clean: clean + (points - clean).clamp(-self.eps, self.eps))
    guard = test_module("attacks.test_threat").test_projection_start_and_step_stay_in_the_ball_and_in_the_box
    guard.hypothesis.inner_test(seed=0, norm="linf", eps=0.3)


def check_d9(put, _):
    put(
        noise,
        "add_gaussian",
        lambda x, sigma, g: published.add_unclipped_noise(x, sigma * torch.randn(x.shape, generator=g, dtype=x.dtype)),
    )
    test_module("data.test_noise").test_moments_are_those_of_the_censored_normal(0.3)


def check_d10(put, request):
    plain, g = ImageSet.batch, torch.Generator().manual_seed(0)

    def augmented(self, rows, *options, **more):
        images = plain(self, rows, *options, **more)
        return published.augment_always(images, published.draw_coins(len(images), g))

    put(ImageSet, "batch", augmented)
    net, images = (request.getfixturevalue(name) for name in ("small_net", "small_set"))
    test_module("audit.test_guards").test_the_evaluation_sees_the_images_as_they_are(net, images)


def check_d11(put, request):
    plain = EpisodeManifest.make.__func__

    def read_first(cls, images, *options):
        published.read_labels((images.batch([k]), images.labels[k]) for k in range(len(images.labels)))
        return plain(cls, images, *options)

    put(EpisodeManifest, "make", classmethod(read_first))
    guard = test_module("audit.test_guards").test_drawing_episodes_makes_no_image
    guard(request.getfixturevalue("small_set"), request.getfixturevalue("monkeypatch"))


def check_d12(put, _):
    module = test_module("fewshot.test_classifier")
    put(module, "build_head", lambda name, channels: PublishedHead(channels))
    module.test_no_score_depends_on_the_other_queries("prototypes")


def check_d14(put, _):
    module = test_module("divergences.test_measures")
    exact = module.pairwise

    def returns_a_sum(name, p, q):
        if name != "hellinger":
            return exact(name, p, q)
        x, y = (of.mean if isinstance(of, DiagonalGaussian) else of for of in (p, q))
        return ((x.abs().sqrt()[:, None] - y.abs().sqrt()[None]) ** 2).sum(-1) / 2**0.5

    put(module, "pairwise", returns_a_sum)
    module.test_properties.hypothesis.inner_test([(0.0, 1.0, 0.1), (1.0, 1.0, 0.2), (9.0, 1.0, 0.9)])


def check_d15(put, _):
    module = test_module("fewshot.test_hesim")

    def constant(temperature, kind):
        return lambda embeddings, labels: published.hesim(embeddings, labels, temperature)

    put(module, "Hesim", constant)
    module.test_is_the_formula("simplex", 0.1)


def check_d16(put, request):
    module, task = test_module("fewshot.test_episode_loss"), request.getfixturevalue("task")

    def contrast_scores(recipe, seed=0):
        net = plain(recipe, seed)
        score = net.head.score

        def with_scores(*arguments):
            scores = score(*arguments)
            return scores._replace(embeddings=scores.logits)

        net.head.score = with_scores
        return net

    plain = module.net_for
    put(module, "net_for", contrast_scores)
    put(episode_loss, "build_hesim", lambda recipe, head: published.hesim)
    module.test_hesim_reaches_the_encoder_and_sees_class_numbers(task)


def check_d19(put, request):
    plain = evaluation.count_clean

    def print_only(net, images, rows, **options):
        print(published.pool_accuracy(plain(net, images, rows, **options).tolist(), queries=20))
        return SimpleNamespace(dtype=None, tolist=lambda: None)

    put(evaluation, "count_clean", print_only)
    training, images, rows = (request.getfixturevalue(name) for name in ("small_training", "small_set", "rows"))
    test_module("fewshot.test_evaluation").test_clean_counts_are_those_of_a_plain_loop(
        "prototypes", training, images, rows
    )


def check_d21(put, _):
    module = test_module("data.test_image_set")
    build, names = image_set.build_image_set, module.NAMES

    def number_as_published(name, images, labels, *rest, **parts):
        return build(name, images, labels % len(names), *rest, **parts)  # two classes may share a number

    put(image_set, "build_image_set", number_as_published)
    module.test_parts_that_do_not_fit_are_refused({"labels": torch.arange(20).numpy()}, "from 0 to 4")


def check_d23(put, _):
    plain = frechet.extract_features

    def rows_of_the_last(extractor, batches, *options):
        last = list(batches)[-1].float() / 255
        rows = torch.nn.functional.interpolate(published.take_rows_of_last_image(last), (16, 16))
        return plain(extractor, [(rows * 255).round().to(torch.uint8)], *options)

    put(frechet, "extract_features", rows_of_the_last)
    test_module("reconstruction.test_frechet").test_equal_to_torchmetrics_through_an_extractor()


def check_d24(put, _):
    module = test_module("reconstruction.test_training")
    plain = module.compute_terms

    def summed(images, decoded, posterior, name):
        terms = plain(images, decoded, posterior, name)
        return SimpleNamespace(
            loss=lambda beta: published.weigh_loss(images, decoded, beta * terms.divergence).expand(len(images))
        )

    put(module, "compute_terms", summed)
    module.test_the_bound_is_one_number_an_image()


def check_d25(put, _):
    module = test_module("divergences.test_measures")
    put(
        module,
        "to_standard",
        lambda name, *at: published.hellinger_term(*at) if name == "hellinger2" else to_standard(name, *at),
    )
    module.test_stated_values_to_the_standard_normal("hellinger2", 0.675348, 0.105573)


def check_d27(put, request):
    attacked = request.getfixturevalue("toy")
    head = type(attacked.net.head)
    plain = head.score

    def coupled(self, model, maps):
        scores = plain(self, model, maps)
        return SimpleNamespace(logits=scores.logits - scores.logits.mean(1, keepdim=True) * scores.logits.std())

    put(head, "score", coupled)
    test_module("attacks.test_episode").test_dropping_gives_what_every_query_alone_would_get(attacked)


CHECKS = {name[6:].upper(): check for name, check in globals().items() if re.fullmatch(r"check_d\d+", name)}
WANTED = {f"D{k}" for k in (1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 14, 15, 16, 19, 21, 23, 24, 25, 27)}


def test_all_of_them_are_put_back():
    assert set(CHECKS) >= WANTED


@pytest.mark.parametrize("name", CHECKS)
def test_a_defect_that_comes_back_turns_its_guard_red(name, request, monkeypatch):
    with pytest.raises((*RED, TypeError) if name == "D4" else RED):
        CHECKS[name](monkeypatch.setattr, request)


@pytest.mark.parametrize("name", CHECKS)
def test_the_same_guard_is_green_without_it(name, request):
    """The put-back, and nothing else, is what turns the guard red."""
    CHECKS[name](lambda *_: None, request)
