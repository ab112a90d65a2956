import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.data import image_set, packed, splits
from anrot_lib.data.leakage import guard
from anrot_lib.data.preparation import packing
from anrot_lib.data.preparation.perturbed import perturb
from anrot_lib.data.preparation.prepare import prepare
from anrot_lib.data.readers.decode import decode

NAMES = ("ananas", "Grüne Birne", "kaki", "mango", "quitte")


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_users_folder_is_packed_split_and_described(tmp_path, shop, disk):
    packed_set = prepare(shop, size=8, seed=3, out=tmp_path / "out")
    assert packed_set.class_names == tuple(sorted(NAMES))
    assert packed_set.images.shape == (20, 8, 8, 3) and isinstance(packed_set.images, np.memmap)
    originals = disk.pictures(NAMES, 4)
    for image, label, file in zip(packed_set.images, packed_set.labels, packed_set.files, strict=True):
        name = packed_set.class_names[label]
        assert file.startswith(f"{name}/") and np.array_equal(image, originals[name][int(file[-7:-4])])
    assert packed_set.split_names == splits.draw_split(NAMES, 3)
    provenance = packed_set.provenance
    assert provenance["split"]["name"] == "random" and provenance["split"]["seed"] == 3
    assert provenance["source"] == "shop" and str(tmp_path) not in json.dumps(provenance)
    assert files_of(tmp_path / "out").keys() == {"images.npy", "set.json"}
    assert {p.name for p in tmp_path.iterdir()} == {"shop", "out"}
    assert packed_set.sha256 == packed.compute_hash(packed_set.images, packed_set.labels, packed_set.class_names)


