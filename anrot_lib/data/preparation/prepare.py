"""From somebody's folder of images to a packed ImageSet: read, split, decode, screen, store.

The packed set lies in one folder. While it is being made, a hidden folder beside it holds
the images decoded so far, so that the same command goes on after a kill; the set comes last.
"""

import hashlib
import json
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError, escape_control
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.data import image_set, packed
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.leakage.near_copies import estimate_search
from anrot_lib.data.preparation import packing, screening
from anrot_lib.data.preparation.assemble import Place, describe_source, finish, make_set_name, storage_errors
from anrot_lib.data.preparation.perturbed import perturb
from anrot_lib.data.preparation.split_choice import SplitChoice, add_superclasses, choose
from anrot_lib.data.readers import items, layouts
from anrot_lib.data.readers.decode import DECODER
from anrot_lib.data.readers.items import Source
from anrot_lib.settings import EMBEDDED

__all__ = ["perturb", "plan", "prepare"]

SIZES = (8, 1024)
EPISODE_WAYS, EPISODE_IMAGES = 5, 16  # what the usual episodes ask of a set
log = logging.getLogger(__name__)


def prepare(
    source: Path | str,
    name: str | None = None,
    layout: str = "auto",
    size: int = 32,
    split: str = "auto",
    seed: int = 0,
    on_bad: str = "error",
    on_duplicates: str = "error",
    out: Path | str | None = None,
    progress: packing.Progress | None = None,
    channels: int | None = None,
    rotations: bool = False,
    replace_split: bool = False,
    ranks: Ranks = ALONE,
) -> ImageSet:
    """Check and pack a folder of images; return the set, memory-mapped from disk.

    Args:
        source: a folder in one of layouts.LAYOUTS; layout: which, or "auto".
        name: of the set, else the folder's; out: the folder to pack into, else
            paths.packed_dir()/name. A set packed there before from this source is replaced, if it
            has the same split.
        size: side of the square images, 8 to 1024; see decode.py for the one rule of resizing.
        split: "auto", a published split, "folders" or "random" (by `seed`); see split_choice.py.
        on_bad: "error", or "quarantine" to leave out, and list, images that cannot be read and
            classes of one image.
        on_duplicates: "error", "quarantine" or "report" for copies of an image in two splits.
        progress: called with images done, their total number, seconds left.
        channels: 3 (RGB) or 1 (grey); by default 1 for Omniglot, else 3.
        rotations: add all classes turned by 90, 180 and 270 degrees as new ones (Omniglot).
        replace_split: replace a set of this name that has another split. Nets trained on the old
            split have seen classes that the new one tests on.
    Returns: the ImageSet; its provenance says what was read, chosen, converted and left out.
    Raises:  UserError, one sentence, for every kind of bad input, a full disk included. Nothing
        half-written is visible then, and a set packed before stays as it was.

    A run that was killed goes on from its last block when called again; a run that has been
    completed before, with the same source and options, returns at once.
    """
    _check_options(size, on_bad, on_duplicates, channels)
    listed = _listed(Path(source).expanduser(), layout, channels, rotations)
    choice = choose(listed, split, seed)
    listed = add_superclasses(listed, choice)
    options = {"size": size, "channels": listed.channels, "rotations": rotations, "split": split}
    options |= {"seed": seed, "on_bad": on_bad, "on_duplicates": on_duplicates}
    return pack_source(
        listed, choice, name or Path(source).expanduser().resolve().name, options, out, progress, replace_split, ranks
    )


class Plan(NamedTuple):
    """What `prepare` would do: the layout that it reads, the split, images, bytes on disk, seconds of decoding, and of
    looking for copies."""

    source: str
    split: str
    images: int
    bytes: int
    seconds: float
    searching: float


def plan(
    source: Path | str,
    layout: str = "auto",
    size: int = 32,
    split: str = "auto",
    seed: int = 0,
    channels: int | None = None,
    rotations: bool = False,
    on_bad: str = "error",
    name: str | None = None,
    on_duplicates: str = "error",
    replace_split: bool = False,
) -> Plan:
    """What `prepare` would do with these options, from a sample of the images. Writes nothing.

    Raises the UserError of `prepare`, except for faults of images outside of the sample and for copies.
    """
    _check_options(size, on_bad, on_duplicates, channels)
    listed = _listed(Path(source).expanduser(), layout, channels, rotations)
    choice = choose(listed, split, seed)
    folder = _find_place(name or Path(source).expanduser().resolve().name, None)
    _packed_before(folder, {"source_id": _digest(str(listed.folder.resolve()))}, choice, replace_split)
    n = len(listed.items)
    seconds, bad, pixels = packing.time_reading(listed, size)
    bad |= {k: item.problem for k, item in enumerate(listed.items) if item.problem}
    screening.list_unreadable(listed.items, bad, on_bad)
    searching = estimate_search(np.stack(pixels), n) if len(pixels) > 1 else 0.0
    return Plan(listed.summary, choice.summary, n, n * size * size * listed.channels, n * seconds, searching)


