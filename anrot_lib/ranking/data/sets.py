"""Images to train and test a ranking model on: uint8 once, in memory or mapped from disk; crops cut from batches."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core import paths, torchvision_compat
from anrot_lib.core.errors import UserError
from anrot_lib.data import image_set as image_sets
from anrot_lib.data import splits
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.packed import compute_hash
from anrot_lib.data.preparation import assemble, prepare
from anrot_lib.data.preparation.packing import Progress
from anrot_lib.ranking.data import layouts
from anrot_lib.ranking.names import DATASETS_28, DATASETS_224

DEBIAN = {"fashion": Path("/usr/share/datasets/fashion-mnist")}  # apt-get install dataset-fashion-mnist
TORCHVISION = {"mnist": "MNIST", "fashion": "FashionMNIST"}
FASHION_CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
FASHION_CLASSES += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
SPLITS = ("auto", "set", "halves")


@dataclass(frozen=True, eq=False)
class Part:
    """The training or the test images: `rows` of `images` (uint8 (N, H, W, C)), with labels numbered from 0.

    size   side of what a net sees; images are at least as large.
    """

    images: np.ndarray
    rows: np.ndarray
    labels: Tensor
    classes: int
    size: int

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, numbers: np.ndarray | Tensor, device: str | torch.device = "cpu") -> Tensor:
        """Images of the part by number (B,), their centres cut out: float32 (B, C, size, size) in [0, 1]."""
        pixels = self._pixels(numbers)
        at = (pixels.shape[1] - self.size) // 2
        return convert_to_floats(pixels[:, at : at + self.size, at : at + self.size].to(device))

    def augment(
        self, numbers: np.ndarray | Tensor, generator: torch.Generator, flip: bool, device: str | torch.device = "cpu"
    ) -> Tensor:
        """The same with crops at random places, and mirrored left-right with probability 1/2 if `flip`."""
        pixels = self._pixels(numbers)
        n, room = len(pixels), pixels.shape[1] - self.size
        corner = torch.randint(room + 1, (2, n, 1), generator=generator) + torch.arange(self.size)
        mirrored = (torch.rand(n, generator=generator) < 0.5) if flip else torch.zeros(n, dtype=torch.bool)
        columns = torch.where(mirrored.unsqueeze(1), corner[1].flip(1), corner[1])
        cut = pixels[torch.arange(n).view(-1, 1, 1), corner[0].unsqueeze(2), columns.unsqueeze(1)]
        return convert_to_floats(cut.to(device))

    def _pixels(self, numbers: np.ndarray | Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(self.images[self.rows[np.asarray(numbers, dtype=np.int64)]]))


def convert_to_floats(pixels: Tensor) -> Tensor:
    """uint8 (B, H, W, C) to float32 (B, C, H, W) in [0, 1]; in memory the channels stay last, as nets want them."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255)


@dataclass(frozen=True, eq=False)
class RankingSet:
    """A training and a test part. `about` is what a record says of them, `note` what a reader should know."""

    name: str
    train: Part
    test: Part
    about: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def load(
    dataset: str,
    size: int | None,
    stored: int,
    data: str | None = None,
    download: bool = False,
    split: str = "auto",
    limit: int | None = None,
    progress: Progress | None = None,
) -> RankingSet:
    """The set that a name's first part means.

    data      a folder: of IDX files for mnist and fashion, in its published layout for cub, cars, sop; for any other
              name a folder of images, or the name of a prepared set (default: the dataset's own name)
    download  mnist, fashion: fetch them through torchvision, which checks their md5
    split     of any other set: "set" its classes (train and val against test), "halves" the first half of its
              classes against the second, "auto": halves for names that begin with cub, else its own
    limit     at most so many training images and so many test images, taken evenly from the classes
    progress  of packing, for folders that are packed on the way (once)

    Raises UserError if the images are not there, or cannot be what was asked for.
    """
    if dataset in DATASETS_28:
        return _digits(dataset, data, download, limit)
    if download:
        raise UserError(f"{dataset} cannot be downloaded; get it from its homepage and give its folder by --data")
    if dataset in DATASETS_224:
        if data is None:
            raise UserError(f"give the folder of {dataset} by --data")
        folder = Path(data).expanduser()
        source, choice = layouts.read(dataset, folder, stored)
        where = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
        options = {"size": stored, "on_bad": "error", "on_duplicates": "report", "resized": "whole, bilinear"}
        image_set = prepare.pack_source(source, choice, f"{dataset}-{stored}-{where}", options, progress=progress)
        return build_ranking_set(image_set, size, "set", limit, dataset)
    return build_ranking_set(_load_prepared(data or dataset, stored, progress), size, split, limit, dataset)


def _load_prepared(data: str, stored: int, progress: Progress | None) -> ImageSet:
    if (paths.packed_dir() / data / "set.json").is_file():
        return image_sets.load(paths.packed_dir() / data)
    folder = Path(data).expanduser()
    if not folder.is_dir():
        known = sorted(p.parent.name for p in paths.packed_dir().glob("*/set.json"))
        raise UserError(
            f"there is no prepared set and no folder {data!r} (prepared are: {', '.join(known) or 'none'}); "
            "see anrot prepare, or give --data"
        )
    name = f"{assemble.make_set_name(folder.resolve().name)}-{stored}"
    return prepare.prepare(folder, name=name, size=stored, progress=progress)


