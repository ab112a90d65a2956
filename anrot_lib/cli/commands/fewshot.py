"""The verbs run, train, evaluate and predict. Every number printed here comes from a record or a library call."""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from anrot_lib.cli.commands import reconstruct
from anrot_lib.cli.commands.arguments import (
    check_out,
    describe_memory,
    get_changes,
    open_setting,
    read_options,
    read_recipe,
)
from anrot_lib.cli.options.fewshot import (
    ColumnOptions,
    EvaluateOptions,
    PredictOptions,
    TableOptions,
    TrainOptions,
    list_default_rows,
)
from anrot_lib.cli.options.shared import DataOptions, RankOptions, RunOptions
from anrot_lib.core import checkpoints
from anrot_lib.core.configs import from_dict, make_key, to_dict
from anrot_lib.core.errors import UserError, escape_control
from anrot_lib.core.progress import shorten
from anrot_lib.core.torchrun import count_started
from anrot_lib.core.units import format_minutes
from anrot_lib.data.leakage.seen import check_unseen, remove_seen
from anrot_lib.experiments import rows as pipeline
from anrot_lib.experiments.columns import choose_stored
from anrot_lib.experiments.estimates import estimate_run
from anrot_lib.experiments.setting import FROM, Setting, choose_folder, make_manifest, plan_tasks
from anrot_lib.experiments.stored import find_images
from anrot_lib.experiments.testing_time import estimate_columns
from anrot_lib.fewshot import nets, prediction
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.methods import get_method
from anrot_lib.fewshot.row_names import name_row
from anrot_lib.fewshot.validation import describe_chance
from anrot_lib.records import results
from anrot_lib.records.measures import TrainingRecord
from anrot_lib.records.schema import AccuracyRecord, check_training
from anrot_lib.reports import sizes, tables
from anrot_lib.settings import Budget, Recipe, preset


def run(arguments: argparse.Namespace) -> int:
    """All rows of the table; with --reconstruct then the autoencoders, too."""
    code = run_table(arguments)
    return code or (reconstruct.reconstruct(arguments) if read_options(TableOptions, arguments).reconstruct else 0)


def run_table(arguments: argparse.Namespace) -> int:
    """Train and test the rows, print their table, draw their figures."""
    options, run = read_options(TableOptions, arguments), read_options(RunOptions, arguments)
    several = read_options(RankOptions, arguments)
    if options.reconstruct and max(several.devices * several.nodes, count_started()) > 1:
        raise UserError("one process trains the autoencoders; leave --reconstruct to anrot reconstruct, afterwards")
    recipes = read_recipes(arguments, options.rows or list_default_rows(preset(run.preset).preset), options.seeds)
    setting = open_setting(arguments)
    others = [change_shot(setting, shot, run) for shot in options.test_shots if shot != setting.protocol.shot]
    for other in others:
        make_manifest(other)  # it refuses too few test images now, and not after hours of training
    if run.dry_run:
        return print_plan(setting, recipes, tests=1 + len(others))
    half_width = read_options(ColumnOptions, arguments).half_width
    started = time.perf_counter()
    for other in (setting, *others):
        other.folder.mkdir(parents=True, exist_ok=True)
        files = pipeline.run_rows(setting, recipes, half_width, tested_in=other)
        if setting.ranks.is_first:
            show(files, other, time.perf_counter() - started)
    return 0


def read_recipes(
    arguments: argparse.Namespace, rows: tuple[str, ...], seeds: tuple[int, ...] = ()
) -> dict[str, Recipe]:
    """Name of a row -> recipe, of some methods and some seeds. UserError for a method that cannot be built."""
    methods = {row: read_recipe(arguments, get_method(row).recipe) for row in pipeline.check_rows(list(rows))}
    return {
        name_row(row, seed, first=recipe.seed): replace(recipe, seed=seed)
        for row, recipe in methods.items()
        for seed in seeds or (recipe.seed,)
    }


def change_shot(setting: Setting, shot: int, run: RunOptions) -> Setting:
    """The setting with another number of support images a class, and with its folder."""
    return change_tag(replace(setting, protocol=replace(setting.protocol, shot=shot)), run)


