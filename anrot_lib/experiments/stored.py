"""The adversarial queries of a column in a file, written in parts, so that a killed test need not begin again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anrot_lib.attacks.stored import ENDING, ImagesAbout, StoredImages, make_about, open_images, write_images
from anrot_lib.core.checkpoints import sha256
from anrot_lib.core.errors import UserError
from anrot_lib.core.paths import make_file_stem
from anrot_lib.data.episodes import EpisodeManifest, EpisodeRows
from anrot_lib.experiments.setting import Setting
from anrot_lib.records.parts import ColumnRecord


def find_images(setting: Setting, row: str, column: str) -> Path:
    """Where the adversarial queries of a column are stored; not among the records, for they are images of the set."""
    words = column.replace("/", "-").replace(" ", "-")
    return setting.work / f"{make_file_stem(row)}-{make_file_stem(words)}{ENDING}"


def has_images(setting: Setting, row: str, name: str, column: ColumnRecord | None) -> bool:
    """Whether the file of a column's adversarial queries is there as its record says."""
    path = find_images(setting, row, name)
    return column is not None and "images" in column and path.is_file() and sha256(path) == column["images"]


class ImageStore:
    """A file of the adversarial queries of a column, which comes in parts of some episodes each.

    net: the hash of the attacked net; parts that another net, manifest or threat model left are made anew.
    """

    def __init__(self, setting: Setting, row: str, column: str, manifest: EpisodeManifest, net: str):
        self.path = find_images(setting, row, column)
        self.parts = self.path.with_suffix(".parts")
        image_set, protocol = setting.image_set, setting.protocol
        self.about: ImagesAbout = make_about(
            image_set.sha256,
            image_set.split_hash,
            manifest.hash,
            protocol.norm,
            protocol.eps,
            f"{column} of {net[:16]}",
        )

    def _name(self, start: int) -> Path:
        return self.parts / f"{start}{ENDING}"

    def has(self, start: int, rows: EpisodeRows) -> bool:
        """Whether the part that begins with an episode is there, and holds the queries of these rows."""
        try:
            with open_images(self._name(start), rows.query.size) as part:
                queries = rows.query.reshape(len(rows), -1)
                return part.about == self.about and np.array_equal(part.rows, queries) and part.tasks[0] == start
        except UserError:  # none, or cut short by a kill
            return False

    def keep(self, start: int, rows: EpisodeRows) -> Callable[[Tensor], None]:
        """A function that writes the part which begins with an episode, when it gets its queries."""

        def write(images: Tensor) -> None:
            tasks = np.arange(start, start + len(rows))
            write_images(self._name(start), self.about, tasks, rows.query.reshape(len(rows), -1), images)

        return write

    def join(self, starts: list[int], most: int) -> str:
        """Join the parts that begin with these episodes into one file; returns its hash."""
        tasks, rows, images = [], [], []
        for start in starts:
            with open_images(self._name(start), most) as part:
                tasks.append(part.tasks)
                rows.append(part.rows)
                images.append(read_all(part))
        write_images(self.path, self.about, np.concatenate(tasks), np.concatenate(rows), torch.cat(images))
        shutil.rmtree(self.parts)
        return sha256(self.path)


def read_all(part: StoredImages) -> Tensor:
    """All images (E, n, C, H, W) of a file."""
    return torch.stack([part.read(k) for k in range(part.shape[0])])
