"""What a prepared set must not hold, in one list: unreadable images, lone images, leaking copies.

Each finding names an image and the reason. The user chooses: an error that ends the preparation, or
a quarantine, in which the images are left out of the set and listed beside it.
"""

import csv
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.leakage import guard
from anrot_lib.data.preparation import packing
from anrot_lib.data.readers.items import Item

log = logging.getLogger(__name__)
KINDS = {"identical": "identical copy of", "near": "looks like", "mirrored": "looks like, mirrored,"}
ON_BAD = ("error", "quarantine")
ON_DUPLICATES = ("error", "quarantine", "report")


class Finding(NamedTuple):
    file: str
    class_name: str
    reason: str


class Screened(NamedTuple):
    keep: np.ndarray  # rows that stay, ascending
    findings: list[Finding]  # what was left out
    duplicates: dict[str, Any]  # the copies, for the provenance


def list_unreadable(items: Sequence[Item], bad: Mapping[int, str], on_bad: str) -> list[Finding]:
    """The images that could not be decoded; UserError if the user wants none or none is left."""
    findings = [Finding(items[n].file, items[n].class_name, why) for n, why in sorted(bad.items())]
    if findings and (on_bad == "error" or len(findings) == len(items)):
        _refuse(findings, len(items), "cannot be read")
    return findings


def screen(image_set: ImageSet, on_bad: str, on_duplicates: str, work: Path, ranks: Ranks = ALONE) -> Screened:
    """Look for copies across splits and for classes of one image; leave out what must be.

    The copies are noted in the folder `work`: when they are an error, and the user
    then asks for a quarantine, the search, which takes minutes for large sets, is not repeated.
    """
    copies, report = _copies(image_set, on_duplicates, work / packing.COPIES, ranks)
    findings = [_finding(image_set, row, why) for row, why in sorted(copies.items())]
    keep = np.setdiff1d(np.arange(len(image_set)), np.fromiter(copies, np.int64))
    lone = _lone(image_set, keep)
    lonely = [_finding(image_set, row, "the only image of its class") for row in lone]
    if lonely and on_bad == "error":
        _refuse(lonely, len(image_set), "are alone in their class, where an episode needs two")
    return Screened(np.setdiff1d(keep, lone), findings + lonely, report)


def _copies(image_set: ImageSet, on_duplicates: str, note: Path, ranks: Ranks) -> tuple[dict[int, str], dict[str, Any]]:
    """Rows to leave out because of a copy in another split, and a report of all copies."""
    split_of_image = guard.name_splits_of_images(image_set)
    pairs = find_copies(image_set, split_of_image, note, ranks)
    listed = [_describe_pair(image_set, split_of_image, pair) for pair in pairs]
    across = [d for d in listed if d["across_splits"]]
    if across and on_duplicates == "error":
        _refuse_copies(across, len(image_set))
    gone: dict[int, str] = {}
    if on_duplicates == "quarantine":
        for row in guard.quarantine(pairs, split_of_image).tolist():
            gone[row] = next(_why(image_set, row, pair) for pair in pairs if _leaks(pair, row))
    return gone, {"found": len(pairs), "across_splits": len(across), "pairs": listed}


def find_copies(image_set: ImageSet, split_of_image: np.ndarray, note: Path, ranks: Ranks = ALONE) -> list[guard.Pair]:
    """The copies in a set, from the note if it was made for the same classes and split; else noted there.

    split_of_image  (N,), of `guard.name_splits_of_images`.  ranks  the processes that share the search.
    """
    arrays = (image_set.labels, split_of_image)
    made_for = hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
    noted = ranks.gather(_read_note(note, made_for) if ranks.is_first else None)[0]
    if noted is not None:
        return noted
    log.info("looking for copies among %d images", len(image_set))
    pairs = guard.find_duplicates(image_set.images, image_set.labels, split_of_image, ranks)
    if ranks.is_first:
        paths.write_json(note, {"made_for": made_for, "pairs": pairs})
    return pairs


def _read_note(note: Path, made_for: str) -> list[guard.Pair] | None:
    """The pairs of a note that was made for the same images; None for any other file."""
    try:
        noted = json.loads(note.read_text("utf-8"))
        if noted["made_for"] != made_for:
            return None
        return [guard.Pair(int(a), int(b), str(k), float(s), bool(x), bool(c)) for a, b, k, s, x, c in noted["pairs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _leaks(pair: guard.Pair, row: int) -> bool:
    return pair.across and row in (pair.row_a, pair.row_b)


def _why(image_set: ImageSet, row: int, pair: guard.Pair) -> str:
    other = pair.row_b if row == pair.row_a else pair.row_a
    return f"{KINDS[pair.kind]} {image_set.files[other]}"


def _describe_pair(image_set: ImageSet, split_of_image: np.ndarray, pair: guard.Pair) -> dict[str, Any]:
    rows = (pair.row_a, pair.row_b)
    return {
        "files": [image_set.files[row] for row in rows],
        "classes": [image_set.class_names[image_set.labels[row]] for row in rows],
        "splits": [str(split_of_image[row]) for row in rows],
        "across_splits": pair.across,
        "kind": pair.kind,
        "score": round(float(pair.score), 4),
    }


def _refuse_copies(pairs: Sequence[dict[str, Any]], total: int) -> None:
    """UserError that counts images, not pairs, and tells the same pixels from pictures that are merely alike."""
    parts = []
    for kind, what in (
        ("identical", "the same pixels as"),
        ("alike", "alike (not the same pixels), and perhaps copies of"),
    ):
        members = [pair for pair in pairs if (pair["kind"] == "identical") == (kind == "identical")]
        if not members:
            continue
        images = {file for pair in members for file in pair["files"]}
        shown = "; ".join(
            " and ".join(f"{f} ({s})" for f, s in zip(pair["files"], pair["splits"], strict=True))
            for pair in members[:5]
        )
        more = f"; and {len(members) - 5} more pairs" if len(members) > 5 else ""
        parts.append(f"{len(images)} of {total} images are {what} images of another split: {shown}{more}")
    raise UserError(
        f"{'; '.join(parts)}; that leaks test images: choose --on-duplicates "
        "quarantine to leave one of each out, or report to keep and list them"
    )


def write_quarantine(findings: Sequence[Finding], folder: Path) -> None:
    """List what was left out in folder/quarantine.csv, if anything was."""
    if findings:
        with open(folder / "quarantine.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([Finding._fields, *findings])


def _finding(image_set: ImageSet, row: int, why: str) -> Finding:
    return Finding(image_set.files[row], image_set.class_names[image_set.labels[row]], why)


def _lone(image_set: ImageSet, keep: np.ndarray) -> np.ndarray:
    """The kept rows whose class has no other kept image."""
    labels = image_set.labels[keep]
    counts = np.bincount(labels, minlength=len(image_set.class_names))
    lone: np.ndarray = keep[counts[labels] == 1]
    return lone


def _refuse(findings: Sequence[Finding], n: int, what: str) -> None:
    shown = "; ".join(f"{f.file} ({f.reason})" for f in findings[:5])
    more = f"; and {len(findings) - 5} more" if len(findings) > 5 else ""
    raise UserError(
        f"{len(findings)} of {n} images {what}: {shown}{more}; mend or remove them, or choose "
        "--on-bad quarantine to leave them out and list them"
    )
