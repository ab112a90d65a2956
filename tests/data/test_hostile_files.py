"""Files from strangers: whatever is in them ends in one sentence, soon, and nothing leaves the data folder."""

import copy
import io
import json
import os
import pickle
import sys
import time

import numpy as np
import pytest
from PIL import Image

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.data import image_set, verification
from anrot_lib.data.preparation.prepare import prepare
from anrot_lib.data.readers import decode as decoding
from anrot_lib.data.readers import layouts, unpickle
from anrot_lib.data.readers.decode import BadImage, decode

WRONG = (None, True, -1, 3.5, "text", [], [[]], {}, {"a": 1}, ["x", None], 10**30, float("nan"))


def one_sentence(action, *arguments, **options):
    """Run; a UserError in one printable line is fine, and so is success; returns the message or None."""
    try:
        action(*arguments, **options)
    except UserError as error:
        assert str(error).isprintable() and len(str(error)) < 8000
        return str(error)
    return None


# --- pickles ---


def nested(levels: int, doubled: bool = False) -> bytes:
    """A tuple in a tuple in a tuple ...; doubled: each holds the one before twice."""
    if doubled:
        return b"\x80\x04)" + b"".join(b"\x94h%c\x86" % k for k in range(levels)) + b"."
    return b"\x80\x04)" + b"\x85" * levels + b"."


HOSTILE = {
    "two million levels": (lambda: nested(2_000_000), "more than 64 levels"),
    "45 doubled tuples": (lambda: nested(45, doubled=True), "more than"),
    "a key of doubled tuples": (lambda: b"\x80\x04}" + nested(45, True)[2:-1] + b"K\x01s.", "more than"),
    "lists": (lambda: b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".", "more than 64 levels"),
    "a list in itself": (lambda: b"\x80\x04]\x94h\x00a.", "holds itself|levels"),
    "an endless stack": (lambda: b"\x80\x04" + b"0" * 5, "not a whole pickle"),
    "ten gigabytes of zeros": (lambda: b"\x80\x04cbuiltins\nbytearray\nJ\x00\xca\x9a;\x85R.", "bytes of a number"),
    "promises 2 ** 60 bytes": (lambda: b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0f" + b"x.", "not a whole pickle|cut short"),
    "an unknown operation": (lambda: b"\x80\x04\xff.", "unknown operation"),
    "a memo that is not there": (lambda: b"\x80\x04h\x07.", "not a whole pickle"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_pickle_is_refused_at_once(tmp_path, kind):
    make, message = HOSTILE[kind]
    (tmp_path / "mini-imagenet-cache-train.pkl").write_bytes(make())
    started = time.monotonic()
    with pytest.raises(UserError, match=message):
        layouts.read(tmp_path)
    assert time.monotonic() - started < 5


def test_a_pipe_in_the_place_of_a_pickle_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "mini-imagenet-cache-train.pkl")
    with pytest.raises(UserError, match="no image found"):
        layouts.read(tmp_path)


@pytest.mark.parametrize("protocol", range(6))
def test_the_check_of_the_structure_lets_real_pickles_pass(tmp_path, protocol):
    shared = ("same", 1)
    value = {
        "a": [shared] * 50,
        "b": [np.arange(9, dtype=np.uint8).reshape(3, 3), np.float32(2)],
        "c": {1, 2},
        "d": b"\xff\0",
    }
    value |= {f"n{k:04d}": list(range(k)) for k in range(40)}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol))
    again = unpickle.read(tmp_path / "x.pkl")
    assert (
        again["a"] == value["a"] and np.array_equal(again["b"][0], value["b"][0]) and again["n0039"] == value["n0039"]
    )


def mini(disk):
    return {"image_data": np.stack(disk.pictures("a", 4)["a"]), "class_dict": {"a": [0, 1], "b": [2, 3]}}


def labelled(disk):
    return {"data": np.stack(disk.pictures("a", 4)["a"]), "labels": [0, 0, 1, 1]}


def cifar_batch(disk):
    return {
        "data": np.zeros((4, 3072), np.uint8),
        "fine_labels": [0, 1, 0, 1],
        "coarse_labels": [0, 0, 0, 0],
        "filenames": list("abcd"),
    }


