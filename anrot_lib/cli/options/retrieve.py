"""The verb retrieve with its actions train, attack, score and table, and their options."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from anrot_lib.cli.options.fields import add_options, describe_defaults
from anrot_lib.cli.options.shared import RankOptions, RunOptions
from anrot_lib.cli.options.verbs import Verb
from anrot_lib.core.configs import check_at_least, check_at_most
from anrot_lib.core.options import PIXELS, Option
from anrot_lib.ranking.recipe import PARITIES, RankingRecipe, build_recipe
from anrot_lib.settings import MOST_TASKS, PRECISIONS

CHECKS = ("gradient", "restarts", "steps", "eps", "nes", "transfer")
PUBLISHED = ("cub", "cars", "sop", "mnist", "fashion")
NUMBERS = ("CA+", "CA-", "QA+", "QA-", "TMA", "ES:D", "ES:R", "LTM", "GTM", "GTT")
NAME_28, NAME_224 = "fashion:rc2f2ghmetsm:ptripletN", "cub:rres18ghmetsmi:ptripletN"
NAME = Option(
    f"dataset:model:loss, such as {NAME_28} or {NAME_224}",
    metavar="NAME",
    flags=("-C", "--config"),
)


@dataclass(frozen=True)
class ImageOptions:
    """Which images; all actions that look at some share these."""

    data: Annotated[
        str | None,
        Option(
            "a folder: of IDX files for mnist and fashion, in its published layout for cub, cars, sop; else a folder "
            "of images or the name of a prepared set (default: where the set usually lies)"
        ),
    ] = None
    download: Annotated[bool, Option("fetch mnist or fashion first, through torchvision")] = False
    split: Annotated[
        str, Option("of a prepared set: set (its own classes), halves (the first half trains) or auto")
    ] = "auto"
    limit_images: Annotated[
        int | None, Option("at most so many training and test images, evenly by class (default: all)")
    ] = None

    def __post_init__(self) -> None:
        if self.limit_images is not None:
            check_at_least(self, limit_images=2)


@dataclass(frozen=True)
class TrainRankingOptions:
    config: Annotated[str, NAME]
    weights: Annotated[
        str | None, Option("file with the state of torchvision's ImageNet classifier, or 'imagenet' to fetch it")
    ] = None
    precision: Annotated[str, Option("arithmetic of training", choices=PRECISIONS)] = "auto"
    evaluate_every: Annotated[int | None, Option("epochs between two tests (default: 1 for 28 px, 5 for 224 px)")] = (
        None
    )
    seed: Annotated[int, Option("seed of weights, batches and attacks")] = 0
    out: Annotated[Path | None, Option("file for the trained net (default: below data/checkpoints)")] = None

    def __post_init__(self) -> None:
        if self.evaluate_every is not None:
            check_at_least(self, evaluate_every=1)


@dataclass(frozen=True)
class AttackOptions:
    config: Annotated[str | None, NAME] = None
    checkpoint: Annotated[Path | None, Option("the net, where its name fits none or several checkpoints")] = None
    profile: Annotated[str | None, Option("rob28 or rob224, also called cvpr (default: that of the backbone)")] = None
    queries: Annotated[int | None, Option("images to attack, drawn at random (default: all)")] = None
    eps: Annotated[float | None, Option("radius (default: that of the profile)", metavar=PIXELS)] = None
    steps: Annotated[int | None, Option("steps of the attack (default: those of the profile, 32)")] = None
    parity: Annotated[str, Option("robrank: as the original code has it", choices=PARITIES)] = "fixed"
    seed: Annotated[int, Option("seed of queries and partners")] = 0
    no_nmi: Annotated[bool, Option("leave out NMI, which takes long for thousands of classes")] = False
    allow_seen: Annotated[
        bool, Option("test even on other images or another split than it was trained with; every number is marked")
    ] = False


@dataclass(frozen=True)
class CheckOptions:
    checks: Annotated[
        tuple[str, ...] | None,
        Option(
            f"in place of the score: is the gradient masked? all of, or some of: {' '.join(CHECKS)}",
            choices=CHECKS,
            metavar="CHECK",
            count="*",
        ),
    ] = None
    other: Annotated[Path | None, Option("checkpoint of another net, for the check 'transfer'")] = None


@dataclass(frozen=True)
class FewShotOptions:
    few_shot: Annotated[
        int | None, Option("also few-shot accuracy, clean and under attack, on so many episodes", metavar="TASKS")
    ] = None
    way: Annotated[int, Option("classes in an episode")] = 5
    shot: Annotated[int, Option("support images of each class")] = 5
    head: Annotated[str, Option("few-shot head: prototypes, cosine, anrot, hela-vfa, ...")] = "prototypes"
    maps: Annotated[str, Option("what the head sees", choices=("map", "embedding"))] = "map"

    def __post_init__(self) -> None:
        check_at_least(self, way=2, shot=1)
        if self.few_shot is not None:
            check_at_least(self, few_shot=2)  # an interval needs two episodes
            check_at_most(self, few_shot=MOST_TASKS)


@dataclass(frozen=True)
class ScoreOptions:
    config: Annotated[str | None, NAME] = None
    records: Annotated[
        tuple[Path, ...], Option("records of attack (default: all, or those of -C)", positional=True, count="*")
    ] = ()
    numbers: Annotated[
        tuple[float, ...], Option("ten numbers as tables print them", metavar=NUMBERS, count=len(NUMBERS))
    ] = ()


@dataclass(frozen=True)
class RankingTableOptions:
    config: Annotated[str | None, NAME] = None
    set: Annotated[str | None, Option("rows of this data set only", choices=PUBLISHED)] = None
    markdown: Annotated[bool, Option("print Markdown")] = False


def _add_train(parser: argparse.ArgumentParser) -> None:
    add_options(parser.add_argument_group("net"), TrainRankingOptions, "config", "weights", "seed", "out")
    add_options(parser.add_argument_group("images"), ImageOptions)
    examples = {"28 px": build_recipe(NAME_28), "224 px": build_recipe(NAME_224)}
    add_options(parser.add_argument_group("recipe"), RankingRecipe, defaults=describe_defaults(examples))
    run = parser.add_argument_group("run")
    add_options(run, TrainRankingOptions, "precision", "evaluate_every")
    add_options(run, RunOptions, "device", "tag", "reference", "dry_run")


def _add_attack(parser: argparse.ArgumentParser) -> None:
    add_options(parser.add_argument_group("net"), AttackOptions, "config", "checkpoint")
    add_options(parser.add_argument_group("images"), ImageOptions)
    names = ("profile", "queries", "eps", "steps", "parity", "seed", "no_nmi", "allow_seen")
    add_options(parser.add_argument_group("attacks"), AttackOptions, *names)
    add_options(parser.add_argument_group("checks of the gradient"), CheckOptions)
    add_options(parser.add_argument_group("few-shot accuracy"), FewShotOptions)
    add_options(parser.add_argument_group("run"), RunOptions, "device", "tag", "reference", "dry_run")
    add_options(parser.add_argument_group("several processes"), RankOptions)


RETRIEVE = Verb(
    "retrieve",
    "robust metric learning: train a ranking model, attack it, score it",
    f"anrot retrieve train -C {NAME_28} --download",
    actions=(
        Verb(
            "train",
            "train a ranking model and write its checkpoint and record",
            f"anrot retrieve train -C {NAME_28} --download",
            "retrieve_train.train",
            _add_train,
            "The defaults of the recipe are the published ones of the name; shown are those of hardness manipulation. "
            "A training that was stopped continues with the same command.",
        ),
        Verb(
            "attack",
            "test a ranking model: retrieval, ten attack numbers, the robustness score",
            f"anrot retrieve attack -C {NAME_28} --queries 128",
            "retrieve_attack.attack",
            _add_attack,
            "Every test image is in the gallery; --queries says how many are attacked. An attack that was stopped "
            "continues with the same command.",
        ),
        Verb(
            "score",
            "print the robustness score of records, or of ten numbers",
            f"anrot retrieve score -C {NAME_28}",
            "retrieve_table.score",
            lambda parser: add_options(parser, ScoreOptions),
        ),
        Verb(
            "table",
            "print what the papers publish, and what was measured here",
            "anrot retrieve table --set fashion",
            "retrieve_table.table",
            lambda parser: add_options(parser, RankingTableOptions),
        ),
    ),
)
