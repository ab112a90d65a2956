"""The verbs recipes, lengths, defences and ablation: variants of a recipe, tested on the same episodes."""

import argparse
import time
from dataclasses import replace
from typing import Any

from anrot_lib.cli.commands.arguments import open_setting, read_budget, read_options
from anrot_lib.cli.commands.fewshot import print_alarms, print_plan, read_recipes
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.cli.options.studies import AblationOptions, DefencesOptions, LengthsOptions, RecipesOptions
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import shorten
from anrot_lib.core.units import format_pixels
from anrot_lib.experiments.rows import run_rows
from anrot_lib.experiments.setting import Setting, choose_folder
from anrot_lib.fewshot.methods import ABLATION, DEFENCES, LENGTHS, RECIPES, list_variants
from anrot_lib.records import results
from anrot_lib.reports import tables
from anrot_lib.settings import Recipe


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

    chosen = choose_variants(arguments, study, options)
    setting, run, report = open_setting(arguments), read_options(RunOptions, arguments), REPORTS[study]
    protocol = setting.protocol
    trained, tested = (
        choose_folder(setting.image_set, protocol, setting.budget, "-".join(filter(None, words)), run.reference)
        for words in ((study, run.tag), (study, word, run.tag))
    )
    columns = (*list_study_columns(setting), *columns)
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


def choose_variants(arguments: argparse.Namespace, study: str, options: RecipesOptions) -> dict[str, Recipe]:
    """Name of a row -> recipe, of the variants and seeds that are asked for. UserError for one of another study."""
    variants = tuple(list_variants(study))
    if unknown := sorted(set(options.variants) - set(variants)):
        raise UserError(f"unknown variant {unknown[0]!r}; choose from {', '.join(variants)}")
    return read_recipes(arguments, options.variants or variants, options.seeds)


def list_study_columns(setting: Setting) -> tuple[str, str]:
    """The columns of every study: clean, and PGD on queries."""
    return "clean", f"PGD-{setting.protocol.steps} {format_pixels(setting.protocol.eps)} query"


def lengths(arguments: argparse.Namespace) -> int:
    """Some recipes, each trained at several lengths, on episodes of the validation classes: who gets there first?"""
    from anrot_lib.reports import figures  # these load matplotlib
    from anrot_lib.reports import lengths as report

    options, run = read_options(LengthsOptions, arguments), read_options(RunOptions, arguments)
    chosen, setting = choose_variants(arguments, LENGTHS, options), open_setting(arguments)
    setting = replace(setting, split="val", columns=list_study_columns(setting))
    for length in sorted(set(options.lengths)):
        budget = read_budget(arguments, episodes=length, pretrain_steps=length)
        tag = "-".join(filter(None, (LENGTHS, run.tag, f"{length}")))
        folder = choose_folder(setting.image_set, setting.protocol, budget, tag, run.reference)
        setting = replace(setting, budget=budget, folder=folder)
        if run.dry_run:
            print_plan(setting, chosen)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        run_rows(setting, chosen)
    if run.dry_run:
        return 0
    records = report.read_lengths(setting.folder.parent, setting.folder.name.rpartition("-")[0])
    for make in (report.make_table, report.make_targets_table):
        print(f"\n{tables.format_text(*make(records))}")
    print(f"\n{report.write_caption(records)}")
    print_alarms(records)
    longest = report.list_folders(setting.folder.parent, setting.folder.name.rpartition("-")[0])[-1]
    print(f"figure: {shorten(figures.save(report.draw(records), longest / report.FIGURE))}")
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