def test_name_and_place_come_from_the_folder_unless_given(tmp_path, shop, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    assert prepare(shop, size=8).name == "shop"
    assert (paths.packed_dir() / "shop" / "set.json").is_file()
    assert prepare(shop, name="My Fruit (2)", size=8).name == "my-fruit-2"
    assert (paths.packed_dir() / "my-fruit-2" / "set.json").is_file()
    with pytest.raises(UserError, match="cannot be the name"):
        prepare(shop, name="../..", size=8)


def test_another_sources_set_and_other_files_are_not_overwritten(tmp_path, shop, disk):
    prepare(shop, size=8, out=tmp_path / "out")
    before = files_of(tmp_path / "out")
    other = disk.folders(tmp_path / "other", disk.pictures(NAMES, seed=1))
    with pytest.raises(UserError, match="another source"):
        prepare(other, size=8, out=tmp_path / "out")
    with pytest.raises(UserError, match="holds other files"):
        prepare(shop, size=8, out=other)
    assert files_of(tmp_path / "out") == before
    assert len(prepare(shop, size=10, out=tmp_path / "out").images[0]) == 10  # the same source may be packed anew


@pytest.mark.parametrize("size", [8, 12])
def test_one_hash_for_every_layout(tmp_path, disk, size):
    """mini-ImageNet's class names, noise images: folders, split folders, csv and pickles agree."""
    standard = splits.load_standard("mini-imagenet")
    images = disk.pictures([name for part in standard.values() for name in part])
    sources = [disk.folders(tmp_path / "folders", images)]
    for layout in ("split_folders", "csv", "pickles"):
        sources.append(getattr(disk, layout)(tmp_path / layout, images, standard))
    sets = [prepare(s, size=size, out=tmp_path / f"{s.name}.out", on_duplicates="report") for s in sources]
    assert len({s.sha256 for s in sets}) == 1
    assert {s.split_hash for s in sets} == {splits.split_hash(standard)}
    assert {s.provenance["split"]["name"] for s in sets} == {"mini-imagenet"}
    assert all(s.provenance["licence"].startswith("ImageNet") for s in sets)
    altered = images | {"n01532829": [255 - images["n01532829"][0], images["n01532829"][1]]}
    source = disk.folders(tmp_path / "altered", altered)
    other = prepare(source, size=size, on_duplicates="report", out=tmp_path / "altered.out")
    assert other.sha256 != sets[0].sha256


def cifar_source(disk, tmp_path):
    names = sorted(splits.load_groups("cifar-fs"))
    return disk.cifar(tmp_path, names, splits.load_groups("cifar-fs"))


def test_cifar100_is_split_as_cifar_fs_or_fc100(tmp_path, disk):
    source = cifar_source(disk, tmp_path)
    options = {"size": 8, "on_duplicates": "report"}
    fs = prepare(source, out=tmp_path / "fs", **options)
    assert fs.split_hash == splits.split_hash(splits.load_standard("cifar-fs"))
    assert "also fit fc100" in fs.provenance["split"]["said"]
    fc = prepare(source, split="fc100", out=tmp_path / "fc", **options)
    assert fc.split_hash == splits.split_hash(splits.load_standard("fc100")) != fs.split_hash
    superclass = {
        fc.class_names[label]: fc.level_names["superclass"][level]
        for label, level in zip(fc.labels, fc.levels["superclass"], strict=True)
    }
    assert superclass == splits.load_groups("cifar-fs")
    with pytest.raises(UserError, match="does not fit the split"):
        prepare(source, split="mini-imagenet", out=tmp_path / "no", **options)


def test_cifar100_as_folders_gets_its_superclasses_too(tmp_path, disk):
    source = disk.folders(tmp_path / "x", disk.pictures(splits.load_groups("cifar-fs")))
    ready = prepare(source, size=8, out=tmp_path / "out", on_duplicates="report")
    assert len(ready.level_names["superclass"]) == 20


def test_a_stored_split_that_is_not_a_published_one_is_kept(tmp_path, disk):
    split = {"train": ("a", "b"), "val": ("c",), "test": ("d",)}
    source = disk.split_folders(tmp_path / "x", disk.pictures("abcd"), split)
    ready = prepare(source, size=8, out=tmp_path / "out")
    assert ready.split_names == split and ready.provenance["split"]["name"] == "folders"
    with pytest.raises(
        UserError, match=r"exists with another split \(\d classes, such as .* choose another --name, or --replace"
    ):
        prepare(source, size=8, split="random", seed=1, out=tmp_path / "out")
    drawn = prepare(source, size=8, split="random", seed=1, out=tmp_path / "out", replace_split=True)
    assert drawn.split_names == splits.draw_split("abcd", 1)


def test_a_class_in_two_split_folders_is_refused_and_can_be_pooled(tmp_path, disk):
    images = disk.pictures("abcd")
    split = {"train": tuple("abcd"), "test": tuple("abcd")}
    source = disk.split_folders(tmp_path / "x", images, split)
    for name, arrays in disk.pictures("abcd", seed=1).items():
        for i, array in enumerate(arrays):
            Image.fromarray(array).save(source / "test" / name / f"{i:03d}.png")
    for choice in ("auto", "folders"):
        with pytest.raises(UserError, match="share 4 classes"):
            prepare(source, size=8, split=choice, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    pooled = prepare(source, size=8, split="random", out=tmp_path / "out")
    assert len(pooled) == 16 and len(set(pooled.files)) == 16


def test_unequal_classes_and_sizes_are_fine(tmp_path):
    noise = np.random.default_rng(0)
    for c, n in enumerate((2, 3, 7, 4)):
        (tmp_path / "x" / f"class {c}").mkdir(parents=True)
        for i in range(n):
            array = noise.integers(0, 256, (9 + 5 * i, 30 - 2 * i, 3), dtype=np.uint8)
            Image.fromarray(array).save(tmp_path / "x" / f"class {c}" / f"{i}.png")
    ready = prepare(tmp_path / "x", size=16, out=tmp_path / "out")
    assert np.bincount(ready.labels).tolist() == [2, 3, 7, 4]


def test_omniglot_rotations_stay_in_the_split_of_their_character(tmp_path):
    noise = np.random.default_rng(0)
    for c in range(4):
        folder = tmp_path / "x" / "images_background" / "Greek" / f"character{c:02d}"
        folder.mkdir(parents=True)
        for i in range(2):
            Image.fromarray(noise.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{i}.png")
    ready = prepare(tmp_path / "x", size=8, rotations=True, out=tmp_path / "out")
    assert ready.images.shape == (32, 8, 8, 1) and len(ready.class_names) == 16
    part_of = {name: part for part, names in ready.split_names.items() for name in names}
    assert len(part_of) == 16
    assert all(part_of[name] == part_of[name.split("@")[0]] for name in part_of)
    row = {name: np.flatnonzero(ready.labels == c)[0] for c, name in enumerate(ready.class_names)}
    upright, turned = (ready.images[row[f"Greek/character02{t}"]] for t in ("", "@90"))
    assert np.array_equal(turned, np.rot90(upright))


def test_progress_tells_images_done_and_seconds_left(tmp_path, shop, monkeypatch):
    monkeypatch.setattr(packing, "BLOCK_IMAGES", 6)
    said = []
    prepare(shop, size=8, out=tmp_path / "out", progress=lambda *values: said.append(values))
    assert [(done, total) for done, total, _ in said] == [(6, 20), (12, 20), (18, 20), (20, 20)]
    assert said[-1][2] == 0 and all(left >= 0 for _, _, left in said)


def test_the_same_command_again_returns_at_once(tmp_path, shop):
    first = prepare(shop, size=8, out=tmp_path / "out")
    said = []
    again = prepare(shop, size=8, out=tmp_path / "out", progress=lambda *v: said.append(v))
    assert again.sha256 == first.sha256 and said == []
    prepare(shop, size=9, out=tmp_path / "out", progress=lambda *v: said.append(v))
    assert said


def test_a_packed_file_cut_short_is_packed_anew(tmp_path, shop):
    first = prepare(shop, size=8, out=tmp_path / "out")
    path = tmp_path / "out" / "images.npy"
    os.truncate(path, path.stat().st_size - 5)
    with pytest.raises(UserError, match="bytes instead of"):
        image_set.load(tmp_path / "out")
    assert prepare(shop, size=8, out=tmp_path / "out").sha256 == first.sha256


def test_the_size_rule(monkeypatch):
    array = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    assert np.array_equal(decode(array[:, :40], 40), array[:, :40])  # as it is: not a pixel changes
    assert np.array_equal(decode(array, 40), array[:, 12:52])  # the centre, when the short side fits
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (40, 1, 3))
    small = decode(smooth, 10)[..., 0].astype(float)
    expected = smooth[:, 12:52, 0].reshape(10, 4, 10, 4).mean((1, 3))  # area means of a ramp
    assert np.abs(small - expected).max() < 1.5
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(decode(stripes, 16)[2:-2, 2:-2]) < 40  # antialiased: no moire
    assert decode(array, 100).shape == (100, 100, 3) and decode(array, 8, 1).shape == (8, 8, 1)


KILLED = """
import os, signal, sys
from anrot_lib.data.preparation import packing, prepare
packing.BLOCK_IMAGES = 3
write = packing.write
def dying(file, pixels):
    write(file, pixels[:1] if dying.blocks == 4 else pixels)
    if dying.blocks == 4:                       # in the middle of the fifth block
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    dying.blocks += 1
dying.blocks = 0
packing.write = dying
prepare.prepare(sys.argv[1], name="shop", size=8, out=sys.argv[2], on_bad="quarantine")
"""


def killed(source, out):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", KILLED, source, out], env=environment, capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()


def resume(source, out, monkeypatch):
    """Prepare; return the numbers of images after every block."""
    monkeypatch.setattr(packing, "BLOCK_IMAGES", 3)
    done = []
    prepare(source, name="shop", size=8, out=out, on_bad="quarantine", progress=lambda n, *_: done.append(n))
    return done


@pytest.fixture(scope="module")
def grave(tmp_path_factory, disk):
    """A shop with a bad file, and what a kill -9 in its fifth block leaves behind."""
    grave = tmp_path_factory.mktemp("grave")
    shop = disk.folders(grave / "shop", disk.pictures(NAMES, 4))
    (shop / "kaki" / "0.jpg").write_bytes(b"no image")
    killed(shop, grave / "out")
    assert not (grave / "out").exists()
    written = packed.HEADER_BYTES + (11 + 1) * 8 * 8 * 3  # four blocks, less the bad file, and a torn one
    assert (grave / ".out.packing" / "images.part").stat().st_size == written
    return grave


@pytest.fixture
def dead(tmp_path, grave):
    """The shop after the kill, in tmp_path; the copy keeps the files' times."""
    shutil.copytree(grave, tmp_path, dirs_exist_ok=True)
    return tmp_path / "shop"


def test_a_killed_packing_goes_on_and_ends_in_the_same_bytes(tmp_path, dead, monkeypatch):
    done = resume(dead, tmp_path / "out", monkeypatch)
    assert done == [15, 18, 21]
    assert resume(dead, tmp_path / "unbroken", monkeypatch)[0] == 3
    assert files_of(tmp_path / "out") == files_of(tmp_path / "unbroken")
    assert files_of(tmp_path / "out").keys() == {"images.npy", "set.json", "quarantine.csv"}
    assert not (tmp_path / ".out.packing").exists()


@pytest.mark.parametrize("what", ["source", "journal", "images", "torn line"])
def test_a_killed_packing_starts_over_when_it_no_longer_fits(tmp_path, dead, monkeypatch, what):
    work = tmp_path / ".out.packing"
    first = 3
    if what == "source":
        Image.new("RGB", (8, 8)).save(dead / "mango" / "000.png")
    elif what == "journal":
        (work / "journal.jsonl").write_text("nonsense\n")
    elif what == "images":
        os.truncate(work / "images.part", packed.HEADER_BYTES + 7 * 192)  # two blocks and a piece
        first = 9
    else:
        lines = (work / "journal.jsonl").read_text()
        (work / "journal.jsonl").write_text(lines[:-9])
        first = 12
    assert resume(dead, tmp_path / "out", monkeypatch)[0] == first
    resume(dead, tmp_path / "unbroken", monkeypatch)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "unbroken")


def test_two_processes_do_not_pack_the_same_set_at_once(tmp_path, shop):
    said = []

    def second(*_):
        if not said:
            with pytest.raises(UserError, match="another process"):
                prepare(shop, size=8, out=tmp_path / "out")
            said.append(True)

    prepare(shop, size=8, out=tmp_path / "out", progress=second)
    assert said


def full_disk(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("where", ["images", "before", "description"])
def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path, shop, monkeypatch, where):
    first = prepare(shop, size=8, out=tmp_path / "out")
    before, shop_before = files_of(tmp_path / "out"), sorted(shop.rglob("*"))
    with monkeypatch.context() as patch:
        if where == "images":
            patch.setattr(packing, "write", full_disk)
        elif where == "description":
            patch.setattr(packed, "write_description", full_disk)
        else:
            patch.setattr(packing.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
        for out in (tmp_path / "out", tmp_path / "new"):
            with pytest.raises(UserError, match="the disk is full") as caught:
                prepare(shop, size=16, out=out)
            assert "\n" not in str(caught.value)
    assert files_of(tmp_path / "out") == before and sorted(shop.rglob("*")) == shop_before
    assert image_set.load(tmp_path / "out", verify=True).sha256 == first.sha256
    assert not (tmp_path / "new").exists()
    if where != "before":
        assert {p.name for p in tmp_path.iterdir()} == {"shop", "out"}
    assert prepare(shop, size=16, out=tmp_path / "new").images.shape == (20, 16, 16, 3)


def test_a_disk_that_is_full_for_a_perturbed_copy_loses_nothing(tmp_path, shop, monkeypatch):
    clean = prepare(shop, size=8, out=tmp_path / "out")
    before = files_of(tmp_path / "out")
    monkeypatch.setattr(packed, "write_description", full_disk)
    with pytest.raises(UserError, match="the disk is full"):
        perturb(clean, "dark", lambda x: 0.5 * x, parameters={"factor": 0.5}, seed=0, out=tmp_path / "copy")
    assert files_of(tmp_path / "out") == before and {p.name for p in tmp_path.iterdir()} == {"shop", "out"}


def test_a_real_limit_on_file_size_ends_like_a_full_disk(tmp_path, shop):
    """The operating system itself refuses the write, in the middle of images.part."""
    program = (
        "import resource, sys\nfrom anrot_lib.core.errors import UserError\n"
        "from anrot_lib.data.preparation.prepare import prepare\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try:\n    prepare(sys.argv[1], size=16, out=sys.argv[2])\n"
        "except UserError as error:\n    sys.exit(f'UserError: {error}')\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", program, shop, tmp_path / "out"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.stderr.startswith("UserError: the disk is full"), run.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"shop"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, shop):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot be written"):
        prepare(shop, size=8, out=tmp_path / "closed" / "out")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 4}, "size"),
        ({"size": 32.0}, "size"),
        ({"channels": 2}, "channels"),
        ({"on_bad": "ignore"}, "--on-bad"),
        ({"on_duplicates": "drop"}, "--on-duplicates"),
        ({"split": "half"}, "unknown split"),
        ({"split": "folders"}, "not split"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(tmp_path, shop, options, said):
    with pytest.raises(UserError, match=said):
        prepare(shop, out=tmp_path / "out", **options)
    assert {p.name for p in tmp_path.iterdir()} == {"shop"}


def with_copies(tmp_path, disk):
    """A split set in which one test image is in train too, and one train image twice in train."""
    images = disk.pictures("abcde", 4, size=16)
    images["d"][1] = images["a"][0].copy()
    images["b"][2] = images["b"][0].copy()
    split = {"train": ("a", "b"), "val": ("c",), "test": ("d", "e")}
    return disk.split_folders(tmp_path / "x", images, split)


def test_a_copy_across_splits_is_an_error_that_names_both(tmp_path, disk):
    with pytest.raises(UserError, match=r"train/a/000\.png \(train\) and test/d/001\.png \(test\)"):
        prepare(with_copies(tmp_path, disk), size=16, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_alike_pictures_are_counted_once_and_not_called_copies(tmp_path):
    """X-ray-like pictures, all alike: dozens of pairs, but no more images than there are."""
    chance = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] / 16 - 1
    body = 140 * np.exp(-3 * (x**2 + 0.6 * y**2)) + 40 * np.cos(9 * y) * np.exp(-4 * x**2) + 30
    for name in "abcdef":
        (tmp_path / "x" / name).mkdir(parents=True)
        for i in range(4):
            pixels = np.clip(body * chance.uniform(0.95, 1.05) + chance.normal(0, 1, (32, 32)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "x" / name / f"{i}.png")
    with pytest.raises(UserError) as caught:
        prepare(tmp_path / "x", size=32, out=tmp_path / "out")
    alike = re.match(
        r"(\d+) of 24 images are alike \(not the same pixels\), and perhaps copies of images", str(caught.value)
    )
    assert alike and 2 <= int(alike[1]) <= 24 and "--on-duplicates" in str(caught.value)
    assert "have copies" not in str(caught.value)


def test_a_copy_can_be_quarantined_which_leaves_the_test_set_whole(tmp_path, disk, monkeypatch):
    source = with_copies(tmp_path, disk)
    with pytest.raises(UserError):
        prepare(source, size=16, out=tmp_path / "out")
    said = []
    monkeypatch.setattr(guard, "find_duplicates", None)  # the copies are not searched for again
    ready = prepare(
        source, size=16, out=tmp_path / "out", on_duplicates="quarantine", progress=lambda *v: said.append(v)
    )
    assert said == []  # and nothing is decoded a second time
    assert len(ready) == 19 and "train/a/000.png" not in ready.files and len(ready.rows("test")) == 8
    assert [q[0] for q in ready.provenance["quarantine"]] == ["train/a/000.png"]
    assert ready.provenance["duplicates"]["found"] == 2 and ready.provenance["duplicates"]["across_splits"] == 1
    assert "train/a/000.png,a,identical" in (tmp_path / "out" / "quarantine.csv").read_text()
    image_set.load(tmp_path / "out", verify=True)


def test_copies_found_earlier_are_forgotten_when_source_or_split_change(tmp_path, disk):
    source = with_copies(tmp_path, disk)
    with pytest.raises(UserError):
        prepare(source, size=16, out=tmp_path / "out")
    drawn = prepare(source, size=16, out=tmp_path / "out", split="random", seed=1, on_duplicates="report")
    assert drawn.provenance["duplicates"]["found"] == 2
    with pytest.raises(UserError):
        prepare(source, size=16, out=tmp_path / "out")
    Image.fromarray(disk.pictures("z", 1, 16, seed=9)["z"][0]).save(source / "test" / "d" / "001.png")
    mended = prepare(source, size=16, out=tmp_path / "out", replace_split=True)
    assert mended.provenance["duplicates"]["across_splits"] == 0


def test_copies_can_be_kept_and_reported(tmp_path, disk):
    ready = prepare(with_copies(tmp_path, disk), size=16, out=tmp_path / "out", on_duplicates="report")
    assert len(ready) == 20 and ready.provenance["quarantine"] == []
    across = [p for p in ready.provenance["duplicates"]["pairs"] if p["across_splits"]]
    assert [p["splits"] for p in across] == [["train", "test"]]


def add(amount):
    return lambda images: (images + amount).clamp(0, 1)


def test_a_perturbed_copy_keeps_labels_and_tells_its_source(tmp_path, small_set):
    said = []
    copy = perturb(
        small_set, "brighter", add(8 / 255), parameters={"amount": 8 / 255}, seed=5, eps=8 / 255, batch=100,
        out=tmp_path / "copy", progress=lambda *values: said.append(values),
    )  # fmt: skip
    assert np.array_equal(copy.images, np.minimum(small_set.images.astype(int) + 8, 255))
    assert np.array_equal(copy.labels, small_set.labels) and copy.splits == small_set.splits
    assert copy.name == f"{small_set.name}-brighter" and copy.sha256 != small_set.sha256
    assert copy.provenance["source_sha256"] == small_set.sha256
    assert copy.provenance["perturbation"] == {"kind": "brighter", "parameters": {"amount": 8 / 255}, "seed": 5}
    assert said[-1] == (600, 600) and len(said) == 6
    assert {p.name for p in tmp_path.iterdir()} == {"copy"}
    image_set.load(tmp_path / "copy", verify=True)


def test_a_copy_without_a_perturbation_has_the_hash_of_its_source(tmp_path, small_set):
    copy = perturb(small_set, "none", lambda x: x, parameters={}, seed=0, eps=0.0, out=tmp_path / "copy")
    assert copy.sha256 == small_set.sha256


def test_what_is_stored_is_rounded_and_checked_against_eps(tmp_path, small_set):
    """eps = 2.4 grey levels is stored as 2, 2.6 as 3: both within half a level; 4 levels are too far."""
    options = {"parameters": {}, "seed": 0, "out": tmp_path / "copy"}
    grey = image_set.build_image_set(
        "grey", np.full((4, 8, 8, 1), 100, np.uint8), [0, 0, 1, 1], ("a", "b"), {"train": [0], "test": [1]}
    )
    for levels, stored in ((2.4, 102), (2.6, 103)):
        copy = perturb(grey, "up", add(levels / 255), eps=levels / 255, **options)
        assert (copy.images == stored).all()
    with pytest.raises(UserError, match="more than eps"):
        perturb(grey, "up", add(4 / 255), eps=3 / 255, **options)
    assert (image_set.load(tmp_path / "copy", verify=True).images == 103).all()
    assert {p.name for p in tmp_path.iterdir()} == {"copy"}


def test_a_copy_replaces_only_an_earlier_copy_of_the_same_set(tmp_path, shop, small_set):
    options = {"parameters": {}, "seed": 0}
    ready = prepare(shop, size=8, out=tmp_path / "out")
    for place, said in ((tmp_path / "out", "another set"), (shop, "other files")):
        with pytest.raises(UserError, match=said):
            perturb(ready, "none", add(0.1), out=place, **options)
    assert image_set.load(tmp_path / "out", verify=True).sha256 == ready.sha256
    (tmp_path / ".copy.packing").mkdir()
    (tmp_path / ".copy.packing" / "images.npy").write_bytes(b"left by a killed run")
    copies = [perturb(ready, "up", add(a), out=tmp_path / "copy", **options) for a in (0.1, 0.2)]
    assert copies[0].sha256 != copies[1].sha256 == image_set.load(tmp_path / "copy").sha256
    with pytest.raises(UserError, match="another set"):
        perturb(small_set, "up", add(0.1), out=tmp_path / "copy", **options)


def test_parameters_that_cannot_be_stored_are_refused_before_the_work(tmp_path, small_set):
    calls = []
    with pytest.raises(UserError, match="numbers and texts"):
        perturb(small_set, "x", calls.append, parameters={"f": add}, seed=0, out=tmp_path / "copy")
    assert calls == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x: x + 1, r"\[0, 1\]"),
        (lambda x: x * float("nan"), r"\[0, 1\]"),
        (lambda x: x[:1], "shape"),
        (lambda x: x.long(), "float"),
    ],
)
def test_a_wrong_perturbation_is_refused(tmp_path, small_set, wrong, said):
    with pytest.raises(UserError, match=said):
        perturb(small_set, "wrong", wrong, parameters={}, seed=0, out=tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_perturbation_may_ask_for_the_labels(tmp_path, small_set):
    seen = []

    def note(images, labels):
        seen.extend(labels.tolist())
        return images

    perturb(small_set, "none", note, parameters={}, seed=0, with_labels=True, out=tmp_path / "copy", batch=64)
    assert seen == small_set.labels.tolist()


def test_a_perturbation_cannot_change_what_it_is_compared_with(tmp_path, small_set):
    with pytest.raises(UserError, match="more than eps"):
        perturb(small_set, "in place", lambda x: x.mul_(0), parameters={}, seed=0, eps=0.1, out=tmp_path / "c")
    assert torch.equal(small_set.batch([0]), small_set.batch([0]))


def export(shared_data: Path, name: str, layout: str, out: Path, per_class: int) -> Path:
    """Real images in a user's layout, written by the tool that lies beside them."""
    tool = shared_data.parent / "tools" / "export_images.py"
    command = [sys.executable, tool, name, "--layout", layout, "--out", out, "--per-class", str(per_class)]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.mark.realdata
@pytest.mark.slow
def test_mini_imagenet_has_one_hash_in_every_layout(tmp_path, shared_data):
    sets = []
    for layout in ("folders", "split-folders", "csv", "pickle"):
        source = export(shared_data, "mini_imagenet", layout, tmp_path / layout, 20)
        sets.append(prepare(source, size=84, on_duplicates="report", out=tmp_path / f"{layout}.out"))
    assert {s.images.shape for s in sets} == {(2000, 84, 84, 3)}
    assert len({s.sha256 for s in sets}) == 1
    assert {s.split_hash for s in sets} == {splits.split_hash(splits.load_standard("mini-imagenet"))}


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layout", "split", "level"),
    [
        ("cifar100", "python", "cifar-fs", "superclass"),
        ("cifar100", "folders", "cifar-fs", "superclass"),
        ("omniglot", "folders", "omniglot", "alphabet"),
        ("cub200_2010", "folders", "cub-100-50-50", None),
    ],
)
def test_real_sets_are_recognised(tmp_path, shared_data, name, layout, split, level):
    source = export(shared_data, name, layout, tmp_path / "x", 2)
    ready = prepare(source, size=32, on_duplicates="report", out=tmp_path / "out")
    assert ready.provenance["split"]["name"] == split
    assert list(ready.levels) == ([level] if level else [])


