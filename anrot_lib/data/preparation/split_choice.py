"""Which split a prepared set gets: a published one, that of its folders, or one drawn by seed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from anrot_lib.core.errors import UserError
from anrot_lib.data import splits
from anrot_lib.data.leakage.guard import describe_shared_classes
from anrot_lib.data.readers.class_folders import refuse_twins
from anrot_lib.data.readers.items import Source

CHOICES = ("auto", *splits.NAMES, "folders", "random")

Names = dict[str, tuple[str, ...]]


class SplitChoice(NamedTuple):
    name: str  # of a published split, or "folders" or "random"
    classes: Names
    summary: str  # what was chosen and why, in a sentence


def choose(source: Source, split: str, seed: int) -> SplitChoice:
    """The classes of train, val and test for a source.

    "auto": the split that the source's folders, csv or pickles say; else the published split whose
    classes are exactly those of the source (CIFAR-FS for CIFAR-100); else a random one.
    Turned copies of a class (Omniglot) follow the class. Raises UserError for a split that does not
    fit the classes, for too few classes, and for stored splits that share a class; it names a table that was not
    understood as a list of images.
    """
    try:
        choice = _choose(source, split, seed)
    except UserError as error:
        raise UserError(f"{error}{'' if source.unread else source.not_understood}") from None
    return choice._replace(classes=_add_turned(source, choice.classes))


def _choose(source: Source, split: str, seed: int) -> SplitChoice:
    if split not in CHOICES:
        raise UserError(f"unknown split {split!r}; choose one of {', '.join(CHOICES)}")
    base = tuple(sorted({item.class_name for item in source.items if not item.turn}))
    if split == "auto":
        return _automatic(source, base, seed)
    if split == "folders":
        return _stored(source, base)
    return _random(base, seed) if split == "random" else _published(base, split)


def _automatic(source: Source, base: Sequence[str], seed: int) -> SplitChoice:
    fitting = find_published(base)
    if source.layout == "omniglot" and fitting:
        return _published(base, fitting[0])  # its folders, background and evaluation, are an older split
    stored = any(item.split for item in source.items)
    if not source.unread:
        return _stored(source, base) if stored else _published(base, fitting[0]) if fitting else _random(base, seed)
    other, drawn = "folders" if stored else fitting[0] if fitting else "random", ""
    if not stored and len(base) > 2:
        drawn = f", which would draw another: {(_published(base, other) if fitting else _random(base, seed)).summary}"
    reasons = "; ".join(source.unread)
    raise UserError(f"the split files were not understood ({reasons}); correct them, or choose --split {other}{drawn}")


def find_published(class_names: Sequence[str]) -> list[str]:
    """The published splits whose classes are exactly these, in the order of splits.NAMES."""
    return [name for name in splits.NAMES if _fits(class_names, name)]


def _fits(class_names: Sequence[str], name: str) -> bool:
    try:
        splits.assign(class_names, name)
    except UserError:
        return False
    return True


def _published(base: Sequence[str], name: str) -> SplitChoice:
    classes = {part: tuple(base[i] for i in indices) for part, indices in splits.assign(base, name).items()}
    others = [other for other in find_published(base) if other != name]
    also = f" (the classes also fit {', '.join(others)})" if others else ""
    return SplitChoice(name, classes, f"split {name}{also}: {describe_counts(classes)}")


def _random(base: Sequence[str], seed: int) -> SplitChoice:
    if len(base) < 3:
        n = "1 class" if len(base) == 1 else f"{len(base)} classes"
        raise UserError(
            f"{n} ({', '.join(base)}) cannot be split into train, val and test: each needs as many classes as an "
            "episode has ways, so 3 classes at least, and 15 for 5-way episodes; one folder a class"
        )
    refuse_twins(base, "the classes")
    classes = splits.draw_split(base, seed)
    return SplitChoice("random", classes, f"split drawn with seed {seed}: {describe_counts(classes)}")


def _stored(source: Source, base: Sequence[str]) -> SplitChoice:
    """The split of the source's folders; named after the published split if it is one."""
    members: dict[str, set[str]] = {}
    for item in source.items:
        if item.split and not item.turn:
            members.setdefault(item.split, set()).add(item.class_name)
    if not members:
        raise UserError(f"{source.folder} is not split into train, val and test; choose --split random")
    _refuse_shared(source, members)
    if len(members) == 1 and source.layout in ("split-folders", "csv"):
        raise UserError(
            f"{source.folder}: only {next(iter(members))} has images with classes, so there is nothing to test on; "
            "choose --split random, which draws train, val and test among these classes"
        )
    classes = {s: tuple(sorted(members[s])) for s in splits.SPLITS if s in members}
    for name in find_published(base):
        if _published(base, name).classes == classes:
            return SplitChoice(name, classes, f"split as stored, which is {name}: {describe_counts(classes)}")
    return SplitChoice("folders", classes, f"split as stored: {describe_counts(classes)}")


def _refuse_shared(source: Source, members: dict[str, set[str]]) -> None:
    if shared := describe_shared_classes(members):
        raise UserError(
            f"{source.folder}: {'; '.join(shared)}, but few-shot splits must not share a class; choose a published "
            "split or --split random: all images of a class, from whatever folder, go to one new part"
        )


def _add_turned(source: Source, classes: Names) -> Names:
    turned: dict[str, set[str]] = {}
    for item in source.items:
        if item.turn:
            turned.setdefault(item.class_name.rsplit("@", 1)[0], set()).add(item.class_name)
    return {
        part: tuple(sorted({*names, *(t for n in names for t in turned.get(n, ()))})) for part, names in classes.items()
    }


def describe_counts(classes: Names) -> str:
    """ "64 train, 16 val, 20 test classes"."""
    return ", ".join(f"{len(names)} {part}" for part, names in classes.items()) + " classes"


def add_superclasses(source: Source, choice: SplitChoice) -> Source:
    """Add the level "superclass" where the published split knows it and the source does not."""
    groups = splits.load_groups(choice.name) if choice.name in ("cifar-fs", "fc100") else {}
    if source.level_names or not groups:
        return source
    meant = dict(zip(source.class_names, splits.match(source.class_names, choice.name), strict=True))
    if not all(groups.get(meaning or "") for meaning in meant.values()):
        return source
    items = tuple(i._replace(levels=(groups[meant[i.class_name] or ""],)) for i in source.items)
    return replace(source, items=items, level_names=("superclass",))