def change_tag(setting: Setting, run: RunOptions, word: str = "") -> Setting:
    """The setting with the folder that belongs to it, whose name ends in a word and in the tag of the command line."""
    tag = "-".join(filter(None, (word, run.tag)))
    folder = choose_folder(setting.image_set, setting.protocol, setting.budget, tag, run.reference)
    return replace(setting, folder=folder)


def show(files: list[Path], setting: Setting, seconds: float) -> None:
    """Print the table, and where everything was written."""
    from anrot_lib.publish import pages
    from anrot_lib.reports import figures  # they load matplotlib, which only this needs

    records = [results.read(file, "accuracy") for file in files]
    bounds = tables.explain_bounds(tables.select_main_columns(records))
    caption = tables.write_caption(records[0]) + sizes.describe_lengths(records)
    caption += tables.describe_fewer(records) + tables.describe_peak(records)
    print(f"\n{tables.format_text(*tables.make_table(records))}\n\n{caption}{bounds}")
    print_alarms(records)
    for name, figure in pages.choose_figures(setting.folder).items():
        print(f"figure: {shorten(figures.save(figure(), setting.folder / name))}")
    print(f"records: {shorten(setting.folder)}   checkpoints: {shorten(setting.work)}   {seconds:.0f} s")


def print_alarms(records: list[AccuracyRecord]) -> None:
    """Print what was noticed in the trainings of some records, once for each net."""
    trained = {record["training"].get("checkpoint", record["row"]): record for record in reversed(records)}
    for record in reversed(trained.values()):
        for alarm in record["training"].get("alarms", []):
            print(escape_control(f"{record['row']}: {alarm}"))


def print_plan(setting: Setting, recipes: dict[str, Recipe], tests: int = 1, out: Path | None = None) -> int:
    """Print what a run would do and how long it takes.

    tests  in how many settings each net is tested.
    out    the file for the net, where it is not among the checkpoints.
    """
    estimate = estimate_run(setting, recipes, tests)
    if estimate.pretraining:
        print(f"pre-training about {format_minutes(estimate.pretraining)}")
    if estimate.surrogate:
        print(f"surrogate of the transfer attack, once, about {format_minutes(estimate.surrogate)}")
    for row, seconds in estimate.training.items():
        testing = f", testing about {format_minutes(estimate.testing[row])}" if tests else ""
        print(f"{row:14s} training about {format_minutes(seconds)}{testing}")
    where = shorten(setting.folder if tests else out or setting.work)
    target = f"{'records' if tests else 'the net'} would go to {where}"
    print(f"together about {format_minutes(estimate.total)}{describe_memory()}; {target}")
    return 0


def train(arguments: argparse.Namespace) -> int:
    """Train one net, write it, and print its accuracy on the validation classes, at the step that was selected."""
    options = read_options(TrainOptions, arguments)
    check_out(options.out)
    recipe = read_recipe(arguments, get_method(options.method).recipe)
    setting = open_setting(arguments)
    if read_options(RunOptions, arguments).dry_run:
        return print_plan(setting, {options.method: recipe}, tests=0, out=options.out)
    row = f"{options.method.replace(':', '-')}-{make_key(to_dict(recipe))}"
    _, about, path = pipeline.train_row(setting, row, recipe)
    if options.out is not None:
        if setting.ranks.is_first:
            checkpoints.copy(path, options.out)
        path = options.out
    selected = next(point for point in about["history"] if point["step"] == about["best_step"])
    print(
        ", ".join(f"{k} {100 * v:.1f} %" for k, v in selected.items() if isinstance(v, float) and k != "view")
        + " on the validation classes"
    )
    if "shares" in selected:
        print("share of the logits: " + ", ".join(f"{k} {100 * v:.0f} %" for k, v in selected["shares"].items()))
    for alarm in about["alarms"]:
        print(alarm)
    print(f"net of step {about['best_step']} written to {shorten(path)} after {about['seconds']:.0f} s of training")
    return 0


