import csv
import io
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from anrot_lib.core import paths, torchvision_compat
from anrot_lib.core.errors import UserError
from anrot_lib.data import splits
from anrot_lib.data.readers import catalogue, items, layouts, unpickle
from anrot_lib.data.readers.decode import decode

SPLIT = {"train": ("a", "b"), "val": ("c",), "test": ("d", "e")}
NAMES = ("a", "b", "c", "d", "e")


def pixels(source):
    """(class, split, first pixels) of every image of a source, sorted."""
    return sorted((i.class_name, i.split or "", decode(source.open(i), 8).tobytes()) for i in source.items)


@pytest.mark.parametrize("layout", ["folders", "split_folders", "csv", "pickles"])
def test_every_layout_is_recognised_and_gives_the_same_images(tmp_path, disk, layout):
    images = disk.pictures(NAMES)
    if layout == "folders":
        listed = layouts.read(disk.folders(tmp_path / "x", images))
    else:
        listed = layouts.read(getattr(disk, layout)(tmp_path / "x", images, SPLIT))
    part_of = {name: part for part, names in SPLIT.items() for name in names}
    expected = sorted(
        (name, "" if layout == "folders" else part_of[name], array.tobytes())
        for name, arrays in images.items()
        for array in arrays
    )
    assert pixels(listed) == expected
    assert listed.layout == {"split_folders": "split-folders", "pickles": "pickle"}.get(layout, layout)
    assert "10 images of 5 classes" in listed.summary and "\n" not in listed.summary


@pytest.mark.parametrize("protocol", range(2, 6))
def test_pickles_of_all_protocols_are_read(tmp_path, disk, protocol):
    images = disk.pictures(NAMES)
    listed = layouts.read(disk.pickles(tmp_path / "x", images, SPLIT, protocol))
    assert {p[2] for p in pixels(listed)} == {a.tobytes() for arrays in images.values() for a in arrays}


def test_a_set_split_under_other_names_is_recognised(tmp_path, disk):
    split = {"base": ("a", "b"), "validation": ("c",), "novel": ("d", "e")}
    listed = layouts.read(disk.split_folders(tmp_path / "x", disk.pictures(NAMES), split))
    assert {(i.class_name, i.split) for i in listed.items} == {
        (name, part) for part, names in SPLIT.items() for name in names
    }


def test_a_class_may_be_called_train(tmp_path, disk):
    listed = layouts.read(disk.folders(tmp_path / "x", disk.pictures(("bus", "train", "tram"))))
    assert listed.layout == "folders" and listed.class_names == ("bus", "train", "tram")


def test_an_archive_in_a_folder_of_its_own_is_entered(tmp_path, disk):
    disk.folders(tmp_path / "x" / "photos" / "all", disk.pictures(NAMES))
    assert layouts.read(tmp_path / "x").class_names == NAMES


def test_groups_of_classes_become_a_level(tmp_path, disk):
    disk.folders(tmp_path / "x", disk.pictures(("fish/ray", "fish/shark", "tree/oak", "tree/elm")))
    listed = layouts.read(tmp_path / "x")
    assert listed.class_names == ("fish/ray", "fish/shark", "tree/elm", "tree/oak")
    assert listed.level_names == ("group",)
    assert {i.levels[0] for i in listed.items if i.class_name == "tree/oak"} == {"tree"}


def test_a_folder_images_in_a_class_folder_is_not_part_of_its_name(tmp_path, disk):
    disk.folders(tmp_path / "x", disk.pictures(("n1/images", "n2/images")))
    assert layouts.read(tmp_path / "x").class_names == ("n1", "n2")


def test_other_files_are_passed_over_and_counted(shop):
    for name in ("Thumbs.db", ".DS_Store", "README.txt"):
        (shop / "mango" / name).write_bytes(b"text")
    (shop / "notes.txt").write_text("mine")
    (shop / "__MACOSX").mkdir()
    (shop / "__MACOSX" / "000.png").write_bytes(b"text")
    listed = layouts.read(shop)
    assert sorted(listed.ignored) == ["mango/.DS_Store", "mango/README.txt", "mango/Thumbs.db", "notes.txt"]
    assert len(listed.items) == 20 and "4 files that are no images" in listed.summary


def test_names_with_spaces_and_accents_are_composed(tmp_path, disk):
    disk.folders(tmp_path / "x", disk.pictures(("cafe\u0301 noir", "thé", "水")))
    assert layouts.read(tmp_path / "x").class_names == ("café noir", "thé", "水")