@pytest.mark.slow
def test_a_large_pickle_is_packed_in_bounded_memory(tmp_path):
    """250 MB of pixels cost their own size and little more, not several copies."""
    program = (
        "import pickle, resource, sys\nimport numpy as np\n"
        "from anrot_lib.data.preparation import packing\nfrom anrot_lib.data.readers import layouts\n"
        "from pathlib import Path\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\nsource = layouts.read(sys.argv[1])\n"
        "packing.pack(source, 84, Path(sys.argv[2]), 'key')\nprint(peak() - before)\n"
    )
    images = np.random.default_rng(0).integers(0, 256, (12_000, 84, 84, 3), dtype=np.uint8)
    for part, rows in (("train", slice(0, 11_000)), ("test", slice(11_000, None))):
        n = len(images[rows])
        with open(tmp_path / f"mini-imagenet-cache-{part}.pkl", "wb") as file:
            pickle.dump({"image_data": images[rows], "class_dict": {part: list(range(n))}}, file, 4)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", program, tmp_path, tmp_path / "work"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 1.5 * images.nbytes / 2**20 + 60
    assert (tmp_path / "work" / "images.part").stat().st_size == packed.HEADER_BYTES + images.nbytes


def test_a_perturbation_that_needs_labels_gets_those_of_its_images(tmp_path, small_set):
    copy = perturb(
        small_set, "shaded", lambda images, labels: images * 0 + labels[:, None, None, None] / 255,
        parameters={}, seed=0, with_labels=True, batch=100, out=tmp_path / "copy",
    )  # fmt: skip
    assert (copy.images == small_set.labels[:, None, None, None]).all()
