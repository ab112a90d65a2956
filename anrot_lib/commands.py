"""What each verb of the command line does. Every number printed here comes out of a record or of a library call."""

import argparse
import json
import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from anrot_lib import checkpoints, cli, devices, noise, paths, pipeline, prediction, randomness, results, tables
from anrot_lib import training as trainings
from anrot_lib.attacks import gradient, transfer
from anrot_lib.data import image_set as image_sets
from anrot_lib.data import prepare as preparing
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.synthetic import synthetic
from anrot_lib.errors import UserError
from anrot_lib.pipeline import Setting
from anrot_lib.settings import Budget, Recipe, change, from_dict, to_dict

# Smooth in a terminal; in a log file one line every half minute.
BAR: dict[str, Any] = {"dynamic_ncols": True, "mininterval": 0.1 if sys.stderr.isatty() else 30}
SUPPORT_OF_PERTURBATION = 5  # images a class that a net's class models rest on when a whole set is attacked
out = logging.getLogger("anrot")


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar with an estimate; called with (done, numbers to show)."""
    with tqdm(total=total, desc=title, **BAR) as shown:

        def update(done: int, numbers: dict[str, Any] | None = None) -> None:
            if numbers:
                shown.set_postfix(
                    {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in numbers.items()}, refresh=False
                )
            shown.update(done - shown.n)

        yield update


def load_data(arguments: argparse.Namespace, budget: Budget) -> ImageSet:
    """The image set that --data names: the embedded one, a prepared one, or a folder, prepared on the way."""
    name = arguments.data
    if name == "synthetic":
        return synthetic(budget.classes, budget.per_class, budget.size)
    if (paths.packed_dir() / name / "set.json").is_file():
        image_set = image_sets.load(paths.packed_dir() / name)
        if image_set.images.shape[1] != budget.size:
            raise UserError(
                f"the prepared set {name!r} holds images of {image_set.images.shape[1]} px, the run wants "
                f"{budget.size}; "
                f"add --size {image_set.images.shape[1]}, or prepare it again with --size {budget.size}"
            )
        return image_set
    folder = Path(name).expanduser()
    if not folder.is_dir():
        known = sorted(p.parent.name for p in paths.packed_dir().glob("*/set.json"))
        raise UserError(
            f"--data {name}: no such folder, and no prepared set of that name (there are: {known or 'none'})"
        )
    set_name = f"{preparing.plain_set_name(folder.resolve().name)}-{budget.size}"
    if arguments.split not in ("auto", "folders", "random"):
        set_name = f"{arguments.split}-{budget.size}"
    with counting_bar(f"prepare {set_name}") as progress:
        return preparing.prepare(
            folder,
            name=set_name,
            size=budget.size,
            split=arguments.split,
            seed=arguments.seed,
            on_bad=arguments.on_bad,
            on_duplicates=arguments.on_duplicates,
            progress=progress,
        )


@contextmanager
def counting_bar(title: str) -> Iterator[Callable[..., None]]:
    """A bar whose total is known with the first call: (done, total, ...)."""
    with tqdm(desc=title, unit="image", **BAR) as shown:

        def update(done: int, total: int, *_: Any) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield update


def setting_of(arguments: argparse.Namespace) -> Setting:
    budget, protocol = cli.budget_of(arguments), cli.protocol_of(arguments)
    device = devices.resolve_device(arguments.device)
    precision = devices.resolve_precision(budget.precision, device)
    image_set = load_data(arguments, budget)
    missing = [split for split in ("train", "val", "test") if split not in image_set.splits]
    if missing:
        raise UserError(f"the set {image_set.name!r} has no {missing[0]} classes; prepare it with --split random")
    folder = pipeline.experiment_folder(image_set, protocol, budget, arguments.tag)
    columns = tuple(arguments.columns) if arguments.columns else None
    known = {column.name.split()[0] for column in pipeline.columns_of(protocol, budget)}
    if unknown := sorted(set(columns or ()) - known):
        raise UserError(f"unknown column {unknown[0]!r}; choose from {', '.join(sorted(known))}")
    print(
        f"{image_set.name}: {len(image_set)} images of {image_set.images.shape[1]} px, classes "
        + ", ".join(f"{split} {len(classes)}" for split, classes in image_set.splits.items())
        + f"; encoder {budget.encoder}, training in {precision}, {devices.device_kind(device)}"
    )
    return Setting(image_set, protocol, budget, device, precision, bar, folder, columns)


def run(arguments: argparse.Namespace) -> int:
    setting = setting_of(arguments)
    rows = pipeline.check_rows(arguments.rows or list(pipeline.ROWS))
    recipes = {row: change(pipeline.recipe_of(row), **cli.recipe_changes(arguments)) for row in rows}
    if arguments.dry_run:
        return dry_run(setting, recipes)
    setting.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    files = [pipeline.run_row(setting, row, recipe, arguments.precision) for row, recipe in recipes.items()]
    show(files, setting, time.perf_counter() - started)
    return 0


def show(files: list[Path], setting: Setting, seconds: float) -> None:
    """The closing table, and where everything was written."""
    from anrot_lib import viz

    records = [results.read(file) for file in files]
    print(f"\n{tables.as_text(*tables.table(records))}\n\n{tables.caption(records[0])}")
    for record in records:
        for alarm in record["training"].get("alarms", []):
            print(f"{record['row']}: {alarm}")
    if setting.columns is None:
        print(f"curves: {shown(viz.save(viz.robustness_figure(records), setting.folder / 'robustness.png'))}")
    print(f"records: {shown(setting.folder)}   checkpoints: {shown(setting.work)}   {seconds:.0f} s")


def shown(path: Path) -> str:
    """A path as short as it can be said: relative to where the user stands, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def dry_run(setting: Setting, recipes: dict[str, Recipe]) -> int:
    """What a run would do and take, from two training steps and one forward pass of this machine."""
    budget, recipe = setting.budget, next(iter(recipes.values()))
    clean = Recipe(method=recipe.method, hesim=recipe.hesim, seed=recipe.seed)
    trial = change(budget, episodes=2 * budget.episodes_per_step, validate_every=10**9, validation_tasks=2)
    started = time.perf_counter()
    found = trainings.train(
        *(setting.image_set, clean, trial, setting.protocol), device=setting.device, precision=setting.precision
    )
    steps = budget.episodes / budget.episodes_per_step
    n_support = setting.protocol.way * setting.protocol.shot
    n_query = setting.protocol.way * budget.train_query
    per_image = found.seconds_per_step / (3 * (n_support + n_query) * budget.episodes_per_step)
    per_pass = per_image * (2.5 if setting.precision == "bf16" else 1.0)  # tests run in fp32
    total = 0.0
    for row, one in recipes.items():
        train = steps * found.seconds_per_step * trainings.cost_limit(one, n_support, n_query)
        test = per_pass * _test_passes(setting)
        total += train + test
        print(f"{row:14s} training about {train / 60:.1f} min, testing at most about {test / 60:.1f} min")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    print(f"together about {total / 60:.1f} min, {peak:.1f} GiB of memory; records would go to {shown(setting.folder)}")
    out.debug("estimate took %.1f s", time.perf_counter() - started)
    return 0


