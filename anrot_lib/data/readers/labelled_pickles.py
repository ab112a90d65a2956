"""Reader for pickles {data, labels}, a file a part of the split, as MetaOptNet distributes its image sets."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers import unpickle
from anrot_lib.data.readers.items import Item, Newest, Source, make_plain_name
from anrot_lib.data.readers.split_names import read_part
from anrot_lib.data.readers.unpickle import check_pixels, decode_keys, decode_text

NAME = re.compile(r"(?:.*[-_.])?(?:train_phase_)?(train|val|test)(?:set|[-_.]data)?", re.IGNORECASE)


def find_labelled_pickles(folder: Path) -> dict[Path, str]:
    """{file: part of the split} of CIFAR_FS_train.pickle, miniImageNet_category_split_train_phase_val.pickle ..."""
    files = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in (".p", ".pk", ".pkl", ".pickle")):
        match = NAME.fullmatch(path.name.rsplit(".", 1)[0])
        if (
            match
            and "cache" not in path.name.lower()
            and path.is_file()
            and not path.name.startswith(("train_l", "val_l"))
        ):
            held_out = re.search(
                r"train_phase_(val|test)$", path.stem, re.IGNORECASE
            )  # other images of training classes
            files[path] = "train" if held_out else (read_part(match[1]) or "")
    return files if all(_is_labelled(path) for path in files) else {}


def _is_labelled(path: Path) -> bool:
    """Whether the first bytes of a pickle name its entries so."""
    with open(path, "rb") as file:
        head = file.read(1 << 12)
    return b"data" in head or b"labels" in head


def read_labelled_pickles(folder: Path) -> Source:
    """{data: uint8 (N, H, W, 3), labels: N numbers or names}. Classes are the labels.

    Where every file numbers its classes from 0, the number of a class says nothing without its part: then the part is
    in its name.
    """
    files = find_labelled_pickles(folder)
    if not files:
        raise UserError(f"{folder} holds no pickles {{data, labels}} such as CIFAR_FS_train.pickle")
    labels = {path: _read(path)[1] for path in files}
    local = _numbered_apart(labels, files, folder)
    items = [
        Item(f"{part}-{name}" if local else name, f"{path.name}/{row}", path, row, part)
        for path, part in files.items()
        for row, name in enumerate(labels[path])
    ]
    n_classes = len({item.class_name for item in items})
    summary = f"pickles {', '.join(p.name for p in files)}: {len(items)} images of {n_classes} classes"
    return Source(folder, "labelled-pickles", summary, tuple(items), open=Newest(lambda path: _read(path)[0]))


def _read(path: Path) -> tuple[np.ndarray, list[str]]:
    content = decode_keys(unpickle.read(path), path, "data", "labels")
    images = check_pixels(content["data"], path)
    return images, _label_names(content["labels"], len(images), path)


def _label_names(labels: Any, n: int, path: Path) -> list[str]:
    if isinstance(labels, (list, tuple)) and all(isinstance(v, (str, bytes)) for v in labels):
        names = [make_plain_name(decode_text(v)) for v in labels]
    else:
        numbers = np.asarray(labels)
        if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer) or (numbers.size and numbers.min() < 0):
            raise UserError(f"{path}: labels must be {n} whole numbers from 0, or {n} names")
        names = [f"{v:03d}" for v in numbers.tolist()]
    if len(names) != n:
        raise UserError(f"{path}: {n} images, but {len(names)} labels")
    return names


def _numbered_apart(labels: dict[Path, list[str]], files: dict[Path, str], folder: Path) -> bool:
    """Whether the parts number their classes from 0 each. UserError if the same numbers may be the same classes."""
    by_part: dict[str, set[str]] = {}
    for path, part in files.items():
        by_part.setdefault(part, set()).update(labels[path])
    from_zero = all(names == {f"{n:03d}" for n in range(len(names))} for names in by_part.values())
    if len(by_part) < 2 or not from_zero:
        return False
    sizes = [len(names) for names in by_part.values()]
    if len(set(sizes)) < len(sizes):
        raise UserError(
            f"{folder}: the labels of {' and '.join(by_part)} are the same numbers, from 0 to {sizes[0] - 1}, so they "
            "are the same classes or others; give the classes names"
        )
    return True
