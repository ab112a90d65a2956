"""Reader for tieredImageNet as its authors pack it: archives of arrays or of encoded images."""

import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers import unpickle
from anrot_lib.data.readers.items import Item, Newest, Source
from anrot_lib.data.readers.unpickle import check_labels, decode_keys, read_names


def find_tiered_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """(images, labels) by split: <split>_images.npz or _images_png.pkl, and <split>_labels.pkl."""
    files = {}
    for split in ("train", "val", "test"):
        images = (folder / f"{split}_images.npz", folder / f"{split}_images_png.pkl")
        path, labels = (
            next((p for p in images if p.is_file()), None),
            folder / f"{split}_labels.pkl",
        )
        if path is not None and labels.is_file():
            files[split] = (path, labels)
    return files


def read_tiered(folder: Path) -> Source:
    """tieredImageNet as its authors pack it, with the further level "general".

    <split>_images.npz has the array images, uint8 (N, 84, 84, 3), read row by row: never whole.
    <split>_images_png.pkl is a list of encoded images; one such file must fit into memory.
    <split>_labels.pkl has label_specific, label_general and the names in *_str.
    """
    files = find_tiered_files(folder)
    if not files:
        raise UserError(f"{folder} holds no train_images.npz (or _png.pkl) with train_labels.pkl")
    items = [item for split, pair in files.items() for item in _tiered_items(split, *pair)]
    n_classes = len({item.class_name for item in items})
    kinds = ", ".join(images.name for images, _ in files.values())
    summary = f"tieredImageNet archives {kinds}: {len(items)} images of {n_classes} classes"
    return Source(folder, "tiered", summary, tuple(items), (), ("general",), open=Newest(_tiered_rows))


def _tiered_rows(path: Path) -> Any:
    if path.suffix == ".npz":
        return NpzRows(path, "images")
    rows = unpickle.read(path)
    if not isinstance(rows, list):
        raise UserError(f"{path} must hold a list of encoded images, not a {type(rows).__name__}")
    if wrong := next((row for row in rows if not isinstance(row, (bytes, bytearray, np.ndarray))), None):
        raise UserError(f"{path} must hold encoded images, not a {type(wrong).__name__}")
    return [row.tobytes() if isinstance(row, np.ndarray) else bytes(row) for row in rows]


def _tiered_items(split: str, images: Path, labels: Path) -> list[Item]:
    content = decode_keys(unpickle.read(labels), labels, "label_specific", "label_general", "label_specific_str")
    names = {kind: read_names(content.get(f"label_{kind}_str", ()), labels) for kind in ("specific", "general")}
    n = len(np.asarray(content["label_specific"]).ravel())
    specific, general = (check_labels(content[f"label_{k}"], n, len(names[k]), labels, f"label_{k}") for k in names)
    return [
        Item(names["specific"][s], f"{split}/{row}", images, row, split, (names["general"][g],))
        for row, (s, g) in enumerate(zip(specific, general, strict=True))
    ]


class NpzRows:
    """rows[i] for growing i; going back reads the array again from its start.

    The array must be uint8 with the last index running fastest. UserError if it is not, or if the
    file is damaged.
    """

    def __init__(self, path: Path, name: str):
        self.path, self.name = Path(path), name
        self.file: IO[bytes] | None = None
        self._start()

    def _start(self) -> None:
        if self.file is not None:
            self.file.close()
        try:
            with zipfile.ZipFile(self.path) as archive:  # an open member keeps the file open
                self.file = archive.open(f"{self.name}.npy")
            version = np.lib.format.read_magic(self.file)
            read = np.lib.format.read_array_header_1_0
            read = read if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, fortran, dtype = read(self.file)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.path} holds no array {self.name!r}: {error}") from None
        shaped = len(self.shape) == 3 or (len(self.shape) == 4 and self.shape[3] in (1, 3))
        if dtype != np.uint8 or fortran or not shaped or 0 in self.shape[1:]:
            raise UserError(f"{self.path}: {self.name} must be uint8 (N, H, W, 3) in C order")
        self.next = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int) -> np.ndarray:
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path} has {len(self)} images, not {row + 1}")
        if row < self.next:
            self._start()
        size = int(np.prod(self.shape[1:]))
        try:
            while self.next <= row:
                data = self.file.read(size) if self.file else b""
                self.next += 1
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise UserError(f"{self.path} is damaged: {error}") from None
        if len(data) != size:
            raise UserError(f"{self.path} was cut short: get it again")
        return np.frombuffer(data, np.uint8).reshape(self.shape[1:])
