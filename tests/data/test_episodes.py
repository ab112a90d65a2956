"""Episodes: what every draw must satisfy, that slices and replays agree, and that the stream never changes."""

import dataclasses
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from anrot_lib.core.errors import UserError
from anrot_lib.core.torchvision_compat import load_torchvision
from anrot_lib.data import episodes
from anrot_lib.data.episodes import BLOCK, EpisodeManifest, EpisodeSampler, find_smallest
from anrot_lib.fewshot.heads.easyfsl import easyfsl


@st.composite
def problems(draw):
    """Unequal classes with any label numbers, in any order, and a task size that they can serve."""
    way, shot, query = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    ids = draw(st.lists(st.integers(-5, 99), min_size=way, max_size=8, unique=True))
    counts = draw(st.lists(st.integers(shot + query, 12), min_size=len(ids), max_size=len(ids)))
    labels = np.repeat(ids, counts)
    np.random.default_rng(draw(st.integers(0, 99))).shuffle(labels)
    return labels, way, shot, query, draw(st.integers(0, 6)), draw(st.integers(0, 2**40))


@given(problems())
@settings(max_examples=60)
def test_every_task_is_well_formed(problem):
    labels, way, shot, query, n, seed = problem
    drawn = EpisodeSampler(labels, way, shot, query, n, seed).draw()
    assert drawn.classes.shape == (n, way)
    assert drawn.support.shape == (n, way, shot)
    assert drawn.query.shape == (n, way, query)
    for classes, support, queries in zip(*drawn.arrays(), strict=True):
        assert len(set(classes.tolist())) == way, "distinct classes"
        images = np.concatenate([support, queries], axis=1)
        assert (labels[images] == classes[:, None]).all(), "every image is of its class"
        assert all(len(set(row)) == shot + query for row in images.tolist()), "M + Q distinct images of each class"
        assert not set(support.ravel().tolist()) & set(queries.ravel().tolist()), "no image on both sides"


@given(problems(), st.integers(0, 6), st.integers(0, 6))
@settings(max_examples=40)
def test_a_slice_of_the_draw_is_the_draw_of_the_slice(problem, a, b):
    labels, way, shot, query, n, seed = problem
    start, stop = sorted((min(a, n), min(b, n)))
    sampler = EpisodeSampler(labels, way, shot, query, n, seed)
    everything, part = sampler.draw(), sampler.draw(stop - start, start)
    for whole, some in zip(everything.arrays(), part.arrays(), strict=True):
        assert np.array_equal(whole[start:stop], some)


@given(problems())
@settings(max_examples=40)
def test_batches_are_flat_lists_as_easyfsl_yields_them(problem):
    labels, way, shot, query, n, seed = problem
    sampler = EpisodeSampler(labels, way, shot, query, n, seed)
    batches, drawn = list(sampler), sampler.draw()
    assert len(batches) == len(sampler) == n
    for batch, support, queries in zip(batches, drawn.support, drawn.query, strict=True):
        assert len(batch) == way * (shot + query)
        assert all(type(row) is int for row in batch)
        grid = np.array(batch).reshape(way, shot + query)  # class by class, shots before queries
        assert np.array_equal(grid[:, :shot], support)
        assert np.array_equal(grid[:, shot:], queries)


@given(problems(), st.integers(0, 99))
@settings(max_examples=30)
def test_a_draw_can_be_limited_to_some_rows(problem, seed):
    labels, way, shot, query, n, _ = problem
    both = np.concatenate([labels, labels])
    rows = np.random.default_rng(seed).permutation(len(labels)) + len(labels)
    drawn = EpisodeSampler(both, way, shot, query, n, rows=rows).draw()
    used = np.concatenate([drawn.support.ravel(), drawn.query.ravel()])
    assert (used >= len(labels)).all()
    assert np.array_equal(both[drawn.support], np.broadcast_to(drawn.classes[..., None], drawn.support.shape))


def test_draws_across_a_block_boundary_agree():
    sampler = EpisodeSampler(np.arange(60) % 6, 3, 2, 3, BLOCK + 20, seed=3)
    whole, across = sampler.draw(), sampler.draw(30, BLOCK - 10)
    assert np.array_equal(whole.query[BLOCK - 10 :], across.query)
    batches = list(sampler)
    assert len(batches) == BLOCK + 20
    assert batches[BLOCK + 5] == np.concatenate([whole.support, whole.query], 2)[BLOCK + 5].ravel().tolist()
    assert len({tuple(b) for b in batches}) == len(batches), "no task comes twice"


