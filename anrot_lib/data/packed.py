"""The two files of a packed set: images.npy, to be memory-mapped, and set.json; the pixel hash."""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError

SCHEMA = 1
HEADER_BYTES = 128  # the room numpy gives the header of an array of four dimensions
BLOCK_BYTES = 1 << 24  # images are read, hashed and written in pieces of about this size
FILES = {"images.npy", "set.json", "quarantine.csv"}  # all that a set's folder may hold
KEYS = (
    "name", "images", "sha256", "labels", "class_names", "splits", "levels", "level_names", "files", "provenance",
)  # fmt: skip


def cut_blocks(images: np.ndarray, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Consecutive pieces of (some rows of) an image array, each of about 16 MiB."""
    n = len(images) if rows is None else len(rows)
    step = max(1, BLOCK_BYTES // max(1, images[0].nbytes)) if n else 1
    for first in range(0, n, step):
        piece = slice(first, first + step)
        yield np.ascontiguousarray(images[piece if rows is None else rows[piece]])


def compute_hash(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> str:
    """sha256 over the sorted (class name, sha256(shape, pixels)) pairs: blind to order and names.

    A class without images does not enter. Two sets have equal hashes if and only if every class
    has the same images, each equally often.
    """
    digests = (digest_image(image) for block in cut_blocks(images) for image in block)
    return hash_pairs((class_names[c], digest) for c, digest in zip(labels, digests, strict=True))


def digest_image(image: np.ndarray) -> str:
    """sha256 of one image: its shape (H, W, C), then its bytes."""
    digest = hashlib.sha256(f"{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def digest_rows(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The first 8 bytes of the digest of each image of some rows, as int64 (n,): enough to tell millions apart."""
    digests = (bytes.fromhex(digest_image(image)[:16]) for block in cut_blocks(images, rows) for image in block)
    return np.frombuffer(b"".join(digests), dtype="<i8")


def hash_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """The set's hash from its (class name, image digest) pairs, in any order."""
    digest = hashlib.sha256()
    for name, image in sorted(pairs):
        digest.update(json.dumps([name, image]).encode())
    return digest.hexdigest()


def make_npy_header(shape: Sequence[int]) -> bytes:
    """The first HEADER_BYTES bytes of an .npy file of uint8 images of this shape."""
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": tuple(int(s) for s in shape)}
    np.lib.format.write_array_header_1_0(buffer, header)
    if len(buffer.getvalue()) != HEADER_BYTES:  # resumable packing writes the header last, into this room
        raise RuntimeError(f"numpy wrote an npy header of {len(buffer.getvalue())} bytes, not {HEADER_BYTES}")
    return buffer.getvalue()


def write_images(file: BinaryIO, images: np.ndarray, rows: np.ndarray | None = None) -> None:
    """Write (some rows of) images in .npy format, in pieces; a memory map is never read whole."""
    n = len(images) if rows is None else len(rows)
    file.write(make_npy_header((n, *images.shape[1:])))
    for block in cut_blocks(images, rows):
        file.write(block.data)


def write_description(description: Mapping[str, Any], folder: Path) -> None:
    """Write set.json, atomically and in one line: it holds a label and a name for every image."""
    paths.write_text(Path(folder) / "set.json", json.dumps(description, sort_keys=True, ensure_ascii=False) + "\n")


def read_description(folder: Path) -> dict[str, Any]:
    path = folder / "set.json"
    try:
        description = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} holds no packed image set (no set.json): make one with `prepare`") from None
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{path} is damaged: prepare the set again") from None
    if not isinstance(description, dict) or type(schema := description.get("schema")) is not int or schema != SCHEMA:
        raise UserError(f"{path} was written by another version of this package: prepare the set again")
    if missing := [key for key in KEYS if key not in description]:
        raise UserError(f"{path} lacks {missing[0]!r}: prepare the set again")
    _check_fields(description, path)
    return description


def _check_fields(description: Mapping[str, Any], path: Path) -> None:
    """UserError for a field of a wrong type, and for a name that is not the name of one file or folder.

    Results, nets and copies of a set are stored under its name: with a separator in it they would lie elsewhere.
    """
    kinds = {"name": str, "images": dict, "sha256": str, "splits": dict, "levels": dict, "level_names": dict}
    for key, kind in (kinds | {"provenance": dict}).items():
        if not isinstance(description[key], kind):
            raise UserError(
                f"{path} is damaged ({key!r} is a {type(description[key]).__name__}): prepare the set again"
            )
    if not paths.is_file_name(description["name"]):
        raise UserError(
            f"{path} names the set {description['name'][:80]!r}, which is no name of a folder: prepare it again"
        )
    shape, size = description["images"].get("shape"), description["images"].get("bytes")
    whole = isinstance(shape, list) and len(shape) == 4 and all(type(n) is int and n >= 0 for n in shape)
    if not whole or type(size) is not int:
        raise UserError(f"{path} is damaged (the shape of its images is {shape!r}): prepare the set again")


def map_images(path: Path, expected: Mapping[str, Any]) -> np.ndarray:
    """Map images.npy after comparing its length and its header with what set.json promises."""
    if not path.is_file():
        raise UserError(f"{path} is missing: prepare the set again")
    if (size := path.stat().st_size) != expected["bytes"]:
        raise UserError(f"{path} has {size} bytes instead of {expected['bytes']}: prepare the set again")
    with open(path, "rb") as file:
        header = file.read(HEADER_BYTES)
    if header != make_npy_header(expected["shape"]):
        raise UserError(f"the header of {path} does not fit set.json: prepare the set again")
    return np.memmap(path, dtype=np.uint8, mode="r", offset=HEADER_BYTES, shape=tuple(expected["shape"]))


def map_file(path: Path) -> np.ndarray:
    """An .npy file that this package wrote, as a read-only memory map."""
    mapped: np.ndarray = np.load(path, mmap_mode="r")
    return mapped


def refuse_other_files(folder: Path) -> None:
    """UserError if a folder to pack into is a file, or holds anything but a packed set."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another folder to pack into")
    if folder.exists() and not {path.name for path in folder.iterdir()} <= FILES:
        raise UserError(f"{folder} holds other files; choose an empty folder to pack into")


def publish(work: Path, folder: Path, images: str = "images.npy") -> None:
    """Move a finished set from the folder in which it was made to its place; set.json last.

    Without set.json a folder is no set, so there never are new pixels beside old labels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in (work / images, work / "set.json"):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
    (folder / "set.json").unlink(missing_ok=True)
    (work / images).replace(folder / "images.npy")
    for name in ("quarantine.csv", "set.json"):
        if (work / name).exists():
            (work / name).replace(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
