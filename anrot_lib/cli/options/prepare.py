"""The verb prepare, and its options."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from anrot_lib.cli.options.fields import add_options
from anrot_lib.cli.options.shared import ON_BAD, ON_DUPLICATES, RankOptions
from anrot_lib.cli.options.verbs import Verb
from anrot_lib.core.configs import check_at_least, check_at_most
from anrot_lib.core.options import PIXELS, Option


@dataclass(frozen=True)
class PrepareOptions:
    source: Annotated[
        str | None, Option("a folder of images; with --perturb, the name of a prepared set", positional=True)
    ] = None
    name: Annotated[str | None, Option("name of the prepared set (default: that of the folder)")] = None
    size: Annotated[int, Option("side of the stored images in pixels")] = 32
    layout: Annotated[str, Option("how the folder is laid out; auto looks at it")] = "auto"
    split: Annotated[
        str,
        Option(
            "auto, folders, random, or a published one: mini-imagenet, tiered-imagenet, cifar-fs, fc100, omniglot, "
            "cub-100-50-50, ..."
        ),
    ] = "auto"
    rotations: Annotated[bool, Option("add turned classes as new ones (Omniglot)")] = False
    download: Annotated[
        str | None, Option("fetch a set first, through torchvision", choices=("cifar100", "omniglot"))
    ] = None
    on_bad: Annotated[str, Option("what to do with unreadable images", choices=ON_BAD)] = "error"
    on_duplicates: Annotated[str, Option("what to do with copies of an image in two splits", choices=ON_DUPLICATES)] = (
        "error"
    )
    seed: Annotated[int, Option("seed of a random split, or of a perturbation")] = 0
    replace: Annotated[bool, Option("replace a set of this name that has another split")] = False
    dry_run: Annotated[bool, Option("say what is in the folder and how long it takes, and stop")] = False

    def __post_init__(self) -> None:
        check_at_least(self, size=1)
        check_at_most(self, size=4096)


@dataclass(frozen=True)
class PerturbOptions:
    perturb: Annotated[
        str | None, Option("store a perturbed copy of a prepared set", choices=("noise", "fgsm", "transfer"))
    ] = None
    eps: Annotated[float | None, Option("radius of fgsm or transfer", metavar=PIXELS)] = None
    sigma: Annotated[float | None, Option("standard deviation of the noise, in units of the pixel range")] = None
    checkpoint: Annotated[Path | None, Option("the net that fgsm attacks")] = None


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    add_options(parser, PrepareOptions)
    add_options(parser.add_argument_group("processes"), RankOptions)
    add_options(parser.add_argument_group("a perturbed copy"), PerturbOptions)


PREPARE = Verb(
    "prepare",
    "check a folder of images and pack it, or pack a perturbed copy of a set",
    "anrot prepare FOLDER --name mine --split random",
    "prepare.prepare",
    _add_prepare,
    "Known layouts: one folder of images for each class, also within folders for training and testing under any usual "
    "name; images with csv or txt lists; mini-ImageNet and MetaOptNet pickles, cifar-100-python, tieredImageNet, "
    "Omniglot, CUB, tiny-imagenet-200, IDX files.",
)
