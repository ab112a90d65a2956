"""The verb `retrieve`: ranking models by the name of their configuration. ACTIONS holds what it can do."""

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch

from anrot_lib.cli.commands import retrieve_attack
from anrot_lib.core import devices, paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import bar, shown
from anrot_lib.experiments.ranking import evaluate, file_name, training_record
from anrot_lib.ranking import names
from anrot_lib.ranking.data.sets import RankingSet
from anrot_lib.ranking.recipe import RankingRecipe, build_recipe
from anrot_lib.ranking.training.loop import TrainedEmbedder, train
from anrot_lib.records import results
from anrot_lib.reports import tables

RECIPE_OPTIONS = ("epochs", "batch", "learning_rate", "weight_decay", "margin", "eps", "step", "eta", "destination")
RECIPE_OPTIONS += ("structure_weight", "size", "freeze_bn", "pretrain_epochs", "parity", "seed", "attack_precision")
TRIAL_STEPS = 3


def settle(arguments: argparse.Namespace) -> tuple[RankingRecipe, RankingSet]:
    """Recipe and images of a command; a set of one's own decides the side of its images."""
    name = names.parse(arguments.config)
    made = build_recipe(name, **{option: getattr(arguments, option) for option in RECIPE_OPTIONS})
    own = name.dataset not in (*names.DATASETS_28, *names.DATASETS_224)
    size = arguments.size if own else made.size
    data = retrieve_attack.load_images(arguments, name.dataset, size, made.stored)
    if own and not name.small:
        made = replace(made, size=data.train.size, stored=data.train.images.shape[1])
    return made, data


def train_action(arguments: argparse.Namespace) -> int:
    """Train, or go on; write checkpoint and record; print the course of the training."""
    device = devices.resolve_device(arguments.device)
    precision = devices.resolve_precision(arguments.compute, device)
    made, data = settle(arguments)
    name = made.parsed
    print(
        f"{made.name}: {made.title}, {len(data.train)} training images of {data.train.classes} classes, "
        f"{len(data.test)} test images of {data.test.classes}; {made.size} px, {devices.device_kind(device)}, "
        f"training in {precision}, attack in {made.attack_precision}"
    )
    for note in filter(None, (names.warning(name), data.note, _size_note(made))):
        print(f"note: {note}")
    if arguments.dry_run:
        return _dry_run(made, data, device, precision)
    stem = file_name(made, data, arguments.tag)
    checkpoint = arguments.out or paths.checkpoints_dir() / "ranking" / f"{stem}.pt"
    every = arguments.evaluate_every or (1 if name.small else 5)
    if every < 1:
        raise UserError("--evaluate-every counts epochs, from 1")
    with bar(f"train {name.backbone}{name.defense}", 0) as update:

        def progress(done: int, total: int, numbers: dict[str, float]) -> None:
            update(done, numbers, total)

        trained = train(
            *(data, made, checkpoint, device, precision, arguments.weights),
            evaluate=evaluate,
            evaluate_every=every,
            progress=progress,
        )
    record = training_record(made, data, trained, device, precision)
    file = paths.records_dir(arguments.reference) / "ranking" / f"{stem}.train.json"
    results.write(file, record)
    _show(trained)
    print(f"weights began as: {trained.start}\ncheckpoint: {shown(checkpoint)}   record: {shown(file)}")
    return 0


def _size_note(made: RankingRecipe) -> str:
    if made.parsed.small or made.size == 224:
        return ""
    return f"images of {made.size} px where published numbers are of 224 px: not comparable with them"


def _dry_run(made: RankingRecipe, data: RankingSet, device: torch.device, precision: str) -> int:
    trial = replace(made, pretrain_epochs=0, freeze_bn=False)
    trained = train(data, trial, None, device, precision, steps=TRIAL_STEPS)
    steps = made.epochs * -(-len(data.train) // made.batch)
    print(
        f"{trained.seconds_per_step:.2f} s a step at the beginning, {steps} steps: "
        f"about {trained.seconds_per_step * steps / 60:.0f} min"
    )
    return 0


def _show(trained: TrainedEmbedder) -> None:
    """The epochs that were tested: the beginning, which has no loss yet, and the last one always are."""
    tested = [row for row in trained.history if "R@1" in row]
    headings = ["epoch", "loss", *(k for k in ("destination", "R@1", "R@2", "mAP", "mAP@10") if k in tested[-1])]
    rows = [[str(row["epoch"]), *(f"{row[k]:.3f}" if k in row else "-" for k in headings[1:])] for row in tested]
    print(f"\n{tables.as_text(headings, rows)}\n")


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {"train": train_action, **retrieve_attack.ACTIONS}


def retrieve_verb(arguments: argparse.Namespace) -> int:
    return ACTIONS[arguments.action](arguments)


VERBS = {"retrieve": retrieve_verb}
