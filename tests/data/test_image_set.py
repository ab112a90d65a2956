import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anrot_lib.core.errors import UserError
from anrot_lib.data import image_set, packed

NAMES = ("ant", "bee", "cat", "dog", "eel")
SPLITS = {"train": (0, 1, 2), "val": (3,), "test": (4,)}


def make(n=20, size=6, channels=3, seed=0, **more):
    images = np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)
    arguments = {"splits": SPLITS, "files": [f"{i}.png" for i in range(n)], **more}
    return image_set.build_image_set("zoo", images, np.arange(n) % 5, NAMES, **arguments)


def test_rows_of_a_split_are_its_images_in_ascending_order():
    zoo = make()
    assert zoo.rows("val").tolist() == [3, 8, 13, 18]
    assert zoo.rows(None).tolist() == list(range(20))
    assert (np.diff(zoo.rows("train")) > 0).all()
    assert set(zoo.labels[zoo.rows("train")]) == {0, 1, 2}


def test_unknown_split_names_the_splits_there_are():
    with pytest.raises(UserError, match="train, val, test"):
        make().rows("tset")
    with pytest.raises(UserError, match="no split"):
        make(splits={}).rows("train")


@pytest.mark.parametrize("channels", [1, 3])
def test_batch_has_the_shape_of_its_rows_and_values_in_0_1(channels):
    zoo = make(channels=channels)
    rows = np.array([[0, 5, 7], [19, 2, 2]])
    batch = zoo.batch(rows)
    assert batch.shape == (2, 3, channels, 6, 6)
    assert batch.dtype == torch.float32 and batch.is_contiguous()
    expected = zoo.images[rows].transpose(0, 1, 4, 2, 3).astype(np.float32) / np.float32(255)
    assert np.array_equal(batch.numpy(), expected)
    assert torch.equal(zoo.batch(torch.from_numpy(rows)), batch)
    assert zoo.batch([]).shape == (0, channels, 6, 6)


def test_batch_refuses_negative_rows():
    with pytest.raises(IndexError, match="negative"):
        make().batch([-1])


def test_a_batch_is_a_copy():
    zoo = make()
    before = zoo.images.copy()
    zoo.batch([0, 1]).zero_()
    assert np.array_equal(zoo.images, before)


@given(st.permutations(range(20)), st.permutations(range(5)))
def test_hash_is_blind_to_the_order_of_images_and_of_classes(order, class_order):
    zoo = make()
    names = [NAMES[c] for c in class_order]
    labels = np.array([class_order.index(label) for label in zoo.labels[list(order)]])
    assert packed.compute_hash(zoo.images[list(order)], labels, names) == zoo.sha256


def test_hash_sees_a_pixel_a_label_a_class_name_and_the_shape():
    zoo = make()
    pixel = zoo.images.copy()
    pixel[3, 2, 2, 1] ^= 1
    labels = zoo.labels.copy()
    labels[0] = 1
    flat = zoo.images.reshape(20, 4, 9, 3)
    changed = [
        packed.compute_hash(pixel, zoo.labels, NAMES),
        packed.compute_hash(zoo.images, labels, NAMES),
        packed.compute_hash(zoo.images, zoo.labels, ("ANT", *NAMES[1:])),
        packed.compute_hash(flat, zoo.labels, NAMES),
    ]
    assert len({zoo.sha256, *changed}) == 5


def test_hash_ignores_files_name_split_and_provenance():
    assert make().sha256 == make(files=(), splits={}, provenance={"a": 1}).sha256


def test_split_hash_depends_on_the_classes_of_each_split_only():
    assert make().split_hash == make(seed=1).split_hash
    assert make().split_hash != make(splits={"train": (0, 1, 3), "val": (2,), "test": (4,)}).split_hash


def test_saved_set_comes_back_whole_and_mapped(tmp_path):
    zoo = make(levels={"group": np.arange(20) % 2}, level_names={"group": ("x", "ü")}, provenance={"of": "us"})
    again = image_set.load(image_set.save(zoo, tmp_path / "zoo"), verify=True)
    assert isinstance(again.images, np.memmap) and not again.images.flags.writeable
    assert np.array_equal(again.images, zoo.images)
    for name in ("name", "class_names", "splits", "sha256", "level_names", "files", "provenance"):
        assert getattr(again, name) == getattr(zoo, name)
    assert np.array_equal(again.labels, zoo.labels) and again.labels.dtype == np.int64
    assert np.array_equal(again.levels["group"], zoo.levels["group"])
    assert list(again.splits) == ["train", "val", "test"]
    assert np.array_equal(np.load(tmp_path / "zoo" / "images.npy"), zoo.images)
    assert {p.name for p in tmp_path.iterdir()} == {"zoo"}


