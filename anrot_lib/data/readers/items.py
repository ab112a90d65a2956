"""What the readers hand on: one Item an image, not yet decoded, and the Source of them all."""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers.decode import BadImage

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
IMAGE_SUFFIXES |= {".webp", ".ppm", ".pgm", ".pbm", ".jp2", ".avif", ".heic", ".heif", ".hif"}
MOST_BYTES = 1 << 30  # of an image file
SYSTEM_FOLDERS = {"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}


class Item(NamedTuple):
    """One image of a source.

    file is its name in the source (relative, "/" between parts); path the file it is read from and
    row its number there, or -1 if the file is the image; split the train, val or test it was stored
    under; levels its further labels; turn a rotation in degrees; problem why it cannot be read.
    """

    class_name: str
    file: str
    path: Path
    row: int = -1
    split: str | None = None
    levels: tuple[str, ...] = ()
    turn: int = 0
    problem: str = ""


def read_file(item: Item) -> bytes:
    return read_image_file(item.path)


def read_image_file(path: Path) -> bytes:
    """The bytes of a file. BadImage for a pipe or a device, which may never end, and for one that no image fills."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise BadImage("it is no regular file")
    if info.st_size > MOST_BYTES:
        raise BadImage(f"it has {info.st_size / 2**30:.1f} GiB, more than an image")
    return path.read_bytes()


@dataclass(frozen=True)
class Source:
    """A folder of somebody's images, listed: `summary` says in one sentence what it was taken for."""

    folder: Path
    layout: str
    summary: str
    items: tuple[Item, ...]
    ignored: tuple[str, ...] = ()  # files that are no images, by name
    level_names: tuple[str, ...] = ()
    channels: int = 3
    unread: tuple[str, ...] = ()  # lists that are called like a split or hold one, and were not understood: the reasons
    not_understood: str = ""  # the end of a sentence that names these and other tables
    open: Callable[[Item], bytes | np.ndarray] = read_file  # encoded bytes, or pixels (H, W[, C])

    def close(self) -> None:
        """Let go of what is held in memory to read from; the source can still be read again."""
        if isinstance(self.open, Newest):
            self.open.close()

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(sorted({item.class_name for item in self.items}))

    def fingerprint(self) -> str:
        """Changes when a file is added, renamed, replaced or edited (by its size and time)."""
        digest = hashlib.sha256(f"{self.layout}/{self.channels}".encode())
        stats: dict[Path, str] = {}
        for item in self.items:
            if item.path not in stats:
                stats[item.path] = _stamp(item.path)
            parts = (*item[:2], item.row, item.split, *item.levels, item.turn, item.problem)
            digest.update(repr((*parts, stats[item.path])).encode())
        return digest.hexdigest()


def _stamp(path: Path) -> str:
    try:
        info = path.stat()
    except OSError:
        return "missing"
    return f"{info.st_size}/{info.st_mtime_ns}"


class Newest:
    """Open files one at a time: the one before is let go before the next is read."""

    def __init__(self, read: Callable[[Path], Any]):
        self.read = read
        self.path: Path | None = None
        self.rows: Any = None

    def __call__(self, item: Item) -> bytes | np.ndarray:
        if item.path != self.path:
            self.path = self.rows = None
            self.rows = self.read(item.path)
            self.path = item.path
        image: bytes | np.ndarray = self.rows[item.row]
        return image

    def close(self) -> None:
        """Let go of the file opened last."""
        self.path = self.rows = None


def add_rotations(source: Source) -> Source:
    """Add the images turned by 90, 180 and 270 degrees as new classes ("alphabet/character@90")."""
    turned = (
        item._replace(class_name=f"{item.class_name}@{turn}", file=f"{item.file}@{turn}", turn=turn)
        for turn in (90, 180, 270)
        for item in source.items
    )
    summary = f"{source.summary}; turned by 90, 180 and 270 degrees they make new classes"
    return replace(source, items=(*source.items, *turned), summary=summary)


def make_plain_name(name: str) -> str:
    """A file's name as text that every system and JSON can hold: composed accents, valid UTF-8."""
    valid = os.fsencode(name).decode("utf-8", "replace")
    return unicodedata.normalize("NFC", valid)


def name_folder(folder: Path, root: Path) -> str:
    """What the names of the files in a folder begin with, seen from `root`: "a/b/", or "" for the root."""
    parts = folder.relative_to(root).parts
    return "".join(f"{make_plain_name(part)}/" for part in parts)


def is_hidden(name: str) -> bool:
    """System files and folders, such as .DS_Store, ._photo.jpg and __MACOSX, hold no images."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def is_image(name: str) -> bool:
    return not is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def list_subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not is_hidden(p.name))


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below (links too, each once) with its file names, both in a fixed order."""
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(where)
        folders[:] = [] if real in seen else sorted(f for f in folders if not is_hidden(f))
        if real not in seen:
            yield Path(where), sorted(files)
        seen.add(real)


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be read: {error.strerror}")
