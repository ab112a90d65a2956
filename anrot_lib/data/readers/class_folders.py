"""Which class the images of a folder belong to, from where it lies: group/class, class/session, class/images."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

from anrot_lib.core.errors import UserError
from anrot_lib.data.splits import make_name_key

Parts = tuple[str, ...]  # the names of the folders from the root down

PLAIN = {"images", "image", "imgs", "img", "jpegs", "jpegimages", "photos", "pictures", "raw"}  # say nothing of a class
# parts of a recording, or conditions of it, and names of classes that carry a number
SESSION = re.compile(
    r"(?:s|sess|session|seq|sequence|video|clip|cam|camera|view|day|take|run|scan|part|batch|set|frame|pose|angle|"
    r"light|lighting|scene|visit|round|trial|front|back|left|right|top|bottom|side|indoor|outdoor|night|morning|"
    r"evening|train|test|val|more|other|extra|new|old|good|bad)[\W_]*\d*|"
    r"(?:19|20)\d\d[\W_]?[01]?\d[\W_]?[0-3]?\d(?:[\W_t]*\d\d[\W_]?\d\d(?:[\W_]?\d\d)?)?|"
    r"[0-3]?\d[\W_][01]?\d[\W_](?:19|20)?\d\d",
)
NAMED_SESSION = re.compile(r"(?:session|sess|seq|sequence|video|clip)[\W_]*\d+|(?:19|20)\d\d[\W_]?\d\d[\W_]?\d\d.*")
NUMBERED_CLASS = re.compile(
    r"(?:character|char|letter|class|category|kind|type|species|object|obj|item|id|person|o)[\W_]*\d+"
)
NUMBERED = re.compile(r"\D{0,20}\d+")


def refuse_twins(names: Iterable[str], what: str = "the folders") -> None:
    """UserError for two names that differ in case, Unicode form or spaces only: two classes or one?"""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(make_name_key(name), name)
        if other != name:
            how, show = _difference(other, name)
            raise UserError(
                f"{what} {show(other)} and {show(name)} differ {how} only, so they are one class or two; "
                "put their images under one name, or rename one of them"
            )


def _difference(a: str, b: str) -> tuple[str, Callable[[str], str]]:
    """In what two names of one key differ, and how to show them."""
    composed = [unicodedata.normalize("NFC", name) for name in (a, b)]
    if composed[0] == composed[1]:
        return "in the Unicode form of their accents", ascii
    if composed[0].casefold() == composed[1].casefold():
        return "in capital letters", repr
    spaced = [re.sub(r"[\s_-]+", " ", name).strip().casefold() for name in composed]
    if spaced[0] == spaced[1]:
        return "in spaces, dashes or underscores", repr
    return ("in zeros before a number", repr) if all(map(str.isascii, composed)) else ("in their Unicode form", ascii)


def name_classes(folders: Iterable[Parts], where: object) -> dict[Parts, Parts]:
    """{folder: class} for all folders that hold images, both as the names on the way down from the root.

    A folder "images" at the end does not count. What lies below a folder of images belongs to its class. Folders of
    folders are groups of classes (alphabet/character), unless their names repeat from group to group: then these are
    sessions of a class (cup/session1), or classes in sessions (session1/cup). UserError where neither can be known.
    """
    plain = {folder: _drop_plain(folder) for folder in folders}
    direct = set(plain.values())
    classes = {folder: _shortest_prefix(parts, direct) for folder, parts in plain.items()}
    depths = {len(parts) for parts in classes.values()}
    if len(depths) > 1:
        return _level(classes, min(depths), where)
    depth = depths.pop() if depths else 0
    while depth > 1:
        dropped = _dropped_level(set(classes.values()), where)
        if dropped is None:
            break
        classes = {folder: parts[:-1] if dropped == "last" else parts[-1:] for folder, parts in classes.items()}
        depth = depth - 1 if dropped == "last" else 1
    return classes


def _drop_plain(parts: Parts) -> Parts:
    while len(parts) > 1 and parts[-1].casefold() in PLAIN:
        parts = parts[:-1]
    return parts


def _shortest_prefix(parts: Parts, direct: set[Parts]) -> Parts:
    return next(parts[:n] for n in range(1, len(parts) + 1) if parts[:n] in direct or n == len(parts))


def _level(classes: dict[Parts, Parts], depth: int, where: object) -> dict[Parts, Parts]:
    """Some classes lie deeper than others: fine if only sessions lie there."""
    for parts in classes.values():
        if not all(_matches(SESSION, {name}) for name in parts[depth:]):
            shallow = next(p for p in classes.values() if len(p) == depth)
            raise UserError(
                f"{where}: {'/'.join(shallow)!r} holds images and {'/'.join(parts[:depth])!r} holds folders of images "
                f"({parts[depth]!r}); put the images of every class into one folder, or choose --layout folders, which "
                "takes every folder of images for a class"
            )
    return {folder: parts[:depth] for folder, parts in classes.items()}


def _dropped_level(classes: set[Parts], where: object) -> str | None:
    """Which level names no class: "last" (sessions of classes), "others" (classes in sessions), None (groups)."""
    above: dict[str, set[Parts]] = defaultdict(set)
    for parts in classes:
        above[parts[-1]].add(parts[:-1])
    last, parents = set(above), {parts[:-1] for parts in classes}
    upper = {name for parts in parents for name in parts}
    if len(parents) > 1:
        refuse_twins(sorted(last), f"{where}: the folders")
    if len(last) > len(classes) / 2 or len(parents) < 2:
        if len(last) > 1 and _matches(NAMED_SESSION, last):
            return "last"
        _refuse_numbered(classes, parents, where)
        return None
    for pattern in (SESSION, NUMBERED):
        below, over = _matches(pattern, last), _matches(pattern, upper)
        if below and _matches(NUMBERED_CLASS, last) and not _matches(NUMBERED_CLASS, upper):
            return None  # numbered classes in groups: Omniglot's character01 in every alphabet
        if below and (not over or _matches(NUMBERED_CLASS, upper)):
            return "last"
        if over and not below:
            return "others"
    name = max(sorted(above), key=lambda n: len(above[n]))
    places = sorted("/".join(p) for p in above[name])
    raise UserError(
        f"{where}: a folder {name!r} lies in {places[0]!r} and in {places[1]!r}, so it is one class or several; put "
        "the images of every class into one folder, or choose --layout folders, which takes every folder of images "
        "for a class"
    )


def _refuse_numbered(classes: set[Parts], parents: set[Parts], where: object) -> None:
    """UserError for numbered parts of what lies above, cup/cup_1 and cup/cup_2: instances of a class, or classes."""
    several = len(classes) > len(parents) > 1
    numbers = {parts for parts in classes if re.fullmatch(r"[\W\d_]+", _rest(parts))}
    if several and numbers == classes:
        parts = min(classes)
        raise UserError(
            f"{where}: the folder {parts[-1]!r} in {'/'.join(parts[:-1])!r} is a class, or some of the images of the "
            f"class {parts[-2]!r}; put the images of every class into one folder, or choose --layout folders, which "
            "takes every folder of images for a class"
        )


def _rest(parts: Parts) -> str:
    """What the last name adds to the one above: "_1" of cup/cup_1."""
    return make_name_key(parts[-1]).removeprefix(make_name_key(parts[-2]))


def _matches(pattern: re.Pattern[str], names: set[str]) -> bool:
    return all(pattern.fullmatch(name.casefold()) for name in names)
