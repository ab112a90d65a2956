"""Generated images, and the layouts in which people have them on disk."""

import csv
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

Pictures = dict[str, list[np.ndarray]]


def pictures(class_names, per_class=2, size=8, seed=0) -> Pictures:
    """Noise images uint8 (size, size, 3), all different."""
    noise = np.random.default_rng(seed)
    return {name: list(noise.integers(0, 256, (per_class, size, size, 3), dtype=np.uint8)) for name in class_names}


def write_folders(folder: Path, images: Pictures) -> Path:
    for name, arrays in images.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, array in enumerate(arrays):
            Image.fromarray(array).save(folder / name / f"{i:03d}.png")
    return folder


def write_split_folders(folder: Path, images: Pictures, split: dict[str, tuple[str, ...]]) -> Path:
    for part, names in split.items():
        write_folders(folder / part, {name: images[name] for name in names})
    return folder


def write_csv(folder: Path, images: Pictures, split: dict[str, tuple[str, ...]]) -> Path:
    (folder / "images").mkdir(parents=True)
    for part, names in split.items():
        rows = [(f"{name}_{i}.png", name) for name in names for i in range(len(images[name]))]
        for row, array in zip(rows, (a for n in names for a in images[n]), strict=True):
            Image.fromarray(array).save(folder / "images" / row[0])
        with open(folder / f"{part}.csv", "w", newline="") as out:
            csv.writer(out).writerows([("filename", "label"), *rows])
    return folder


def write_pickles(folder: Path, images: Pictures, split: dict[str, tuple[str, ...]], protocol=4) -> Path:
    folder.mkdir(parents=True)
    for part, names in split.items():
        names = sorted(names, reverse=True)  # another order than that of the other layouts
        rows = np.concatenate([np.stack(images[name]) for name in names])
        ends = np.cumsum([0, *(len(images[name]) for name in names)])
        index = {name: list(range(ends[i], ends[i + 1])) for i, name in enumerate(names)}
        with open(folder / f"mini-imagenet-cache-{part}.pkl", "wb") as out:
            pickle.dump({"image_data": rows, "class_dict": index}, out, protocol)
    return folder


def write_cifar(folder: Path, fine: list[str], coarse_of: dict[str, str], per_class=2) -> Path:
    """cifar-100-python as Python 2 keys it; half of the images of a class are in `test`."""
    folder = folder / "cifar-100-python"
    folder.mkdir(parents=True)
    coarse = sorted(set(coarse_of.values()))
    for seed, part in enumerate(("train", "test")):
        images = pictures(fine, per_class // 2, 32, seed)
        labels = [i for i, name in enumerate(fine) for _ in images[name]]
        data = np.concatenate([np.stack(images[name]) for name in fine])
        batch = {
            b"data": data.transpose(0, 3, 1, 2).reshape(len(data), -1),
            b"fine_labels": labels,
            b"coarse_labels": [coarse.index(coarse_of[fine[i]]) for i in labels],
            b"filenames": [f"{i}.png".encode() for i in range(len(data))],
        }
        (folder / part).write_bytes(pickle.dumps(batch, 2))
    meta = {b"fine_label_names": [n.encode() for n in fine], b"coarse_label_names": [n.encode() for n in coarse]}
    (folder / "meta").write_bytes(pickle.dumps(meta, 2))
    return folder


@pytest.fixture(scope="session")
def disk() -> SimpleNamespace:
    """Functions that write generated images to disk."""
    return SimpleNamespace(
        pictures=pictures,
        folders=write_folders,
        split_folders=write_split_folders,
        csv=write_csv,
        pickles=write_pickles,
        cifar=write_cifar,
    )


@pytest.fixture
def shop(tmp_path, disk) -> Path:
    """A user's folder: 5 classes of 4 pictures, names with a space and accents."""
    return disk.folders(tmp_path / "shop", disk.pictures(("ananas", "Grüne Birne", "kaki", "mango", "quitte"), 4))
