"""The verb consequences: what defects of the published evaluation do to the accuracy of a net, or of several."""

import argparse
from dataclasses import replace
from pathlib import Path

from anrot_lib.cli.commands.arguments import get_changes, open_setting, read_options, read_recipe
from anrot_lib.cli.commands.fewshot import open_net, print_alarms
from anrot_lib.cli.options.audit import ConsequencesOptions
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.core import checkpoints
from anrot_lib.core.configs import from_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import shorten
from anrot_lib.experiments.consequences import TAG, run_consequences
from anrot_lib.experiments.leaky_split import METHOD, RELEASED_TAG, SPLIT_TAG, run_splits
from anrot_lib.experiments.setting import choose_folder, make_manifest
from anrot_lib.fewshot.methods import get_method
from anrot_lib.records import results
from anrot_lib.records.measures import TrainingRecord
from anrot_lib.records.schema import check_training
from anrot_lib.reports import consequences as report
from anrot_lib.reports import tables
from anrot_lib.settings import Budget, Recipe

DEFAULT_SEEDS = (0, 1, 2)  # of draws of the classes


def consequences(arguments: argparse.Namespace) -> int:
    """Measure a net in the right and in the published way; without a net what the split of the release is worth."""
    options = read_options(ConsequencesOptions, arguments)
    if options.checkpoint is None:
        return measure_splits(arguments, options.split_seeds or DEFAULT_SEEDS)
    if options.split_seeds or get_changes(Budget, arguments, "encoder", "episodes"):
        raise UserError("--split-seeds, --encoder and --episodes are for nets that are trained here; leave out the net")
    return measure_net(arguments, options.checkpoint, options.allow_seen)


def measure_net(arguments: argparse.Namespace, path: Path, allow_seen: bool) -> int:
    """Measure a net, write the record and print the paired differences."""
    net, method, about, setting = open_net(arguments, path, allow_seen)
    run = read_options(RunOptions, arguments)
    tag = "-".join(word for word in (TAG, run.tag) if word)
    folder = choose_folder(setting.image_set, setting.protocol, setting.budget, tag, run.reference)
    setting = replace(setting, folder=folder)
    recipe = from_dict(Recipe, about["recipe"]) if "recipe" in about else Recipe(method=method)
    trained: TrainingRecord = {
        **check_training(about.get("training", {}), f"the training in {path}"),
        "checkpoint": checkpoints.sha256(path),
    }
    file = run_consequences(setting, about.get("row", path.stem), recipe, net, trained, make_manifest(setting))
    record = results.read(file, "accuracy")
    print(f"\n{tables.format_text(*report.make_table(record))}\n\n{tables.write_caption(record)}")
    if few := report.describe_few_tasks(record):
        print(few)
    print(f"record: {shorten(file)}")
    return 0


def measure_splits(arguments: argparse.Namespace, seeds: tuple[int, ...]) -> int:
    """Train a net for each draw of the classes, test it on both kinds of test classes, write and print the records."""
    from anrot_lib.reports import figures, leaky_split  # they load matplotlib

    recipe, setting = read_recipe(arguments, get_method(METHOD).recipe), open_setting(arguments)
    run = read_options(RunOptions, arguments)
    folder, released = (
        choose_folder(setting.image_set, setting.protocol, setting.budget, "-".join(filter(None, words)), run.reference)
        for words in ((SPLIT_TAG, run.tag), (RELEASED_TAG, run.tag))
    )
    run_splits(replace(setting, folder=folder), released, recipe, seeds)
    pairs = leaky_split.match_splits(results.read_all(folder), results.read_all(released))
    print(f"\n{tables.format_text(*leaky_split.make_split_table(pairs))}\n\n{leaky_split.write_split_caption(pairs)}")
    print_alarms([right for right, _ in pairs.values()])
    print(f"figure: {shorten(figures.save(leaky_split.draw_splits(pairs), folder / leaky_split.FIGURE))}")
    print(f"records: {shorten(folder)} and {shorten(released)}")
    return 0
