"""Readers for images in pickled arrays: mini-ImageNet caches and CIFAR-100 batches.

Their pickles are read by `unpickle`, which runs nothing. Only the file opened last stays in memory.
"""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers import unpickle
from anrot_lib.data.readers.items import Item, Newest, Source, make_plain_name
from anrot_lib.data.readers.split_names import read_part
from anrot_lib.data.readers.unpickle import check_labels, check_pixels, decode_keys, decode_text, read_names


def find_mini_pickles(folder: Path) -> dict[str, Path]:
    """mini-imagenet-cache-train.pkl and its like, by split."""
    files = {}
    for path in sorted(folder.glob("*.p*kl*")):
        part = re.search(r"cache[-_](\w+)\.p(?:ic)?kle?$", path.name.lower())
        if part and (split := read_part(part[1])) and path.is_file():
            files[split] = path
    return {split: files[split] for split in ("train", "val", "test") if split in files}


def read_mini_pickle(folder: Path) -> Source:
    """mini-imagenet-cache-<split>.pkl: {image_data: (N, H, W, 3), class_dict: name -> rows}."""
    files = find_mini_pickles(folder)
    if not files:
        raise UserError(f"{folder} holds no mini-imagenet-cache-train.pkl, -val.pkl or -test.pkl")
    items = [item for split, path in files.items() for item in _mini_items(split, path)]
    names = ", ".join(path.name for path in files.values())
    n_classes = len({item.class_name for item in items})
    summary = f"mini-ImageNet pickles {names}: {len(items)} images of {n_classes} classes"
    return Source(folder, "pickle", summary, tuple(items), open=Newest(lambda p: _mini(p)[0]))


def _mini(path: Path) -> tuple[np.ndarray, dict[str, list[int]]]:
    content = decode_keys(unpickle.read(path), path, "image_data", "class_dict")
    images = check_pixels(content["image_data"], path)
    classes = decode_keys(content["class_dict"], path)
    return images, {make_plain_name(name): _row_numbers(rows, images, path) for name, rows in classes.items()}


def _mini_items(split: str, path: Path) -> list[Item]:
    _, classes = _mini(path)
    items = [Item(name, f"{split}/{row}", path, row, split) for name, rows in classes.items() for row in rows]
    items.sort(key=lambda item: item.row)
    for a, b in itertools.pairwise(items):
        if a.row == b.row:
            raise UserError(f"{path}: image {a.row} is in {a.class_name!r} and {b.class_name!r}")
    return items


def _row_numbers(rows: Any, images: np.ndarray, path: Path) -> list[int]:
    numbers = np.asarray(rows) if isinstance(rows, (list, tuple, range, np.ndarray)) else np.empty((0, 0))
    whole = numbers.ndim == 1 and (numbers.size == 0 or np.issubdtype(numbers.dtype, np.integer))
    if not whole or (numbers.size and not 0 <= numbers.min() <= numbers.max() < len(images)):
        raise UserError(f"{path}: class_dict must list row numbers from 0 to {len(images) - 1}")
    return [int(n) for n in numbers]


def find_cifar_folder(folder: Path) -> Path | None:
    """Where the three files train, test and meta of cifar-100-python lie, if they do."""
    places = (folder, folder / "cifar-100-python")
    return next((p for p in places if all((p / n).is_file() for n in ("train", "test", "meta"))), None)


def read_cifar100(folder: Path) -> Source:
    """cifar-100-python/{train,test,meta}; classes by their fine names, level "superclass"."""
    where = find_cifar_folder(Path(folder))
    if where is None:
        raise UserError(f"{folder} holds no cifar-100-python with the files train, test and meta")
    meta = decode_keys(unpickle.read(where / "meta"), where / "meta", "fine_label_names", "coarse_label_names")
    names = {kind: read_names(meta[f"{kind}_label_names"], where / "meta") for kind in ("fine", "coarse")}
    items = [item for part in ("train", "test") for item in _cifar_items(where / part, names)]
    summary = f"cifar-100-python: {len(items)} images of {len(names['fine'])} classes"
    opener = Newest(lambda path: _cifar(path)[0])
    return Source(where, "cifar100", summary, tuple(items), (), ("superclass",), open=opener)


def _cifar(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    batch = decode_keys(unpickle.read(path), path, "data", "fine_labels", "coarse_labels")
    data = batch["data"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
        raise UserError(f"{path}: data must be uint8 (N, 3072), as in the batches of CIFAR-100")
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), batch


def _cifar_items(path: Path, names: dict[str, list[str]]) -> list[Item]:
    data, batch = _cifar(path)
    fine, coarse = (
        check_labels(batch[f"{kind}_labels"], len(data), len(names[kind]), path, f"{kind}_labels") for kind in names
    )
    files = batch.get("filenames")
    if not isinstance(files, (list, tuple)) or len(files) != len(data):
        files = [f"{row:05d}" for row in range(len(data))]
    return [
        Item(names["fine"][f], f"{path.name}_batch/{decode_text(file)}", path, row, levels=(names["coarse"][c],))
        for row, (f, c, file) in enumerate(zip(fine, coarse, files, strict=True))
    ]
