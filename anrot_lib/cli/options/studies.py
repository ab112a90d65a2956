"""The verbs recipes, lengths, defences and ablation: studies that train variants of a recipe."""

import argparse
from dataclasses import dataclass
from typing import Annotated

from anrot_lib.cli.options.fields import add_options
from anrot_lib.cli.options.shared import PRESET_DEFAULTS, add_data_options, add_run_options
from anrot_lib.cli.options.verbs import Verb
from anrot_lib.core.options import Option
from anrot_lib.fewshot.methods import ABLATION, DEFENCES, LENGTHS, RECIPES, list_variants
from anrot_lib.settings import Budget, Protocol

CLASSES = ("val", "test")


@dataclass(frozen=True)
class RecipesOptions:
    variants: Annotated[tuple[str, ...], Option(f"some of: {' '.join(list_variants(RECIPES))} (default: all)")] = ()
    seeds: Annotated[tuple[int, ...], Option("seeds of the trainings; --seed is that of the episodes")] = (0,)


@dataclass(frozen=True)
class LengthsOptions(RecipesOptions):
    variants: Annotated[tuple[str, ...], Option(f"some of: {' '.join(list_variants(LENGTHS))} (default: all)")] = ()
    lengths: Annotated[tuple[int, ...], Option("episodes of a training, or steps of one without episodes")] = (
        150,
        300,
        600,
        1200,
    )


@dataclass(frozen=True)
class DefencesOptions(RecipesOptions):
    variants: Annotated[tuple[str, ...], Option(f"some of: {' '.join(list_variants(DEFENCES))} (default: all)")] = ()


@dataclass(frozen=True)
class AblationOptions(RecipesOptions):
    variants: Annotated[tuple[str, ...], Option(f"some of: {' '.join(list_variants(ABLATION))} (default: all)")] = ()
    seeds: Annotated[tuple[int, ...], Option("seeds of the trainings; --seed is that of the episodes")] = (0, 1, 2)
    classes: Annotated[
        str, Option("whose episodes: those of validation, for tries, or of the test, for the record", choices=CLASSES)
    ] = "val"


def _add_study(
    parser: argparse.ArgumentParser, options: type, lengths: tuple[str, ...] = ("episodes", "pretrain_steps")
) -> None:
    add_data_options(parser)
    group = parser.add_argument_group("study")
    add_options(group, options)
    add_options(group, Protocol, "way", "shot", "eps")
    names = ("encoder", *lengths, "pretrain_batch", "attacked_tasks")
    add_options(group, Budget, *names, defaults=PRESET_DEFAULTS, flags={"attacked_tasks": "--tasks"})
    add_run_options(parser)


RECIPES_STUDY = Verb(
    "recipes",
    "what each part of the robust recipe is worth, on the validation classes",
    "anrot recipes --data FOLDER --preset laptop --pretrain-steps 800",
    "recipes.recipes",
    lambda parser: _add_study(parser, RecipesOptions),
    "One net is trained for the recipe, and one for each part of it that is changed or left out. They are tested on "
    "episodes of the validation classes, so that a choice among them has not seen the test classes.",
)
LENGTHS_STUDY = Verb(
    "lengths",
    "time to accuracy: which recipe gets there first, on the validation classes",
    "anrot lengths --data FOLDER --preset laptop --lengths 100 200 400",
    "recipes.lengths",
    lambda parser: _add_study(parser, LengthsOptions, ()),
    "Each recipe is trained anew for every length, with a schedule of its own, and tested on the same episodes of the "
    "validation classes. The curves show accuracy over minutes of training.",
)
DEFENCES_STUDY = Verb(
    "defences",
    "ways to train against attacks, on the test classes, with what each costs",
    "anrot defences --data FOLDER --preset laptop",
    "recipes.defences",
    lambda parser: _add_study(parser, DefencesOptions),
    "One net is trained for each defence, on the same number of episodes. All are tested on the same episodes: clean, "
    "under PGD, under the worst of strong attacks (aa-lite), and under common corruptions.",
)
ABLATION_STUDY = Verb(
    "ablation",
    "what each part of ANROT is worth, clean and under attack, over several seeds",
    "anrot ablation --data FOLDER --preset laptop --episodes 300 --classes test",
    "recipes.ablation",
    lambda parser: _add_study(parser, AblationOptions),
    "One encoder a seed is pre-trained on clean images; from it one net is trained for the whole system, and one for "
    "each part that is changed or left out. All are tested on the same episodes, and compared in pairs.",
)
VERBS = (RECIPES_STUDY, LENGTHS_STUDY, DEFENCES_STUDY, ABLATION_STUDY)
