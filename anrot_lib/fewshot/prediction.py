"""Predict classes of photos: a folder a class as the support set, photos to name, probabilities back."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from anrot_lib.core.errors import UserError, escape_control
from anrot_lib.data.readers import layouts
from anrot_lib.data.readers.decode import BadImage, decode
from anrot_lib.data.readers.folders import walk_images
from anrot_lib.data.readers.items import IMAGE_SUFFIXES, list_subfolders, read_image_file
from anrot_lib.fewshot.classifier import FewShotNet

log = logging.getLogger(__name__)


class Prediction(NamedTuple):
    file: str
    probabilities: dict[str, float]  # class name -> probability, most likely first

    @property
    def best(self) -> str:
        return next(iter(self.probabilities))


def list_support_files(folder: Path) -> dict[str, list[Path]]:
    """Class name -> its photos, of a folder that holds one folder a class, read as `prepare` reads it.

    UserError for fewer than two classes, for a class without photos, and for a photo that is listed but not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give a folder that holds one folder of photos a class")
    if empty := [path.name for path in list_subfolders(folder) if not any(walk_images(path))]:
        raise UserError(f"the class folder {empty[0]!r} in {folder} holds no photos; add one or remove the folder")
    classes: dict[str, list[Path]] = {}
    listed = layouts.read(folder) if list_subfolders(folder) else None
    if listed is not None and listed.ignored:
        log.info("%s: %s", escape_control(str(folder)), listed.summary)
    for item in listed.items if listed is not None else ():
        if item.row >= 0 or item.problem:
            raise UserError(f"{folder}: {item.file!r} is no photo ({item.problem or 'it is a row of an array'})")
        classes.setdefault(item.class_name, []).append(item.path)
    if len(classes) < 2:
        raise UserError(f"{folder} holds {len(classes)} class folders; at least 2 are needed to choose between")
    return {name: classes[name] for name in sorted(classes)}


def list_query_files(query: Path) -> list[Path]:
    """The photos to name: one file, or all photos of a folder and of those in it."""
    query = Path(query)
    if query.is_file():
        return [query]
    if not query.is_dir():
        raise UserError(f"there is no photo or folder {query}")
    if not (files := list(walk_images(query))):
        raise UserError(f"the folder {query} holds no photos ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def read_images(files: list[Path], size: int, channels: int) -> torch.Tensor:
    """Photos of any size and format as (N, C, size, size) in [0, 1], by the same rule as `prepare`."""
    images = []
    for file in files:
        try:
            images.append(decode(read_image_file(file), size, channels))
        except (BadImage, OSError) as error:
            raise UserError(f"cannot read the photo {file}: {error}") from error
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def predict(net: FewShotNet, support: Path, query: Path, size: int) -> list[Prediction]:
    """Probabilities (softmax of the logits) of every query photo, from as many shots as each class folder has.

    Only as well calibrated as the net: they rank classes, they do not say how often the net is right.
    """
    classes, queries = list_support_files(support), list_query_files(query)
    files = [file for members in classes.values() for file in members]
    labels = torch.tensor([k for k, members in enumerate(classes.values()) for _ in members])
    channels = net.backbone.in_channels
    net.process_support_set(read_images(files, size, channels), labels)
    logits = net(read_images(queries, size, channels))
    if (logits == logits[:, :1]).all():
        raise UserError("the net gives all classes the same logit, so it names none; train it again, at a smaller rate")
    probabilities = logits.softmax(-1)
    predictions = []
    for file, row in zip(queries, probabilities, strict=True):
        order = row.argsort(descending=True).tolist()
        names = list(classes)
        name = file.relative_to(query).as_posix() if file != Path(query) else file.name
        predictions.append(Prediction(name, {names[k]: row[k].item() for k in order}))
    return predictions
