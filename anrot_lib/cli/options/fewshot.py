"""The verbs run, train, evaluate, predict and levels, and their options."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from anrot_lib.cli.options.fields import add_options, describe_defaults
from anrot_lib.cli.options.shared import PRESET_DEFAULTS, RankOptions, add_data_options, add_run_options
from anrot_lib.cli.options.verbs import Verb
from anrot_lib.core.options import Option
from anrot_lib.fewshot.methods import describe_names, list_rows
from anrot_lib.settings import MATRIX, SUITES, Budget, Protocol, Recipe

FIRST_ROBUST = ("clean-classes", "robust-classes")  # what `anrot lengths` finds robust first, and its clean twin


def list_default_rows(preset: str) -> tuple[str, ...]:
    """The rows that `anrot run` trains when none are named: longer presets add the recipe that is robust first."""
    return (*list_rows(), *(() if preset == "smoke" else FIRST_ROBUST))


@dataclass(frozen=True)
class TableOptions:
    rows: Annotated[
        tuple[str, ...],
        Option(
            f"rows of the table (default: {' '.join(list_rows())}, laptop and paper also {' '.join(FIRST_ROBUST)}); "
            f"some of: {describe_names()}"
        ),
    ] = ()
    seeds: Annotated[
        tuple[int, ...],
        Option("seeds of the trainings, a net for each (default: --seed, which is that of the episodes)"),
    ] = ()
    test_shots: Annotated[
        tuple[int, ...], Option("test each net with these numbers of support images a class, too")
    ] = ()
    reconstruct: Annotated[bool, Option("then do what `anrot reconstruct` does, too")] = False


@dataclass(frozen=True)
class ColumnOptions:
    columns: Annotated[
        tuple[str, ...],
        Option("columns to measure, by their first words: clean FGSM PGD-20 transfer noise curve (default: all)"),
    ] = ()
    attacks: Annotated[
        str | None,
        Option(
            "worst case of strong attacks, beside the columns: aa-lite or aa on queries; matrix is aa-lite on queries, "
            "on support images, and on both",
            choices=(*SUITES, MATRIX),
        ),
    ] = None
    corruptions: Annotated[
        bool, Option("fifteen kinds of common corruptions in five severities, on queries, support images and both")
    ] = False
    store: Annotated[
        bool, Option("write the adversarial queries of --attacks, or else of PGD, to a file for anrot rescore")
    ] = False
    half_width: Annotated[
        float | None,
        Option("test on as many clean episodes as a 95 % interval of this half-width takes", metavar="POINTS"),
    ] = None


@dataclass(frozen=True)
class TrainOptions:
    method: Annotated[str, Option(f"what to train, one of: {describe_names()}")] = "anrot"
    out: Annotated[Path | None, Option("file for the trained net (default: below data/checkpoints)")] = None


@dataclass(frozen=True)
class EvaluateOptions:
    checkpoint: Annotated[Path, Option("file of a trained net", positional=True)]
    allow_seen: Annotated[
        bool, Option("test even on classes or images that the net was trained on; every number is marked")
    ] = False
    unseen: Annotated[bool, Option("leave out the test classes that the net has seen, and say which")] = False


@dataclass(frozen=True)
class RescoreOptions:
    checkpoint: Annotated[Path, Option("file of a trained net", positional=True)]
    images: Annotated[
        Path, Option("file of adversarial queries, such as anrot evaluate --store writes", positional=True)
    ]
    record: Annotated[
        Path | None, Option("record of the net (default: the one in data/results or data/runs with its hash)")
    ] = None


@dataclass(frozen=True)
class PredictOptions:
    checkpoint: Annotated[Path, Option("file of a trained net", positional=True)]
    support: Annotated[Path, Option("a folder with one folder of example photos for each class", metavar="FOLDER")]
    query: Annotated[Path, Option("a photo, or a folder of photos, to be named", metavar="PATH")]
    json: Annotated[bool, Option("print JSON instead of a table")] = False


@dataclass(frozen=True)
class LevelsOptions:
    shots: Annotated[
        tuple[int, ...], Option("support images of each class, one table for each (default: 5 1; smoke 5)")
    ] = ()
    seeds: Annotated[tuple[int, ...], Option("seeds of the encoders; --seed is that of the episodes")] = (0,)
    variants: Annotated[
        tuple[str, ...], Option("some of: pixel part kl wasserstein2 hellinger pixel+part ... (default: all 15)")
    ] = ()


def _add_run(parser: argparse.ArgumentParser) -> None:
    add_options(parser.add_argument_group("table"), TableOptions)
    _add_few_shot_options(parser, trains=True, tests=True)


def _add_train(parser: argparse.ArgumentParser) -> None:
    add_options(parser.add_argument_group("net"), TrainOptions)
    _add_few_shot_options(parser, trains=True, tests=False)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    add_options(parser, EvaluateOptions)
    _add_few_shot_options(parser, trains=False, tests=True)


def _add_few_shot_options(parser: argparse.ArgumentParser, trains: bool, tests: bool) -> None:
    of_the_net = "" if trains else "that of the net"
    add_data_options(parser, size=of_the_net, data=of_the_net)
    add_options(parser.add_argument_group("episodes"), Protocol, "way", "shot")
    if trains:
        training = parser.add_argument_group("training")
        lengths = ("encoder", "episodes", "episodes_per_step", "pretrain_steps", "pretrain_batch", "groups")
        add_options(training, Budget, *lengths, defaults=PRESET_DEFAULTS)
        add_options(training, Recipe, defaults=describe_defaults(list_rows(), otherwise="that of the method"))
    if tests:
        testing = parser.add_argument_group("testing")
        add_options(testing, Protocol, "eps", "sigma", "steps", "restarts", "norm")
        add_options(testing, Budget, "attacked_tasks", defaults=PRESET_DEFAULTS, flags={"attacked_tasks": "--tasks"})
        add_options(testing, ColumnOptions)
    names = (
        "preset",
        "device",
        "tag",
        "dry_run",
        *(("minutes",) if trains else ()),
        *(("reference",) if tests else ()),
    )
    add_run_options(parser, *names, precision=trains)
    add_options(parser.add_argument_group("several processes"), RankOptions)


def _add_card(parser: argparse.ArgumentParser) -> None:
    add_options(parser, EvaluateOptions)
    add_data_options(parser, size="that of the net")
    add_options(parser.add_argument_group("episodes"), Protocol, "way", "shot")
    add_options(parser.add_argument_group("attack"), Protocol, "eps", "steps", "norm")
    add_run_options(parser, "preset", "device", "tag", "reference", precision=False)


def _add_judges(parser: argparse.ArgumentParser) -> None:
    add_options(parser, EvaluateOptions)
    add_data_options(parser, size="that of the net", data="that of the net")
    episodes = parser.add_argument_group("episodes")
    add_options(episodes, Protocol, "way", "shot")
    add_options(episodes, Budget, "attacked_tasks", defaults=PRESET_DEFAULTS, flags={"attacked_tasks": "--tasks"})
    add_options(parser.add_argument_group("attack"), Protocol, "eps")
    add_run_options(parser, "preset", "device", "tag", "reference", precision=False)


def _add_rescore(parser: argparse.ArgumentParser) -> None:
    add_options(parser, RescoreOptions)
    add_run_options(parser, "device", "reference", precision=False)


def _add_levels(parser: argparse.ArgumentParser) -> None:
    add_data_options(parser)
    group = parser.add_argument_group("study")
    add_options(group, LevelsOptions)
    add_options(group, Protocol, "way", "eps")
    add_options(
        group,
        Budget,
        "encoder",
        "episodes",
        "episodes_per_step",
        "groups",
        "clean_tasks",
        "attacked_tasks",
        defaults=lambda name: "conv64f" if name == "encoder" else "that of the preset",
        flags={"clean_tasks": "--tasks"},
    )
    add_run_options(parser)
    add_options(parser.add_argument_group("several processes"), RankOptions)


VERBS = (
    Verb(
        "run",
        "train and test all rows of the table, print it, write records and curves",
        "anrot run --data FOLDER --preset laptop",
        "fewshot.run",
        _add_run,
        "Without options it takes a few minutes on two cores.",
    ),
    Verb(
        "train",
        "train one net and write its checkpoint",
        "anrot train --data FOLDER --clean 1 --adversarial 1 --noisy 1 --out mine.pt",
        "fewshot.train",
        _add_train,
    ),
    Verb(
        "evaluate",
        "test a net: clean, under attack, under noise",
        "anrot evaluate mine.pt --data FOLDER --half-width 0.5",
        "fewshot.evaluate",
        _add_evaluate,
    ),
    Verb(
        "predict",
        "name your own photos, from a folder of examples for each class",
        "anrot predict mine.pt --support examples --query photos",
        "fewshot.predict",
        lambda parser: add_options(parser, PredictOptions),
    ),
)
CARD = Verb(
    "card",
    "is a net robust, or do the attacks only lack a gradient?",
    "anrot card mine.pt --data mine --preset laptop",
    "card.card",
    _add_card,
    "Checks of one net: gradients of zero, more restarts and steps, larger radii, a search without gradients, a "
    "surrogate's attack, and whether a query is classified alone as beside others.",
)
JUDGES = Verb(
    "judges",
    "are our attacks as strong as those of other libraries?",
    "anrot judges mine.pt --tasks 100",
    "judges.judges",
    _add_judges,
    "PGD, adaptive steps, targeted ones and a search by squares, by this kit and by two optional libraries, "
    "adversarial-robustness-toolbox and adv-lib, on the same queries: one of each class of an episode.",
)
RESCORE = Verb(
    "rescore",
    "does a row fall? score a challenger's adversarial images",
    "anrot rescore mine.pt theirs.safetensors",
    "rescore.rescore",
    _add_rescore,
    "Every image is checked against the threat model of the record, and scored one episode at a time by the net as it "
    "is stored. The row falls if fewer queries are right than its record says.",
)
LEVELS = Verb(
    "levels",
    "compare pixels, parts and distributions on one encoder, clean and under attack",
    "anrot levels --shots 1 --variants pixel part pixel+part",
    "levels.levels",
    _add_levels,
    "One encoder for each shot and seed is trained on pixels alone; then 15 combinations of levels work on its feature "
    "maps. Their weights are fitted to validation episodes, and all are tested on the same episodes.",
)
