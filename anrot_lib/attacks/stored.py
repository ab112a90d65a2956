"""Adversarial queries in a file, for others to score: the images, what they were made from, and how far they may lie.

The format is safetensors: tensors and JSON, no code.

| tensor | type and shape | what it holds |
|---|---|---|
| images | float32 (E, n, C, H, W), in [0, 1] | the queries of E episodes |
| rows | int64 (E, n) | which image of the set each was made from |
| tasks | int64 (E,) | the number of each episode in the manifest |

The metadata "anrot" is the JSON of an `ImagesAbout`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from typing_extensions import TypedDict

from anrot_lib.core import paths
from anrot_lib.core.checkpoints import METADATA
from anrot_lib.core.checks import check_images
from anrot_lib.core.configs import check_type
from anrot_lib.core.errors import UserError
from anrot_lib.settings import NORMS

FORMAT, ENDING = 1, ".safetensors"
KINDS = {"images": ("F32", 5), "rows": ("I64", 2), "tasks": ("I64", 1)}  # type in the file, number of dimensions
LONGEST_NAME = 200  # of what a stranger's file says of itself
ROUNDING = {"linf": 1e-6, "l2": 1e-5}  # how far beyond eps float32 arithmetic may end, in units of the pixel range


class ImagesAbout(TypedDict):
    """What a file says of its images: the hashes of the image set, of its split and of the manifest; the threat model.

    attack: what made them, in words.
    """

    format: int
    image_set: str
    split_hash: str
    manifest: str
    norm: str
    eps: float
    target: str
    attack: str


def make_about(image_set: str, split_hash: str, manifest: str, norm: str, eps: float, attack: str) -> ImagesAbout:
    """The description of adversarial queries; `image_set`, `split_hash` and `manifest` are hashes."""
    return {
        "format": FORMAT,
        "image_set": image_set,
        "split_hash": split_hash,
        "manifest": manifest,
        "norm": norm,
        "eps": eps,
        "target": "query",
        "attack": attack,
    }


def write_images(path: Path, about: ImagesAbout, tasks: np.ndarray, rows: np.ndarray, images: Tensor) -> None:
    """Write images (E, n, C, H, W), atomically. UserError for images that are none in [0, 1]."""
    tensors = {
        "images": check_images(images).detach().cpu().float().contiguous(),
        "rows": torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64)),
        "tasks": torch.from_numpy(np.ascontiguousarray(tasks, dtype=np.int64)),
    }
    with paths.write_atomically(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata={METADATA: json.dumps(about)})


@dataclass(frozen=True)
class StoredImages:
    """An open file of adversarial queries. `shape` is (E, n, C, H, W); tasks (E,), rows (E, n)."""

    path: Path
    about: ImagesAbout
    shape: tuple[int, ...]
    tasks: np.ndarray
    rows: np.ndarray
    file: Any

    def read(self, k: int) -> Tensor:
        """The queries (n, C, H, W) of the episode in place k; the others stay on the disk."""
        images: Tensor = self.file.get_slice("images")[k : k + 1][0]
        return images


@contextmanager
def open_images(path: Path, most: int) -> Iterator[StoredImages]:
    """Open a file of adversarial queries of at most `most` images, without reading them.

    UserError for a file that is none, that says something senseless of itself, or that holds more.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about, shape = _check_header(Path(path), file, most)
            tasks, rows = (file.get_tensor(name).numpy() for name in ("tasks", "rows"))
            yield StoredImages(Path(path), about, shape, tasks, rows, file)
    except SafetensorError as error:
        raise UserError(
            f"{path} is no file of adversarial images: {error}; anrot evaluate --store writes one"
        ) from None


def _check_header(path: Path, file: Any, most: int) -> tuple[ImagesAbout, tuple[int, ...]]:
    """What the file says of itself, and the shape of its images; nothing else is read."""
    where = f"{path} is no file of adversarial images"
    names = sorted(file.keys())
    if names != sorted(KINDS):
        raise UserError(f"{where}: it holds {', '.join(names[:5]) or 'nothing'} in place of {', '.join(KINDS)}")
    shapes = {}
    for name, (kind, dimensions) in KINDS.items():
        part = file.get_slice(name)
        shapes[name] = tuple(part.get_shape())
        if part.get_dtype() != kind or len(shapes[name]) != dimensions:
            raise UserError(
                f"{where}: {name} are {part.get_dtype()} {shapes[name]}, not {kind} of {dimensions} dimensions"
            )
    shape = shapes["images"]
    if shapes["rows"] != shape[:2] or shapes["tasks"] != shape[:1] or 0 in shape:
        raise UserError(f"{where}: the shapes of its tensors do not go together ({shapes})")
    if shape[0] * shape[1] > most:
        raise UserError(f"{path} holds {shape[0] * shape[1]:,} images, where the episodes of the record have {most:,}")
    return _read_about(path, (file.metadata() or {}).get(METADATA)), shape


def _read_about(path: Path, text: str | None) -> ImagesAbout:
    what = f"what {path} says of its images"
    try:
        content = json.loads(text or "null")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} does not say what its images were made from; its metadata needs {METADATA!r} as JSON")
    about: ImagesAbout = check_type(content, ImagesAbout, what)
    if set(about) != set(ImagesAbout.__annotations__) or about["format"] != FORMAT:
        raise UserError(f"{what} is not the format {FORMAT} of this kit")
    if about["norm"] not in NORMS or not 0 <= about["eps"] < float("inf") or about["target"] != "query":
        raise UserError(f"{what}: norm must be one of {', '.join(NORMS)}, eps at least 0, target 'query'")
    if len(about["attack"]) > LONGEST_NAME:
        raise UserError(f"{what}: the name of the attack has {len(about['attack'])} letters; {LONGEST_NAME} are enough")
    return about


def check_ball(images: Tensor, clean: Tensor, norm: str, eps: float, where: Sequence[str]) -> None:
    """UserError unless images (n, C, H, W) are finite, in [0, 1], and within eps of the clean ones in the norm.

    Computed in float64, with `ROUNDING` for the float32 arithmetic of whoever made them. where: the name of each image.
    """
    if images.shape != clean.shape:
        raise UserError(f"{where[0]}: images of shape {tuple(images.shape[1:])}, the set has {tuple(clean.shape[1:])}")
    images, clean = images.double(), clean.double()
    change = (images - clean).flatten(1)
    length = change.abs().amax(1) if norm == "linf" else change.square().sum(1).sqrt()
    flat = images.flatten(1)
    for k, name in enumerate(where):
        if not torch.isfinite(flat[k]).all():
            raise UserError(f"{name} holds a value that is not finite")
        low, high = flat[k].min().item(), flat[k].max().item()
        if low < 0 or high > 1:
            raise UserError(f"{name} has values from {low:.6g} to {high:.6g}; pixels lie in [0, 1]")
        if length[k].item() > eps + ROUNDING[norm]:
            raise UserError(
                f"{name} lies {length[k].item():.6g} from its original in the norm {norm}; the threat model allows "
                f"{eps:.6g}"
            )
