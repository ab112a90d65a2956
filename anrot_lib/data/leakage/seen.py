"""What a net has seen: the classes and images it was trained and selected on, and which of them a test set holds.

A few-shot accuracy is an accuracy on classes that the net has never seen. A net that is tested on its training classes
reaches far more, and nothing in the number shows it. So a net carries an `Origin`, and every test asks `check_unseen`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from anrot_lib.core.errors import UserError
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.leakage.synsets import WORDS
from anrot_lib.data.packed import digest_rows
from anrot_lib.data.splits import list_spellings, make_name_key

NAMED = 5  # classes that a message names
NUMBERED = re.compile(r"(?!n\d{8}$)\D{0,12}[\d/]+")


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the weights of a net come from.

    data, sha256, split_hash  name, pixel hash and split hash of the image set.
    trained, selected         names of the training classes, and of the validation classes that chose the weights.
    images                    int64 (N,), ascending: the first 8 bytes of the sha256 of each image of these classes.
    """

    data: str
    sha256: str
    split_hash: str
    trained: tuple[str, ...]
    selected: tuple[str, ...]
    images: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint: plain values and one tensor."""
        return {
            "data": self.data,
            "sha256": self.sha256,
            "split_hash": self.split_hash,
            "trained": list(self.trained),
            "selected": list(self.selected),
            "images": torch.from_numpy(self.images),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Origin":
        """Read what `to_dict` wrote. UserError if a part is missing or of another type."""
        values = values if isinstance(values, Mapping) else {}
        texts = {name: values.get(name) for name in ("data", "sha256", "split_hash")}
        lists = {name: values.get(name) for name in ("trained", "selected")}
        images = values.get("images")
        whole = all(isinstance(text, str) for text in texts.values())
        whole &= all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in lists.values())
        if not whole or not isinstance(images, torch.Tensor) or images.dtype != torch.int64 or images.ndim != 1:
            raise UserError("the checkpoint does not say in full what its net was trained on; train the net again")
        return cls(**texts, **{name: tuple(names) for name, names in lists.items()}, images=images.numpy())  # type: ignore[arg-type]  # checked above


@dataclass(frozen=True)
class Seen:
    """What a test split has in common with the origin of a net."""

    trained: tuple[str, ...]
    selected: tuple[str, ...]
    images: int
    n_classes: int
    n_images: int

    def __bool__(self) -> bool:
        return bool(self.trained or self.selected or self.images)

    def __str__(self) -> str:
        """In words, such as "it was trained on 11 of the 20 test classes (apple, bear, ...)"."""
        parts = []
        for verb, names in (("trained", self.trained), ("selected", self.selected)):
            if names:
                more = ", ..." if len(names) > NAMED else ""
                shown = ", ".join(names[:NAMED]) + more
                parts.append(f"it was {verb} on {len(names)} of the {self.n_classes} test classes ({shown})")
        if self.images:
            parts.append(f"{self.images} of the {self.n_images} test images are among those")
        return ", ".join(parts)


def describe_origin(image_set: ImageSet) -> Origin:
    """What a net trained on the "train" classes and selected on the "val" classes of a set will have seen."""
    names = image_set.split_names
    rows = np.concatenate([image_set.rows(split) for split in ("train", "val") if split in image_set.splits])
    return Origin(
        data=image_set.name,
        sha256=image_set.sha256,
        split_hash=image_set.split_hash,
        trained=names.get("train", ()),
        selected=names.get("val", ()),
        images=np.unique(digest_rows(image_set.images, rows)),
    )


def set_origin(encoder: nn.Module, origin: Origin | None) -> None:
    """Have an encoder carry its origin, wherever it goes: under another head, folded, or into a checkpoint."""
    encoder.origin = origin  # type: ignore[assignment]  # modules declare tensors and modules only


def get_origin(encoder: nn.Module) -> Origin | None:
    """The origin that an encoder carries; None if that is not known."""
    origin = getattr(encoder, "origin", None)
    return origin if isinstance(origin, Origin) else None


def find_seen(origin: Origin, image_set: ImageSet) -> Seen:
    """The test classes, by name in whatever spelling, and the test images, by their pixels, that a net has seen."""
    names = image_set.split_names["test"]
    rows = image_set.rows("test")
    if (origin.sha256, origin.split_hash) == (image_set.sha256, image_set.split_hash):
        # the classes of its splits are disjoint, and copies were looked for
        return Seen((), (), 0, len(names), len(rows))
    known = _name_keys({*origin.trained, *origin.selected})
    trained, selected = ({k for name in some for k in known[name]} for some in (origin.trained, origin.selected))
    keys = _name_keys(names)
    return Seen(
        trained=tuple(name for name in names if keys[name] & trained),
        selected=tuple(name for name in names if keys[name] & selected),
        images=int(np.isin(digest_rows(image_set.images, rows), origin.images).sum()),
        n_classes=len(names),
        n_images=len(rows),
    )


def find_close(origin: Origin, image_set: ImageSet) -> tuple[str, ...]:
    """Test classes whose kind a net may have seen under another name, each with that name: "fox (Arctic fox)".

    Their names end in the same word. They are no overlap, so no test is refused for them; () for the net's own set.
    """
    if (origin.sha256, origin.split_hash) == (image_set.sha256, image_set.split_hash):
        return ()
    kinds: dict[str, list[str]] = {}
    for words in map(describe_class, dict.fromkeys((*origin.trained, *origin.selected))):
        if not NUMBERED.fullmatch(kind := words.split()[-1]):
            kinds.setdefault(kind, []).append(words)
    close = []
    for words in map(describe_class, image_set.split_names["test"]):
        if others := [other for other in kinds.get(words.split()[-1], []) if other != words]:
            close.append(f"{words} ({', '.join(others)})")
    return tuple(close)


def describe_class(name: str) -> str:
    """The words of a class name: those of its synset, or its own without folders, signs and a number before them."""
    last = make_name_key(name).rpartition("/")[2]
    return next((WORDS[key] for key in list_spellings(name) if key in WORDS), re.sub(r"^\d+[\W_]+", "", last))


def remove_seen(origin: Origin, image_set: ImageSet) -> ImageSet:
    """The set without the test classes that a net has seen, by their name or by one of their images.

    Their names are in its provenance under "without", where there are any.
    """
    out: set[str] = set()
    while seen := find_seen(origin, image_set):  # with fewer classes a name may become the only one of its kind
        rows, names = image_set.rows("test"), image_set.class_names
        known = np.isin(digest_rows(image_set.images, rows), origin.images)
        out |= {*seen.trained, *seen.selected, *(names[c] for c in image_set.labels[rows[known]])}
        kept = tuple(c for c in image_set.splits["test"] if names[c] not in out)
        image_set = replace(image_set, splits={**image_set.splits, "test": kept})
    provenance = {**image_set.provenance, "without": sorted(out)} if out else image_set.provenance
    return replace(image_set, provenance=provenance)


def check_unseen(
    origin: Origin | None, image_set: ImageSet, what: str = "the net", allow_seen: bool | None = False
) -> Seen | None:
    """What of the test split a net has seen, None for a net of unknown origin.

    Raises UserError if it has seen anything of it, unless `allow_seen`; the caller then marks every number. None says
    that there is no such choice.
    """
    if origin is None:
        return None
    seen = find_seen(origin, image_set)
    if seen and not allow_seen:
        partly = len({*seen.trained, *seen.selected}) < seen.n_classes
        choice = ", leave the seen ones out (--unseen)" if partly else ""
        choice += ", or allow it (--allow-seen, allow_seen=True) and have it marked"
        choice = "" if allow_seen is None else choice
        place = "" if origin.data == image_set.name else f"on {origin.data!r} or "  # a set of this name, split anew
        raise UserError(
            f"{what} knows the test classes of {image_set.name!r}: {seen}; test it {place}on other classes{choice}"
        )
    return seen


def _name_keys(names: Iterable[str]) -> dict[str, set[str]]:
    """{name: the keys by which a class is known again}, whatever set it is in: case, synset id, group, number aside.

    "n01532829_house_finch" is "n01532829" and "house finch", and so is the id alone of a class of mini-ImageNet;
    "birds/owl" is "owl", "001.Black_footed_Albatross" is without its number. A key that two of the names share stands
    for neither, and a number alone (character01) for no class.
    """
    keys = {name: {make_name_key(name), *list_spellings(name)} for name in names}
    for some in keys.values():
        words = [WORDS[key] for key in some if key in WORDS]
        some.update(key for text in words for key in (make_name_key(text), *list_spellings(text)))
    counts = Counter(key for some in keys.values() for key in some)
    return {
        name: {
            key
            for key in some
            if counts[key] == 1 and (key == make_name_key(name) or (key and not NUMBERED.fullmatch(key)))
        }
        for name, some in keys.items()
    }