def build_ranking_set(
    image_set: ImageSet, size: int | None = None, split: str = "auto", limit: int | None = None, name: str | None = None
) -> RankingSet:
    """The two parts of an ImageSet; size None is 7/8 of its images' side, as 224 is of 256."""
    name = name or image_set.name
    classes, split_note = _classes(image_set, split, name)
    stored = image_set.images.shape[1]
    size = size or round(stored * 7 / 8)
    if size > stored:
        raise UserError(
            f"the set {image_set.name!r} holds images of {stored} px, {size} were asked for; prepare it anew"
        )
    rows = {part: np.flatnonzero(np.isin(image_set.labels, classes[part])) for part in classes}
    subsets = {part: _part(image_set.images, rows[part], image_set.labels[rows[part]], size, limit) for part in rows}
    names = {part: [image_set.class_names[c] for c in classes[part]] for part in classes}
    about = _about(name, image_set.sha256, names, subsets, stored)
    if licence := image_set.provenance.get("licence"):
        about["licence"] = str(licence)
    notes = (split_note, image_set.provenance.get("note", ""))
    return RankingSet(name, subsets["train"], subsets["test"], about, "; ".join(filter(None, notes)))


def _classes(image_set: ImageSet, split: str, name: str) -> tuple[dict[str, list[int]], str]:
    """Class numbers of training and test, and in words how they were chosen."""
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r} for retrieval; choose one of {', '.join(SPLITS)}")
    if split == "halves" or (split == "auto" and name.startswith("cub")):
        numbers = {class_name: c for c, class_name in enumerate(image_set.class_names)}
        halves = layouts.halve_classes(image_set.class_names)
        return {part: [numbers[n] for n in names] for part, names in halves.items()}, layouts.HALVES
    if not {"train", "test"} <= set(image_set.splits):
        raise UserError(f"the set {image_set.name!r} has no train and test classes; choose --split halves")
    training = [*image_set.splits["train"], *image_set.splits.get("val", ())]
    note = image_set.provenance.get("split", {}).get("said", "the set's own classes")
    return {"train": sorted(training), "test": sorted(image_set.splits["test"])}, note


def _digits(dataset: str, data: str | None, download: bool, limit: int | None) -> RankingSet:
    torchvision_name = TORCHVISION[dataset]
    if download:
        _fetch(torchvision_name)
    places = [Path(data).expanduser()] if data else [paths.raw_dir() / torchvision_name]
    if not data and dataset in DEBIAN:
        places.append(DEBIAN[dataset])
    folder = layouts.find_idx_folder(places)
    if folder is None:
        files = ", ".join(name for pair in layouts.IDX_FILES.values() for name in pair)
        debian = ", or install the Debian package dataset-fashion-mnist" if dataset == "fashion" else ""
        raise UserError(
            f"the files of {dataset} ({files}, plain or .gz) are not in {places[0]}; "
            f"give their folder by --data, or --download{debian}"
        )
    digits = layouts.read_digits(folder)
    if digits.images.shape[1:] != (28, 28, 1) or digits.labels.max() > 9:
        raise UserError(f"{folder} holds no {dataset}: its images are {digits.images.shape[1:]}")
    names = FASHION_CLASSES if dataset == "fashion" else [str(n) for n in range(10)]
    rows = np.split(np.arange(len(digits.labels)), [digits.training])
    subsets = {
        part: _part(digits.images, r, digits.labels[r], 28, limit)
        for part, r in zip(("train", "test"), rows, strict=True)
    }
    sha256 = compute_hash(digits.images, digits.labels, names)
    about = _about(dataset, sha256, {"train": names, "test": names}, subsets, 28)
    about["licence"] = "MIT" if dataset == "fashion" else "no licence stated; cite LeCun et al. 1998"
    note = "" if len(digits.labels) == 70_000 else f"{len(digits.labels)} images where the published set has 70000"
    return RankingSet(dataset, subsets["train"], subsets["test"], about, note)


def _fetch(torchvision_name: str) -> None:
    datasets = torchvision_compat.load_torchvision().datasets
    folder = paths.raw_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        getattr(datasets, torchvision_name)(str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{torchvision_name} could not be downloaded to {folder} ({error}); give --data") from None


def _part(images: np.ndarray, rows: np.ndarray, labels: np.ndarray, size: int, limit: int | None) -> Part:
    if limit is not None and limit < len(rows):
        keep = choose_evenly(labels, limit)
        rows, labels = rows[keep], labels[keep]
    classes, numbered = np.unique(labels, return_inverse=True)
    return Part(images, rows, torch.from_numpy(numbered.astype(np.int64)), len(classes), size)


def choose_evenly(labels: np.ndarray, limit: int) -> np.ndarray:
    """Numbers, ascending, of `limit` images: the first two of each class, then the next two, as long as there are."""
    order = np.argsort(labels, kind="stable")
    start = np.searchsorted(labels[order], labels[order])
    place = np.arange(len(labels)) - start  # of each image within its class
    taken = order[np.lexsort((place, labels[order], place // 2))][:limit]
    return np.sort(taken)


def _about(name: str, sha256: str, names: dict[str, Any], parts: dict[str, Part], stored: int) -> dict[str, Any]:
    return {
        "name": name,
        "sha256": sha256,
        "split_hash": splits.split_hash({part: list(map(str, classes)) for part, classes in names.items()}),
        "size": int(stored),
        "images": sum(len(part) for part in parts.values()),
        "classes": {part: subset.classes for part, subset in parts.items()},
        "rows_hash": hashlib.sha256(b"".join(part.rows.astype("<i8").tobytes() for part in parts.values())).hexdigest(),
    }