def test_seeds_and_streams_are_independent():
    labels = np.arange(60) % 6
    a, same, seed, stream = (
        EpisodeSampler(labels, 3, 2, 3, 20, **options).draw().query
        for options in ({"seed": 1}, {"seed": 1}, {"seed": 2}, {"seed": 1, "stream": "training"})
    )
    assert np.array_equal(a, same)
    assert not np.array_equal(a, seed)
    assert not np.array_equal(a, stream)


def test_classes_images_and_sides_are_drawn_evenly():
    """4,000 tasks: every class, every image of a class and every image as a shot as often as chance says (5 s.d.)."""
    labels = np.repeat(np.arange(5), [6, 6, 6, 10, 20])
    n = 4000
    drawn = EpisodeSampler(labels, 2, 1, 2, n, seed=0).draw()

    def check(found, p, trials):
        assert np.abs(found - trials * p).max() < 5 * (trials * p * (1 - p)) ** 0.5

    of_class = np.bincount(drawn.classes.ravel(), minlength=5)
    check(of_class, 2 / 5, n)
    check(np.bincount(drawn.classes[:, 0], minlength=5), 1 / 5, n)  # in every place of the task
    shots = np.bincount(drawn.support.ravel(), minlength=len(labels))
    queries = np.bincount(drawn.query.ravel(), minlength=len(labels))
    for c in range(5):
        of = labels == c
        check(shots[of], 1 / of.sum(), of_class[c])
        check(queries[of], 2 / of.sum(), of_class[c])


def test_labels_may_be_a_list_a_tensor_or_an_array():
    labels = [i % 4 for i in range(40)]
    draws = [EpisodeSampler(x, 3, 1, 2, 5).draw().query for x in (labels, np.array(labels), torch.tensor(labels))]
    assert all(np.array_equal(d, draws[0]) for d in draws)


def test_the_support_set_does_not_depend_on_the_number_of_queries():
    """So an attacked row with 5 queries and a clean row with 15 ask about the same support sets."""
    labels = np.arange(120) % 6
    few, many = (EpisodeSampler(labels, 3, 2, q, 10, seed=4).draw() for q in (5, 15))
    assert np.array_equal(few.support, many.support)
    assert np.array_equal(few.query, many.with_queries(5).query)


def test_smallest_indices_are_sorted_by_key():
    keys = np.random.default_rng(0).integers(0, 2**63, (7, 5, 40), dtype=np.uint64)
    assert np.array_equal(find_smallest(keys, 6), np.argsort(keys, axis=-1)[..., :6])


def test_equal_keys_still_give_distinct_positions():
    keys = np.random.default_rng(0).integers(0, 4, (50, 3, 9), dtype=np.uint64)
    found = find_smallest(keys, 5)
    assert (np.diff(np.sort(found)) > 0).all()
    assert np.array_equal(np.take_along_axis(keys, found, -1), np.sort(keys)[..., :5])


# --- errors ---


def test_a_short_class_is_named():
    labels = [0] * 8 + [7] * 4 + [9] * 8
    with pytest.raises(UserError, match=r"class 7 has 4 images, but 2 shots and 3 queries need 5 of each class"):
        EpisodeSampler(labels, 2, 2, 3, 1)
    assert len(EpisodeSampler(labels, 2, 1, 3, 1)) == 1


def test_too_few_classes_are_counted():
    with pytest.raises(UserError, match="5-way episodes need at least 5 classes, found 3"):
        EpisodeSampler([0, 1, 2] * 9, 5, 1, 1, 1)
    with pytest.raises(UserError, match="found 0"):
        EpisodeSampler([], 5, 1, 1, 1)


@pytest.mark.parametrize("sizes", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, -1)])
def test_sizes_must_make_sense(sizes):
    with pytest.raises(UserError, match="at least"):
        EpisodeSampler([0, 1] * 5, *sizes)


def test_a_short_class_and_a_small_split_are_named_by_class_and_split(small_set):
    with pytest.raises(UserError, match=r"class '\d+-.*' of the split 'test' has \d+ images, but 900 shots and"):
        EpisodeManifest.make(small_set, "test", 2, 900, 1, 1, 0)
    with pytest.raises(
        UserError, match=r"at least 90 classes of the split 'val', found \d+ \('\d+-.*fewer ways \(--way\)"
    ):
        EpisodeManifest.make(small_set, "val", 90, 1, 1, 1, 0)


