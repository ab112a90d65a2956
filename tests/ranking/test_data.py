"""Readers of the published layouts, their splits, crops, limits; and what is said when something is missing."""

import numpy as np
import pytest
import torch

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.data import image_set
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.ranking.data import sets
from anrot_lib.ranking.data.layouts import halve_classes
from anrot_lib.ranking.data.sets import build_ranking_set, choose_evenly, load

from .sets import WRITERS, write_cars, write_cub, write_digits


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_idx_files(home, compress, below):
    write_digits(home / "digits" / below, compress=compress)
    found = load("fashion", 28, 28, str(home / "digits"))
    assert (len(found.train), len(found.test), found.train.classes) == (120, 60, 10)
    images = found.test.batch(torch.arange(5))
    assert images.shape == (5, 1, 28, 28)
    assert 0 <= images.min() < images.max() <= 1
    assert "70000" in found.note
    assert found.about["classes"] == {"train": 10, "test": 10}


def test_a_missing_or_broken_idx_file(home):
    with pytest.raises(UserError, match="--download"):
        load("mnist", 28, 28)
    folder = write_digits(home / "digits", compress=False)
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x78abc")
    with pytest.raises(UserError, match="cut short"):
        load("mnist", 28, 28, str(folder))


@pytest.mark.parametrize("dataset", ["cub", "cars", "sop"])
def test_published_layouts(home, dataset):
    WRITERS[dataset](home / dataset)
    found = load(dataset, 28, 32, str(home / dataset))
    assert found.train.classes == found.test.classes == {"cub": 2, "cars": 2, "sop": 3}[dataset]
    assert found.train.images.shape[1:] == (32, 32, 3)
    assert not set(found.train.rows.tolist()) & set(found.test.rows.tolist())
    assert "not comparable" in found.note
    again = load(dataset, 28, 32, str(home / dataset))
    assert again.about == found.about
    assert found.train.batch([0, 1]).shape == (2, 3, 28, 28)


def test_images_are_resized_whole(home):
    from PIL import Image

    write_cub(home / "cub")
    found = load("cub", 32, 32, str(home / "cub"))
    file = home / "cub/CUB_200_2011/images/001.Bird_0/bird_0.jpg"
    expected = np.asarray(Image.open(file).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
    assert (found.train.images[0] == expected).all()


def test_cars_in_class_folders_by_image_split(home):
    from .sets import photo

    for part in ("train", "test"):
        for c in range(4):
            where = home / "cars" / part / f"Car {c}"
            where.mkdir(parents=True)
            for i in range(3):
                photo(c, i + 10 * (part == "test")).save(where / f"{i}.png")
    found = load("cars", 28, 32, str(home / "cars"))
    assert (found.train.classes, len(found.train), len(found.test)) == (2, 12, 12)


def test_what_a_list_names_must_be_there(home):
    write_cars(home / "cars")
    (home / "cars/car_ims/000003.jpg").unlink()
    with pytest.raises(UserError, match="not there"):
        load("cars", 28, 32, str(home / "cars"))
    with pytest.raises(UserError, match="no folder"):
        load("sop", 28, 32, str(home / "nothing"))
    with pytest.raises(UserError, match="Ebay_train"):
        load("sop", 28, 32, str(home / "cars"))
    with pytest.raises(UserError, match="--data"):
        load("cub", 28, 32)
    (home / "cars/cars_annos.mat").write_bytes(b"no mat file")
    with pytest.raises(UserError, match="Stanford Cars"):
        load("cars", 28, 32, str(home / "cars"))


def test_a_prepared_set(home):
    made = synthetic(n_classes=20, per_class=6, size=16)
    image_set.save(made, paths.packed_dir() / "birds")
    image_set.save(made, paths.packed_dir() / "cub_small")
    own, half = load("birds", None, 16), load("cub_small", None, 16)
    assert (own.train.classes, own.test.classes, own.train.size) == (15, 5, 14)
    assert (half.train.classes, half.test.classes) == (10, 10)
    assert "first half" in half.note
    assert "first half" not in own.note
    assert load("birds", 16, 16, split="halves").train.classes == 10
    with pytest.raises(UserError, match="birds"):
        load("flowers", 28, 32)
    with pytest.raises(UserError, match="16 px"):
        load("birds", 32, 32)


def test_crops_are_parts_of_the_image_and_half_are_mirrored():
    part = build_ranking_set(synthetic(n_classes=20, per_class=6, size=20), 16).train
    numbers = torch.zeros(200, dtype=torch.int64)
    crops = part.augment(numbers, torch.Generator().manual_seed(0), flip=True)
    whole = torch.from_numpy(part.images[part.rows[0]]).permute(2, 0, 1).float() / 255
    windows = whole.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4).reshape(-1, 3, 16, 16)
    plain = (crops.unsqueeze(1) == windows).flatten(2).all(2).any(1)
    mirrored = (crops.flip(-1).unsqueeze(1) == windows).flatten(2).all(2).any(1)
    assert (plain | mirrored).all()
    assert 60 < mirrored.sum() < 140
    assert len({tuple(c.flatten()[:5].tolist()) for c in crops}) > 20
    assert part.augment(numbers, torch.Generator().manual_seed(0), flip=False).shape == crops.shape


def test_the_centre_is_cut_for_testing():
    part = build_ranking_set(synthetic(n_classes=20, per_class=6, size=20), 16).test
    expected = torch.from_numpy(part.images[part.rows[3]]).permute(2, 0, 1)[:, 2:18, 2:18].float() / 255
    assert torch.equal(part.batch([3])[0], expected)


def test_a_limit_takes_pairs_evenly_from_the_classes():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    assert choose_evenly(labels, 6).tolist() == [0, 1, 4, 5, 7, 8]
    assert choose_evenly(labels, 8).tolist() == [0, 1, 2, 3, 4, 5, 7, 8]
    made = build_ranking_set(synthetic(n_classes=20, per_class=6, size=16), 16, limit=30)
    assert (len(made.train), len(made.test)) == (30, 30)
    assert made.train.classes == 15


def test_halves_are_those_of_the_field():
    names = tuple(f"{n:03d}" for n in range(1, 201))
    assert halve_classes(names)["train"][-1] == "100"
    assert halve_classes(names)["test"][0] == "101"
    assert len(halve_classes(names[:196])["train"]) == 98
    folders = tuple(sorted(str(n) for n in range(1, 197)))  # 1, 10, 100, 101 ...
    assert halve_classes(folders) == {
        "train": tuple(str(n) for n in range(1, 99)),
        "test": tuple(str(n) for n in range(99, 197)),
    }
    with pytest.raises(UserError, match="two classes"):
        halve_classes(names[:1])


def test_nothing_but_digits_can_be_downloaded():
    with pytest.raises(UserError, match="homepage"):
        load("cub", 28, 32, download=True)
    assert set(sets.TORCHVISION) == {"mnist", "fashion"}
