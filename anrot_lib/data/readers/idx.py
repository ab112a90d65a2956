"""Reader for the IDX files of MNIST and its relatives: images and labels, plain or gzipped."""

import gzip
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers.items import Item, Newest, Source
from anrot_lib.data.readers.split_names import read_part

NAME = re.compile(r"(.*?)[-_.]?images[-_.]?idx3[-_.]ubyte(\.gz)?", re.IGNORECASE)
MOST_BYTES = 1 << 32  # of an unpacked file


def find_idx_file(folder: Path, name: str) -> Path | None:
    """A file such as train-images-idx3-ubyte: with a dot before idx, gzipped, or in a folder of its name."""
    names = [form + end for form in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    places = [folder / n for n in names] + [folder / a / b for a in names for b in names]
    return next((place for place in places if place.is_file()), None)


def find_idx_pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    """(part of the split, images, labels) of every pair of files in a folder, or in its folder raw."""
    pairs = []
    for place in (folder, folder / "raw"):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if (match := NAME.fullmatch(path.name)) is None:
                continue
            prefix = match[1].casefold()
            part = "test" if prefix.endswith("t10k") else read_part(prefix.rsplit("-", 1)[-1]) or "train"
            name = path.name.removesuffix(".gz").replace(".idx", "-idx")
            label_name = re.sub("images", "labels", name, flags=re.IGNORECASE).replace("idx3", "idx1")
            images, labels = find_idx_file(place, name), find_idx_file(place, label_name)
            if images and labels:
                pairs.append((part, images, labels))
    return pairs


def read_idx(path: Path) -> np.ndarray:
    """An array of bytes in the IDX format, plain or gzipped. UserError for one that is cut short or something else."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = zlib.decompressobj(31).decompress(raw, MOST_BYTES)
        zero, kind, n = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{n}I", raw[4 : 4 + 4 * n])
    except (OSError, EOFError, struct.error, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} cannot be read as an IDX file: {error}") from None
    if (zero, kind) != (0, 8) or len(raw) - 4 - 4 * n != int(np.prod([int(s) for s in shape])):
        raise UserError(f"{path} is no IDX file of bytes, or it was cut short")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * n).reshape(shape)


def read_idx_folder(folder: Path) -> Source:
    """train-images-idx3-ubyte, train-labels-idx1-ubyte and t10k-...: classes are the numbers of the labels."""
    pairs = find_idx_pairs(folder)
    if not pairs:
        raise UserError(f"{folder} holds no train-images-idx3-ubyte with train-labels-idx1-ubyte")
    items = [item for part, images, labels in pairs for item in _items(part, images, labels)]
    names = ", ".join(images.name for _, images, _ in pairs)
    n_classes = len({item.class_name for item in items})
    summary = f"IDX files {names}: {len(items)} images of {n_classes} classes"
    return Source(folder, "idx", summary, tuple(items), channels=1, open=Newest(read_idx))


def _items(part: str, images: Path, labels: Path) -> list[Item]:
    pixels, numbers = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or numbers.shape != pixels.shape[:1] or 0 in pixels.shape:
        raise UserError(f"{images.parent}: {images.name} and {labels.name} do not belong together")
    width = len(str(int(numbers.max())))
    return [Item(f"{n:0{width}d}", f"{part}/{row}", images, row, part) for row, n in enumerate(numbers.tolist())]
