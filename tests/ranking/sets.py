"""Generated images in the layouts of the retrieval sets."""

import gzip
import struct
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image


def digits(n: int, seed: int, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Noisy bars, one direction and place a class: uint8 (n, 28, 28), labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = rng.integers(0, 80, (n, 28, 28))
    for i, c in enumerate(labels):
        at = 3 + 5 * (c // 2) + rng.integers(-1, 2)
        images[i, slice(at, at + 4) if c % 2 else slice(None), slice(None) if c % 2 else slice(at, at + 4)] += 150
    return images.astype(np.uint8), labels.astype(np.uint8)


def write_idx(path: Path, array: np.ndarray, compress: bool) -> None:
    raw = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    Path(f"{path}{'.gz' if compress else ''}").write_bytes(gzip.compress(raw) if compress else raw)


def write_digits(folder: Path, n_train: int = 120, n_test: int = 60, compress: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, n, seed in (("train", n_train, 0), ("t10k", n_test, 1)):
        images, labels = digits(n, seed)
        write_idx(folder / f"{name}-images-idx3-ubyte", images, compress)
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels, compress)
    return folder


def photo(c: int, i: int, height: int = 40, width: int = 60) -> Image.Image:
    """A colour gradient by class, with noise; not square."""
    rng = np.random.default_rng(1000 * c + i)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    plane = np.stack([np.sin((c + 1) * x), np.cos((c + 2) * y), np.sin((c + 3) * (x + y))], -1)
    pixels = 127 + 90 * plane + rng.normal(0, 12, plane.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_cub(folder: Path, classes: int = 4, per_class: int = 6) -> Path:
    for c in range(classes):
        where = folder / "CUB_200_2011" / "images" / f"{c + 1:03d}.Bird_{c}"
        where.mkdir(parents=True)
        for i in range(per_class):
            photo(c, i).save(where / f"bird_{i}.jpg")
    (folder / "CUB_200_2011" / "classes.txt").write_text("1 001.Bird_0\n")
    return folder


def write_cars(folder: Path, classes: int = 4, per_class: int = 6) -> Path:
    (folder / "car_ims").mkdir(parents=True)
    fields = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"]
    rows = []
    for k in range(classes * per_class):
        c = k % classes
        file = f"car_ims/{k:06d}.jpg"
        photo(c, k).save(folder / file)
        rows.append((file, 1, 1, 9, 9, c + 1, 0))
    array = np.array([rows], dtype=[(name, object) for name in fields]).reshape(1, -1)
    array = np.array([tuple(row) for row in rows], dtype=[(name, object) for name in fields])
    names = np.array([f"Car {c}" for c in range(classes)], dtype=object)
    scipy.io.savemat(folder / "cars_annos.mat", {"annotations": array, "class_names": names})
    return folder


def write_sop(folder: Path, classes: int = 6, per_class: int = 4) -> Path:
    where = folder / "Stanford_Online_Products"
    number = 0
    for split, some in (("train", range(classes // 2)), ("test", range(classes // 2, classes))):
        lines = ["image_id class_id super_class_id path"]
        for c in some:
            (where / "chair_final").mkdir(parents=True, exist_ok=True)
            for i in range(per_class):
                number += 1
                file = f"chair_final/{c}_{i}.JPG"
                photo(c, i).save(where / file, format="JPEG")
                lines.append(f"{number} {c + 1} 1 {file}")
        (where / f"Ebay_{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


WRITERS = {"cub": write_cub, "cars": write_cars, "sop": write_sop}
