"""Manifests drawn again: the hash of a record's episodes, from the labels of its image set, without its images.

It takes the image set: one that is prepared on this machine, of which only set.json is read, or the characters that
ship with the kit.
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from anrot_lib.audit.recompute.arithmetic import Recomputation
from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.data import packed, splits
from anrot_lib.data.episodes import EpisodeSampler, name_stream
from anrot_lib.settings import CHARACTERS

IMAGES = 20  # of a class of the characters


@dataclass(frozen=True)
class Labels:
    """What episodes are drawn from: the class of each image, and the classes of each split by name."""

    labels: np.ndarray
    names: tuple[str, ...]
    classes: Mapping[str, tuple[str, ...]]


def list_prepared() -> Iterator[tuple[str, Labels]]:
    """(hash, labels) of the sets that are prepared on this machine, and of the characters."""
    folder = paths.packed_dir()
    for file in sorted(folder.glob("*/set.json")) if folder.is_dir() else ():
        try:
            about = packed.read_description(file.parent)
        except UserError:  # a set of another version, which says nothing of these records
            continue
        names = tuple(about["class_names"])
        classes = {split: tuple(names[c] for c in numbers) for split, numbers in about["splits"].items()}
        yield about["sha256"], Labels(np.array(about["labels"]), names, classes)
    about = json.loads((files("anrot_lib.data.embedded") / f"{CHARACTERS}.json").read_text("utf-8"))
    classes = {
        split: tuple(f"{alphabet}/character{k:02d}" for alphabet, n in alphabets.items() for k in range(1, n + 1))
        for split, alphabets in about["alphabets"].items()
    }
    names = tuple(sorted(name for members in classes.values() for name in members))
    yield about["sha256"], Labels(np.repeat(np.arange(len(names)), IMAGES), names, classes)


class Sets:
    """The image sets that are here, and the hashes of the episodes that were drawn from them."""

    def __init__(self) -> None:
        self.prepared = dict(list_prepared())
        self.compute_hash = functools.cache(self._compute_hash)

    def _compute_hash(self, sha256: str, left_out: tuple[str, ...], split: str, sizes: tuple[int, ...]) -> str:
        """sha256 over the set's hash, the split, and shape and row numbers of classes, support and query images."""
        known = self.prepared[sha256]
        wanted = [k for k, name in enumerate(known.names) if name in known.classes[split] and name not in left_out]
        way, shot, query, tasks, seed = sizes
        rows = np.flatnonzero(np.isin(known.labels, wanted))
        sampler = EpisodeSampler(known.labels, way, shot, query, tasks, seed, rows=rows, stream=name_stream(split))
        episodes = sampler.draw()
        digest = hashlib.sha256(f"{sha256}/{split}".encode())
        for array in (episodes.classes, episodes.support, episodes.query):
            digest.update(f"{array.shape}".encode() + np.asarray(array, dtype="<i8", order="C").tobytes())
        return digest.hexdigest()

    def recompute_manifest(self, record: Mapping[str, Any], where: str, again: Recomputation) -> None:
        """The hash of a record's manifest, if its set is here with the split of the record."""
        manifest, data = record["manifest"], record["data"]
        known = self.prepared.get(manifest["image_set_hash"])
        if known is None or manifest["split"] not in known.classes:
            return
        left_out = tuple(data.get("without", ()))
        kept = {split: [name for name in names if name not in left_out] for split, names in known.classes.items()}
        if splits.split_hash(kept) != data["split_hash"]:
            return
        sizes = tuple(manifest[name] for name in ("n_way", "n_shot", "n_query", "n_tasks", "seed"))
        computed = self.compute_hash(manifest["image_set_hash"], left_out, manifest["split"], sizes)
        again.compare_exactly(where, "manifest of the episodes", manifest["hash"], computed)
        if "layout" in manifest:
            wanted = [k for k, name in enumerate(known.names) if name in kept[manifest["split"]]]
            layout = [int(n) for n in np.bincount(known.labels, minlength=len(known.names))[wanted]]
            again.compare_exactly(where, "layout of the episodes", manifest["layout"], layout)