def tiered_labels(disk):
    return {
        "label_specific": np.array([0, 1]),
        "label_general": [0, 0],
        "label_specific_str": ["a", "b"],
        "label_general_str": ["g"],
    }


PICKLES = {
    "mini": (mini, "mini-imagenet-cache-train.pkl", {}),
    "labelled": (labelled, "SET_train.pickle", {}),
    "cifar": (
        cifar_batch,
        "train",
        {"test": cifar_batch, "meta": lambda _: {"fine_label_names": ["x", "y"], "coarse_label_names": ["z"]}},
    ),
    "tiered": (tiered_labels, "train_labels.pkl", {"train_images_png.pkl": lambda d: [b"1", b"2"]}),
    "meta": (
        lambda _: {"fine_label_names": ["x", "y"], "coarse_label_names": ["z"]},
        "meta",
        {"train": cifar_batch, "test": cifar_batch},
    ),
}


def read_and_open(folder):
    source = layouts.read(folder)
    for item in source.items[:2]:
        try:
            decode(source.open(item), 8, source.channels)
        except BadImage:
            continue


@pytest.mark.parametrize("kind", PICKLES)
def test_a_wrong_type_in_any_field_of_a_pickle_is_one_sentence(tmp_path, disk, kind):
    """Every field replaced by every wrong value, and every field missing; never a traceback."""
    make, name, others = PICKLES[kind]
    for other, content in others.items():
        (tmp_path / other).write_bytes(pickle.dumps(content(disk)))
    good = make(disk)
    (tmp_path / name).write_bytes(pickle.dumps(good))
    assert one_sentence(read_and_open, tmp_path) is None
    for field in good:
        for wrong in (
            *WRONG,
            "missing",
            np.zeros((4, 0, 3), np.uint8),
            np.zeros(4),
            [-1] * 4,
            [0.5] * 4,
            ["a", 1, None, b"b"],
        ):
            content = {k: v for k, v in good.items() if k != field} | (
                {} if isinstance(wrong, str) and wrong == "missing" else {field: wrong}
            )
            (tmp_path / name).write_bytes(pickle.dumps(content))
            said = one_sentence(read_and_open, tmp_path)
            numbers_as_names = field.endswith(("_str", "_names")) and isinstance(wrong, list) and wrong == [-1] * 4
            assert said is not None or numbers_as_names or field in ("filenames", "label_general_str"), (field, wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"fine_labels": [-1, 1, 0, 1]}, "fine_labels must be from 0 to 1"),
        (lambda: {"coarse_labels": [0, 0, 0, 1]}, "coarse_labels must be from 0 to 0"),
        (lambda: {"fine_labels": [0, 1]}, "fine_labels must be 4 whole numbers"),
    ],
)
def test_labels_that_name_no_class_are_refused(tmp_path, disk, make, message):
    meta = {"fine_label_names": ["x", "y"], "coarse_label_names": ["z"]}
    for name, content in (("train", cifar_batch(disk) | make()), ("test", cifar_batch(disk)), ("meta", meta)):
        (tmp_path / name).write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=message):
        layouts.read(tmp_path)


def test_two_classes_of_one_name_stay_two(tmp_path, disk):
    content = tiered_labels(disk) | {"label_specific_str": ["crane", "crane"]}
    (tmp_path / "train_labels.pkl").write_bytes(pickle.dumps(content))
    (tmp_path / "train_images_png.pkl").write_bytes(pickle.dumps([b"1", b"2"]))
    assert layouts.read(tmp_path).class_names == ("crane", "crane (1)")


