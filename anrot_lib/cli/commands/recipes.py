"""The verbs recipes, defences and ablation: variants of a recipe are trained, and tested on the same episodes."""

import argparse
import time
from dataclasses import replace
from typing import Any

from anrot_lib.cli.commands.arguments import open_setting, read_options
from anrot_lib.cli.commands.fewshot import print_alarms, print_plan, read_recipes
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.cli.options.studies import AblationOptions, DefencesOptions, RecipesOptions
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import shorten
from anrot_lib.core.units import format_pixels
from anrot_lib.experiments.rows import run_rows
from anrot_lib.experiments.setting import choose_folder
from anrot_lib.fewshot.methods import ABLATION, DEFENCES, RECIPES, list_variants
from anrot_lib.records import results
from anrot_lib.reports import tables


def run_study(
    arguments: argparse.Namespace,
    study: str,
    options: RecipesOptions,
    word: str = "",
    columns: tuple[str, ...] = (),
    **tests: Any,
) -> int:
    """Train the variants of a study, test them on clean images and under the strong attack, print and draw them.

    word     goes into the name of the folder of records, beside that of the study; the nets are the same for all words.
    columns  more columns to test, by their first words; tests: what the setting of the test asks for, by its fields.
    """
    from anrot_lib.reports import figures  # these load matplotlib
    from anrot_lib.reports.studies import REPORTS

    variants = tuple(list_variants(study))
    if unknown := sorted(set(options.variants) - set(variants)):
        raise UserError(f"unknown variant {unknown[0]!r}; choose from {', '.join(variants)}")
    chosen = read_recipes(arguments, options.variants or variants, options.seeds)
    setting, run, report = open_setting(arguments), read_options(RunOptions, arguments), REPORTS[study]
    protocol = setting.protocol
    trained, tested = (
        choose_folder(setting.image_set, protocol, setting.budget, "-".join(filter(None, words)), run.reference)
        for words in ((study, run.tag), (study, word, run.tag))
    )
    columns = ("clean", f"PGD-{protocol.steps} {format_pixels(protocol.eps)} query", *columns)
    training, setting = replace(setting, folder=trained), replace(setting, folder=tested, columns=columns, **tests)
    if run.dry_run:
        return print_plan(setting, chosen)
    setting.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    run_rows(training, chosen, tested_in=setting)
    records = results.read_all(setting.folder)
    print(f"\n{tables.format_text(*report.make_table(records))}\n\n{report.write_caption(records)}")
    print_alarms([record for record in records if record["row"] in chosen])
    if len(records) > 1:
        print(f"figure: {shorten(figures.save(report.draw(records), setting.folder / report.figure))}")
    print(f"records: {shorten(setting.folder)}   {time.perf_counter() - started:.0f} s")
    return 0


def recipes(arguments: argparse.Namespace) -> int:
    """Variants of the robust recipe, on episodes of the validation classes, for a choice."""
    return run_study(arguments, RECIPES, read_options(RecipesOptions, arguments), split="val")


def defences(arguments: argparse.Namespace) -> int:
    """Ways to train against attacks, on episodes of the test classes, under strong attacks and corruptions, too."""
    options = read_options(DefencesOptions, arguments)
    return run_study(arguments, DEFENCES, options, suites=("aa-lite",), targets=("query",), corrupted=("query",))


def ablation(arguments: argparse.Namespace) -> int:
    """ANROT with one part changed, on episodes of the validation classes, or of the test classes for the record."""
    options = read_options(AblationOptions, arguments)
    word = "" if options.classes == "test" else options.classes
    return run_study(arguments, ABLATION, options, word, ("FGSM",), split=options.classes)
