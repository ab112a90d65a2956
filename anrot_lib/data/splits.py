"""Which classes train, validate and test: standard class lists checked by hash, and drawn splits.

The lists are plain data in `class_splits/` (not `splits/`: that is the name of this module).
A split of a set is a mapping {"train": classes, "val": classes, "test": classes}; no class is in
two of them. The guard (`guard.py`) refuses splits that break this.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from anrot_lib.core.errors import UserError
from anrot_lib.core.randomness import draw_raw

SPLITS = ("train", "val", "test")
NAMES = (
    "mini-imagenet",
    "tiered-imagenet",
    "cifar-fs",
    "fc100",
    "omniglot",
    "cub-100-50-50",
    "cub-140-30-30",
)

Split = dict[str, tuple[str, ...]]


def split_hash(mapping: Mapping[str, Iterable[str]]) -> str:
    """sha256 (hex) of a class split: of the compact JSON list of its sorted [split, class] pairs.

    UTF-8. Independent of the order of classes and splits; an empty split does not count.
    """
    pairs = sorted([str(split), str(name)] for split, names in mapping.items() for name in names)
    text = json.dumps(pairs, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def flatten(classes: Mapping[str, Any], level: str | None) -> Split:
    """Class names of each split, out of the grouped lists of a file.

    An alphabet prefixes its characters (Omniglot), a superclass does not (CIFAR-100).
    """
    if level is None:
        return {split: tuple(names) for split, names in classes.items()}
    prefix = "{0}/{1}" if level == "alphabet" else "{1}"
    return {
        split: tuple(prefix.format(group, name) for group in parts for name in parts[group])
        for split, parts in classes.items()
    }


def _read(name: str) -> dict[str, Any]:
    if name not in NAMES:
        raise UserError(f"no standard split is named {name!r}; choose one of {', '.join(NAMES)}")
    folder = resources.files("anrot_lib.data").joinpath("class_splits")
    record: dict[str, Any] = json.loads(folder.joinpath(f"{name}.json").read_text("utf-8"))
    return record


def load_standard(name: str) -> Split:
    """The class lists of a published split, e.g. standard("cifar-fs")["test"] -> 20 class names.

    Names are ImageNet synset ids (mini- and tieredImageNet), CIFAR-100 fine classes,
    "alphabet/character" (Omniglot), "001.Black_footed_Albatross" (CUB). UserError for an unknown
    name, and for a list that does not have the hash stored with it, because results on an altered
    split would pass for results on the published one.
    """
    record = _read(name)
    split = flatten(record["classes"], record["level"])
    if split_hash(split) != record["sha256"]:
        raise UserError(
            f"the class list of {name} is not the published one (its hash differs); install anrot_lib again"
        )
    return split


def describe_source(name: str) -> str:
    """Where a standard split comes from, in one line."""
    return str(_read(name)["source"])


def load_groups(name: str) -> dict[str, str]:
    """{class name: its superclass or alphabet} of a standard split; empty if it has no levels."""
    record = _read(name)
    if record["level"] is None:
        return {}
    return {
        member: group
        for parts in record["classes"].values()
        for group, names in parts.items()
        for member in flatten({"": {group: names}}, record["level"])[""]
    }


def draw_split(class_names: Sequence[str], seed: int, fractions: Sequence[float] = (0.64, 0.16, 0.20)) -> Split:
    """Draw train, val and test classes: the same on every machine and in every order of the names.

    `fractions` are the shares of train, val and test (each >= 0, sum 1). Counts are rounded by
    largest remainder, with at least one class where the share is not 0. UserError for repeated
    names, for other shares, and for fewer classes than splits.
    """
    names = sorted(class_names)
    if len(set(names)) != len(names):
        raise UserError("two classes have the same name; rename one before the split is drawn")
    n_train, n_val, _ = _counts(len(names), fractions)
    words = draw_raw(seed, "split", len(names)).tolist()
    order = [name for _, name in sorted(zip(words, names, strict=True))]
    parts = order[:n_train], order[n_train : n_train + n_val], order[n_train + n_val :]
    return {split: tuple(sorted(part)) for split, part in zip(SPLITS, parts, strict=True)}


def _counts(n: int, fractions: Sequence[float]) -> list[int]:
    shares = [float(f) for f in fractions]
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"split fractions are three shares >= 0 that sum to 1, got {shares}")
    if n < sum(f > 0 for f in shares):
        raise UserError(f"{n} classes are too few to be split {shares}: a class for every split")
    counts = [max(int(f * n + 1e-9), int(f > 0)) for f in shares]
    while (short := n - sum(counts)) != 0:
        step = 1 if short > 0 else -1
        able = [i for i in range(3) if shares[i] > 0 and counts[i] + step > 0]
        counts[max(able, key=lambda i: step * (shares[i] * n - counts[i]))] += step
    return counts


def make_name_key(name: str) -> str:
    """The form in which class names are compared: apart from case, Unicode form, spaces, zeros before a number."""
    text = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    text = unicodedata.normalize("NFKC", text.casefold()).replace("i\u0307", "i")
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)
    return "/".join(re.sub(r"[\s_-]+", " ", part).strip() for part in text.split("/"))


def _plain(name: str) -> str:
    """Lower case, composed accents, no possessive; "_" for each run of spaces, dots and dashes."""
    text = unicodedata.normalize("NFKC", name).casefold().replace("\\", "/").strip("/ ")
    return re.sub(r"(?:[^\w/]|_)+", "_", re.sub(r"['\u2019]s?\b", "", text)).strip("_")


def list_spellings(name: str) -> list[str]:
    """The keys under which a class name is looked up, most exact first.

    The whole name; the synset id wherever it stands ("n01532829_house_finch"); the last two parts
    of a path (alphabet/character); the last part (superclass/class); both without a leading number
    ("001.Black_footed_Albatross"); the path written with "_".
    """
    plain = _plain(name)
    parts = [part.strip("_") for part in plain.split("/")]
    synset = re.findall(r"(?<![a-z0-9])n\d{8}", plain)[-1:]
    tails = ["/".join(parts[-2:]), parts[-1]]
    bare = [re.sub(r"^\d+_", "", text) for text in (parts[-1], plain)]
    return list(dict.fromkeys(["/".join(parts), *synset, *tails, *bare, plain.replace("/", "_")]))


def _index(names: Iterable[str]) -> dict[str, str]:
    """{spelling: class}; a spelling that two classes share stands for neither."""
    owners: dict[str, set[str]] = {}
    for name in names:
        for key in list_spellings(name):
            owners.setdefault(key, set()).add(name)
    return {key: next(iter(members)) for key, members in owners.items() if len(members) == 1}


def match(class_names: Sequence[str], name: str) -> list[str | None]:
    """The class of the standard split `name` that each of a set's classes means, or None."""
    index = _index(member for members in load_standard(name).values() for member in members)
    return [next((index[key] for key in list_spellings(given) if key in index), None) for given in class_names]


