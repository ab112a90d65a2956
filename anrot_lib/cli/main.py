"""The command line: `anrot VERB`, also `python -m anrot_lib VERB`. Parsing and printing only; the work is elsewhere."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from anrot_lib.cli.options import retrieve
from anrot_lib.cli.options.bench import WHAT_TO_TIME
from anrot_lib.cli.options.levels import _levels
from anrot_lib.cli.options.prepare import _prepare
from anrot_lib.cli.options.reconstruct import _reconstruct
from anrot_lib.cli.options.shared import _common, _recipe
from anrot_lib.core.errors import UserError
from anrot_lib.core.version import __version__
from anrot_lib.fewshot.methods import describe_names, list_rows


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anrot",
        description="Few-shot classification that stands up to attacks and noise: train, attack, measure.",
        epilog="Start with: anrot run    (a few minutes on two cores; then: anrot run --data FOLDER --preset laptop)",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    run = verbs.add_parser("run", help="train and test all rows of the table, print it, write records and curves")
    _common(run)
    run.add_argument(
        "--rows", nargs="+", help=f"rows to run (default: {' '.join(list_rows())}), some of: {describe_names()}"
    )
    run.add_argument("--reconstruct", action="store_true", help="then also what `anrot reconstruct` does")
    _recipe(run)

    train = verbs.add_parser("train", help="train one net and write its checkpoint")
    _common(train)
    train.add_argument(
        "--method",
        default="anrot",
        help=f"anrot (default), or another of: {describe_names()}",
    )
    train.add_argument("--out", type=Path, help="where the checkpoint goes")
    _recipe(train)

    evaluate = verbs.add_parser("evaluate", help="test a checkpoint: clean, under attack, under noise")
    evaluate.add_argument("checkpoint", type=Path)
    _common(evaluate)

    predict = verbs.add_parser("predict", help="name your own photos, from a folder of examples a class")
    predict.add_argument("checkpoint", type=Path)
    predict.add_argument("--support", type=Path, required=True, help="a folder that holds one folder of photos a class")
    predict.add_argument("--query", type=Path, required=True, help="a photo, or a folder of photos, to be named")
    predict.add_argument("--json", action="store_true", help="print JSON instead of a table")

    _prepare(verbs)
    _levels(verbs)
    _reconstruct(verbs)
    retrieve.retrieve(verbs)
    report = verbs.add_parser("report", help="redraw the tables of README.md and the figures from the result records")
    report.add_argument("--check", action="store_true", help="change nothing; exit code 1 if something is out of date")
    report.add_argument(
        "--site",
        type=Path,
        nargs="?",
        const=Path("site"),
        metavar="FOLDER",
        help="write notebooks, tables and API reference as HTML pages (default folder: site)",
    )
    bench = verbs.add_parser(
        "bench", help="time a training step, 10,000 clean episodes, an autoencoder, levels, ranking under attack"
    )
    bench.add_argument("what", nargs="?", choices=WHAT_TO_TIME, default="step")
    bench.add_argument("--size", type=int, help="side of the images, for the first three (episodes: 84, else 32)")
    bench.add_argument("--repeats", type=int)
    bench.add_argument("--reference", action="store_true", help="write to data/results instead of data/runs")
    return parser


UNREACHABLE = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError, FileNotFoundError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 a mistake of the user in one sentence, 130 interrupted.

    arguments: None for those of this process, whose arithmetic and memory are then set for speed.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parsed = build_parser().parse_args(arguments)
    from anrot_lib.cli.commands import fewshot, levels, reconstruct, retrieve_train
    from anrot_lib.core import devices, paths

    verbs = fewshot.VERBS | levels.VERBS | reconstruct.VERBS | retrieve_train.VERBS
    if arguments is None:  # a process of our own: what holds for all of it
        devices.flush_denormals()
        if parsed.verb != "prepare":  # which trains nothing, and is to stay small
            devices.keep_memory()
    try:
        code = verbs[parsed.verb](parsed)
        return code or (reconstruct.after_run(parsed) if getattr(parsed, "reconstruct", False) else 0)
    except UserError as error:
        print(f"anrot: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError) as error:
        if paths.is_full(error):
            said = "what was there before stands; make room, and the same command goes on from the last checkpoint"
            print(f"anrot: the disk is full; {said}", file=sys.stderr)
        elif isinstance(error, UNREACHABLE) and error.filename is not None:
            print(f"anrot: cannot read or write {error.filename}: {error.strerror}", file=sys.stderr)
        else:
            raise
        return 2
    except KeyboardInterrupt:
        print("anrot: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
