"""ImageSet: uint8 images in a memory map, labels, class names, class splits, a hash of all pixels.

The hash covers the sorted pairs (class name, sha256 of an image's shape and pixels). It is the same
for class folders, csv files and pickles of one image set, whatever its files are called.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.data import packed, splits, verification
from anrot_lib.data.packed import compute_hash

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with class labels, further label levels, and a split of the classes.

    images       uint8 (N, H, W, C), C = 1 or 3; a read-only memory map once loaded from disk.
    labels       int64 (N,), index into class_names (which `prepare` sorts by name).
    splits       "train" | "val" | "test" -> class indices; empty for a set without a split.
    levels       further labels, "superclass" or "alphabet" -> int64 (N,), index into level_names.
    files        one name an image, as it was in the source; may be empty.
    sha256       of the pixels and class names, see `compute_hash`.
    provenance   where the images come from and what was done to them; JSON.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: dict[str, tuple[int, ...]]
    sha256: str
    levels: dict[str, np.ndarray] = field(default_factory=dict)
    level_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def split_names(self) -> dict[str, tuple[str, ...]]:
        """The split as class names: "train" -> ("apple", ...)."""
        return {s: tuple(self.class_names[c] for c in classes) for s, classes in self.splits.items()}

    @property
    def split_hash(self) -> str:
        """sha256 over the sorted (split, class name) lists: which classes are train, val, test."""
        return splits.split_hash(self.split_names)

    def rows(self, split: str | None = None) -> np.ndarray:
        """Row numbers of the images of a split, int64, ascending; of all images for None."""
        if split is None:
            return np.arange(len(self.labels))
        if split not in self.splits:
            known = ", ".join(self.splits) or "none: prepare the set with a split first"
            raise UserError(f"the set {self.name!r} has no split {split!r} (it has {known})")
        return np.flatnonzero(np.isin(self.labels, self.splits[split]))

    def with_images(self, name: str, images: np.ndarray, provenance: Mapping[str, Any]) -> "ImageSet":
        """A set of other images, uint8 (N, H, W, C), with the labels, splits and files of this one."""
        changed = replace(self, name=name, images=images, provenance=dict(provenance), sha256="")
        _check(changed)
        return replace(changed, sha256=compute_hash(images, self.labels, self.class_names))

    def batch(self, rows: np.ndarray | Tensor | Sequence[int], device: str | torch.device = "cpu") -> Tensor:
        """The images of some rows: float32 in [0, 1], contiguous, of shape rows.shape + (C, H, W).

        `rows` may have any shape, so an episode's (E, way, shot) gives (E, way, shot, C, H, W).
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and rows.min() < 0:
            raise IndexError(f"row numbers must not be negative, got {rows.min()}")
        pixels = torch.from_numpy(np.asarray(self.images[rows.reshape(-1)])).to(device)
        pixels = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return pixels.div_(255).reshape(*rows.shape, *pixels.shape[1:])


def build_image_set(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    splits: Mapping[str, Sequence[int]] | None = None,
    *,
    levels: Mapping[str, np.ndarray] | None = None,
    level_names: Mapping[str, Sequence[str]] | None = None,
    files: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
    sha256: str | None = None,
) -> ImageSet:
    """Build a checked ImageSet from arrays; its hash is computed unless given.

    Raises UserError if shapes, types or label ranges are wrong, or if a class is in two splits.
    """
    image_set = ImageSet(
        name=name,
        images=images,
        labels=np.asarray(labels, dtype=np.int64),
        class_names=tuple(str(c) for c in class_names),
        splits={split: tuple(int(c) for c in classes) for split, classes in (splits or {}).items()},
        sha256=sha256 or "",
        levels={k: np.asarray(v, dtype=np.int64) for k, v in (levels or {}).items()},
        level_names={k: tuple(str(n) for n in v) for k, v in (level_names or {}).items()},
        files=tuple(str(f) for f in files),
        provenance=dict(provenance or {}),
    )
    _check(image_set)
    if sha256 is None:
        object.__setattr__(image_set, "sha256", compute_hash(images, image_set.labels, image_set.class_names))
    return image_set


def _check(image_set: ImageSet) -> None:
    """Raise UserError unless the parts of a set fit together."""
    where, images, n = f"image set {image_set.name!r}", image_set.images, len(image_set.images)
    n_labels, n_files = len(image_set.labels), len(image_set.files)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UserError(f"{where}: images must be uint8 (N, H, W, 1 or 3), got {images.dtype} {images.shape}")
    if len(set(image_set.class_names)) != len(image_set.class_names):
        raise UserError(f"{where}: a class name occurs twice")
    if n != n_labels or n_files not in (0, n):
        raise UserError(f"{where}: {n} images, {n_labels} labels, {n_files} file names")
    _check_range(where, "labels", image_set.labels, n, len(image_set.class_names))
    if odd := image_set.levels.keys() ^ image_set.level_names.keys():
        raise UserError(f"{where}: level {min(odd)!r} needs labels and names")
    for level, values in image_set.levels.items():
        _check_range(where, f"level {level!r}", values, n, len(image_set.level_names[level]))
    _check_splits(where, image_set)