# --- with torch's and easyfsl's tools ---


class Pictures(torch.utils.data.Dataset):
    def __init__(self, image_set):
        self.images, self.labels = image_set.batch(np.arange(len(image_set))), image_set.labels.tolist()

    def __getitem__(self, row):
        return self.images[row], self.labels[row]

    def __len__(self):
        return len(self.labels)


def test_it_is_a_batch_sampler_for_a_data_loader(small_set):
    sampler = EpisodeSampler(small_set.labels, 5, 2, 3, 4, seed=1)
    loader = DataLoader(Pictures(small_set), batch_sampler=sampler)
    assert len(loader) == 4
    batches = list(loader)
    assert len(batches) == 4
    sampler.set_epoch(0)
    for (images, labels), rows in zip(batches, sampler, strict=True):
        assert torch.equal(images, small_set.batch(rows))
        assert torch.equal(labels, torch.from_numpy(small_set.labels[rows]))


def test_every_epoch_of_a_data_loader_has_new_tasks_which_its_number_decides(small_set):
    def sampler():
        return EpisodeSampler(small_set.labels, 5, 2, 3, 4, seed=1)

    drawn = EpisodeSampler(small_set.labels, 5, 2, 3, 12, seed=1)
    loader = DataLoader(Pictures(small_set), batch_sampler=sampler(), collate_fn=lambda batch: [y for _, y in batch])
    passes = [list(loader) for _ in range(3)]
    in_a_row = [small_set.labels[rows].tolist() for rows in drawn]
    assert [labels for one in passes for labels in one] == in_a_row, "epoch e continues where epoch e - 1 ended"
    resumed, first = sampler(), sampler()
    resumed.set_epoch(2)
    assert list(resumed) == _pass(sampler(), 2) != list(first) == _pass(sampler(), 0)


def _pass(sampler, number):
    """Pass `number` of a new sampler, one after the other."""
    return [list(sampler) for _ in range(number + 1)][number]


def test_the_collation_of_easyfsl_takes_our_batches(small_set):
    load_torchvision()
    from easyfsl.samplers import TaskSampler

    sizes = types.SimpleNamespace(n_way=5, n_shot=2, n_query=3)  # its own constructor fails on torch 2.14 and later
    sizes._cast_input_data_to_tensor_int_tuple = TaskSampler._cast_input_data_to_tensor_int_tuple
    sampler = EpisodeSampler(small_set.labels, 5, 2, 3, 2, seed=1)
    loader = DataLoader(
        Pictures(small_set), batch_sampler=sampler, collate_fn=lambda data: TaskSampler.episodic_collate_fn(sizes, data)
    )
    drawn = sampler.draw()
    for e, (support, support_labels, query, query_labels, class_ids) in enumerate(loader):
        assert torch.equal(support, small_set.batch(drawn.support[e].ravel()))
        assert torch.equal(query, small_set.batch(drawn.query[e].ravel()))
        of = np.array(class_ids)
        assert np.array_equal(of[support_labels], drawn.classes[e].repeat(2))
        assert np.array_equal(of[query_labels], drawn.classes[e].repeat(3))
        model = easyfsl.PrototypicalNetworks(torch.nn.Flatten())
        model.process_support_set(support, support_labels)
        assert model(query).shape == (15, 5)


# --- loading ---


def test_an_episode_holds_the_images_of_its_rows(small_set):
    drawn = EpisodeSampler(small_set.labels, 5, 2, 3, 4, rows=small_set.rows("train")).draw()
    episode = drawn.to_episode(small_set)
    assert episode.support.shape == (4, 5, 2, 3, 16, 16)
    assert episode.query.shape == (4, 15, 3, 16, 16)
    assert episode.support.dtype == torch.float32
    assert episode.mask.shape == (4, 5, 2)
    assert episode.mask.all()
    assert torch.equal(episode.support, small_set.batch(drawn.support))
    assert torch.equal(episode.query, small_set.batch(episode.query_rows))
    labels = torch.from_numpy(small_set.labels)
    assert torch.equal(torch.gather(episode.class_ids, 1, episode.labels), labels[episode.query_rows])
    assert torch.equal(
        torch.gather(episode.class_ids, 1, episode.support_labels), labels[episode.support_rows].flatten(1)
    )
    assert set(episode.class_ids.unique().tolist()) <= set(small_set.splits["train"])