def open_net(
    arguments: argparse.Namespace, path: Path | None = None, allow_seen: bool | None = None
) -> tuple[FewShotNet, str, dict[str, Any], Setting]:
    """(net on its device, its method, what is known of it, the setting to test it in).

    path, allow_seen: those of the command line, for a verb whose options are not `EvaluateOptions`.

    Encoder and size are those of the net, and so are the images by default. Prints what the net has seen of the test
    classes; UserError if that is neither allowed nor left out. Records of a net that comes from another set have a
    folder of their own, so that they stand beside those of the nets that were trained on this one.
    """
    unseen = False
    if path is None or allow_seen is None:
        options = read_options(EvaluateOptions, arguments)
        path, allow_seen, unseen = options.checkpoint, options.allow_seen, options.unseen
    net, method, about = nets.load_net(path)
    if net.origin is not None and not get_changes(DataOptions, arguments, "data"):
        setattr(arguments, "DataOptions.data", net.origin.data)
    size = get_changes(Budget, arguments, "size") or ({"size": about["size"]} if about.get("size") else {})
    setting = replace(open_setting(arguments, encoder=net.backbone.name, **size), allow_seen=allow_seen)
    if net.origin is not None and net.origin.data != setting.image_set.name:
        setting = change_tag(setting, read_options(RunOptions, arguments), f"{FROM}{net.origin.data}")
    if net.origin is not None and unseen:
        setting = replace(setting, image_set=remove_seen(net.origin, setting.image_set))
        without = setting.image_set.provenance.get("without", ())
        print(f"without the test classes that the net has seen: {', '.join(without) or 'there are none'}")
    if seen := check_unseen(net.origin, setting.image_set, str(path), allow_seen):
        print(f"SEEN CLASSES, no few-shot accuracy: {seen}")
    if net.origin is None:
        print("note: the net does not say what it was trained on, so nobody can tell whether it knows the test classes")
    return net.to(setting.device), method, about, setting


def evaluate(arguments: argparse.Namespace) -> int:
    """Test a net and write its record. Encoder and size are those of the net, and so are the images by default."""
    path = read_options(EvaluateOptions, arguments).checkpoint
    net, method, about, setting = open_net(arguments)
    row = about.get("row", path.stem)
    recipe = from_dict(Recipe, about["recipe"]) if "recipe" in about else Recipe(method=method)
    half_width = read_options(ColumnOptions, arguments).half_width
    manifest = make_manifest(setting, None if half_width is None else plan_tasks(setting, net, half_width))
    trained: TrainingRecord = {
        **check_training(about.get("training", {}), f"the training in {path}"),
        "checkpoint": checkpoints.sha256(path),
    }
    if about.get("size", setting.budget.size) != setting.budget.size:
        trained["size"] = about["size"]
        print(f"note: the net was trained on images of {about['size']} px, and is tested on {setting.budget.size} px")
    if read_options(RunOptions, arguments).dry_run:
        seconds = sum(estimate_columns(setting, net, manifest).values())
        print(
            f"would test on {manifest.n_tasks} episodes for about {format_minutes(seconds)}"
            f"{describe_memory()}, and write {shorten(setting.folder / f'{row}.json')}"
        )
        return 0
    file = pipeline.finish_row(setting, row, recipe, net, trained, manifest)
    record = results.read(file, "accuracy")
    lines = [
        [name, tables.format_column(column), str(len(column["correct"]))] for name, column in record["columns"].items()
    ]
    table = tables.format_text([tables.title_row(record), "accuracy, %", "episodes"], lines)
    bounds = tables.explain_bounds(record["columns"].values())
    print(f"\n{table}\n\n{tables.write_caption(record)}{bounds}")
    clean = record["columns"].get("clean")
    if clean and (alarm := describe_chance(results.compute_accuracies(clean), setting.protocol.way, "test classes")):
        print(alarm)
    print(f"record: {shorten(file)}")
    if stored := choose_stored(setting):
        print(f"adversarial queries of {stored.name}: {shorten(find_images(setting, row, stored.name))}")
    return 0


def predict(arguments: argparse.Namespace) -> int:
    """Print the most probable classes of each photo."""
    options = read_options(PredictOptions, arguments)
    net, _, about = nets.load_net(options.checkpoint)
    predictions = prediction.predict(net, options.support, options.query, about.get("size", 32))
    if options.json:
        print(json.dumps([{"file": p.file, "probabilities": p.probabilities} for p in predictions], indent=1))
        return 0
    for p in predictions:
        shares = (f"{name} {100 * share:.1f} %" for name, share in list(p.probabilities.items())[:5])
        print(escape_control(f"{p.file}: {', '.join(shares)}"))
    return 0