def test_negative_labels_of_tiered_archives_and_flat_arrays_are_refused(tmp_path, disk):
    np.savez(tmp_path / "train_images.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    (tmp_path / "train_labels.pkl").write_bytes(pickle.dumps(tiered_labels(disk) | {"label_specific": [-1, 0]}))
    with pytest.raises(UserError, match="label_specific must be from 0 to 1"):
        layouts.read(tmp_path)
    (tmp_path / "train_labels.pkl").write_bytes(pickle.dumps(tiered_labels(disk)))
    for shape in ((2, 64), (2, 8, 8, 5), (2, 0, 8, 3)):
        np.savez(tmp_path / "train_images.npz", images=np.zeros(shape, np.uint8))
        source = layouts.read(tmp_path)
        with pytest.raises(UserError, match="must be uint8"):
            source.open(source.items[0])


# --- set.json ---


@pytest.fixture
def packed_shop(tmp_path, shop):
    prepare(shop, size=8, out=tmp_path / "out")
    return tmp_path / "out"


def test_a_wrong_type_in_any_field_of_a_set_is_one_sentence(packed_shop):
    good = json.loads((packed_shop / "set.json").read_text())
    spots = (
        [(key,) for key in good] + [("images", key) for key in good["images"]] + [("splits", s) for s in good["splits"]]
    )
    for spot in spots:
        for wrong in WRONG:
            content = copy.deepcopy(good)
            place = content
            for key in spot[:-1]:
                place = place[key]
            place[spot[-1]] = wrong
            (packed_shop / "set.json").write_text(json.dumps(content))
            said = one_sentence(image_set.load, packed_shop)
            empty = spot[0] in ("splits", "levels", "level_names", "files", "provenance") and wrong in ({}, [])
            plain = (spot[0], wrong) in (("name", "text"), ("schema", True), ("provenance", {"a": 1}))
            assert said is not None or empty or plain, (spot, wrong)


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "null", "", "\0", '{"schema": 1}', "1e999"])
def test_a_set_json_of_another_kind_is_one_sentence(packed_shop, text):
    (packed_shop / "set.json").write_text(text)
    assert one_sentence(image_set.load, packed_shop) is not None