def test_one_csv_with_a_split_column(tmp_path, disk):
    disk.folders(tmp_path, disk.pictures(("x", "y", "z")))
    rows = [
        (f"{name}/{i:03d}.png", f"class {name}", part)
        for name, part in (("x", "train"), ("y", "val"), ("z", "test"))
        for i in range(2)
    ]
    with open(tmp_path / "list.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("filename", "label", "split"), *rows])
    listed = layouts.read(tmp_path)
    assert listed.layout == "csv"
    assert [(i.class_name, i.split) for i in listed.items][::2] == [
        ("class x", "train"), ("class y", "val"), ("class z", "test")
    ]  # fmt: skip


def test_one_csv_without_a_split(tmp_path, disk):
    disk.folders(tmp_path, disk.pictures(("x",)))
    (tmp_path / "labels.csv").write_text("filename,label\nx/000.png,one\nx/001.png,two\n")
    assert [(i.class_name, i.split) for i in layouts.read(tmp_path).items] == [("one", None), ("two", None)]


def test_a_csv_about_something_else_is_not_taken_for_a_list(shop):
    (shop / "prices.csv").write_text("fruit,price\nkaki,2\n")
    assert layouts.read(shop).layout == "folders"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filename,label\n", "lists no image"),
        ("filename,kind\nx/000.png,1\n", "no column 'label'"),
        ("filename,label\nx/000.png,\n", "line 2: the filename or the label is empty"),
        ("filename,label,split\nx/000.png,1,shelf\n", "line 2: unknown split 'shelf'"),
        ("filename,label\nx/000.png,1\nx/000.png,2\n", "listed twice, as '1' and '2'"),
    ],
)
def test_a_wrong_csv_is_refused_with_the_line(tmp_path, disk, text, said):
    disk.folders(tmp_path, disk.pictures(("x",)))
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        layouts.read(tmp_path, "csv")


def test_files_a_csv_names_outside_of_its_folder_are_not_read(tmp_path, disk):
    disk.folders(tmp_path, disk.pictures(("secret",)))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.csv").write_text("filename,label\n../secret/000.png,1\n")
    assert "outside" in layouts.read(folder).items[0].problem


CIFAR = ["bear", "bee", "crab", "rose"]
COARSE = {"bear": "mammals", "bee": "insects", "crab": "sea", "rose": "flowers"}


@pytest.mark.parametrize("point_to_parent", [True, False])
def test_cifar100_python_gives_fine_classes_and_the_superclass_level(tmp_path, disk, point_to_parent):
    where = disk.cifar(tmp_path, CIFAR, COARSE, per_class=4)
    listed = layouts.read(where.parent if point_to_parent else where)
    assert listed.layout == "cifar100" and listed.class_names == tuple(CIFAR)
    assert {(i.class_name, i.levels[0]) for i in listed.items} == set(COARSE.items())
    assert len({i.file for i in listed.items}) == len(listed.items) == 16
    original = disk.pictures(CIFAR, 2, 32, 0)["bee"][1]
    bee = [i for i in listed.items if i.class_name == "bee"][1]
    assert np.array_equal(decode(listed.open(bee), 32), original)


def test_omniglot_has_alphabets_one_channel_and_rotations_if_asked(tmp_path, disk):
    grey = np.zeros((8, 8), np.uint8)
    grey[0] = 255
    for side, character in (("images_background", "Greek/character01"), ("images_evaluation", "Oriya/character02")):
        folder = tmp_path / side / character
        folder.mkdir(parents=True)
        for i in range(2):
            Image.fromarray(grey).convert("1").save(folder / f"{i}.png")
    listed = layouts.read(tmp_path)
    assert listed.class_names == ("Greek/character01", "Oriya/character02")
    assert listed.channels == 1 and listed.level_names == ("alphabet",)
    turned = items.add_rotations(listed)
    assert len(turned.class_names) == 8 and len(turned.items) == 16
    by_turn = {i.turn: decode(turned.open(i), 8, 1, i.turn)[..., 0] for i in turned.items}
    assert np.array_equal(by_turn[0], grey)
    assert by_turn[90][:, 0].all() and by_turn[180][-1].all() and by_turn[270][:, -1].all()


@pytest.mark.parametrize("point_to_images", [True, False])
def test_cub_is_read_from_its_root_or_its_images(tmp_path, disk, point_to_images):
    root = tmp_path / "CUB_200_2011"
    disk.folders(root / "images", disk.pictures(("001.Black_footed_Albatross", "002.Laysan_Albatross")))
    (root / "classes.txt").write_text("1 001.Black_footed_Albatross\n")
    listed = layouts.read(root / "images" if point_to_images else tmp_path)
    assert listed.class_names == ("001.Black_footed_Albatross", "002.Laysan_Albatross")


