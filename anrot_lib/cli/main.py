"""The command line: `anrot VERB`, also `python -m anrot_lib VERB`. It parses; the commands work and print."""

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from anrot_lib.cli.options import audit, fewshot, studies
from anrot_lib.cli.options.certify import CERTIFY
from anrot_lib.cli.options.course import COURSE
from anrot_lib.cli.options.prepare import PREPARE
from anrot_lib.cli.options.reconstruct import RECONSTRUCT
from anrot_lib.cli.options.report import BENCH, REPORT
from anrot_lib.cli.options.retrieve import RETRIEVE
from anrot_lib.cli.options.verbs import add_verbs
from anrot_lib.core.errors import Paused, UserError, escape_control
from anrot_lib.core.torchrun import count_started
from anrot_lib.core.version import __version__

VERBS = (
    *fewshot.VERBS,
    fewshot.CARD,
    CERTIFY,
    fewshot.RESCORE,
    fewshot.JUDGES,
    PREPARE,
    *studies.VERBS,
    fewshot.LEVELS,
    RECONSTRUCT,
    RETRIEVE,
    *audit.VERBS,
    REPORT,
    BENCH,
    COURSE,
)
SHARED = ("run", "train", "evaluate", "prepare", "levels", "retrieve attack")  # what several processes can share
WITHOUT_TORCH = ("recompute",)  # verbs that also work where torch is not installed


class Parser(argparse.ArgumentParser):
    """A parser, whose verbs get parsers of its kind: what was typed is shown escaped."""

    def error(self, message: str) -> NoReturn:
        super().error(escape_control(message))


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for a command line of these words."""
    parser = Parser(
        prog="anrot",
        description="Few-shot classification that stands up to attacks and noise: train, attack, measure.",
        epilog="Start with: anrot run    (a few minutes on two cores; then: anrot run --data FOLDER --preset laptop)",
    )
    parser.add_argument("--version", action="version", version=__version__)
    add_verbs(parser, VERBS, words, "VERB")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 a mistake of the user in one sentence, 3 paused by --minutes,
    130 interrupted.

    arguments: None for those of this process, whose arithmetic and memory are then set for speed.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    words = sys.argv[1:] if arguments is None else arguments
    parsed = build_parser(words).parse_args(words)
    module, name = parsed.command.split(".")
    commands = importlib.import_module(f"anrot_lib.cli.commands.{module}")
    command: Callable[[argparse.Namespace], int] = getattr(commands, name)
    from anrot_lib.core import paths

    if arguments is None and parsed.verb not in WITHOUT_TORCH:  # started as a program: settings for the whole process
        from anrot_lib.core import devices

        devices.flush_denormals()
        if parsed.verb != "prepare":  # which trains nothing, and is to stay small
            devices.keep_memory()
    try:
        verb = " ".join(filter(None, (parsed.verb, getattr(parsed, "action", None))))
        if verb not in SHARED and count_started() > 1:
            raise UserError(f"several processes can share only {', '.join(SHARED)}; start {verb} without torchrun")
        return command(parsed)
    except UserError as error:
        print(f"anrot: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError) as error:
        if paths.is_full(error):
            advice = "what was there before stands; make room, and the same command continues from the last checkpoint"
            print(f"anrot: the disk is full; {advice}", file=sys.stderr)
        elif isinstance(error, OSError) and paths.is_unreachable(error):
            reason = escape_control(f"cannot read or write {error.filename}: {error.strerror}")
            print(f"anrot: {reason}", file=sys.stderr)
        else:
            raise
        return 2
    except Paused as pause:
        how_far = f"{pause}; " if str(pause) else ""
        print(f"paused: the time of --minutes is over; {how_far}the same command continues")
        return 3
    except KeyboardInterrupt:
        print("anrot: stopped; the same command continues from the last checkpoint", file=sys.stderr)
        return 130
