"""The guard of a split: no class and no picture on both sides, and enough of both for an episode.

A class or a picture that is in train and in test makes a few-shot accuracy a seen-class accuracy.
Copies within one split do no such harm; they are listed apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from anrot_lib.core.errors import UserError
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.leakage.near_copies import compute_digests, find_near_copies, group_identical
from anrot_lib.data.splits import SPLITS, list_briefly, make_name_key

MODES = ("error", "quarantine", "report")


class Pair(NamedTuple):
    """Two images that are copies; row_a < row_b."""

    row_a: int
    row_b: int
    kind: str  # "identical" pixels, "near" copy, or "mirrored" near copy
    score: float  # 1 for identical pixels, else the share of fine detail in common
    across: bool  # in two different splits
    same_class: bool


class Shortage(NamedTuple):
    split: str
    class_name: str
    images: int


@dataclass(frozen=True)
class Report:
    """The faults of a set and of its split."""

    pairs: tuple[Pair, ...]
    shortages: tuple[Shortage, ...]  # classes with fewer images than shots + queries
    small_splits: dict[str, int]  # splits with fewer (sufficient) classes than ways -> how many
    quarantine: np.ndarray  # int64 rows to leave out, ascending; empty unless asked for
    images: int
    names: Mapping[int, str]  # what the images of `pairs` are called

    @property
    def across(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.across)

    @property
    def clean(self) -> bool:
        """Nothing that falsifies or prevents an episode; copies within a split do neither."""
        return not (self.across or self.shortages or self.small_splits)

    @property
    def counts(self) -> dict[str, int]:
        """Pairs by kind, "identical" and "identical across splits" and so on, and the rest."""
        kinds = ("identical", "near", "mirrored")
        counts = {k: sum(p.kind == k for p in self.pairs) for k in kinds}
        counts |= {f"{k} across splits": sum(p.kind == k for p in self.across) for k in kinds}
        return counts | {"small classes": len(self.shortages), "images": self.images}

    @property
    def summary(self) -> str:
        c = self.counts
        copies = ", ".join(f"{c[k]} {k}" for k in ("identical", "near", "mirrored"))
        text = f"{self.images} images: {copies} pairs of copies, {len(self.across)} across splits"
        if self.across:
            text += f" ({self.name_pairs(self.across)})"
        if self.shortages:
            text += f"; too few images in {_list_shortages(self.shortages)}"
        if self.small_splits:
            text += f"; too few classes in {_list_splits(self.small_splits)}"
        if len(self.quarantine):
            text += f"; {len(self.quarantine)} images to leave out"
        return text

    def name_pairs(self, pairs: Sequence[Pair], limit: int = 5) -> str:
        """The first pairs by the names of their images."""
        shown = [f"{self.names[p.row_a]} = {self.names[p.row_b]}" for p in pairs[:limit]]
        return "; ".join(shown) + (f"; {len(pairs) - limit} more" if len(pairs) > limit else "")


def describe_shared_classes(splits: Mapping[str, Iterable[str | int]]) -> list[str]:
    """ "train and test share 1 class (ant)" for every two splits with a class in common, in whatever spelling."""
    keys = {s: {make_name_key(str(name)): str(name) for name in names} for s, names in splits.items()}
    return [
        f"{a} and {b} share {list_briefly(names)}"
        for a, b in combinations(keys, 2)
        if (names := [keys[a][k] for k in sorted(keys[a].keys() & keys[b].keys())])
    ]


def check_class_overlap(splits: Mapping[str, Iterable[str | int]]) -> None:
    """UserError, with the names, if a class is in two splits (in whatever spelling, see `make_name_key`)."""
    if shared := describe_shared_classes(splits):
        raise UserError(f"{'; '.join(shared)}: a class must be in one split only, move or drop it")


def find_duplicates(
    images: np.ndarray, labels: np.ndarray, split_of_image: np.ndarray, ranks: Ranks = ALONE
) -> list[Pair]:
    """Copies among uint8 images (N, H, W, C), sorted by rows.

    `split_of_image` (N,) holds "train", "val", "test" or "" (in no split). Of more than two
    identical images each is paired with one of the latest split, the first of them, so that a
    thousand black frames make 999 pairs and every image that leaks is named. `ranks` share the search for near copies.
    """
    rank = np.full(len(split_of_image), -1)
    for number, split in enumerate(SPLITS):
        rank[split_of_image == split] = number
    links: dict[tuple[int, int], tuple[str, float]] = {}
    groups = {rows[0]: rows for rows in group_identical(compute_digests(images))}
    for rows in groups.values():
        best = _best(rows, rank)
        links |= {_ordered(row, best): ("identical", 1.0) for row in rows if row != best}
    again = [row for rows in groups.values() for row in rows[1:]]
    firsts = np.setdiff1d(np.arange(len(images)), np.array(again, np.int64))
    for i, j, mirrored, score in find_near_copies(SomeRows(images, firsts) if again else images, ranks):
        a, b = (groups.get(row, [row]) for row in firsts[[i, j]].tolist())
        link = ("mirrored" if mirrored else "near", score)
        links |= {_ordered(row, _best(b, rank)): link for row in a}
        links |= {_ordered(row, _best(a, rank)): link for row in b}
    return [Pair(i, j, *links[i, j], _across(rank[i], rank[j]), bool(labels[i] == labels[j])) for i, j in sorted(links)]


class SomeRows:
    """Some rows of an array, read when asked for: a memory-mapped set is never copied whole."""

    def __init__(self, array: np.ndarray, rows: np.ndarray):
        self.array, self.rows, self.shape = array, rows, (len(rows), *array.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        rows: np.ndarray = self.array[self.rows[index]]
        return rows


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _best(rows: Sequence[int], rank: np.ndarray) -> int:
    """The row that stays: of the latest of train, val, test; the first of these."""
    return min(rows, key=lambda row: (-rank[row], row))


def _across(a: int, b: int) -> bool:
    return bool(a != b and min(a, b) >= 0)


def quarantine(pairs: Iterable[Pair], split_of_image: np.ndarray) -> np.ndarray:
    """Rows to leave out so that no copy is left across splits: int64, ascending.

    Of two copies the one in the earlier of train, val, test goes: test sets stay as published.
    """
    rank = {split: i for i, split in enumerate(SPLITS)}
    rows = [sorted((p.row_a, p.row_b), key=lambda row: rank[str(split_of_image[row])]) for p in pairs if p.across]
    gone: set[int] = set()
    for goes, stays in sorted(rows, key=lambda r: (-rank[str(split_of_image[r[1]])], r)):
        if stays not in gone:
            gone.add(goes)
    return np.array(sorted(gone), dtype=np.int64)


def check(image_set: ImageSet, n_shot: int = 1, n_query: int = 1, n_way: int = 5, mode: str = "error") -> Report:
    """Guard an ImageSet with a split before episodes of n_way classes are drawn from it.

    mode "report" only lists the faults. "quarantine" also lists the rows to leave out: copies
    across splits (from train first, then val, never test) and classes too small for
    n_shot + n_query images. "error" raises UserError, naming the faults, unless all is well
    but copies within a split. Classes in two splits, and after a quarantine too few classes for
    n_way, cannot be mended by leaving images out: an error in both modes.
    """
    if mode not in MODES:
        raise UserError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if mode != "report":
        check_class_overlap(image_set.split_names)
    split_of_image = name_splits_of_images(image_set)
    pairs = find_duplicates(image_set.images, image_set.labels, split_of_image)
    gone = quarantine(pairs, split_of_image) if mode == "quarantine" else np.empty(0, np.int64)
    report = _report(image_set, pairs, gone, n_shot + n_query, n_way)
    if mode == "error" and not report.clean:
        raise UserError(f"{image_set.name} does not pass the guard. {report.summary}")
    if mode == "quarantine" and report.small_splits:
        raise UserError(f"{image_set.name} cannot be mended by quarantine. {report.summary}")
    if mode == "quarantine" and report.shortages:
        small = {s.class_name for s in report.shortages}
        rows = [image_set.class_names[label] in small for label in image_set.labels]
        gone = np.union1d(gone, np.flatnonzero(rows))
        return replace(report, quarantine=gone)
    return report


def name_splits_of_images(image_set: ImageSet) -> np.ndarray:
    """(N,) "train", "val", "test", or "" for an image whose class is in no split."""
    names = np.full(len(image_set.class_names), "", dtype="<U5")
    for split, classes in image_set.splits.items():
        names[list(classes)] = split
    of_image: np.ndarray = names[image_set.labels]
    return of_image


def _report(image_set: ImageSet, pairs: Sequence[Pair], gone: np.ndarray, needed: int, n_way: int) -> Report:
    kept = np.delete(np.asarray(image_set.labels), gone)
    counts = np.bincount(kept, minlength=len(image_set.class_names))
    shortages = tuple(
        Shortage(split, image_set.class_names[c], int(counts[c]))
        for split, classes in image_set.splits.items()
        for c in classes
        if counts[c] < needed
    )
    left = {split: sum(counts[c] >= needed for c in classes) for split, classes in image_set.splits.items()}
    small = {split: int(n) for split, n in left.items() if n < n_way}
    names = {row: _name(image_set, row) for pair in pairs for row in (pair.row_a, pair.row_b)}
    n = len(image_set.labels)
    return Report(tuple(pairs), shortages, small, gone.astype(np.int64), n, names)


def _name(image_set: ImageSet, row: int) -> str:
    """ "train/apple/0012.png", or with the row number where there are no file names."""
    c = int(image_set.labels[row])
    split = next((s for s, classes in image_set.splits.items() if c in classes), "no split")
    file = image_set.files[row] if image_set.files else f"{image_set.class_names[c]} row {row}"
    return f"{file} ({split})"


def _list_shortages(shortages: Sequence[Shortage], limit: int = 8) -> str:
    return list_briefly([f"{s.class_name}: {s.images}" for s in shortages], limit)


def _list_splits(small: Mapping[str, int]) -> str:
    return ", ".join(f"{split} ({n} usable)" for split, n in small.items())
