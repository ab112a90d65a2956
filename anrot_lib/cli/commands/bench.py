"""TODO."""

import argparse

from anrot_lib.core import paths
from anrot_lib.core.progress import shown
from anrot_lib.records import results
from anrot_lib.reports import tables


def bench(arguments: argparse.Namespace) -> int:
    from anrot_lib.experiments.benchmarks import levels, ranking, steps

    size, repeats = arguments.size, arguments.repeats
    ways = {
        "step": lambda: [steps.training_step(size or 32, repeats or 12)],
        "episodes": lambda: [steps.clean_episodes(size or 84, repeats=repeats or 3)],
        "reconstruction": lambda: [
            steps.reconstruction_step(size or 32, repeats or 8),
            steps.frechet_distance(size or 32, repeats or 8),
        ],
        "levels": lambda: levels.measure(repeats or 3),
        "ranking": lambda: ranking.measure(repeats),
    }
    for path in ways[arguments.what]():
        if arguments.reference:
            reference = paths.results_dir() / path.relative_to(paths.runs_dir())
            results.write(reference, results.read(path, "timing"))
            path = reference
        print(tables.as_text(*tables.timing(results.read(path, "timing"))))
        print(f"record: {shown(path)}")
    return 0