# --- manifests ---

RECIPE = {"split": "test", "n_way": 5, "n_shot": 2, "n_query": 3, "n_tasks": 6, "seed": 0}
GOLDEN = "78968466e167618da4f6999080d475b4f34e6e2fe07c6300d07c425caaec7a0e"
GOLDEN_CLASSES = [20, 22, 23, 24, 21]
GOLDEN_SHOTS = [[481, 486], [539, 531], [575, 573], [596, 585], [510, 514]]


def make(image_set, **changes):
    return EpisodeManifest.make(image_set, **(RECIPE | changes))


def labels_only(n_classes=25, per_class=24):
    """All that a manifest asks of an image set, written out: the golden hash depends on nothing else."""
    labels = np.arange(n_classes * per_class) // per_class
    return types.SimpleNamespace(
        class_names=[f"class {c}" for c in range(100)],
        labels=labels,
        sha256="0" * 64,
        rows=lambda split: np.flatnonzero(labels >= n_classes - 5),
    )


def test_the_stream_is_the_one_of_the_first_release():
    """A stored record names its episodes by recipe and hash; if this fails, all of them have lost their meaning."""
    manifest = make(labels_only())
    assert manifest.rows.classes[0].tolist() == GOLDEN_CLASSES
    assert manifest.rows.support[0].tolist() == GOLDEN_SHOTS
    assert manifest.hash == GOLDEN


def test_the_same_recipe_gives_the_same_hash(small_set):
    first, second = make(small_set), make(small_set)
    assert first.hash == second.hash
    assert first == second
    assert all(np.array_equal(a, b) for a, b in zip(first.rows.arrays(), second.rows.arrays(), strict=True))
    assert EpisodeManifest.draw_again(small_set, first.recipe()).hash == first.hash


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"n_shot": 1}, {"n_query": 4}, {"n_tasks": 7}, {"n_way": 4}, {"split": "train"}]
)
def test_another_recipe_gives_another_hash(small_set, change):
    assert make(small_set, **change).hash != make(small_set).hash


def test_other_data_give_another_hash(small_set):
    other = dataclasses.replace(small_set, sha256="0" * 64)
    a, b = make(small_set), make(other)
    assert np.array_equal(a.rows.query, b.rows.query)
    assert a.hash != b.hash


def test_any_changed_row_changes_the_hash(small_set):
    for name in ("classes", "support", "query"):
        manifest = make(small_set)
        before = manifest.hash
        altered = EpisodeManifest(**{f.name: getattr(manifest, f.name) for f in dataclasses.fields(manifest)})
        getattr(altered.rows, name)[-1, -1] += 1
        assert altered.hash != before, name


def test_first_tasks_do_not_depend_on_the_number_of_tasks(small_set):
    few, many = make(small_set, n_tasks=3), make(small_set, n_tasks=300)
    for a, b in zip(few.rows.arrays(), many.rows.arrays(), strict=True):
        assert np.array_equal(a, b[:3])


def test_a_manifest_stays_in_its_split(small_set):
    for split in ("train", "val", "test"):
        manifest = make(small_set, split=split, n_way=4)
        assert set(manifest.rows.classes.ravel().tolist()) <= set(small_set.splits[split])


def test_splits_do_not_share_their_stream(monkeypatch):
    streams = []
    philox = episodes.randomness.make_philox
    monkeypatch.setattr(
        episodes.randomness, "make_philox", lambda seed, name: streams.append(name) or philox(seed, name)
    )
    for split in ("val", "test"):
        make(labels_only(), split=split)
    assert len(set(streams)) == 2


def test_a_record_stores_the_recipe_and_the_hash(small_set):
    manifest = make(small_set)
    assert manifest.recipe() == RECIPE | {"image_set_hash": small_set.sha256, "hash": manifest.hash}


def test_files_are_named_for_a_task(small_set):
    named = dataclasses.replace(small_set, files=tuple(f"{i:04d}.png" for i in range(len(small_set))))
    manifest = make(named)
    found = manifest.files(named, 2)
    rows = manifest.rows[2:3]
    assert list(found) == [named.class_names[c] for c in rows.classes[0]]
    for k, sides in enumerate(found.values()):
        assert sides["support"] == [f"{r:04d}.png" for r in rows.support[0, k]]
        assert sides["query"] == [f"{r:04d}.png" for r in rows.query[0, k]]
