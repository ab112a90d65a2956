"""The embedded default: equal bytes everywhere, independent of the counts, neither trivial nor hopeless."""

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anrot_lib.core.errors import UserError
from anrot_lib.data.synthetic import glyphs, outlines
from anrot_lib.data.synthetic.figures import draw_plain_figures, split, synthetic
from anrot_lib.data.synthetic.painting import POSE_WORDS, WORDS, draw, draw_plain

HASH_32 = "136b09b258ce3a355986bf01c3ab9f3ac157e393449e1c398479e8fd47b82c11"
HASH_84 = "42547c812ae0ad0f2a75f7f089de87089b6d95a4874dd5341ee407c781d2beb7"


@pytest.fixture(scope="module")
def small():
    return synthetic(n_classes=20, per_class=5)


@pytest.fixture(scope="module")
def whole():
    return synthetic()


def digest(images: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


def test_bytes_are_the_stored_ones(small):
    # The same on every machine and numpy version; a deliberate change of the figures changes it.
    assert digest(small.images) == HASH_32
    assert digest(synthetic(n_classes=20, per_class=2, size=84).images) == HASH_84


def test_seeds_give_other_classes(small):
    other = synthetic(n_classes=20, per_class=1, seed=1)
    assert digest(other.images) != digest(small.images[::5])
    assert other.sha256 != synthetic(n_classes=20, per_class=1).sha256


def test_shapes_and_types(small):
    assert small.images.shape == (100, 32, 32, 3) and small.images.dtype == np.uint8
    assert small.labels.dtype == np.int64
    assert small.labels.tolist() == [c for c in range(20) for _ in range(5)]
    assert len(set(small.class_names)) == 20
    batch = small.batch(small.rows("test"))
    assert batch.shape == (25, 3, 32, 32) and 0 <= batch.min() < batch.max() <= 1


def test_levels_name_body_and_texture(small):
    for row in (0, 37, 99):
        body = small.level_names["superclass"][small.levels["superclass"][row]]
        texture = small.level_names["texture"][small.levels["texture"][row]]
        assert small.class_names[small.labels[row]].endswith(f"-{texture}-{body}")


@settings(max_examples=15, deadline=None)
@given(c=st.integers(0, 300), first=st.integers(0, 10_000), size=st.sampled_from([16, 21, 32, 50]))
def test_an_image_depends_on_its_own_numbers_only(c, first, size):
    run = draw(c, np.arange(first, first + 3), size)
    assert np.array_equal(run[2:], draw(c, np.array([first + 2]), size))
    assert np.array_equal(run[::-1], draw(c, np.arange(first, first + 3)[::-1], size))


def test_more_classes_and_images_change_nothing(small):
    larger = synthetic(n_classes=23, per_class=7)
    kept = larger.images.reshape(23, 7, 32, 32, 3)[:20, :5]
    assert np.array_equal(kept.reshape(-1, 32, 32, 3), small.images)
    assert larger.class_names[:20] == small.class_names
    later = synthetic(n_classes=20, per_class=2, first_image=5)
    assert np.array_equal(later.images[:2], larger.images[5:7])


def test_images_do_not_depend_on_how_many_are_painted_at_once(monkeypatch):
    whole = draw(3, np.arange(6))
    monkeypatch.setattr("anrot_lib.data.synthetic.painting.PIXELS_AT_ONCE", 1)
    assert np.array_equal(draw(3, np.arange(6)), whole)


def test_every_drawn_number_is_used_and_none_is_missing(monkeypatch):
    monkeypatch.setattr("anrot_lib.data.synthetic.painting.WORDS", WORDS - 1)
    with pytest.raises(StopIteration):
        draw(0, np.arange(1))


def test_standard_split_is_64_16_20():
    assert {name: len(classes) for name, classes in split(100).items()} == {
        "train": 64,
        "val": 16,
        "test": 20,
    }


@given(n=st.integers(20, 400), more=st.integers(0, 100))
def test_splits_are_disjoint_complete_and_stable(n, more):
    parts, grown = split(n), split(n + more)
    assert sorted(c for classes in parts.values() for c in classes) == list(range(n))
    assert all(len(classes) >= 5 for classes in parts.values())
    assert all(set(parts[name]) <= set(grown[name]) for name in parts)
    if n >= 50:
        shares = {"train": 0.64, "val": 0.16, "test": 0.20}
        assert all(abs(len(parts[name]) - shares[name] * n) < 1 for name in parts)


def test_new_classes_mix_known_factors(whole):
    train, test = whole.rows("train"), whole.rows("test")
    for level in ("superclass", "texture"):
        values = whole.levels[level]
        assert set(values[test]) <= set(values[train])
    assert {whole.class_names[c] for c in whole.splits["train"]}.isdisjoint(
        whole.class_names[c] for c in whole.splits["test"]
    )


def test_distinct_classes_have_distinct_factors():
    styles = [glyphs.style(0, c) for c in range(200)]
    assert len({s.colours for s in styles}) == 200
    assert len({(s.body, s.texture, s.stroke, s.stretch) for s in styles}) == 200
    shapes = [np.round(glyphs.fields(s, 24)[0], 3).tobytes() for s in styles[:60]]
    assert len(set(shapes)) == 60


def test_factors_are_dealt_evenly():
    for n, factor in ((15, "body"), (8, "texture"), (4, "stroke")):
        values = [getattr(glyphs.style(0, c), factor) for c in range(2 * n)]
        assert len(set(values[:n])) == len(set(values[n:])) == n


@pytest.mark.parametrize("body", list(outlines.BODIES))
def test_every_body_fits_its_grid_and_covers_some_of_it(body):
    for k in range(5):
        outline = outlines.BODIES[body](outlines.Draws(k, "test"))
        assert all(np.abs(chain).max() < 1.05 for chain in outline.chains)
        c = next(c for c in range(30 * k, 30 * k + 30) if glyphs.style(0, c).body == body)
        field = glyphs.fields(glyphs.style(0, c), 65)[0].reshape(65, 65)
        assert 0.03 < (field < 0).mean() < 0.6
        assert min(field[0].min(), field[-1].min(), field[:, 0].min(), field[:, -1].min()) > 0


def test_circle_is_cosine_and_sine():
    turns = np.linspace(-2, 3, 1001)
    cosine, sine = outlines.circle(turns)
    assert np.abs(cosine - np.cos(2 * np.pi * turns)).max() < 1e-9
    assert np.abs(sine - np.sin(2 * np.pi * turns)).max() < 1e-9


def test_distance_to_a_square_is_exact():
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    x, y = np.array([0.0, 0.5, 2.0, 4.0]), np.array([0.0, 0.0, 0.0, 5.0])
    distance, arc, inside = outlines.nearest(outlines.Outline((corners,), True), x, y)
    assert distance.tolist() == [1.0, 0.5, 1.0, 5.0]
    assert inside.tolist() == [True, True, False, False]
    assert math.isclose(arc[1], 3.0) and math.isclose(arc[3], 4.0)
    open_distance, _, within = outlines.nearest(outlines.Outline((corners,), False), x, y)
    assert open_distance.tolist() == distance.tolist() and not within.any()


def test_pixels_are_spread_over_the_range(whole):
    assert 85 < whole.images.mean() < 150 and whole.images.std() > 45
    assert np.abs(whole.images.mean((0, 1, 2)) - whole.images.mean()).max() < 20
    assert (whole.images.std((1, 2, 3)) > 10).all()
    assert np.mean((whole.images == 0) | (whole.images == 255)) < 0.05


def test_images_of_a_class_differ(whole):
    images = whole.images.reshape(100, 60, -1)
    assert len({image.tobytes() for image in images.reshape(6000, -1)}) == 6000
    assert (images.std(1).mean(1) > 20).all()


def test_a_class_shows_at_every_size():
    # The same picture at two sizes: averaging 4 x 4 pixels of the larger gives nearly the smaller.
    large, little = draw(7, np.arange(6), 128), draw(7, np.arange(6), 32)
    mean = large.reshape(6, 32, 4, 32, 4, 3).mean((2, 4))
    assert np.abs(mean - little).mean() < 6


def test_raw_pixels_are_neither_trivial_nor_hopeless(whole):
    # 5-way 1-shot by the nearest support image in pixel space: chance is 20 %.
    images = whole.images.reshape(100, 60, -1).astype(np.float32)
    rng, hits = np.random.default_rng(0), []
    for _ in range(150):
        classes = rng.choice(whole.splits["test"], 5, replace=False)
        rows = np.stack([rng.permutation(60)[:11] for _ in classes])
        support = images[classes, rows[:, 0]]
        query = images[classes[:, None], rows[:, 1:]].reshape(50, -1)
        distance = (support**2).sum(1) - 2 * query @ support.T
        hits.append(np.mean(distance.argmin(1) == np.repeat(np.arange(5), 10)))
    assert 0.24 < np.mean(hits) < 0.45


@pytest.mark.slow
def test_prototypes_learn_it_but_not_all_of_it():
    """5-way 1-shot after 120 steps: between 45 and 85 %, and better than after a third of it and than before."""
    from anrot_lib.core.configs import change
    from anrot_lib.data.episodes import EpisodeManifest
    from anrot_lib.fewshot import evaluation, training
    from anrot_lib.fewshot.classifier import create_net
    from anrot_lib.settings import SMOKE, Protocol, Recipe

    image_set, protocol = synthetic(SMOKE.classes, SMOKE.per_class, SMOKE.size), Protocol(shot=1)
    rows = EpisodeManifest.make(image_set, "test", 5, 1, 15, 400, 0).rows
    recipe = Recipe(method="prototypes", hesim=0.0)

    def accuracy(net):
        return evaluation.count_clean(net.eval(), image_set, rows).mean() / 75

    untrained = accuracy(create_net(SMOKE.encoder, "prototypes", generator=torch.Generator().manual_seed(0)))
    budgets = (change(SMOKE, episodes=episodes, validate_every=40) for episodes in (40, 120))
    short, whole = (accuracy(training.train(image_set, recipe, budget, protocol).net) for budget in budgets)
    assert untrained + 0.05 < short < whole - 0.02 and 0.45 < whole < 0.85


@pytest.mark.parametrize("wrong", [{"n_classes": 19}, {"per_class": 0}, {"size": 15}, {"first_image": -1}])
def test_impossible_counts_are_named(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        synthetic(**wrong)


def test_plain_figures_are_the_stored_ones():
    plain = draw_plain_figures(n_classes=20, per_class=5)
    assert digest(plain.images) == "05013fac963dc78a2910f7a5c3aa7e34c4f08db4366666bda192812a133a0480"
    assert plain.images.shape == (100, 16, 16, 1) and plain.splits == synthetic(n_classes=20, per_class=1).splits
    assert len({image.tobytes() for image in plain.images}) == 100, "every image has a pose of its own"
    corners = plain.images[:, ::15, ::15]
    assert np.median(corners) == 0 and (plain.images.reshape(100, -1).max(1) > 200).all(), "white on black"
    assert np.array_equal(draw_plain_figures(n_classes=21, per_class=2).images[:2], plain.images[:2])
    with pytest.raises(UserError, match="n_classes >= 20"):
        draw_plain_figures(n_classes=3)


def test_a_plain_figure_uses_every_number_it_draws(monkeypatch):
    monkeypatch.setattr("anrot_lib.data.synthetic.painting.POSE_WORDS", POSE_WORDS - 1)
    with pytest.raises(StopIteration):
        draw_plain(0, np.arange(1))
