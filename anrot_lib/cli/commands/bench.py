"""The verb bench."""

import argparse

from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.options.report import BenchOptions
from anrot_lib.core import paths
from anrot_lib.core.progress import shorten
from anrot_lib.records import results
from anrot_lib.reports import speed, tables


def bench(arguments: argparse.Namespace) -> int:
    """Time what is asked for, print the seconds, write their record."""
    from anrot_lib.experiments.benchmarks import attacks, levels, peers, ranking, steps

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
    }
    for path in timings[options.what]():
        if options.reference:
            reference = paths.results_dir() / path.relative_to(paths.runs_dir())
            results.write(reference, results.read(path, "timing"))
            path = reference
        print(tables.format_text(*speed.make_table(results.read(path, "timing"))))
        print(f"record: {shorten(path)}")
    return 0