def _find_place(name: str, out: Path | str | None) -> Path:
    """The folder of a set; UserError for a name that none can have."""
    plain = make_set_name(name)
    if plain in EMBEDDED and out is None:
        raise UserError(f"{plain!r} is the name of an embedded set; give this one another name (--name)")
    return Path(out).expanduser() if out else paths.packed_dir() / plain


def pack_source(
    listed: Source,
    choice: SplitChoice,
    name: str,
    options: dict[str, Any],
    out: Path | str | None = None,
    progress: packing.Progress | None = None,
    replace_split: bool = False,
    ranks: Ranks = ALONE,
) -> ImageSet:
    """The second half of `prepare`: pack a listed source whose split is chosen. `options` holds size, on_bad,
    on_duplicates, and whatever else decides the set; a set packed before with other options is replaced."""
    folder, name = _find_place(name, out), make_set_name(name)
    log.info("%s: %s; %s", name, listed.summary, choice.summary)
    size = options["size"]
    key = _key(listed, size)
    marks = {"key": _digest(key, name, options), "source_id": _digest(str(listed.folder.resolve()))}
    ready = _packed_before(folder, marks, choice, replace_split)
    ranks.wait()  # each has looked before one changes anything
    if ready is not None:
        return ready
    work = folder.parent / f".{folder.name}.packing"
    _warn_of_small_classes(listed, choice)
    with storage_errors(folder, work):
        state = packing.pack(listed, size, work, key, progress, ranks)
        provenance = {**describe_source(listed, choice, options), **marks}
        finish(listed, choice, state, Place(name, folder, work), provenance, ranks)
    return image_set.load(folder, verify=False)  # hashed a moment ago


def _listed(source: Path, layout: str, channels: int | None, rotations: bool) -> Source:
    listed = layouts.read(source, layout)
    listed = replace(listed, channels=channels or listed.channels)
    return items.add_rotations(listed) if rotations else listed


def _check_options(size: int, on_bad: str, on_duplicates: str, channels: int | None) -> None:
    if not isinstance(size, int) or not SIZES[0] <= size <= SIZES[1]:
        raise UserError(f"size must be a whole number from {SIZES[0]} to {SIZES[1]}, got {size}")
    if channels not in (None, 1, 3):
        raise UserError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")
    for what, value, allowed in (
        ("--on-bad", on_bad, screening.ON_BAD),
        ("--on-duplicates", on_duplicates, screening.ON_DUPLICATES),
    ):
        if value not in allowed:
            raise UserError(f"{what} must be one of {', '.join(allowed)}, got {value!r}")


def _warn_of_small_classes(listed: Source, choice: SplitChoice) -> None:
    """Say at once what 5-way episodes of 1 shot and 15 queries will lack, with class and split."""
    counts = Counter(item.class_name for item in listed.items)
    small_parts = [(part, len(names)) for part, names in choice.classes.items() if len(names) < EPISODE_WAYS]
    lacks = [f"{part} has {count} {'class' if count == 1 else 'classes'}" for part, count in small_parts]
    for part, names in choice.classes.items():
        if small := [name for name in names if counts[name] < EPISODE_IMAGES]:
            lacks.append(f"{small[0]!r} of {part} has {counts[small[0]]} images")
    if lacks:
        usual = f"{EPISODE_WAYS}-way episodes of {EPISODE_IMAGES} images a class need more"
        log.info("%s: %s; ask for fewer with --way, --shot and --queries", escape_control(", ".join(lacks)), usual)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _key(source: Source, size: int) -> str:
    """Stands for all that decides the decoded bytes: source, size, rule, library."""
    return _digest(source.fingerprint(), size, source.channels, DECODER, PIL.__version__)


def _packed_before(folder: Path, marks: dict[str, str], choice: SplitChoice, replace_split: bool) -> ImageSet | None:
    """The set that is in the folder already, if it came from the same source and options.

    UserError if the folder holds something else: another source's set, a set with another split, or a user's files.
    """
    if not folder.exists():
        return None
    packed.refuse_other_files(folder)
    try:
        ready = image_set.load(folder)
    except UserError:
        return None  # cut short or damaged: to be packed anew
    if ready.provenance.get("source_id") != marks["source_id"]:
        raise UserError(f"{folder} holds a set made from another source; choose another name")
    if ready.provenance.get("key") == marks.get("key", ""):
        return ready
    part_of = {name: part for part, names in choice.classes.items() for name in names}
    moved = [n for part, names in ready.split_names.items() for n in names if part_of.get(n, part) != part]
    if moved and not replace_split:
        raise UserError(
            f"the set {ready.name!r} exists with another split ({len(moved)} classes, such as {moved[0]!r}, move), and "
            "a net trained on it would be tested on classes that it has seen: choose another --name, or --replace"
        )
    return None
