"""From the namespace of a command line to settings. Only the commands read a namespace."""

import argparse
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from anrot_lib import settings
from anrot_lib.attacks.threat import TARGETS
from anrot_lib.cli.commands.namespaces import get_changes as get_changes
from anrot_lib.cli.commands.namespaces import read_options as read_options
from anrot_lib.cli.options.fewshot import ColumnOptions
from anrot_lib.cli.options.shared import DataOptions, RankOptions, RunOptions
from anrot_lib.core import checkpoints, devices, ranks
from anrot_lib.core.configs import change
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import Progress, bar, no_bar
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.data.image_set import ImageSet
from anrot_lib.experiments.columns import check_asked
from anrot_lib.experiments.images import open_images
from anrot_lib.experiments.rows import check_rows
from anrot_lib.experiments.setting import Setting, check_half_width, choose_folder


def read_size(arguments: argparse.Namespace) -> dict[str, int]:
    """The change of a budget to the side of the images: what --size says, else that of an embedded set, else none."""
    data = read_options(DataOptions, arguments).data
    asked = get_changes(settings.Budget, arguments, "size")
    return asked or ({"size": settings.SIZES[data]} if data in settings.SIZES else {})


def read_budget(arguments: argparse.Namespace, **changes: Any) -> settings.Budget:
    """The budget of the preset with `changes` and those of the command line.

    A short training is validated at its end, and a test on few episodes draws its curves on no more.
    """
    budget = settings.preset(read_options(RunOptions, arguments).preset)
    changes |= get_changes(settings.Budget, arguments) | read_size(arguments)
    if "attacked_tasks" in changes:
        changes["curve_tasks"] = min(changes["attacked_tasks"], budget.curve_tasks)
    if "episodes" in changes:
        changes["validate_every"] = max(1, min(budget.validate_every, changes["episodes"]))
    return change(budget, **changes)


def read_protocol(arguments: argparse.Namespace) -> settings.Protocol:
    """The protocol of the command line, with the radii of the image set where it does not say them."""
    options = read_options(DataOptions, arguments)
    changes = get_changes(settings.Protocol, arguments)
    return settings.get_radii(options.data).make_protocol(**changes, seed=options.seed)


def read_recipe(arguments: argparse.Namespace, recipe: settings.Recipe) -> settings.Recipe:
    """A recipe with the changes of the command line, and the radii of the image set where it does not say them.

    UserError for a head that does not exist.
    """
    options = read_options(DataOptions, arguments)
    recipe = settings.get_radii(options.data).adapt(recipe)
    recipe = replace(recipe, **get_changes(settings.Recipe, arguments), seed=options.seed)
    check_rows(list(recipe.heads))
    return recipe


def read_images(arguments: argparse.Namespace, budget: settings.Budget) -> ImageSet:
    """The images that --data names."""
    options, packs = read_options(DataOptions, arguments), not read_options(RunOptions, arguments).dry_run
    return open_images(
        options.data, budget, options.split, options.seed, options.on_bad, options.on_duplicates, packs=packs
    )


def open_setting(arguments: argparse.Namespace, **budget_changes: Any) -> Setting:
    """What a few-shot command works on; prints it."""
    run, test = read_options(RunOptions, arguments), read_options(ColumnOptions, arguments)
    if test.half_width is not None:
        check_half_width(test.half_width)  # now, and not after hours of training
    budget, protocol = read_budget(arguments, **budget_changes), read_protocol(arguments)
    together, device = start_ranks(arguments)
    precision = devices.resolve_precision(budget.precision, device)
    with together.first():  # it prepares a folder, the others find the set
        image_set = read_images(arguments, budget)
    folder = choose_folder(image_set, protocol, budget, run.tag, run.reference)
    pause = read_pause(arguments)
    progress = choose_bar(together)
    setting = Setting(image_set, protocol, budget, device, precision, progress, folder, test.columns or None)
    corrupted = TARGETS if test.corruptions else ()
    setting = replace(setting, corrupted=corrupted, stores=test.store, pause=pause, ranks=together)
    if test.attacks is not None:
        matrix = test.attacks == settings.MATRIX
        setting = replace(
            setting,
            suites=(settings.SUITES[0] if matrix else test.attacks,),
            targets=TARGETS if matrix else TARGETS[:1],
        )
    check_asked(setting)
    print(
        f"{image_set.name}: {len(image_set)} images of {image_set.images.shape[1]} px, classes "
        + ", ".join(f"{split} {len(classes)}" for split, classes in image_set.splits.items())
        + f"; encoder {budget.encoder}, training in {precision}, {devices.describe_device(device)}"
    )
    return setting


def start_ranks(arguments: argparse.Namespace) -> tuple[Ranks, torch.device]:
    """The processes that share a command, and the device of this one; --dry-run starts none."""
    run, several = read_options(RunOptions, arguments), read_options(RankOptions, arguments)
    device = devices.resolve_device(run.device)
    if run.dry_run:
        return ALONE, device
    together, device = ranks.start(several.devices, several.nodes, device)
    if together.count > 1:
        print(f"{together.count} processes share this run; should one end early, the same command goes on")
    return together, device


def choose_bar(together: Ranks) -> Progress:
    """The bar of the process that shows progress, or none."""
    return bar if together.is_first else no_bar


def read_pause(arguments: argparse.Namespace) -> Callable[[], bool]:
    """A function that tells whether the time of --minutes is over, counted from this call."""
    minutes = read_options(RunOptions, arguments).minutes
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    return lambda: time.monotonic() > end


def check_out(path: Path | None) -> None:
    """UserError if a net must not or cannot be written to a path: a folder, a file that is not a net, no right to."""
    if path is None:
        return
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"--out {path} cannot be written: {place} is no folder that may be written to; name another")
    if path.is_dir():
        raise UserError(f"--out {path} is a folder; name a file, such as {path / 'net.pt'}")
    if path.exists():
        try:
            checkpoints.load(path)
        except UserError:
            raise UserError(f"--out {path} is a file that is not a net, and is not overwritten; name another") from None


def describe_memory() -> str:
    """The memory that the process took at most, as the end of a sentence; "" where it is not known."""
    peak = devices.measure_peak_memory()
    return "" if peak is None else f", {peak:.1f} GiB of memory"
