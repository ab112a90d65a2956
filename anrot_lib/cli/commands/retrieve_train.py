"""The action train of the verb retrieve."""

import argparse
from dataclasses import replace

import torch

from anrot_lib.cli.commands.arguments import check_out, get_changes, read_options
from anrot_lib.cli.commands.retrieve_attack import load_images
from anrot_lib.cli.options.retrieve import ImageOptions, TrainRankingOptions
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.core import devices, paths
from anrot_lib.core.progress import bar, shorten
from anrot_lib.core.units import format_minutes
from anrot_lib.experiments.former import check_former_ranking
from anrot_lib.experiments.ranking import describe_chance, evaluate, make_training_record, name_file
from anrot_lib.experiments.ranking_time import estimate_ranking
from anrot_lib.ranking import names
from anrot_lib.ranking.data.sets import RankingSet
from anrot_lib.ranking.recipe import RankingRecipe, build_recipe
from anrot_lib.ranking.training.loop import TrainedEmbedder
from anrot_lib.ranking.training.loop import train as train_ranking
from anrot_lib.records import results
from anrot_lib.reports import tables


def open_training(arguments: argparse.Namespace) -> tuple[RankingRecipe, RankingSet]:
    """Recipe and images of a command; a set that is not one of the published ones decides the side of its images."""
    options = read_options(TrainRankingOptions, arguments)
    name, changes = names.parse(options.config), get_changes(RankingRecipe, arguments)
    recipe = build_recipe(name, **changes, seed=options.seed)
    published = name.dataset in (*names.DATASETS_28, *names.DATASETS_224)
    size = recipe.size if published else changes.get("size")
    data = load_images(read_options(ImageOptions, arguments), name.dataset, size, recipe.stored)
    if not published and not name.small:
        recipe = replace(recipe, size=data.train.size, stored=data.train.images.shape[1])
    return recipe, data


def train(arguments: argparse.Namespace) -> int:
    """Train, or continue; write checkpoint and record; print the course of the training."""
    run, options = read_options(RunOptions, arguments), read_options(TrainRankingOptions, arguments)
    check_out(options.out)
    device = devices.resolve_device(run.device)
    precision = devices.resolve_precision(options.precision, device)
    recipe, data = open_training(arguments)
    name = recipe.parsed
    print(
        f"{recipe.name}: {recipe.title}, {len(data.train)} training images of {data.train.classes} classes, "
        f"{len(data.test)} test images of {data.test.classes}; {recipe.size} px, {devices.describe_device(device)}, "
        f"training in {precision}, attack in {recipe.attack_precision}"
    )
    for note in filter(None, (names.get_warning(name), data.note, _describe_size(recipe))):
        print(f"note: {note}")
    every = options.evaluate_every or (1 if name.small else 5)
    if run.dry_run:
        return _print_plan(recipe, data, device, precision, options.weights, every)
    stem = name_file(recipe, data, run.tag)
    file = paths.records_dir(run.reference) / "ranking" / f"{stem}.train.json"
    check_former_ranking(file, data.about, recipe, "")
    checkpoint = options.out or paths.checkpoints_dir() / "ranking" / f"{stem}.pt"
    with bar(f"train {name.backbone}{name.defense}", 0) as update:

        def progress(done: int, total: int, numbers: dict[str, float]) -> None:
            update(done, numbers, total)

        trained = train_ranking(
            data,
            recipe,
            checkpoint,
            device,
            precision,
            options.weights,
            evaluate=evaluate,
            evaluate_every=every,
            progress=progress,
        )
    record = make_training_record(recipe, data, trained, device, precision)
    results.write(file, record)
    _show(trained)
    if alarm := describe_chance(trained.history[-1]["R@1"], data.test.labels):
        print(alarm)
    print(f"weights began as: {trained.start}\ncheckpoint: {shorten(checkpoint)}   record: {shorten(file)}")
    return 0


def _describe_size(recipe: RankingRecipe) -> str:
    if recipe.parsed.small or recipe.size == 224:
        return ""
    return f"images of {recipe.size} px where published numbers are of 224 px: not comparable with them"


def _print_plan(
    recipe: RankingRecipe, data: RankingSet, device: torch.device, precision: str, weights: str | None, every: int
) -> int:
    """Print how long the training takes. It refuses what the training refuses, but fetches no weights."""
    estimate = estimate_ranking(recipe, data, device, precision, weights, every)
    parts = [f"{estimate.step:.2f} s a step at the beginning, {estimate.steps} steps"]
    parts += [f"classifier {format_minutes(estimate.classifier)}"] if estimate.classifier else []
    parts += [f"{estimate.tests} tests of {estimate.test:.1f} s"]
    print(f"{', '.join(parts)}: about {format_minutes(estimate.total)}")
    return 0


def _show(trained: TrainedEmbedder) -> None:
    """The epochs that were tested: the beginning, which has no loss yet, and the last one always are."""
    tested = [row for row in trained.history if "R@1" in row]
    headings = ["epoch", "loss", *(k for k in ("destination", "R@1", "R@2", "mAP", "mAP@10") if k in tested[-1])]
    rows = [[str(row["epoch"]), *(f"{row[k]:.3f}" if k in row else "-" for k in headings[1:])] for row in tested]
    print(f"\n{tables.format_text(headings, rows)}\n")