def test_saving_again_replaces_the_set(tmp_path):
    image_set.save(make(seed=0), tmp_path / "zoo")
    image_set.save(make(n=10, seed=1), tmp_path / "zoo")
    assert len(image_set.load(tmp_path / "zoo", verify=True)) == 10


def test_a_failed_save_leaves_the_set_before_as_it_was(tmp_path, monkeypatch):
    first = make(seed=0)
    image_set.save(first, tmp_path / "zoo")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed, "write_description", full)
    with pytest.raises(OSError, match="No space"):
        image_set.save(make(seed=1), tmp_path / "zoo")
    assert image_set.load(tmp_path / "zoo", verify=True).sha256 == first.sha256
    assert {p.name for p in tmp_path.iterdir()} == {"zoo"}


def damage(folder, how):
    images, description = folder / "images.npy", folder / "set.json"
    if how == "cut short":
        images.write_bytes(images.read_bytes()[:-100])
    elif how == "too long":
        images.write_bytes(images.read_bytes() + b"x")
    elif how == "header":
        images.write_bytes(images.read_bytes().replace(b"(20, 6, 6, 3)", b"(20, 6, 3, 6)"))
    elif how == "no images":
        images.unlink()
    elif how == "no json":
        description.unlink()
    elif how == "cut json":
        description.write_text(description.read_text()[:50])
    else:
        value = json.loads(description.read_text())
        if how == "schema":
            value["schema"] = 99
        elif how == "no key":
            del value["labels"]
        elif how == "labels":
            value["labels"] = value["labels"][:-1]
        elif how == "overlap":
            value["splits"]["test"] = [4, 0]
        description.write_text(json.dumps(value))


DAMAGES = {
    "cut short": "bytes instead of",
    "too long": "bytes instead of",
    "header": "header",
    "no images": "missing",
    "no json": "prepare",
    "cut json": "damaged",
    "schema": "another version",
    "no key": "labels",
    "labels": "19 labels",
    "overlap": "'ant' is in train and in test",
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_set_is_refused_with_what_is_wrong(tmp_path, how):
    folder = image_set.save(make(), tmp_path / "zoo")
    damage(folder, how)
    with pytest.raises(UserError, match=DAMAGES[how]) as caught:
        image_set.load(folder)
    assert "\n" not in str(caught.value)


def test_verify_finds_an_altered_pixel(tmp_path):
    folder = image_set.save(make(), tmp_path / "zoo")
    data = bytearray((folder / "images.npy").read_bytes())
    data[500] ^= 1
    (folder / "images.npy").write_bytes(data)
    image_set.load(folder, verify=False)
    for verify in (None, True):
        with pytest.raises(UserError, match="not those that were packed"):
            image_set.load(folder, verify=verify)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": np.zeros((20, 6, 6, 4), np.uint8)}, "uint8"),
        ({"images": np.zeros((20, 6, 6, 3), np.float32)}, "uint8"),
        ({"labels": np.arange(20)}, "from 0 to 4"),
        ({"labels": np.zeros(19, int)}, "19 labels"),
        ({"class_names": ("ant", "ant", "cat", "dog", "eel")}, "twice"),
        ({"splits": {"train": (0, 9)}}, "class number 9"),
        ({"splits": {"train": (0, 1), "test": (1,)}}, "'bee' is in train and in test"),
        ({"splits": {"dev": (0,)}}, "'dev'"),
        ({"levels": {"group": np.zeros(20, int)}}, "level 'group'"),
        ({"files": ("a", "b")}, "2 file names"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, said):
    zoo = make()
    parts = {"images": zoo.images, "labels": zoo.labels, "class_names": NAMES, "splits": SPLITS} | change
    with pytest.raises(UserError, match=said):
        image_set.build_image_set("zoo", **parts)


def test_a_set_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().name = "other"


def test_blocks_cover_all_rows_once(monkeypatch):
    monkeypatch.setattr(packed, "BLOCK_BYTES", 7 * 6 * 6 * 3)
    zoo = make()
    assert [len(b) for b in packed.cut_blocks(zoo.images)] == [7, 7, 6]
    assert np.array_equal(np.concatenate(list(packed.cut_blocks(zoo.images))), zoo.images)
    rows = np.array([1, 5, 6, 7, 8, 9, 11, 19])
    assert np.array_equal(np.concatenate(list(packed.cut_blocks(zoo.images, rows))), zoo.images[rows])