def _test_passes(setting: Setting) -> float:
    """Encoder passes of all columns, forward = 1, if no query were ever beaten early."""
    passes = len(setting.image_set.rows("test"))
    for column in pipeline.columns_of(setting.protocol, setting.budget):
        images = column.tasks * column.query * setting.protocol.way
        steps = 0 if column.threat is None else column.threat.steps * column.threat.restarts
        passes += images * (1 + 2 * steps)
    return passes


def train(arguments: argparse.Namespace) -> int:
    if arguments.out and arguments.out.is_dir():
        raise UserError(f"--out {arguments.out} is a folder; name a file, such as {arguments.out / 'net.pt'}")
    setting = setting_of(arguments)
    recipe = change(pipeline.recipe_of(arguments.method), **cli.recipe_changes(arguments))
    if arguments.dry_run:
        return dry_run(setting, {arguments.method: recipe})
    row = f"{arguments.method.replace(':', '-')}-{pipeline.key_of(to_dict(recipe))}"
    _, about, path = pipeline.train_row(setting, row, recipe)
    if arguments.out:
        checkpoints.copy(path, arguments.out)
        path = arguments.out
    last = about["history"][-1]
    print(
        ", ".join(f"{k} {100 * v:.1f} %" for k, v in last.items() if k not in ("step", "view"))
        + " on the validation classes"
    )
    for alarm in about["alarms"]:
        print(alarm)
    print(f"net of step {about['best_step']} written to {shown(path)} after {about['seconds']:.0f} s of training")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    net, method, about = checkpoints.load_net(arguments.checkpoint)
    arguments.encoder = net.backbone.name
    arguments.size = arguments.size or about.get("size")
    setting = setting_of(arguments)
    row = about.get("row", arguments.checkpoint.stem)
    recipe = from_dict(Recipe, about["recipe"]) if "recipe" in about else Recipe(method=method)
    net = net.to(setting.device)
    manifest = pipeline.make_manifest(
        setting, pipeline.tasks_for(setting, net, arguments.precision) if arguments.precision else None
    )
    trained = about.get("training", {}) | {"checkpoint": checkpoints.sha256(arguments.checkpoint)}
    if arguments.dry_run:
        print(f"would test on {manifest.n_tasks} episodes and write {shown(setting.folder / f'{row}.json')}")
        return 0
    path = pipeline.finish_row(setting, row, recipe, net, trained, manifest)
    record = results.read(path)
    lines = [[name, tables.value(column), str(len(column["correct"]))] for name, column in record["columns"].items()]
    print(f"\n{tables.as_text([tables.title(row), 'accuracy, %', 'episodes'], lines)}\n\n{tables.caption(record)}")
    print(f"record: {shown(path)}")
    return 0


