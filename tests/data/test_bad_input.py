"""What people really have in their folders: each fault ends in one sentence, or in the quarantine."""

import csv
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from anrot_lib.core.errors import UserError
from anrot_lib.data import image_set, splits
from anrot_lib.data.preparation.prepare import prepare
from anrot_lib.data.readers import decode as decoding
from anrot_lib.data.readers.decode import BadImage, decode


def encoded(image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(size=(24, 24), mode="RGB", seed=0):
    shape = (*size[::-1], 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).convert(mode)


def bomb() -> bytes:
    """A PNG of 100 kB whose header promises 20,000 x 20,000 pixels."""
    return encoded(Image.new("1", (20_000, 20_000)))


BAD = {
    "truncated": (lambda: encoded(photo(), "JPEG")[:-200], "damaged"),
    "header only": (lambda: encoded(photo(), "JPEG")[:30], "not that of an image|damaged"),
    "empty": (lambda: b"", "the file is empty"),
    "text": (lambda: b"These are my holidays.\n" * 40, "not that of an image"),
    "web page": (lambda: b"<!DOCTYPE html><html>404</html>", "not that of an image"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not that of an image"),
    "truncated png": (lambda: encoded(photo())[:-300], "damaged"),
    "bomb": (bomb, "too many"),
    "float": (lambda: encoded(Image.new("F", (9, 9), 0.5), "TIFF"), "floating-point"),
    "32 bit": (lambda: encoded(Image.fromarray(np.full((9, 9), 1 << 20, np.int32)), "TIFF"), "32-bit"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_an_error_that_names_it_or_goes_to_quarantine(tmp_path, shop, fault):
    make, said = BAD[fault]
    (shop / "kaki" / "my photo é.jpg").write_bytes(make())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(UserError, match=rf"1 of 21 images.*kaki/my photo é\.jpg \(.*({said})") as caught:
            prepare(shop, size=8, out=tmp_path / "out")
        assert "\n" not in str(caught.value) and "0x" not in str(caught.value)
        assert not (tmp_path / "out").exists()
        ready = prepare(shop, size=8, out=tmp_path / "out", on_bad="quarantine")
    assert len(ready) == 20 and "kaki/my photo é.jpg" not in ready.files
    ((file, class_name, why),) = ready.provenance["quarantine"]
    assert (file, class_name) == ("kaki/my photo é.jpg", "kaki")
    with open(tmp_path / "out" / "quarantine.csv", newline="", encoding="utf-8") as rows:
        assert list(csv.reader(rows)) == [["file", "class_name", "reason"], [file, class_name, why]]
    assert (shop / "kaki" / "my photo é.jpg").is_file()  # nothing of the user's is moved or deleted


def test_all_bad_files_are_named_up_to_five_and_counted(tmp_path, shop):
    for i in range(7):
        (shop / "mango" / f"bad{i}.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"7 of 27 images cannot be read: .*bad0.*bad4.*and 2 more"):
        prepare(shop, size=8, out=tmp_path / "out")


def test_a_set_of_bad_files_only_is_an_error_in_quarantine_too(tmp_path):
    for name in "abc":
        (tmp_path / "x" / name).mkdir(parents=True)
        (tmp_path / "x" / name / "1.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="3 of 3 images"):
        prepare(tmp_path / "x", size=8, out=tmp_path / "out", on_bad="quarantine")


def test_a_missing_file_of_a_csv_is_bad(tmp_path, disk):
    split = {"train": ("a", "b"), "val": ("c",), "test": ("d",)}
    source = disk.csv(tmp_path / "x", disk.pictures("abcd", 3), split)
    (source / "images" / "b_1.png").unlink()
    with pytest.raises(UserError, match=r"b_1\.png \(train\.csv lists it, but it is missing\)"):
        prepare(source, size=8, out=tmp_path / "out")
    assert len(prepare(source, size=8, out=tmp_path / "out", on_bad="quarantine")) == 11


def test_one_image_in_a_class_is_an_error_or_leaves_the_class_out(tmp_path, shop):
    (shop / "lone").mkdir()
    photo().save(shop / "lone" / "1.png")
    with pytest.raises(UserError, match=r"lone/1\.png.*the only image of its class"):
        prepare(shop, size=8, out=tmp_path / "out")
    ready = prepare(shop, size=8, out=tmp_path / "out", on_bad="quarantine")
    assert "lone" not in ready.class_names and len(ready.class_names) == 5
    assert ready.split_names == splits.draw_split(ready.class_names, 0)  # drawn without the lone class
    assert ready.provenance["quarantine"] == [["lone/1.png", "lone", "the only image of its class"]]


def test_a_split_that_loses_all_its_classes_is_an_error(tmp_path, disk):
    split = {"train": ("a", "b"), "val": ("c",), "test": ("d",)}
    source = disk.split_folders(tmp_path / "x", disk.pictures("abcd"), split)
    (source / "test" / "d" / "000.png").write_bytes(b"")
    with pytest.raises(UserError, match="no class of test is left"):
        prepare(source, size=8, out=tmp_path / "out", on_bad="quarantine")
    assert not (tmp_path / "out").exists()


def test_a_class_with_one_image_left_after_bad_ones_counts_as_lone(tmp_path, shop):
    for i in range(3):
        (shop / "kaki" / f"{i:03d}.png").write_bytes(b"")
    ready = prepare(shop, size=8, out=tmp_path / "out", on_bad="quarantine")
    assert "kaki" not in ready.class_names and len(ready.provenance["quarantine"]) == 4


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p / "missing", "no folder"),
        (lambda p: p, "is empty"),
        (lambda p: (p / "class").mkdir() or p, "no image found"),
        (lambda p: (p / "notes.txt").write_text("x") and p, "no image found"),
        (lambda p: photo().save(p / "1.png") or p, "no folder for each class"),
        (lambda p: [(p / c).mkdir() or photo().save(p / c / "1.png") for c in "ab"] and p, "cannot be split"),
    ],
)
def test_a_folder_without_classes_of_images_is_refused(tmp_path, make, said):
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(UserError, match=said) as caught:
        prepare(make(source), size=8, out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_names_with_spaces_and_other_letters_survive(tmp_path, disk):
    names = ("crème brûlée", "Äpfel & Birnen", "寿司", "a 'quoted' name")
    source = disk.folders(tmp_path / "meine Küche", disk.pictures(names))
    ready = prepare(source, size=8, out=tmp_path / "Ausgabe 1")
    assert ready.name == "meine-küche" and ready.class_names == tuple(sorted(names))
    assert image_set.load(tmp_path / "Ausgabe 1", verify=True).files == ready.files


def half(left, right, mode):
    """A picture of two colours, side by side."""
    image = Image.new(mode, (16, 16), right)
    image.paste(left, (0, 0, 8, 16))
    return image


def colours(raw):
    """The colours that were decoded on the left and on the right."""
    pixels = decode(raw, 16).astype(int)
    return pixels[8, 3].tolist(), pixels[8, 12].tolist()


def close(found, expected, tolerance=3):
    return np.abs(np.array(found) - np.array(expected)).max() <= tolerance


def test_sixteen_bit_grey_is_scaled_not_cut_off():
    values = np.array([[0, 257, 1000, 32768, 65278, 65535]], np.uint16).repeat(6, 0)
    for kind in ("PNG", "TIFF"):
        pixels = decode(encoded(Image.fromarray(values), kind), 6)
        assert pixels[0, :, 0].tolist() == [0, 1, 4, 128, 254, 255]
        assert (pixels == pixels[..., :1]).all()


def test_sixteen_bit_colour_keeps_its_colour():
    raw = bytearray(encoded(Image.new("RGB", (2, 1), (10, 200, 90))))
    assert decode(bytes(raw), 8)[4, 4].tolist() == [10, 200, 90]
    wide = sixteen_bit_rgb([10 * 257, 200 * 257, 90 * 257])
    assert decode(wide, 8)[4, 4].tolist() == [10, 200, 90]


def sixteen_bit_rgb(colour):
    """A 4 x 4 PNG of 16-bit colour, which PIL can read but not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\0" + struct.pack(">3H", *colour) * 4) * 4
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_cmyk_becomes_rgb():
    raw = encoded(half((0, 255, 255, 0), (255, 0, 0, 0), "CMYK"), "JPEG", quality=100)
    assert close(colours(raw), [[255, 0, 0], [0, 255, 255]])


def test_palette_becomes_rgb_and_its_transparency_white():
    image = half((200, 10, 10), (10, 10, 200), "RGB").quantize(2)
    assert close(colours(encoded(image)), [[200, 10, 10], [10, 10, 200]])
    transparent = image.getpixel((0, 0))
    assert close(colours(encoded(image, transparency=transparent)), [[255, 255, 255], [10, 10, 200]])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_laid_on_white(kind):
    image = half((200, 10, 10, 0), (0, 0, 0, 128), "RGBA")
    raw = encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert close(colours(raw), [[255, 255, 255], [127, 127, 127]])


def test_grey_with_alpha_and_black_and_white_are_read():
    assert close(colours(encoded(half((50, 255), (50, 0), "LA"))), [[50] * 3, [255] * 3])
    assert close(colours(encoded(half(0, 1, "1"))), [[0] * 3, [255] * 3])


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (16, 16), c) for c in ((200, 10, 10), (10, 200, 10), (10, 10, 200))]
    raw = encoded(
        frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert close(colours(raw), [[200, 10, 10], [200, 10, 10]], 4)


def test_exif_orientation_is_respected():
    image = half((250, 0, 0), (0, 0, 250), "RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    pixels = decode(encoded(image, "JPEG", exif=exif, quality=100, subsampling=0), 16).astype(int)
    assert close(pixels[3, 8], [250, 0, 0], 6) and close(pixels[12, 8], [0, 0, 250], 6)


def test_one_channel_is_grey_and_keeps_grey_values():
    grey = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    assert np.array_equal(decode(encoded(Image.fromarray(grey)), 8, 1)[..., 0], grey)
    assert np.array_equal(decode(grey, 8, 1)[..., 0], grey)
    assert np.array_equal(decode(grey[..., None], 8, 3), grey[..., None].repeat(3, 2))
    assert decode(encoded(photo((30, 20))), 8, 1).shape == (8, 8, 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_tiny_and_very_long_images_are_read(size):
    assert decode(encoded(photo(size)), 8).shape == (8, 8, 3)


def test_a_mixed_folder_is_packed_and_its_conversions_counted(tmp_path, shop):
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(shop / "kaki" / "a.png")
    photo(mode="CMYK", seed=1).save(shop / "kaki" / "b.jpg")
    photo(mode="RGBA", seed=2).save(shop / "mango" / "c.png")
    photo(seed=3).quantize(16).save(shop / "mango" / "d.PNG")
    photo(seed=4).save(shop / "mango" / "e.gif", save_all=True, append_images=[photo(seed=5)])
    ready = prepare(shop, size=8, out=tmp_path / "out", on_duplicates="report")
    assert len(ready) == 25
    assert ready.provenance["conversions"] == {"16-bit": 1, "CMYK": 1, "alpha": 1, "animated": 1, "palette": 1}


def test_formats_that_run_programs_are_not_opened():
    assert "EPS" not in decoding.FORMATS and "WMF" not in decoding.FORMATS
    with pytest.raises(BadImage, match="not that of an image"):
        decode(encoded(photo(), "EPS"), 8)


def test_a_warning_of_a_decompression_bomb_is_enough(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 24 * 24 - 1)
    with pytest.raises(BadImage, match="too many"):
        decode(encoded(photo()), 8)
