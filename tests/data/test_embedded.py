"""The embedded characters: real drawings, the recorded files, no alphabet in two splits."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import anrot_lib as anrot
from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.data import image_set as image_sets
from anrot_lib.data.embedded import characters
from anrot_lib.data.image_set import build_image_set, compute_hash
from anrot_lib.data.leakage import guard
from anrot_lib.data.preparation.prepare import prepare
from anrot_lib.experiments.images import open_images
from anrot_lib.settings import EMBEDDED, SMOKE, preset

HASH = "c1a236db9088a1dcfce8f9b0f7cf5761ec79b0ffcf6b3134aef1334d94f01d57"
SPLIT = "a503730f24a579e925b4ec894de962efad4bb55c2ffe93183bb131da05652394"


@pytest.fixture(scope="module")
def letters():
    return anrot.open_embedded()


def test_what_ships_is_what_was_recorded(letters):
    assert letters.name == "omniglot-300" and letters.sha256 == HASH and letters.split_hash == SPLIT
    assert compute_hash(letters.images, letters.labels, letters.class_names) == HASH, "of the very pixels"
    assert letters.images.shape == (6000, 28, 28, 1) and set(np.unique(letters.images)) == {24, 139, 255}
    assert np.bincount(letters.labels).tolist() == [20] * 300
    assert 0.05 < (letters.images == 24).mean() < 0.15, "ink is dark, and paper is most of it"
    size = (characters.FOLDER / "omniglot-300.npz").stat().st_size
    assert size < 200_000 and "Brenden Lake" in (characters.FOLDER / "LICENSE-omniglot.txt").read_text("utf-8")


def test_no_alphabet_is_in_two_splits(letters):
    alphabets = {part: {name.split("/")[0] for name in names} for part, names in letters.split_names.items()}
    assert {part: len(names) for part, names in letters.split_names.items()} == {"train": 192, "val": 48, "test": 60}
    assert {part: len(names) for part, names in alphabets.items()} == {"train": 6, "val": 12, "test": 20}
    assert len(set.union(*alphabets.values())) == sum(map(len, alphabets.values())) == 38
    named = [letters.level_names["alphabet"][k] for k in letters.levels["alphabet"]]
    assert named == [letters.class_names[c].split("/")[0] for c in letters.labels]


def test_the_guard_lets_it_pass_and_sees_a_copy_put_into_it(letters):
    assert guard.check(letters, n_shot=5, n_query=15).clean
    images = letters.images.copy()
    images[letters.rows("test")[7]] = images[letters.rows("train")[11]]
    with pytest.raises(UserError, match="does not pass the guard"):
        guard.check(letters.with_images("copied", images, {}))


@pytest.mark.parametrize("fault", ["pixels", "a level that is none", "split", "cut short", "no file", "no json"])
def test_files_that_are_not_the_recorded_ones_are_refused(fault, letters, tmp_path, monkeypatch):
    folder = shutil.copytree(characters.FOLDER, tmp_path / "embedded")
    array, text = folder / "omniglot-300.npz", folder / "omniglot-300.json"
    if fault == "pixels":
        levels = np.load(array)["levels"].copy()
        levels[0, 0] = 0
        np.savez_compressed(array, levels=levels)
    elif fault == "a level that is none":
        np.savez_compressed(array, levels=np.full((6000, 784), 3, np.uint8))
    elif fault == "split":
        about = json.loads(text.read_text("utf-8"))
        text.write_text(json.dumps(about | {"split_hash": "0" * 64}), "utf-8")
    elif fault == "cut short":
        array.write_bytes(array.read_bytes()[:90_000])
    elif fault == "no file":
        array.unlink()
    else:
        text.write_text("{", "utf-8")
    monkeypatch.setattr(characters, "FOLDER", folder)
    with pytest.raises(UserError, match="not those that were recorded; install anrot_lib again"):
        anrot.open_embedded()


def test_what_is_saved_is_what_is_loaded(letters, tmp_path, monkeypatch):
    characters.save_characters(letters, tmp_path)
    shipped = (characters.FOLDER / "omniglot-300.npz").read_bytes()
    assert len(shipped) == (tmp_path / "omniglot-300.npz").stat().st_size
    monkeypatch.setattr(characters, "FOLDER", tmp_path)
    assert anrot.open_embedded().sha256 == HASH


def test_the_cut_takes_the_characters_in_the_order_of_the_drawers_at_the_nearest_level(letters):
    """A whole Omniglot that has the classes in another order, two more of them, and greys."""
    order = np.random.default_rng(0).permutation(300)
    near = {24: (0, 81), 139: (82, 196), 255: (197, 255)}  # the least and the greatest grey of each level
    limits = np.array([near.get(level, (0, 0)) for level in range(256)], np.uint8)
    greys = limits[letters.images, np.arange(28)[:, None] % 2].reshape(300, 20, 28, 28, 1)[order]
    more = np.zeros((2, 20, 28, 28, 1), np.uint8)
    names = [*(letters.class_names[c] for c in order), "Greek/character01", "Greek/character02"]
    pixels, labels = np.concatenate([greys, more]).reshape(-1, 28, 28, 1), np.repeat(np.arange(302), 20)
    whole = build_image_set("omniglot", pixels, labels, names)
    cut = characters.cut_characters(whole)
    assert (cut.sha256, cut.split_hash) == (HASH, SPLIT) and np.array_equal(cut.images, letters.images)
    lacking = build_image_set("part", pixels, labels, [n.replace("Latin/character03", "Latin/x") for n in names])
    with pytest.raises(UserError, match="'part' has no class 'Latin/character03'; prepare the whole Omniglot"):
        characters.cut_characters(lacking)
    with pytest.raises(UserError, match="has 19 images, Omniglot has 20"):
        characters.cut_characters(build_image_set("few", pixels[1:], labels[1:], names))
    with pytest.raises(UserError, match="prepare Omniglot with --size 28"):
        characters.cut_characters(build_image_set("big", pixels.repeat(2, 1).repeat(2, 2), labels, names))


@pytest.mark.realdata
def test_the_shipped_files_are_the_cut_of_the_real_set(shared_data):
    real = np.load(shared_data / "omniglot" / "omniglot_28.npz")
    names = [str(name).split("/", 1)[1] for name in real["class_names"]]
    order = np.lexsort((real["drawer"], real["labels"]))
    whole = build_image_set("omniglot", real["images"][order][..., None], real["labels"][order], names)
    cut = characters.cut_characters(whole)
    assert (cut.sha256, cut.split_hash) == (HASH, SPLIT)
    sides = {str(name).split("/")[1]: str(name).split("/")[0] for name in real["alphabet_names"]}
    counts = {name: sum(n.split("/")[0] == name for n in names) for name in sides}
    for part, alphabets in characters.ALPHABETS.items():
        side = "images_evaluation" if part == "test" else "images_background"
        assert {sides[name] for name in alphabets} == {side}
        assert part != "train" or alphabets == {name: counts[name] for name in alphabets}, "whole alphabets"
    assert set(characters.ALPHABETS["test"]) == {name for name, side in sides.items() if side == "images_evaluation"}


# --- as the images of a command ---


def test_the_names_of_embedded_sets_are_reserved(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "Omniglot 300"
    folder.mkdir()
    for name in EMBEDDED:
        with pytest.raises(UserError, match="embedded set; give this one another name"):
            prepare_small(folder, name)
    assert not (tmp_path / "home" / "packed").exists()


def prepare_small(folder, name):
    from PIL import Image

    for k in range(30):
        (folder / f"{k // 3:02d}").mkdir(exist_ok=True)
        noise = np.random.default_rng(k).integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{k // 3:02d}" / f"{k}.png")
    return prepare(folder, name=name, size=8, split="random")


def test_a_size_that_the_characters_do_not_have_is_refused(letters, tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    assert open_images("omniglot-300", preset("smoke", size=28)).sha256 == HASH
    with pytest.raises(UserError, match="'omniglot-300' holds images of 28 px, the run wants 32; leave out --size"):
        open_images("omniglot-300", SMOKE)
    other = replace(letters, name="other", images=letters.images[:, :12, :12])
    image_sets.save(replace(other, sha256=compute_hash(other.images, other.labels, other.class_names)), tmp_path / "o")
    shutil.copytree(tmp_path / "o", paths.packed_dir() / "omniglot-300")
    assert open_images("omniglot-300", preset("smoke", size=28)).sha256 == HASH, "a folder never takes its place"


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="is named 'omniglot'; choose omniglot-300 or synthetic"):
        anrot.open_embedded("omniglot")
    assert anrot.open_embedded("synthetic").images.shape == (6000, 32, 32, 3)