@pytest.mark.parametrize(
    "name", ["../../../x", "/etc/x", "a/b", "a\\b", "..", ".hidden", "", " ", "x" * 300, "a\nb", "c:d|e"]
)
def test_the_name_in_a_set_never_leads_out_of_the_data_folder(packed_shop, name):
    content = json.loads((packed_shop / "set.json").read_text()) | {"name": name}
    (packed_shop / "set.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="no name of a folder"):
        image_set.load(packed_shop)


@pytest.mark.parametrize(
    "row", ["../../../x", "/etc/passwd", "..", "a/b\\c", "x" * 400, "", "con\0", "a\nb", "~/x", ".x", "C:\\x"]
)
def test_the_name_of_any_row_is_the_name_of_one_file(tmp_path, row):
    stem = paths.make_file_stem(row)
    assert paths.is_file_name(stem) and (tmp_path / f"{stem}.json").resolve().parent == tmp_path.resolve()
    (tmp_path / f"{stem}-evaluation.jsonl").write_text("x")
    others = {paths.make_file_stem(r) for r in ("../x", "/x", ".x", "x", "\\x", "..x", "x" * 400, "x" * 401)}
    assert len(others) == 8


def test_the_names_of_real_rows_stay_as_they_are():
    assert (
        paths.make_file_stem("easyfsl:SimpleShot") == "easyfsl-SimpleShot"
        and paths.make_file_stem("anrot-clean") == "anrot-clean"
    )


# --- changed pixels ---


def test_changed_pixels_are_refused_and_unchanged_ones_hashed_once(packed_shop, monkeypatch):
    hashed = []
    compute = image_set.compute_hash
    monkeypatch.setattr(image_set, "compute_hash", lambda *a: hashed.append(1) or compute(*a))
    monkeypatch.setattr(verification, "TICK", -1.0)  # as if the files were old
    first = image_set.load(packed_shop)
    assert hashed == [1] and image_set.load(packed_shop).sha256 == first.sha256 and hashed == [1]
    raw = bytearray((packed_shop / "images.npy").read_bytes())
    raw[128:] = bytes(255 - b for b in raw[128:])
    (packed_shop / "images.npy").write_bytes(raw)
    for _ in range(2):
        with pytest.raises(UserError, match="not those that were packed"):
            image_set.load(packed_shop)


def test_a_file_that_was_written_a_moment_ago_is_hashed_again(packed_shop):
    image_set.load(packed_shop)
    sha256 = image_set.load(packed_shop).sha256
    (packed_shop / "images.npy").touch()
    assert not verification.is_verified(packed_shop, sha256)
    assert not verification.is_verified(packed_shop, "0" * 64) and not verification.is_verified(
        packed_shop / "no", sha256
    )


def test_a_note_of_another_kind_is_no_verification(packed_shop, monkeypatch):
    monkeypatch.setattr(verification, "TICK", -1.0)
    sha256 = image_set.load(packed_shop).sha256
    assert verification.is_verified(packed_shop, sha256)
    (note,) = [p for p in (paths.packed_dir() / ".verified").iterdir() if p == verification._note(packed_shop)]
    for text in ("", "[]", "{}", '{"sha256": 1}', "null"):
        note.write_text(text)
        assert not verification.is_verified(packed_shop, sha256)


@pytest.mark.parametrize(
    "line", ["{}", '{"done": "x", "bad": [], "kinds": {}}', '{"done": 3, "bad": 1, "kinds": []}', "[1]", "[" * 9000]
)
def test_a_journal_with_wrong_types_starts_over(tmp_path, shop, line):
    work = tmp_path / ".out.packing"
    work.mkdir()
    fresh = prepare(shop, size=8, out=tmp_path / "fresh")
    (work / "journal.jsonl").write_text(f"{json.dumps({'key': 'x'})}\n{line}\n")
    (work / "copies.json").write_text(line)
    assert prepare(shop, size=8, out=tmp_path / "out").sha256 == fresh.sha256


# --- photos ---


def heic(seed=0) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    image = Image.new("RGB", (64, 48), (200, 30, 30))
    image.paste((30, 30, 200), (32, 0, 64, 48))
    buffer = io.BytesIO()
    image.save(buffer, "HEIF", quality=95)
    return buffer.getvalue()


def test_heic_photos_are_read(tmp_path, disk):
    pixels = decode(heic(), 16).astype(int)
    assert np.abs(pixels[8, 2] - (200, 30, 30)).max() < 12 and np.abs(pixels[8, 13] - (30, 30, 200)).max() < 12
    shop = disk.folders(tmp_path / "shop", disk.pictures("abc", 3))
    (shop / "a" / "IMG_1.HEIC").write_bytes(heic())
    assert "a/IMG_1.HEIC" in prepare(shop, size=8, out=tmp_path / "out").files


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "IMG_1.jpg"])
def test_without_the_library_a_heic_photo_is_named_with_what_to_install(tmp_path, shop, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(decoding, "FORMATS", decoding.FORMATS[:-1])
    decoding._formats.cache_clear()
    (shop / "kaki" / name).write_bytes(b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + b"\0" * 40)
    try:
        with pytest.raises(UserError, match=rf"kaki/{name} \(it is a HEIC photo: install pillow-heif"):
            prepare(shop, size=8, out=tmp_path / "out")
    finally:
        decoding._formats.cache_clear()


@pytest.mark.parametrize("shape", [(8,), (8, 8, 2), (0, 8, 3), (8, 0), (2, 8, 8, 3)])
def test_arrays_that_are_no_pixels_are_bad_images(shape):
    with pytest.raises(BadImage, match="must be uint8"):
        decode(np.zeros(shape, np.uint8), 8)
    with pytest.raises(BadImage, match="float32"):
        decode(np.zeros((8, 8, 3), np.float32), 8)


# --- names ---


@pytest.mark.parametrize("name", ["x" * 300, "\0", "a\0b", "~nobody_of_that_name/x", "x/" * 3000])
def test_paths_that_no_system_takes_are_one_sentence(tmp_path, shop, name):
    assert one_sentence(layouts.read, tmp_path / "p" / name if not name.startswith("~") else name) is not None


@pytest.mark.parametrize(
    "text",
    [
        "filename,label\n\0.png,a\n",
        "filename,label\n" + "x" * 300 + ".png,a\n",
        'filename,label\n"0.png,a\n',
        "\ufeff",
        "\n\n\n",
        "filename,label\n,\n",
    ],
)
def test_odd_lists_are_one_sentence(tmp_path, disk, text):
    disk.folders(tmp_path / "shop", disk.pictures("abc"))
    (tmp_path / "shop" / "train.csv").write_text(text)
    assert one_sentence(prepare, tmp_path / "shop", size=8, out=tmp_path / "out") is not None
