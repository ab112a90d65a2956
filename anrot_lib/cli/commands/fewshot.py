"""What each verb of the command line does. Every number printed here comes out of a record or of a library call."""

import argparse
import json
import logging
import time
from pathlib import Path

from anrot_lib.cli.commands.arguments import recipe_changes, setting_of
from anrot_lib.cli.commands.bench import bench
from anrot_lib.cli.commands.prepare import prepare
from anrot_lib.cli.commands.report import report
from anrot_lib.core import checkpoints, devices
from anrot_lib.core.configs import change, from_dict, make_key, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import shown
from anrot_lib.experiments import columns
from anrot_lib.experiments import rows as pipeline
from anrot_lib.experiments.estimates import _surrogate_seconds, _test_seconds
from anrot_lib.experiments.setting import Setting, make_manifest, tasks_for
from anrot_lib.fewshot import nets, prediction, pretraining, training
from anrot_lib.fewshot.episode_loss import cost_limit
from anrot_lib.fewshot.methods import get_method, list_rows, title_method
from anrot_lib.records import results
from anrot_lib.reports import tables
from anrot_lib.settings import Recipe

out = logging.getLogger("anrot")


def run(arguments: argparse.Namespace) -> int:
    setting = setting_of(arguments)
    rows = pipeline.check_rows(arguments.rows or list(list_rows()))
    recipes = {row: change(get_method(row).recipe, **recipe_changes(arguments)) for row in rows}
    if arguments.dry_run:
        return dry_run(setting, recipes)
    setting.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    files = pipeline.run_rows(setting, recipes, arguments.precision)
    show(files, setting, time.perf_counter() - started)
    return 0


def show(files: list[Path], setting: Setting, seconds: float) -> None:
    """The closing table, and where everything was written."""
    from anrot_lib.publish import pages
    from anrot_lib.reports import figures  # they load matplotlib, which only this needs

    records = [results.read(file, "accuracy") for file in files]
    print(f"\n{tables.as_text(*tables.table(records))}\n\n{tables.caption(records[0])}{tables.memory(records)}")
    for record in records:
        for alarm in record["training"].get("alarms", []):
            print(f"{record['row']}: {alarm}")
    for name, figure in pages.choose_figures(setting.folder).items():
        print(f"figure: {shown(figures.save(figure(), setting.folder / name))}")
    print(f"records: {shown(setting.folder)}   checkpoints: {shown(setting.work)}   {seconds:.0f} s")


def dry_run(setting: Setting, recipes: dict[str, Recipe], tests: bool = True) -> int:
    """What a run would do and take, from a few steps and passes of this machine. tests: it also tests."""
    budget, recipe = setting.budget, next(iter(recipes.values()))
    clean = Recipe(method=recipe.method, hesim=recipe.hesim, seed=recipe.seed)
    trial = change(budget, episodes=2 * budget.episodes_per_step, validate_every=10**9, validation_tasks=2)
    started = time.perf_counter()
    found = training.train(
        *(setting.image_set, clean, trial, setting.protocol), device=setting.device, precision=setting.precision
    )
    steps = budget.episodes / budget.episodes_per_step
    n_support = setting.protocol.way * setting.protocol.shot
    n_query = setting.protocol.way * budget.train_query
    per_image = found.seconds_per_step / ((n_support + n_query) * budget.episodes_per_step)  # forward and backward
    total = 0.0
    if any(one.pretrain for one in recipes.values()):
        total += budget.pretrain_steps * pretraining.BATCH * per_image
        print(f"pre-training about {total / 60:.1f} min")
    if tests and any(column.surrogate for column in columns.select_columns(setting)):
        surrogate = _surrogate_seconds(setting)
        total += surrogate
        print(f"surrogate of the transfer attack, once, about {surrogate / 60:.1f} min")
    test = _test_seconds(setting, found.net) if tests else 0.0
    for row, one in recipes.items():
        train = steps * found.seconds_per_step * cost_limit(one, n_support, n_query)
        total += train + test
        testing = f", testing at most about {test / 60:.1f} min" if tests else ""
        print(f"{row:14s} training about {train / 60:.1f} min{testing}")
    written = f"records would go to {shown(setting.folder)}" if tests else f"its checkpoint to {shown(setting.work)}"
    print(f"together about {total / 60:.1f} min{_memory()}; {written}")
    out.debug("estimate took %.1f s", time.perf_counter() - started)
    return 0


def _memory() -> str:
    peak = devices.peak_memory()
    return "" if peak is None else f", {peak:.1f} GiB of memory"


def train(arguments: argparse.Namespace) -> int:
    if arguments.out and arguments.out.is_dir():
        raise UserError(f"--out {arguments.out} is a folder; name a file, such as {arguments.out / 'net.pt'}")
    setting = setting_of(arguments)
    recipe = change(get_method(arguments.method).recipe, **recipe_changes(arguments))
    if arguments.dry_run:
        return dry_run(setting, {arguments.method: recipe}, tests=False)
    row = f"{arguments.method.replace(':', '-')}-{make_key(to_dict(recipe))}"
    _, about, path = pipeline.train_row(setting, row, recipe)
    if arguments.out:
        checkpoints.copy(path, arguments.out)
        path = arguments.out
    last = about["history"][-1]
    print(
        ", ".join(f"{k} {100 * v:.1f} %" for k, v in last.items() if k not in ("step", "view", "shares"))
        + " on the validation classes"
    )
    if "shares" in last:
        print("share of the logits: " + ", ".join(f"{k} {100 * v:.0f} %" for k, v in last["shares"].items()))
    for alarm in about["alarms"]:
        print(alarm)
    print(f"net of step {about['best_step']} written to {shown(path)} after {about['seconds']:.0f} s of training")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    net, method, about = nets.load_net(arguments.checkpoint)
    arguments.encoder = net.backbone.name
    arguments.size = arguments.size or about.get("size")
    setting = setting_of(arguments)
    row = about.get("row", arguments.checkpoint.stem)
    recipe = from_dict(Recipe, about["recipe"]) if "recipe" in about else Recipe(method=method)
    net = net.to(setting.device)
    manifest = make_manifest(
        setting, None if arguments.precision is None else tasks_for(setting, net, arguments.precision)
    )
    trained = about.get("training", {}) | {"checkpoint": checkpoints.sha256(arguments.checkpoint)}
    if arguments.dry_run:
        print(
            f"would test on {manifest.n_tasks} episodes for at most about {_test_seconds(setting, net) / 60:.1f} min"
            f"{_memory()}, and write {shown(setting.folder / f'{row}.json')}"
        )
        return 0
    path = pipeline.finish_row(setting, row, recipe, net, trained, manifest)
    record = results.read(path, "accuracy")
    lines = [[name, tables.value(column), str(len(column["correct"]))] for name, column in record["columns"].items()]
    print(f"\n{tables.as_text([title_method(row), 'accuracy, %', 'episodes'], lines)}\n\n{tables.caption(record)}")
    print(f"record: {shown(path)}")
    return 0


def predict(arguments: argparse.Namespace) -> int:
    net, _, about = nets.load_net(arguments.checkpoint)
    size = about.get("size", 32)
    found = prediction.predict(net, arguments.support, arguments.query, size)
    if arguments.json:
        print(json.dumps([{"file": p.file, "probabilities": p.probabilities} for p in found], indent=1))
        return 0
    for p in found:
        print(
            f"{p.file}: "
            + ", ".join(f"{name} {100 * share:.1f} %" for name, share in list(p.probabilities.items())[:5])
        )
    return 0


VERBS = {f.__name__: f for f in (run, prepare, train, evaluate, predict, report, bench)}
