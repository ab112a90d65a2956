"""The verb consequences: what defects of the published evaluation do to the accuracy of a net."""

import argparse
from dataclasses import replace

from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.commands.fewshot import open_net
from anrot_lib.cli.options.fewshot import EvaluateOptions
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.core import checkpoints
from anrot_lib.core.configs import from_dict
from anrot_lib.core.progress import shorten
from anrot_lib.experiments.consequences import TAG, run_consequences
from anrot_lib.experiments.setting import choose_folder, make_manifest
from anrot_lib.records import results
from anrot_lib.records.measures import TrainingRecord
from anrot_lib.records.schema import check_training
from anrot_lib.reports import consequences as report
from anrot_lib.reports import tables
from anrot_lib.settings import Recipe


def consequences(arguments: argparse.Namespace) -> int:
    """Measure a net in the right and in the published way, write the record and print the paired differences."""
    path = read_options(EvaluateOptions, arguments).checkpoint
    net, method, about, setting = open_net(arguments)
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