def predict(arguments: argparse.Namespace) -> int:
    net, _, about = checkpoints.load_net(arguments.checkpoint)
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


def prepare(arguments: argparse.Namespace) -> int:
    if arguments.perturb:
        return perturb(arguments)
    source = arguments.source
    if arguments.download:
        from anrot_lib.data.catalogue import download

        source = download(arguments.download)
    if source is None:
        raise UserError("give the folder of images to prepare, or --download cifar100 or omniglot")
    with counting_bar("prepare") as progress:
        image_set = preparing.prepare(
            source,
            name=arguments.name,
            layout=arguments.layout,
            size=arguments.size,
            split=arguments.split,
            seed=arguments.seed,
            on_bad=arguments.on_bad,
            on_duplicates=arguments.on_duplicates,
            progress=progress,
            rotations=arguments.rotations,
        )
    about = image_set.provenance
    print(f"{about['found']}; {about['split']['said']}")
    print(f"{len(image_set)} images of {image_set.images.shape[1]} px, {len(image_set.class_names)} classes: ", end="")
    print(", ".join(f"{split} {len(classes)}" for split, classes in image_set.splits.items()))
    if about.get("quarantine"):
        print(f"left out {len(about['quarantine'])} images, named in quarantine.csv beside the set")
    if note := about.get("note"):
        print(note)
    print(f"sha256 {image_set.sha256}\nsplit  {image_set.split_hash}")
    print(f"use it with: --data {image_set.name} --size {image_set.images.shape[1]}")
    return 0


def perturb(arguments: argparse.Namespace) -> int:
    """The paper's steps 4 to 6: a noisy or adversarial copy of a whole set, with how it was made."""
    if not arguments.source:
        raise UserError("name the prepared set to perturb: anrot prepare NAME --perturb noise --sigma 0.1")
    image_set = image_sets.load(paths.packed_dir() / arguments.source)
    kind, seed = arguments.perturb, arguments.seed
    if kind == "noise":
        if arguments.sigma is None:
            raise UserError("--perturb noise needs --sigma, in units of the pixel range, such as 0.1")
        generator = randomness.generator(seed, "noise")
        made: dict[str, Any] = {"parameters": {"sigma": arguments.sigma}, "eps": None}
        made["perturbation"] = lambda images: noise.gaussian(images, arguments.sigma, generator)
    else:
        if arguments.eps is None:
            raise UserError(f"--perturb {kind} needs --eps, in units of the pixel range, such as 8/255")
        made = _adversary(arguments, image_set)
    with counting_bar(f"perturb {image_set.name}") as progress:
        copy = preparing.perturb(image_set, kind, seed=seed, progress=progress, **made)
    print(f"{len(copy)} images written as {copy.name!r}, sha256 {copy.sha256}")
    return 0


def _adversary(arguments: argparse.Namespace, image_set: ImageSet) -> dict[str, Any]:
    threat = gradient.fgsm(arguments.eps, target="query")
    parameters: dict[str, Any] = {"threat": results.describe_threat(threat)}
    if arguments.perturb == "transfer":
        surrogate = transfer.train_on_base(image_set, randomness.generator(arguments.seed, "surrogate"))
        parameters["surrogate"] = "small CNN on the base classes, squared error, its own predictions as labels"
        return {
            "parameters": parameters,
            "eps": arguments.eps,
            "perturbation": lambda images: transfer.transfer(surrogate, images, threat),
        }
    if arguments.checkpoint is None:
        raise UserError("--perturb fgsm attacks a net: give it by --checkpoint, or use --perturb transfer")
    net, method, _ = checkpoints.load_net(arguments.checkpoint)
    rows = [np.flatnonzero(image_set.labels == c)[:SUPPORT_OF_PERTURBATION] for c in range(len(image_set.class_names))]
    labels = torch.from_numpy(image_set.labels[np.concatenate(rows)])
    with torch.no_grad():
        bound = net.bind(image_set.batch(np.concatenate(rows)), labels)
    parameters["attacked"] = {"method": method, "checkpoint": checkpoints.sha256(arguments.checkpoint)}
    return {
        "parameters": parameters,
        "eps": arguments.eps,
        "with_labels": True,
        "perturbation": lambda images, labels: gradient.attack(bound, images, labels, threat).images,
    }


def report(arguments: argparse.Namespace) -> int:
    from anrot_lib import readme

    return readme.report(check=arguments.check)


def bench(arguments: argparse.Namespace) -> int:
    from anrot_lib import benchmark

    if arguments.what == "episodes":
        path = benchmark.clean_episodes(arguments.size or 84, repeats=arguments.repeats or 3)
    else:
        path = benchmark.training_step(arguments.size or 32, arguments.repeats or 12)
    print(tables.as_text(*tables.timing(results.read(path))))
    print(f"record: {shown(path)}")
    return 0
