"""The verb levels: what pixels, parts and distributions add to each other on one encoder."""

import argparse
import time
from dataclasses import replace

from anrot_lib.cli.commands.arguments import (
    choose_bar,
    get_changes,
    read_images,
    read_options,
    read_pause,
    read_protocol,
    read_size,
    start_ranks,
)
from anrot_lib.cli.commands.fewshot import print_alarms
from anrot_lib.cli.options.fewshot import LevelsOptions
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.core import devices
from anrot_lib.core.configs import change
from anrot_lib.core.progress import shorten
from anrot_lib.core.units import format_minutes
from anrot_lib.experiments import levels as level_study
from anrot_lib.experiments.estimates import estimate_levels
from anrot_lib.experiments.setting import Setting, choose_folder, make_manifest
from anrot_lib.reports import tables
from anrot_lib.settings import Budget


def open_settings(arguments: argparse.Namespace) -> list[Setting]:
    """A setting for each number of shots."""
    run, options = read_options(RunOptions, arguments), read_options(LevelsOptions, arguments)
    budget = change(level_study.make_budget(run.preset), **get_changes(Budget, arguments) | read_size(arguments))
    budget = replace(
        budget, validate_every=max(1, min(budget.validate_every, budget.episodes)), curve_tasks=budget.attacked_tasks
    )
    together, device = start_ranks(arguments)
    precision = devices.resolve_precision(budget.precision, device)
    shots = dict.fromkeys(options.shots or level_study.SHOTS[budget.preset])
    protocols = [replace(read_protocol(arguments), shot=shot) for shot in shots]
    with together.first():  # it prepares a folder, the others find the set
        image_set = read_images(arguments, budget)
    tag = "-".join(word for word in ("levels", run.tag) if word)
    pause = read_pause(arguments)
    folders = [choose_folder(image_set, protocol, budget, tag, run.reference) for protocol in protocols]
    return [
        Setting(
            image_set, protocol, budget, device, precision, choose_bar(together), folder, pause=pause, ranks=together
        )
        for protocol, folder in zip(protocols, folders, strict=True)
    ]


def levels(arguments: argparse.Namespace) -> int:
    """Train an encoder for each shot and seed, test all variants on it, print a table and its verdict for each shot."""
    from anrot_lib.reports import levels as level_report

    options = read_options(LevelsOptions, arguments)
    variants = level_study.check_variants(list(options.variants or level_study.VARIANTS))
    settings, seeds = open_settings(arguments), tuple(dict.fromkeys(options.seeds))  # one net a seed, each once
    first = settings[0]
    print(
        f"{first.image_set.name}: {len(variants)} combinations of levels on {len(settings) * len(seeds)} "
        f"encoder(s) {first.budget.encoder}, training in {first.precision}, "
        f"{first.ranks.describe(devices.describe_device(first.device))}"
    )
    if read_options(RunOptions, arguments).dry_run:
        return print_plan(settings, seeds, variants)
    for setting in settings:
        started = time.perf_counter()
        records = [record for seed in seeds for record in level_study.run(setting, seed, variants)]
        print(f"\n{tables.format_text(*level_report.make_table(records))}\n\n{level_report.write_caption(records)}")
        print(f"\n{level_report.write_verdict(records)}")
        print_alarms(records)
        print(f"records: {shorten(setting.folder)}   {time.perf_counter() - started:.0f} s")
    return 0


def print_plan(settings: list[Setting], seeds: tuple[int, ...], variants: list[str]) -> int:
    """Print how long a run takes."""
    total = 0.0
    for setting in settings:
        make_manifest(setting)  # it refuses too few test images, as the run does
        parts = estimate_levels(setting, seeds[0], variants)
        total += len(seeds) * sum(parts.values())
        text = ", ".join(f"{name} {format_minutes(seconds)}" for name, seconds in parts.items())
        print(f"{setting.protocol.shot}-shot, each seed: {text}; records would go to {shorten(setting.folder)}")
    print(f"together about {format_minutes(total)}")
    return 0
