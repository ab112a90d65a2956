"""Options that several verbs share: which images, which sizes, where and on what."""

import argparse
import math
import re
from dataclasses import dataclass
from typing import Annotated

from anrot_lib.cli.options.fields import add_options, describe_defaults
from anrot_lib.core.configs import check_at_least
from anrot_lib.core.errors import UserError
from anrot_lib.core.options import Option
from anrot_lib.settings import CHARACTERS, FIGURES, PRESETS, Budget

ON_BAD, ON_DUPLICATES = ("error", "quarantine"), ("error", "quarantine", "report")
LONGEST_TAG = 60  # it is a part of the names of files
PRESET_DEFAULTS = describe_defaults(PRESETS)


@dataclass(frozen=True)
class DataOptions:
    """Which images, and how a folder of them is prepared on the way."""

    data: Annotated[
        str,
        Option(f"'{CHARACTERS}' or '{FIGURES}' (images of the kit), the name of a prepared set, or a folder of images"),
    ] = CHARACTERS
    split: Annotated[
        str, Option("how the classes of a folder are split into train, val and test; see anrot prepare --help")
    ] = "auto"
    on_bad: Annotated[str, Option("what to do with unreadable images of a folder", choices=ON_BAD)] = "error"
    on_duplicates: Annotated[
        str, Option("what to do with copies of an image in two splits of a folder", choices=ON_DUPLICATES)
    ] = "error"
    seed: Annotated[int, Option("seed of everything random")] = 0


@dataclass(frozen=True)
class RunOptions:
    """Where and how a command runs. The tag is checked: it becomes part of a path."""

    preset: Annotated[
        str | None, Option("smoke, laptop or paper: sizes and lengths (default: $ANROT_PRESET, else smoke)")
    ] = None
    device: Annotated[str, Option("auto, cpu or cuda")] = "auto"
    tag: Annotated[str, Option("a word to append to the names of what is written")] = ""
    reference: Annotated[bool, Option("write the records to data/results instead of data/runs")] = False
    dry_run: Annotated[bool, Option("say what would be done and how long it takes, and stop")] = False
    minutes: Annotated[
        float | None, Option("stop after so long, with exit code 3; the same command continues", metavar="X")
    ] = None

    def __post_init__(self) -> None:
        if self.tag and not re.fullmatch(r"[\w.-]*\w[\w.-]*", self.tag):
            raise UserError(f"--tag is one word of letters, digits, dots and dashes, got {self.tag!r}")
        if len(self.tag) > LONGEST_TAG:
            raise UserError(f"--tag is a word of at most {LONGEST_TAG} letters, got {len(self.tag)}")
        if self.minutes is not None and not 0 <= self.minutes < math.inf:
            raise UserError(f"--minutes must be a number of at least 0, got {self.minutes:g}")


@dataclass(frozen=True)
class RankOptions:
    """How many processes share the work of a verb."""

    devices: Annotated[
        int, Option("processes on each machine that share the work: one a GPU, or so many that share the cores")
    ] = 1
    nodes: Annotated[int, Option("machines that share the work; torchrun starts the command on each")] = 1

    def __post_init__(self) -> None:
        check_at_least(self, devices=1, nodes=1)


def add_data_options(parser: argparse.ArgumentParser, size: str = "", data: str = "") -> None:
    """size, data: the texts of their defaults, where these are not that of the preset and the embedded characters."""
    group = parser.add_argument_group("images")
    add_options(group, DataOptions, "data", defaults=(lambda name: data) if data else None)
    add_options(group, DataOptions, "split", "on_bad", "on_duplicates", "seed")
    add_options(group, Budget, "size", defaults=(lambda name: size) if size else PRESET_DEFAULTS)


def add_run_options(parser: argparse.ArgumentParser, *names: str, precision: bool = True) -> None:
    """names: the fields of `RunOptions`, () for all. precision: the command trains."""
    group = parser.add_argument_group("run")
    add_options(group, RunOptions, *names)
    if precision:
        add_options(group, Budget, "precision", defaults=PRESET_DEFAULTS)
