"""The layouts in which the retrieval sets come, and their published splits of classes: other classes to test on.

    cub   CUB_200_2011/images/<class>/*.jpg: the first half of the classes (1-100) trains, the second half tests
    cars  cars_annos.mat beside the car_ims that it names, or a folder a class: classes 1-98 and 99-196
    sop   Ebay_train.txt and Ebay_test.txt: image_id class_id super_class_id path

Images are resized to a square as a whole, bilinearly, not cut to it, as in the published experiments.
MNIST and Fashion-MNIST are IDX files, plain or gzipped, with the same ten classes in training and test.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io
from PIL import Image

from anrot_lib.core.errors import UserError
from anrot_lib.data.preparation.split_choice import SplitChoice
from anrot_lib.data.readers import layouts
from anrot_lib.data.readers.decode import open_image
from anrot_lib.data.readers.folders import read_cub
from anrot_lib.data.readers.idx import find_idx_file, read_idx
from anrot_lib.data.readers.items import Item, Source, read_file

CLASSES = {"cub": 200, "cars": 196, "sop": 22_634}
IMAGES = {"cub": 11_788, "cars": 16_185, "sop": 120_053}
HALVES = "the first half of the classes trains, the second half tests"
SOP_LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}
IDX_FILES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")}
IDX_FILES["test"] = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def read(dataset: str, folder: Path, side: int) -> tuple[Source, SplitChoice]:
    """The images of cub, cars or sop, listed, and their split; pixels are resized to `side` when they are opened."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} with the images of {dataset}; check --data")
    source = READERS[dataset](folder)
    if not source.items:
        raise UserError(f"no image of {dataset} is in {folder}")
    classes, rule = halve_classes(source.class_names), HALVES
    if dataset == "sop":
        classes, rule = _read_lists(source), "the published lists"
    note = "" if len(source.items) == IMAGES[dataset] else f"; {_differs(dataset, source)}"
    source = replace(source, layout=f"{dataset}, resized whole", open=make_squeezer(side))
    return source, SplitChoice(f"{dataset}-zero-shot", classes, rule + note)


def halve_classes(class_names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The convention of the field: the first half of the sorted classes trains, the second tests; 2 comes before 10."""
    if len(class_names) < 2:
        raise UserError("retrieval on new classes needs two classes at least, one to train on and one to test")
    class_names = tuple(sorted(class_names, key=_make_number_key))
    middle = len(class_names) // 2
    return {"train": class_names[:middle], "test": class_names[middle:]}


def _make_number_key(name: str) -> list[tuple[int, str]]:
    """A key that orders "2" before "10" and "a2" before "a10"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _differs(dataset: str, source: Source) -> str:
    return (
        f"{len(source.items)} images of {len(source.class_names)} classes where the published set has "
        f"{IMAGES[dataset]} of {CLASSES[dataset]}: not comparable with it"
    )


def make_squeezer(side: int) -> Callable[[Item], np.ndarray]:
    """Opens an image as uint8 (side, side, 3), squeezed to the square."""

    def opened(item: Item) -> np.ndarray:
        image, _ = open_image(read_file(item))
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))

    return opened


def _cub(folder: Path) -> Source:
    return read_cub(folder)


def _cars(folder: Path) -> Source:
    annotations = next((p for p in (folder / "cars_annos.mat", *folder.glob("*/cars_annos.mat")) if p.is_file()), None)
    if annotations is None:
        source = layouts.read(folder)  # class folders; their division into train and test by image does not count
        return replace(source, items=tuple(item._replace(split=None) for item in source.items))
    try:
        content = scipy.io.loadmat(str(annotations), squeeze_me=True)
        rows = [(str(row[0]), int(row[5])) for row in np.atleast_1d(content["annotations"])]
        names = [str(name) for name in np.atleast_1d(content["class_names"])]
        items = [
            Item(f"{label:03d}.{names[label - 1]}".replace("/", "-"), file, annotations.parent / file)
            for file, label in sorted(rows)
        ]
    except Exception as error:  # damaged bytes make scipy's reader fail in almost any way
        raise UserError(f"{annotations} is not the list of Stanford Cars ({type(error).__name__})") from None
    summary = f"Stanford Cars, {len(items)} images of {len({i.class_name for i in items})} classes"
    return Source(folder, "cars", summary, tuple(_missing(item) for item in items))


def _sop(folder: Path) -> Source:
    where = next((p for p in (folder, folder / "Stanford_Online_Products") if (p / SOP_LISTS["train"]).is_file()), None)
    if where is None or not (where / SOP_LISTS["test"]).is_file():
        raise UserError(f"{folder} holds no {' and '.join(SOP_LISTS.values())} (Stanford Online Products)")
    items = []
    for split, name in SOP_LISTS.items():
        for number, line in enumerate((where / name).read_text("utf-8").splitlines()[1:], 2):
            parts = line.split()
            if len(parts) != 4 or not (parts[1].isdigit() and parts[2].isdigit()):
                raise UserError(f"{where / name}, line {number}: not image_id class_id super_class_id path")
            levels = (Path(parts[3]).parent.name or parts[2],)
            items.append(Item(f"{int(parts[1]):05d}", parts[3], where / parts[3], split=split, levels=levels))
    summary = f"Stanford Online Products, {len(items)} images of {len({i.class_name for i in items})} classes"
    return Source(where, "sop", summary, tuple(_missing(item) for item in items), level_names=("superclass",))


def _read_lists(source: Source) -> dict[str, tuple[str, ...]]:
    classes = {part: tuple(sorted({i.class_name for i in source.items if i.split == part})) for part in SOP_LISTS}
    if shared := set(classes["train"]) & set(classes["test"]):
        raise UserError(f"class {min(shared)} is in both lists of {source.folder}; they should share none")
    return classes


def _missing(item: Item) -> Item:
    return item if item.path.is_file() else item._replace(problem="the file that the list names is not there")


READERS: dict[str, Callable[[Path], Source]] = {"cub": _cub, "cars": _cars, "sop": _sop}


class Digits(NamedTuple):
    """MNIST or Fashion-MNIST: uint8 images (N, 28, 28, 1), labels (N,), and how many of them, the first, train."""

    images: np.ndarray
    labels: np.ndarray
    training: int


def find_idx_folder(places: list[Path]) -> Path | None:
    """The first folder that holds the four files, itself or in a folder raw below."""
    candidates = [p for place in places for p in (place, place / "raw", *sorted(place.glob("*/raw")))]
    return next((p for p in candidates if all(find_idx_file(p, n) for pair in IDX_FILES.values() for n in pair)), None)


def read_digits(folder: Path) -> Digits:
    """The four IDX files of a folder. UserError for one that is cut short or something else."""
    images, labels = [], []
    for image_name, label_name in IDX_FILES.values():
        pixels, classes = (read_idx(find_idx_file(folder, name) or folder / name) for name in (image_name, label_name))
        if pixels.ndim != 3 or classes.shape != pixels.shape[:1]:
            raise UserError(f"{folder}: {image_name} and {label_name} do not belong together")
        images.append(pixels)
        labels.append(classes)
    return Digits(np.concatenate(images)[..., None], np.concatenate(labels).astype(np.int64), len(images[0]))
