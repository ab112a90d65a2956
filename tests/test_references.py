"""What prose names in backticks exists: a renamed module or function leaves no stale name behind."""

import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import anrot_lib

ROOT = Path(__file__).resolve().parent.parent
MODULES = [m.name for m in pkgutil.walk_packages(anrot_lib.__path__, "anrot_lib.") if "__main__" not in m.name]
FORMER = "classifiers columns gaussians heads mixture multilevel nb pipeline viz level_study"  # modules of old
ROOMS = {part for module in MODULES for part in module.split(".")[1:]} | {"anrot_lib"}
# Variables of a docstring that are called like a module, and names of other libraries.
VARIABLES = {"easyfsl", "head", "recipe", "threat", "columns"}
SUFFIXES = ("cff", "csv", "json", "jsonl", "lock", "md", "npy", "npz", "png", "pt", "py", "toml", "txt", "yml")
REFERENCE = re.compile(r"`([a-z_]+(?:\.[A-Za-z_]+)+)(?:\([^`]*\))?`")
TEXTS = [
    *sorted(ROOT.glob("anrot_lib/**/*.py")),
    *sorted(ROOT.glob("notebooks/src/*.py")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("*.md")),
]


def find_attribute(owner: Any, names: list[str]) -> bool:
    for name in names:
        if not hasattr(owner, name) and name not in getattr(owner, "__annotations__", {}):
            return False
        owner = getattr(owner, name, None)
    return True


@cache
def exists(reference: str) -> bool:
    """Whether a reference, from the tail of a module's name on, leads to something."""
    parts = reference.split(".")
    for k in range(len(parts), 0, -1):
        tail = ".".join(parts[:k])
        for module in ("anrot_lib", *MODULES):
            is_tail = module == tail or module.endswith(f".{tail}")
            if is_tail and find_attribute(importlib.import_module(module), parts[k:]):
                return True
    return False


def list_stale(text: str) -> list[str]:
    names = [name for name in REFERENCE.findall(text) if name.rpartition(".")[2] not in SUFFIXES]
    checked = [name for name in names if name.partition(".")[0] in ROOMS | {*FORMER.split()}]
    return sorted({n for n in checked if n.partition(".")[0] not in VARIABLES and not exists(n)})


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_what_prose_names_exists(file):
    assert list_stale(file.read_text("utf-8")) == []


def test_a_stale_name_is_seen():
    assert list_stale("`mixture.episode_loss` and `attacks.episode.count_lost`, not `attacks.episode.count_loss`") == [
        "attacks.episode.count_lost",
        "mixture.episode_loss",
    ]
