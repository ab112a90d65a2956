"""The verb bench."""

import argparse

from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.options.report import BenchOptions
from anrot_lib.core import paths
from anrot_lib.core.progress import shorten
from anrot_lib.records import results
from anrot_lib.reports import growth as growth_tables
from anrot_lib.reports import speed, tables


def bench(arguments: argparse.Namespace) -> int:
    """Time what is asked for, print the seconds, write their record."""
    from anrot_lib.experiments.benchmarks import attacks, growth, large, levels, peers, ranking, steps

    options = read_options(BenchOptions, arguments)
    size, repeats = options.size, options.repeats
    timings = {
        "step": lambda: [steps.time_training_step(size or 32, repeats or 12)],
        "episodes": lambda: [steps.time_clean_episodes(size or 84, repeats=repeats or 3)],
        "attacks": lambda: [attacks.time_attacks(size or 32, repeats or 3)],
        "reconstruction": lambda: [
            steps.time_reconstruction_step(size or 32, repeats or 8),
            steps.time_frechet_distance(size or 32, repeats or 8),
        ],
        "levels": lambda: levels.measure(repeats or 3),
        "ranking": lambda: ranking.measure(repeats),
        "peers": lambda: peers.measure(repeats),
        "growth": lambda: growth.measure(repeats or 5),
        "large": lambda: [large.measure(options.images, options.folder)],
    }
    for path in timings[options.what]():
        record = results.read(path)
        if options.reference:
            path = paths.results_dir() / path.relative_to(paths.runs_dir())
            results.write(path, record)
        if record["kind"] == "growth":
            print("\n\n".join(tables.format_text(*table) for table in growth_tables.list_tables(record)))
        if record["kind"] == "timing":
            print(tables.format_text(*speed.make_table(record)))
        print(f"record: {shorten(path)}")
    return 0