@pytest.mark.parametrize("kind", ["npz", "npz compressed", "png"])
def test_tiered_archives_are_read_row_by_row(tmp_path, disk, kind):
    images = disk.pictures(("dog", "cat"), 3)
    rows = np.stack([*images["dog"], *images["cat"]])
    labels = {"label_specific": np.repeat([0, 1], 3), "label_general": np.zeros(6, int)}
    labels |= {"label_specific_str": ["dog", "cat"], "label_general_str": ["pet"]}
    (tmp_path / "test_labels.pkl").write_bytes(pickle.dumps(labels))
    if kind == "png":
        encoded = [np.frombuffer(png(row), np.uint8) for row in rows]
        (tmp_path / "test_images_png.pkl").write_bytes(pickle.dumps(encoded))
    else:
        (np.savez if kind == "npz" else np.savez_compressed)(tmp_path / "test_images.npz", images=rows)
    listed = layouts.read(tmp_path)
    assert listed.layout == "tiered" and listed.level_names == ("general",)
    for item in (*listed.items, listed.items[4], listed.items[1], listed.items[3]):  # back and forth
        assert np.array_equal(decode(listed.open(item), 8), rows[item.row])
        assert (item.class_name, item.levels, item.split) == ("dog" if item.row < 3 else "cat", ("pet",), "test")


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def test_only_the_newest_pickle_is_kept_in_memory(tmp_path, disk):
    listed = layouts.read(disk.pickles(tmp_path / "x", disk.pictures(NAMES), SPLIT))
    for item in listed.items:
        listed.open(item)
    assert listed.open.path.name == "mini-imagenet-cache-test.pkl" and len(listed.open.rows) == 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"image_data": np.zeros((2, 8, 8, 3), np.float32), "class_dict": {"a": [0, 1]}}, "uint8"),
        ({"image_data": np.zeros((2, 8, 8, 5), np.uint8), "class_dict": {"a": [0, 1]}}, "uint8"),
        ({"image_data": np.zeros((2, 8, 8, 3), np.uint8), "class_dict": {"a": [0, 2]}}, "from 0 to 1"),
        ({"image_data": np.zeros((2, 8, 8, 3), np.uint8), "class_dict": {"a": [0], "b": [0]}}, "'a' and 'b'"),
        ({"image_data": np.zeros((2, 8, 8, 3), np.uint8)}, "class_dict"),
        ([1, 2], "not a dict"),
    ],
)
def test_a_pickle_with_other_content_is_refused(tmp_path, content, said):
    (tmp_path / "mini-imagenet-cache-train.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=said):
        layouts.read(tmp_path)


def test_channels_first_pickles_are_turned(tmp_path, disk):
    rows = np.stack(disk.pictures("a", 2)["a"])
    content = {"image_data": rows.transpose(0, 3, 1, 2), "class_dict": {"a": [0, 1]}}
    (tmp_path / "mini-imagenet-cache-train.pkl").write_bytes(pickle.dumps(content))
    listed = layouts.read(tmp_path)
    assert np.array_equal(decode(listed.open(listed.items[1]), 8), rows[1])


class Runs:
    """A pickle that would create a file when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_tries_to_run_code_is_refused_by_name(tmp_path, protocol):
    trace = tmp_path / "trace"
    content = {"image_data": Runs(trace), "class_dict": {}}
    (tmp_path / "mini-imagenet-cache-train.pkl").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(UserError, match=r"(io|__builtin__|builtins)\.open") as caught:
        layouts.read(tmp_path)
    assert not trace.exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n(S'x'\ntR.",
        b"cnumpy\nndarray.tofile\n.",
        b"c_codecs\ndecode\n(S'x'\nS'zlib'\ntR.",
        b"cfunctools\npartial\n.",
    ],
)
def test_every_global_that_is_not_on_the_list_is_refused(tmp_path, program):
    (tmp_path / "x.pkl").write_bytes(program)
    with pytest.raises(UserError, match="only numpy arrays and plain containers"):
        unpickle.read(tmp_path / "x.pkl")


def test_encode_only_spells_bytes_and_object_arrays_are_refused(tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"c_codecs\nencode\n(Vx\nVrot13\ntR.")
    with pytest.raises(UserError, match="rot13"):
        unpickle.read(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(np.array([{}], dtype=object)))
    with pytest.raises(UserError, match="Python objects"):
        unpickle.read(tmp_path / "x.pkl")


@pytest.mark.parametrize("data", [b"", b"\x80", b"text, not a pickle", pickle.dumps(list(range(99)))[:-20]])
def test_a_damaged_pickle_is_one_sentence(tmp_path, data):
    (tmp_path / "x.pkl").write_bytes(data)
    with pytest.raises(UserError, match="whole pickle"):
        unpickle.read(tmp_path / "x.pkl")


def test_plain_content_and_both_homes_of_numpy_are_read(tmp_path):
    value = {b"a": [1, 2.5, None, "x", (True,)], "b": {1, 2}, "c": np.float64(2), "d": np.arange(6).reshape(2, 3)}
    text = pickle.dumps(value, 2)
    for old, new in ((b"numpy._core", b"numpy._core"), (b"numpy._core", b"numpy.core")):
        (tmp_path / "x.pkl").write_bytes(text.replace(old, new))
        again = unpickle.read(tmp_path / "x.pkl")
        assert again[b"a"] == value[b"a"] and again["b"] == value["b"] and again["c"] == 2
        assert np.array_equal(again["d"], value["d"])


@pytest.mark.parametrize("archive", ["set.zip", "set.tar.gz"])
def test_a_file_is_not_a_folder(tmp_path, archive):
    (tmp_path / archive).write_bytes(b"x")
    with pytest.raises(UserError, match="unpack it first"):
        layouts.read(tmp_path / archive)


def test_layouts_that_do_not_fit_are_refused(shop):
    with pytest.raises(UserError, match="unknown layout 'zip'"):
        layouts.read(shop, "zip")
    for layout in ("cifar100", "pickle", "tiered", "omniglot", "split-folders", "csv"):
        with pytest.raises(UserError, match="shop"):
            layouts.read(shop, layout)


def test_a_packed_set_is_recognised(tmp_path):
    for name in ("set.json", "images.npy"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match="packed image set already"):
        layouts.read(tmp_path)


def test_fingerprint_changes_with_the_files(shop):
    first = layouts.read(shop).fingerprint()
    assert layouts.read(shop).fingerprint() == first
    (shop / "kaki" / "000.png").write_bytes((shop / "kaki" / "001.png").read_bytes())
    edited = layouts.read(shop).fingerprint()
    (shop / "kaki" / "000.png").rename(shop / "kaki" / "new.png")
    assert len({first, edited, layouts.read(shop).fingerprint()}) == 3


def test_linked_folders_are_read_once(shop):
    (shop / "kaki" / "again").symlink_to(shop, target_is_directory=True)
    assert len(layouts.read(shop).items) == 20


def test_every_published_split_has_a_known_set():
    for name in splits.NAMES:
        known = catalogue.describe_known(name, 1)
        assert known["licence"] and known["url"].startswith("https://") and "not comparable" in known["note"]
    assert "note" not in catalogue.describe_known("omniglot", 32_460)
    assert catalogue.describe_known("random", 5) == {}


def fake_torchvision(monkeypatch, fetch):
    datasets = SimpleNamespace(CIFAR100=fetch, Omniglot=fetch)
    monkeypatch.setattr(torchvision_compat, "load_torchvision", lambda: SimpleNamespace(datasets=datasets))


def test_downloads_go_to_the_raw_folder_and_only_when_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    calls = []
    fake_torchvision(monkeypatch, lambda root, **options: calls.append((root, options)))
    assert catalogue.download("cifar100") == paths.raw_dir() / "cifar-100-python"
    assert catalogue.download("omniglot") == paths.raw_dir() / "omniglot-py"
    raw = str(paths.raw_dir())
    assert calls == [
        (raw, {"download": True}),
        (raw, {"background": True, "download": True}),
        (raw, {"background": False, "download": True}),
    ]


@pytest.mark.parametrize(
    "error", [OSError("no route to host"), ConnectionResetError("reset"), RuntimeError("File not found or corrupted.")]
)
def test_no_network_is_one_sentence(tmp_path, monkeypatch, error):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))

    def fail(*_, **__):
        raise error

    fake_torchvision(monkeypatch, fail)
    with pytest.raises(UserError, match="could not be downloaded"):
        catalogue.download("cifar100")
    with pytest.raises(UserError, match="only cifar100, omniglot"):
        catalogue.download("imagenet")


def test_reading_does_not_import_torchvision(shop):
    before = "torchvision" in sys.modules
    layouts.read(shop)
    assert ("torchvision" in sys.modules) == before