def assign(
    class_names: Sequence[str], name: str, subset: bool = False, extra: bool = False
) -> dict[str, tuple[int, ...]]:
    """Indices of a set's classes for train, val and test of the standard split `name`, ascending.

    Spellings may differ in case, separators, path and numbering, see `list_spellings`. UserError, with
    the names, for classes of the split that the set lacks (allowed by `subset=True`, as long as
    train and test keep one each), for classes of the set that the split does not know (by
    `extra=True` left out of every split), and for two classes of the set that mean the same one.
    """
    meant, split = match(class_names, name), load_standard(name)
    _refuse_twins(class_names, meant, name)
    missing = sorted({m for members in split.values() for m in members} - set(meant))
    unknown = [given for given, meaning in zip(class_names, meant, strict=True) if meaning is None]
    complaints = []
    if missing and not subset:
        complaints.append(f"it lacks {list_briefly(missing)}")
    if unknown and not extra:
        complaints.append(f"the split does not know {list_briefly(unknown)}")
    if complaints:
        raise UserError(f"the set does not fit the split {name}: {'; '.join(complaints)}")
    part_of = {member: part for part, members in split.items() for member in members}
    parts = [part_of.get(meaning or "") for meaning in meant]
    indices = {s: tuple(i for i, part in enumerate(parts) if part == s) for s in SPLITS}
    for part in ("train", "test"):
        if not indices[part]:
            raise UserError(f"the set has no {part} class of the split {name}; use another split")
    return indices


def _refuse_twins(class_names: Sequence[str], meant: Sequence[str | None], name: str) -> None:
    first: dict[str, str] = {}
    for given, meaning in zip(class_names, meant, strict=True):
        if meaning in first:
            twins = f"{first[meaning]!r} and {given!r}"
            raise UserError(f"{twins} are both class {meaning!r} of the split {name}; merge them")
        if meaning is not None:
            first[meaning] = given


def list_briefly(names: Sequence[str], limit: int = 8) -> str:
    """How errors name classes: "9 classes (a, b, c, d, e, f, g, h and 1 more)"."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    noun = "class" if len(names) == 1 else "classes"
    return f"{len(names)} {noun} ({', '.join(map(str, names[:limit]))}{more})"
