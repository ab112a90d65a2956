"""What people call the parts of a split: Training, meta_test, seg_train, val2017, birds_train, dev, background ..."""

import functools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from anrot_lib.core.errors import UserError

PART_OF = {
    **dict.fromkeys(("train", "training", "trainval", "trn", "base", "background", "seen", "训练"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "vld", "dev", "devel", "development", "验证"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "novel", "unseen", "测试"), "test"),
    **dict.fromkeys(("eval", "evaluation"), "evaluation"),  # the test part, or the validation part beside a test part
}
AFTER = "sets?|data|lists?|ing|classes|class|labels?|names|ids|files|images|imgs|split|集"  # words that are joined on
JOINED = re.compile(rf"(?:meta|seg|x)?({'|'.join(sorted(PART_OF, key=len, reverse=True))})(?:{AFTER})?")
AROUND = {"meta", "seg", "set", "sets", "split", "splits", "data", "dataset", "images", "image", "imgs", "img", "list"}
AROUND |= {"lists", "labels", "label", "annotations", "classes", "class", "files", "file", "phase", "folder", "samples"}
AROUND |= {"fold"}
# words that begin like one of a part in some language, or abbreviate it: too weak to read a split by, and to draw over
ALIKE = re.compile(
    r"(?P<train>train.*|tr|learn.*|lern.*|fit|entrena.*|entraine.*|apprenti.*|treina.*|treino|allena.*|addestra.*)|"
    r"(?P<val>valid.*|va|val|vali|convalid.*|desarrollo)|"
    r"(?P<test>test.*|te|ts|held.*|hold.*|prueba.*|essai.*|teste|prova|pruf.*|pruef.*|inference|submission)"
)
CASES = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # trainSet, TrainIJCNN
NO_LIST = {"config", "history", "log", "logs", "loss", "metrics", "notes", "predictions", "report", "results", "scores"}


def _words(name: str) -> list[str]:
    """The words of a name in lower case: without digits, and parted where capital letters begin."""
    text = unicodedata.normalize("NFKC", name)
    return re.findall(r"[^\W\d_]+", CASES.sub(" ", text).casefold())


@functools.cache
def read_part_word(name: str) -> str | None:
    """ "train", "val", "test" or "evaluation" if a folder, file or cell is called so, with words such as "set"."""
    part, others = _part_and_others(name)
    return None if others else part


@functools.cache
def _part_and_others(name: str) -> tuple[str | None, tuple[str, ...]]:
    """The part that the words of a name mean, None for none or several; and the words that mean something else."""
    parts, others = set(), []
    for word in _words(name):
        if joined := JOINED.fullmatch(word):
            parts.add(PART_OF[joined[1]])
        elif word not in AROUND:
            others.append(word)
    if parts == {"train", "val"}:
        parts = {"train"}  # train_val
    return parts.pop() if len(parts) == 1 else None, tuple(others)


def read_part(name: str) -> str | None:
    """The part of a split, "train", "val" or "test", that a name alone means; None if it means none."""
    word = read_part_word(name)
    return "test" if word == "evaluation" else word


def read_list_part(stem: str) -> str | None:
    """The same of a list of images, which may be called after its set, too: birds_train, miniImageNetTest."""
    word = _read_list_word(stem)
    return "test" if word == "evaluation" else word


def _read_list_word(stem: str) -> str | None:
    part, others = _part_and_others(stem)
    return None if NO_LIST & set(others) else part


def name_parts(names: Sequence[str], where: object, lists: bool = False) -> dict[str, str]:
    """{name: "train", "val" or "test"} for those of the names that mean a part of one split.

    Beside names that mean a part alone, such as meta_train, these are names with the same further words: birds_train
    and birds_test; with `lists`, whatever `read_list_part` reads. UserError if two of them mean the same part: then
    nobody can say which of them is meant.
    """
    read = _read_list_word if lists else read_part_word
    words = {name: word for name in names if (word := read(name))}
    alike: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in names:
        part, others = _part_and_others(name)
        if part and others:
            alike[others][name] = part
    for group in alike.values():
        if len(set(group.values())) > 1:
            words |= group
    taken = set(words.values())
    evaluation = "val" if "test" in taken else "test"
    parts = {name: evaluation if word == "evaluation" else word for name, word in words.items()}
    _refuse_two_of_a_part(parts, where)
    return parts


def find_alike(names: Iterable[str]) -> list[str]:
    """The names that may mean parts of a split, if they would be two parts at least: tr and te, Trainingsdaten ..."""
    alike: dict[str, str] = {}
    for name in names:
        plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
        part, _ = _part_and_others(name)
        kinds = {match.lastgroup for word in _words(plain) if (match := ALIKE.fullmatch(word))}
        if part or len(kinds) == 1:
            alike[name] = part or str(kinds.pop())
    return list(alike) if len(set(alike.values())) > 1 else []


def list_begun_parts(names: Sequence[str]) -> set[str]:
    """The parts of a split that begin or end all of some names, such as train_cat and test_dog; {} for other names."""
    parts = {_part_and_others(name)[0] for name in names}
    return set() if None in parts else {part for part in parts if part}


def _refuse_two_of_a_part(parts: Mapping[str, str], where: object) -> None:
    first: dict[str, str] = {}
    for name, part in parts.items():
        if part in first:
            raise UserError(
                f"{where}: {first[part]!r} and {name!r} both look like the {part} part of a split; "
                "keep one of them, put the classes of both into one folder, or choose --layout folders"
            )
        first[part] = name
