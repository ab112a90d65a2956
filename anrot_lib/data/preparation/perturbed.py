"""A perturbed copy of a set on disk: noisy or adversarial images, with how they were made."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core import paths
from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError
from anrot_lib.data import image_set as image_sets
from anrot_lib.data import packed
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.preparation.assemble import make_set_name, storage_errors

GREY_LEVEL = 1 / 255


def perturb(
    image_set: ImageSet,
    kind: str,
    perturbation: Callable[..., Tensor],
    *,
    parameters: Mapping[str, Any],
    seed: int,
    eps: float | None = None,
    with_labels: bool = False,
    out: Path | str | None = None,
    batch: int = 256,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """Write a copy of a set with every image perturbed, block by block; return it from disk.

    Args:
        kind: what is done, "gaussian" or "fgsm"; becomes part of the copy's name.
        perturbation: float32 images (n, C, H, W) in [0, 1] -> the same, perturbed; with
            with_labels it is called with the class numbers, int64 (n,), as well.
        parameters, seed: what the perturbation was made with, for the provenance (JSON).
        eps: if given, no pixel may move by more, in the range [0, 1].
        out: the folder to write, else paths.packed_dir()/<set>-<kind>.
        progress: called with images done and their total number.
    Returns: the copy: same labels, splits and file names, other pixels and hash; its provenance holds
        the source's hash.
    Raises:  UserError for images outside of [0, 1] or of another shape, a pixel moved by more than
        eps, and a full disk; nothing is visible then.

    Pixels are stored as uint8, rounded, which moves a value by up to half a grey level: what is
    stored may differ from the source by eps + 0.5 / 255, and that is what is checked.
    """
    name = make_set_name(f"{image_set.name}-{kind}")
    folder = Path(out).expanduser() if out else paths.packed_dir() / name
    provenance = _provenance(image_set, kind, parameters, seed)
    _refuse_others(folder, image_set)
    with storage_errors(folder), _workplace(folder) as work:
        path = work / "images.npy"
        blocks = _perturbed(image_set, perturbation, with_labels, batch, device)
        farthest = 0.0
        with open(path, "wb") as file:
            file.write(packed.make_npy_header(image_set.images.shape))
            for rows, pixels in blocks:
                farthest = max(farthest, _moved(pixels, image_set.images[rows], eps, kind))
                file.write(pixels.data)
                if progress is not None:
                    progress(int(rows[-1]) + 1, len(image_set))
        provenance["stored"] = {"eps": eps, "largest_change": farthest, "grey_levels": 255}
        copy = image_set.with_images(name, packed.map_file(path), provenance)
        packed.write_description(image_sets.describe(copy), work)
        del copy
        packed.publish(work, folder)
    return image_sets.load(folder, verify=False)  # hashed a moment ago


def _perturbed(
    image_set: ImageSet,
    perturbation: Callable[..., Tensor],
    with_labels: bool,
    batch: int,
    device: str | torch.device,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers of a block, and its perturbed images as they are to be stored."""
    for first in range(0, len(image_set), batch):
        rows = np.arange(first, min(first + batch, len(image_set)))
        clean = image_set.batch(rows, device)
        labels = (torch.from_numpy(image_set.labels[rows]).to(device),) if with_labels else ()
        yield rows, _stored(perturbation(clean.clone(), *labels), clean)


def _provenance(image_set: ImageSet, kind: str, parameters: Mapping[str, Any], seed: int) -> dict[str, Any]:
    perturbation = {"kind": kind, "parameters": dict(parameters), "seed": seed}
    try:
        json.dumps(perturbation)  # now, and not after hours of attacking
    except TypeError as error:
        raise UserError(f"the parameters of {kind} must be numbers and texts: {error}") from None
    return {
        "source": image_set.name,
        "source_sha256": image_set.sha256,
        "source_provenance": image_set.provenance,
        "perturbation": perturbation,
    }


def _refuse_others(folder: Path, image_set: ImageSet) -> None:
    """A copy may replace an earlier copy of the same set, never the set itself or another one."""
    packed.refuse_other_files(folder)
    if (folder / "set.json").exists():
        there = packed.read_description(folder)["provenance"].get("source_sha256")
        if there != image_set.sha256:
            raise UserError(f"{folder} holds another set; choose another folder for the copy")


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A hidden folder beside the copy's, emptied of what a killed run may have left."""
    work = folder.parent / f".{folder.name}.packing"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _stored(images: Tensor, clean: Tensor) -> np.ndarray:
    """Perturbed images as uint8 (n, H, W, C), each value rounded to the nearest grey level."""
    if images.shape != clean.shape:
        shapes = f"{tuple(clean.shape)} became {tuple(images.shape)}"
        raise UserError(f"a perturbation must keep the shape of the images, but {shapes}")
    pixels = check_images(images.detach(), "perturbed images").float().mul(255).round()
    return np.ascontiguousarray(pixels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())


def _moved(pixels: np.ndarray, clean: np.ndarray, eps: float | None, kind: str) -> float:
    """The largest change of a pixel, in the range [0, 1]; UserError if it is above the limit."""
    change = np.abs(pixels.astype(np.int16) - clean).max(initial=0) * GREY_LEVEL
    if eps is not None and change > eps + 0.5 * GREY_LEVEL + 1e-6:
        raise UserError(f"{kind} moved a pixel by {change:.4f}, which is more than eps {eps:.4f}")
    return float(change)
