"""The last steps of a preparation: screen the decoded images, and let the set appear."""

import contextlib
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.data import image_set, packed
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.preparation import packing, screening
from anrot_lib.data.preparation.split_choice import SplitChoice, choose
from anrot_lib.data.readers.catalogue import describe_known
from anrot_lib.data.readers.decode import DECODER
from anrot_lib.data.readers.items import Item, Source


class Place(NamedTuple):
    name: str  # of the set
    folder: Path  # where it will be
    work: Path  # the hidden folder in which it is made


def finish(
    source: Source,
    choice: SplitChoice,
    state: packing.Packing,
    place: Place,
    provenance: dict[str, Any],
    ranks: Ranks = ALONE,
) -> None:
    """Screen the packed images, leave out what has to be, and publish the set.

    Every byte is on disk before anything is visible: a disk that is full by now leaves a set that
    was packed before as it was. `ranks` are the processes that share the search for copies; the first publishes.
    """
    on_bad, on_duplicates = (provenance["options"][k] for k in ("on_bad", "on_duplicates"))
    findings = screening.list_unreadable(source.items, state.bad, on_bad)
    items = [item for number, item in enumerate(source.items) if number not in state.bad]
    if on_bad == "quarantine":
        choice = _redrawn(source, choice, items, provenance)
    side = provenance["options"]["size"]
    with ranks.first():
        path = packing.finish(place.work, (len(items), side, side, source.channels))
    whole = build(place.name, packed.map_file(path), items, source, choice, sha256="not yet")
    screened = screening.screen(whole, on_bad, on_duplicates, place.work, ranks)
    _refuse_empty_splits(choice, {items[row].class_name for row in screened.keep})
    if not ranks.is_first:
        ranks.wait()
        return
    if len(screened.keep) < len(items):
        path = place.work / "images.npy"
        with open(path, "wb") as file:
            packed.write_images(file, whole.images, screened.keep)
        items = [items[row] for row in screened.keep]
    findings += screened.findings
    provenance["conversions"] = dict(sorted(state.kinds.items()))
    provenance["duplicates"] = screened.duplicates
    provenance["quarantine"] = [list(finding) for finding in findings]
    del whole  # before the next map: both together would hold the images twice
    final = build(place.name, packed.map_file(path), items, source, choice, provenance=provenance)
    screening.write_quarantine(findings, place.work)
    packed.write_description(image_set.describe(final), place.work)
    del final  # it holds the file open, and Windows does not move open files
    packed.publish(place.work, place.folder, images=path.name)
    shutil.rmtree(place.work, ignore_errors=True)
    ranks.wait()


def _redrawn(source: Source, choice: SplitChoice, items: list[Item], provenance: dict[str, Any]) -> SplitChoice:
    """A random split drawn again if bad files cost some classes: without those that will be left out."""
    counts = Counter(item.class_name for item in items)
    usable = tuple(item for item in items if counts[item.class_name] > 1)
    if choice.name != "random" or {i.class_name for i in usable} == set(source.class_names):
        return choice
    choice = choose(replace(source, items=usable), "random", provenance["options"]["seed"])
    provenance["split"]["said"] = choice.summary
    return choice


def _refuse_empty_splits(choice: SplitChoice, left: set[str]) -> None:
    for split, names in choice.classes.items():
        if names and not left & set(names):
            raise UserError(f"no class of {split} is left without the images that cannot be used")


def build(
    name: str,
    images: np.ndarray,
    items: Sequence[Item],
    source: Source,
    choice: SplitChoice,
    **more: Any,
) -> ImageSet:
    """The ImageSet of some items of a source: classes and levels by name, split by choice."""
    class_names, labels = _numbered([item.class_name for item in items])
    numbers = {c: i for i, c in enumerate(class_names)}
    levels = {level: _numbered([item.levels[i] for item in items]) for i, level in enumerate(source.level_names)}
    return image_set.build_image_set(
        name,
        images,
        labels,
        class_names,
        {s: [numbers[c] for c in names if c in numbers] for s, names in choice.classes.items()},
        levels={level: values for level, (_, values) in levels.items()},
        level_names={level: names for level, (names, _) in levels.items()},
        files=[item.file for item in items],
        **more,
    )


def _numbered(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The different names, sorted, and the number of each."""
    different = tuple(sorted(set(names)))
    numbers = {name: i for i, name in enumerate(different)}
    return different, np.array([numbers[name] for name in names], dtype=np.int64)


def describe_source(source: Source, choice: SplitChoice, options: dict[str, Any]) -> dict[str, Any]:
    """The provenance of a set, as far as it is known before its images are decoded."""
    split = {"name": choice.name, "said": choice.summary}
    if choice.name == "random":
        split["seed"] = options["seed"]
    return {
        "source": source.folder.resolve().name,
        "layout": source.layout,
        "found": source.summary,
        **describe_known(choice.name, sum(not item.turn for item in source.items)),
        "split": split,
        "options": options,
        "decoder": {"rule": DECODER, "pillow": PIL.__version__},
        "ignored": {"count": len(source.ignored), "first": list(source.ignored[:20])},
    }


@contextlib.contextmanager
def storage_errors(folder: Path, work: Path | None = None) -> Iterator[None]:
    """Turn a full disk, missing permissions and the like into one sentence; clear a full disk."""
    try:
        yield
    except OSError as error:
        if paths.is_full(error):
            if work is not None:
                shutil.rmtree(work, ignore_errors=True)
            raise UserError(
                f"the disk is full: {folder} could not be written, and what had been written of "
                "it was removed; make room, or choose a smaller size or another folder"
            ) from None
        where = error.filename or folder
        raise UserError(f"{where} cannot be read or written: {error.strerror or error}") from None


def make_set_name(name: str) -> str:
    """A set's name as a folder's name on every system: "My photos (1)" -> "my-photos-1"."""
    text = unicodedata.normalize("NFKC", name).casefold()
    plain = re.sub(r"[^\w.]+", "-", text).strip("-._")
    if not plain or not paths.is_file_name(plain):
        raise UserError(
            f"{name[:80]!r} cannot be the name of a set; use letters and digits, {paths.LONGEST_NAME} at most"
        )
    return plain
