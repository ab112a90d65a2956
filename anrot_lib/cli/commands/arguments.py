"""TODO."""

import argparse
import re
from typing import Any

from anrot_lib import settings
from anrot_lib.cli.commands.prepare import load_data
from anrot_lib.core import configs, devices
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import bar
from anrot_lib.experiments.columns import check_asked
from anrot_lib.experiments.setting import Setting, check_half_width, experiment_folder


def setting_of(arguments: argparse.Namespace) -> Setting:
    if getattr(arguments, "precision", None) is not None:
        check_half_width(arguments.precision)  # now, and not after hours of training
    if arguments.tag and not re.fullmatch(r"[\w.-]*\w[\w.-]*", arguments.tag):
        raise UserError(f"--tag is one word of letters, digits, dots and dashes, got {arguments.tag!r}")
    budget, protocol = budget_of(arguments), protocol_of(arguments)
    device = devices.resolve_device(arguments.device)
    precision = devices.resolve_precision(budget.precision, device)
    image_set = load_data(arguments, budget)
    folder = experiment_folder(image_set, protocol, budget, arguments.tag, getattr(arguments, "reference", False))
    chosen = tuple(arguments.columns) if arguments.columns else None
    setting = Setting(image_set, protocol, budget, device, precision, bar, folder, chosen)
    check_asked(setting)
    print(
        f"{image_set.name}: {len(image_set)} images of {image_set.images.shape[1]} px, classes "
        + ", ".join(f"{split} {len(classes)}" for split, classes in image_set.splits.items())
        + f"; encoder {budget.encoder}, training in {precision}, {devices.device_kind(device)}"
    )
    return setting


def recipe_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The recipe's fields that the command line sets."""
    names = ("clean", "adversarial", "noisy", "hesim", "learning_rate", "schedule", "two_views", "mix")
    changes = {name: getattr(arguments, name, None) for name in (*names, "attention", "pretrain", "attack_steps")}
    changes["eps"] = getattr(arguments, "train_eps", None)
    changes["augment"] = tuple(arguments.augment) if getattr(arguments, "augment", None) else None
    if sigma := getattr(arguments, "train_sigma", None):
        changes |= {"sigma_low": sigma[0], "sigma_high": sigma[1]}
    return changes | {"seed": arguments.seed}


def budget_of(arguments: argparse.Namespace) -> settings.Budget:
    budget = settings.preset(arguments.preset)
    tasks = arguments.tasks
    return configs.change(
        budget,
        size=arguments.size,
        encoder=arguments.encoder,
        episodes=arguments.episodes,
        precision=arguments.compute,
        attacked_tasks=tasks,
        curve_tasks=None if tasks is None else min(tasks, budget.curve_tasks),
        validate_every=None if arguments.episodes is None else max(1, min(budget.validate_every, arguments.episodes)),
    )


def protocol_of(arguments: argparse.Namespace) -> settings.Protocol:
    protocol = settings.Protocol(way=arguments.way, shot=arguments.shot, seed=arguments.seed)
    step = None if arguments.eps is None else arguments.eps / 4
    return configs.change(protocol, eps=arguments.eps, step=step, sigma=arguments.sigma)
