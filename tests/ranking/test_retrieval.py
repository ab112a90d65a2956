"""Retrieval metrics: hand-made rankings, a slow reference, ties, classes of one image, memory."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anrot_lib.core.errors import UserError
from anrot_lib.ranking import gallery as galleries
from anrot_lib.ranking.distances import cdist, distance, normalise
from anrot_lib.ranking.gallery import Gallery, compute_chance
from anrot_lib.ranking.retrieval import measure_nmi, retrieve
from anrot_lib.ranking.shards import Shard, cut, embed


def on_a_line(places, labels, metric="E"):
    return Gallery(torch.tensor(places, dtype=torch.float64)[:, None], torch.tensor(labels), metric)


def reference(gallery, rows, embeddings):
    """The definitions, one query and one position at a time."""
    found = []
    for row, e in zip(rows.tolist(), embeddings, strict=True):
        own = gallery.metric == "H"  # by the formula of pairs; the order of N and C is that of E
        distances = distance(gallery.embeddings, e, "H") if own else (gallery.embeddings - e).norm(dim=1)
        others = [i for i in range(len(gallery)) if i != row]
        same = {i: bool(gallery.labels[i] == gallery.labels[row]) for i in others}
        others.sort(key=lambda i: (distances[i].item(), same[i]))  # at equal distance the irrelevant one first
        positions = [k for k, i in enumerate(others, 1) if same[i]]
        n = len(positions)
        terms = [j / position for j, position in enumerate(positions, 1)]
        found.append(
            [
                positions[0] - 1,
                sum(terms) / n,
                sum(t for t, p in zip(terms, positions, strict=True) if p <= 10) / 10,
                sum(t for t, p in zip(terms, positions, strict=True) if p <= n) / n,
            ]
            if n
            else [np.nan] * 4
        )
    return np.array(found).T


def as_array(found):
    return np.stack([found.first, found.ap, found.ap10, found.apr])


def test_relevant_at_positions_one_and_three():
    gallery = on_a_line([0, 1, 2, 3, 50], [0, 0, 1, 0, 1])
    found = retrieve(gallery, torch.tensor([0]))
    assert found.first[0] == 0 and found.ap[0] == pytest.approx((1 + 2 / 3) / 2)
    assert found.ap10[0] == pytest.approx(0.1667, abs=1e-4)
    assert found.apr[0] == pytest.approx(0.5)
    assert found.hits(1)[0] == found.hits(2)[0] == 1


def test_relevant_at_position_two_only():
    found = retrieve(on_a_line([0, 1, 2], [0, 1, 0]), torch.tensor([0]))
    assert found.hits(1)[0] == 0 and found.hits(2)[0] == 1 and found.ap[0] == 0.5


def test_ten_relevant_first():
    found = retrieve(on_a_line(range(14), [0] * 11 + [1] * 3), torch.tensor([0]))
    assert found.ap10[0] == pytest.approx(1) and found.apr[0] == pytest.approx(1)


def test_perfect_clusters():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(5).repeat(6)
    points = 10 * torch.eye(8, dtype=torch.float64)[labels] + 0.01 * torch.rand(30, 8, generator=generator)
    gallery = Gallery(normalise(points, "N"), labels, "N")
    summary = retrieve(gallery).summary()
    assert summary["R@1"] == summary["mAP"] == summary["MAP@R"] == 100 and summary["first hit"] == 0
    assert measure_nmi(gallery) == pytest.approx(100)
    assert compute_chance(labels) == pytest.approx(5 / 29)


@given(st.integers(0, 10_000), st.sampled_from("NCEH"), st.integers(2, 5))
def test_agrees_with_the_slow_reference(seed, metric, classes):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (25,), generator=generator)
    gallery = Gallery(normalise(torch.randn(25, 4, generator=generator).double(), metric), labels, metric)
    rows = torch.randperm(25, generator=generator)[:12]
    moved = normalise(torch.randn(12, 4, generator=generator).double(), metric)
    for embeddings in (gallery.embeddings[rows], moved):
        found = as_array(retrieve(gallery, rows, embeddings))
        np.testing.assert_allclose(found, reference(gallery, rows, embeddings), rtol=1e-9)


@given(st.integers(0, 10_000))
def test_ties_count_against_the_query(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (20,), generator=generator)
    places = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)  # all distances differ: only copies are tied
    gallery = Gallery(places[torch.randint(3, (20, 1), generator=generator)], labels, "E")
    rows = torch.arange(20)
    np.testing.assert_allclose(as_array(retrieve(gallery)), reference(gallery, rows, gallery.embeddings), rtol=1e-9)


def test_everything_at_one_point_finds_nothing():
    gallery = Gallery(torch.ones(12, 4).double() / 2, torch.arange(3).repeat(4), "N")
    found = retrieve(gallery)
    assert (found.first == 8).all() and found.summary()["R@1"] == 0  # behind all eight images of the other classes
    assert cut(gallery).mean_cosine() == pytest.approx(1)


def test_a_class_of_one_image_is_left_out_and_counted():
    summary = retrieve(on_a_line([0, 1, 5, 7, 8], [0, 0, 1, 1, 2])).summary()
    assert summary["alone"] == 1 and summary["R@1"] == 75  # of four queries
    assert np.isnan(retrieve(on_a_line([0, 1], [0, 1])).summary()["R@1"])


def test_blocks_do_not_change_anything(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    gallery = Gallery(torch.randn(60, 4, generator=generator).double(), torch.arange(60) % 7, "E")
    whole, sizes = as_array(retrieve(gallery)), []
    monkeypatch.setattr(galleries, "BLOCK_NUMBERS", 60 * 9)
    original = Shard.distances
    monkeypatch.setattr(Shard, "distances", lambda self, e: sizes.append(len(e)) or original(self, e))
    done = []
    np.testing.assert_array_equal(as_array(retrieve(gallery, progress=done.append)), whole)
    assert max(sizes) == 9 and done[-1] == 60


def test_distances_keep_their_digits_when_the_net_has_collapsed():
    generator = torch.Generator().manual_seed(2)
    exact = torch.ones(50, 64).double() + 1e-5 * torch.randn(50, 64, generator=generator)
    for metric in "NC":
        rows = normalise(exact, metric)
        wanted = Gallery(rows, torch.arange(50) % 5, metric).distances(rows)
        found = Gallery(rows.float(), torch.arange(50) % 5, metric).distances(rows.float())
        apart = ~torch.eye(50, dtype=torch.bool)
        # float32 rows of numbers near 1/8 are rounded to 7e-9, 1 % of the distances here; nothing is added to that
        assert ((found - wanted).abs() / wanted)[apart].max() < 0.05


def test_embeddings_come_in_order_and_normalised():
    images = torch.rand(600, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    done = []
    found = embed(torch.nn.Flatten(), lambda rows: images[rows], torch.arange(600) % 5, "N", done.append).gather()
    torch.testing.assert_close(found.embeddings, torch.nn.functional.normalize(images.flatten(1), dim=1))
    assert done == [256, 512, 600] and not found.embeddings.requires_grad


def test_a_gallery_refuses_what_does_not_fit():
    with pytest.raises(UserError, match="at least two"):
        Gallery(torch.zeros(3, 2), torch.zeros(2, dtype=torch.long), "N")
    with pytest.raises(UserError, match="not finite"):
        Gallery(torch.full((3, 2), torch.nan), torch.zeros(3, dtype=torch.long), "N")


@pytest.mark.slow
def test_sixty_thousand_images_never_make_a_full_matrix():
    """60,502 rows: the full matrix would take 14.6 GB. A slice of the queries in one process of bounded memory."""
    import resource

    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(60_502) % 11_316
    gallery = Gallery(normalise(torch.randn(60_502, 64, generator=generator), "N"), labels, "N")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = retrieve(gallery, torch.arange(0, 60_502, 30))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20 < 0.5  # GiB
    assert len(found.first) == 2017 and not np.isnan(found.ap).any()


@pytest.mark.parametrize("metric", "NCE")
def test_distances_to_a_gallery_are_those_of_the_metric(metric):
    rows = normalise(torch.randn(12, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64), metric)
    found = Gallery(rows, torch.arange(12) // 3, metric).distances(rows[:4])
    torch.testing.assert_close(found, cdist(rows[:4], rows, metric), atol=1e-6, rtol=1e-6)
