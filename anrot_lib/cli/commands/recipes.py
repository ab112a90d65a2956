"""The verb recipes: what each part of the robust recipe is worth, on the validation classes."""

import argparse
import time
from dataclasses import replace

from anrot_lib.cli.commands.arguments import open_setting, read_options
from anrot_lib.cli.commands.fewshot import print_plan, read_recipes
from anrot_lib.cli.options.fewshot import RecipesOptions
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import shorten
from anrot_lib.core.units import format_pixels
from anrot_lib.experiments.rows import run_rows
from anrot_lib.experiments.setting import Setting, choose_folder
from anrot_lib.fewshot.methods import RECIPES, list_variants
from anrot_lib.records import results
from anrot_lib.reports import tables


def open_study(arguments: argparse.Namespace) -> Setting:
    """The setting of the command line on the validation classes: clean images and the strong attack."""
    setting, run = open_setting(arguments), read_options(RunOptions, arguments)
    tag = "-".join(word for word in (RECIPES, run.tag) if word)
    protocol = setting.protocol
    folder = choose_folder(setting.image_set, protocol, setting.budget, tag, run.reference)
    columns = ("clean", f"PGD-{protocol.steps} {format_pixels(protocol.eps)} query")
    return replace(setting, split="val", folder=folder, columns=columns)


def recipes(arguments: argparse.Namespace) -> int:
    """Train the variants, test them on episodes of validation classes, print a table and draw the trade-off."""
    from anrot_lib.reports import figures  # these load matplotlib
    from anrot_lib.reports import recipes as report

    options = read_options(RecipesOptions, arguments)
    variants = tuple(list_variants(RECIPES))
    if unknown := sorted(set(options.variants) - set(variants)):
        raise UserError(f"unknown variant {unknown[0]!r}; choose from {', '.join(variants)}")
    chosen = read_recipes(arguments, options.variants or variants, options.seeds)
    setting = open_study(arguments)
    if read_options(RunOptions, arguments).dry_run:
        return print_plan(setting, chosen)
    setting.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    run_rows(setting, chosen)
    records = results.read_all(setting.folder)
    print(f"\n{tables.format_text(*report.make_table(records))}\n\n{report.write_caption(records)}")
    if len(records) > 1:
        print(f"figure: {shorten(figures.save(report.draw_trade_off(records), setting.folder / report.FIGURE))}")
    print(f"records: {shorten(setting.folder)}   {time.perf_counter() - started:.0f} s")
    return 0