def _check_range(where: str, what: str, values: np.ndarray, n: int, limit: int) -> None:
    if values.shape != (n,) or (n and not 0 <= values.min() <= values.max() < limit):
        raise UserError(f"{where}: {what} must be {n} numbers from 0 to {limit - 1}")


def _check_splits(where: str, image_set: ImageSet) -> None:
    if unknown := set(image_set.splits) - set(SPLITS):
        raise UserError(f"{where}: unknown split {sorted(unknown)[0]!r}; the splits are {', '.join(SPLITS)}")
    seen: dict[int, str] = {}
    for split, classes in image_set.splits.items():
        for c in classes:
            if not 0 <= c < len(image_set.class_names):
                raise UserError(f"{where}: split {split!r} names class number {c}, which does not exist")
            if c in seen:
                both = f"in {seen[c]} and in {split}"
                raise UserError(f"{where}: class {image_set.class_names[c]!r} is {both}, not in one")
            seen[c] = split


def describe(image_set: ImageSet) -> dict[str, Any]:
    """Everything of a set but its pixels, as JSON (the content of set.json)."""
    return {
        "schema": packed.SCHEMA,
        "name": image_set.name,
        "images": {
            "shape": list(image_set.images.shape),
            "bytes": packed.HEADER_BYTES + int(np.prod(image_set.images.shape, dtype=np.int64)),
        },
        "sha256": image_set.sha256,
        "labels": image_set.labels.tolist(),
        "class_names": list(image_set.class_names),
        "splits": {split: list(classes) for split, classes in image_set.splits.items()},
        "levels": {k: v.tolist() for k, v in image_set.levels.items()},
        "level_names": {k: list(v) for k, v in image_set.level_names.items()},
        "files": list(image_set.files),
        "provenance": image_set.provenance,
    }


def save(image_set: ImageSet, folder: Path) -> Path:
    """Write images.npy and set.json under temporary names, rename them, set.json last.

    A folder without set.json is no image set, so a crash never leaves a half-written set behind.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        work = Path(temporary)
        with open(work / "images.npy", "wb") as file:
            packed.write_images(file, image_set.images)
        packed.write_description(describe(image_set), work)
        packed.publish(work, folder)
    return folder


def load(folder: Path, verify: bool | None = None) -> ImageSet:
    """Open a packed set; the images stay on disk as a read-only memory map.

    Args:    folder: holds images.npy and set.json.
             verify: compare the hash of all pixels; None: unless the same files were compared before.
    Raises:  UserError when the folder holds no set, or one that was cut short or altered.
    """
    folder = Path(folder)
    description = packed.read_description(folder)
    try:
        image_set = _build_from_description(folder, description)
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{folder / 'set.json'} is damaged ({error}): prepare the set again") from None
    if verify or (verify is None and not verification.is_verified(folder, image_set.sha256)):
        state = verification.read_state(folder)
        if compute_hash(image_set.images, image_set.labels, image_set.class_names) != image_set.sha256:
            raise UserError(f"the pixels in {folder} are not those that were packed: prepare the set again")
        verification.note_verified(folder, image_set.sha256, state)
    return image_set


def _build_from_description(folder: Path, description: Mapping[str, Any]) -> ImageSet:
    image_set = ImageSet(
        name=description["name"],
        images=packed.map_images(folder / "images.npy", description["images"]),
        labels=_whole_numbers(description["labels"]),
        class_names=_texts(description["class_names"]),
        splits={
            s: tuple(_whole_numbers(description["splits"][s]).tolist()) for s in _order_splits(description["splits"])
        },
        sha256=description["sha256"],
        levels={k: _whole_numbers(v) for k, v in description["levels"].items()},
        level_names={k: _texts(v) for k, v in description["level_names"].items()},
        files=_texts(description["files"]),
        provenance=description["provenance"],
    )
    _check(image_set)
    return image_set


def _order_splits(parts: Mapping[str, Any]) -> list[str]:
    """train, val, test, and then what is no split, which the check refuses."""
    return [*(s for s in SPLITS if s in parts), *(s for s in parts if s not in SPLITS)]


def _whole_numbers(values: Any) -> np.ndarray:
    """A list of whole numbers as int64; a fraction or a text is not rounded but refused."""
    if not isinstance(values, list) or any(type(v) is not int for v in values):
        raise TypeError("labels and splits must be lists of whole numbers")
    return np.asarray(values, dtype=np.int64)


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or any(not isinstance(v, str) for v in values):
        raise TypeError("names must be lists of texts")
    return tuple(values)
