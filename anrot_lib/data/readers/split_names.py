"""What people call the parts of a split: Training, meta_test, seg_train, val2017, dev, background ..."""

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence

from anrot_lib.core.errors import UserError

PART_OF = {
    **dict.fromkeys(("train", "training", "trainval", "base", "background"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "novel"), "test"),
    **dict.fromkeys(("eval", "evaluation"), "evaluation"),  # the test part, or the validation part beside a test part
}
JOINED = re.compile(rf"(?:meta|seg)?({'|'.join(sorted(PART_OF, key=len, reverse=True))})(?:set|data|ing)?")
AROUND = {"meta", "seg", "set", "sets", "split", "splits", "data", "dataset", "images", "image", "imgs", "img", "list"}
AROUND |= {"lists", "labels", "label", "annotations", "classes", "class", "files", "file", "phase", "folder", "samples"}


@functools.cache
def read_part_word(name: str) -> str | None:
    """ "train", "val", "test" or "evaluation" if a folder, file or cell is called so, with words such as "set"."""
    words = re.findall(r"[^\W\d_]+", unicodedata.normalize("NFKC", name).casefold())
    parts = set()
    for word in words:
        if word in AROUND:
            continue
        if (joined := JOINED.fullmatch(word)) is None:
            return None
        parts.add(PART_OF[joined[1]])
    if parts == {"train", "val"}:
        return "train"  # train_val
    return parts.pop() if len(parts) == 1 else None


def read_part(name: str) -> str | None:
    """The part of a split, "train", "val" or "test", that a name alone means; None if it means none."""
    word = read_part_word(name)
    return "test" if word == "evaluation" else word


def name_parts(names: Sequence[str], where: object) -> dict[str, str]:
    """{name: "train", "val" or "test"} for those of the names that mean a part of one split.

    UserError if two of them mean the same part: then nobody can say which of them is meant.
    """
    words = {name: word for name in names if (word := read_part_word(name))}
    taken = set(words.values())
    evaluation = "val" if "test" in taken else "test"
    parts = {name: evaluation if word == "evaluation" else word for name, word in words.items()}
    _refuse_two_of_a_part(parts, where)
    return parts


def _refuse_two_of_a_part(parts: Mapping[str, str], where: object) -> None:
    first: dict[str, str] = {}
    for name, part in parts.items():
        if part in first:
            raise UserError(
                f"{where}: {first[part]!r} and {name!r} both look like the {part} part of a split; "
                "keep one of them, put the classes of both into one folder, or choose --layout folders"
            )
        first[part] = name
