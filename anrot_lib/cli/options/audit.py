"""The verbs verify, claims, recompute and consequences, and their options."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from anrot_lib.cli.options.fields import add_options
from anrot_lib.cli.options.shared import PRESET_DEFAULTS, add_data_options, add_run_options
from anrot_lib.cli.options.verbs import Verb
from anrot_lib.core.options import Option
from anrot_lib.settings import Budget, Protocol


@dataclass(frozen=True)
class VerifyOptions:
    defects: Annotated[
        tuple[str, ...],
        Option(
            "some of D1 to D27, M1 to M10, R1 to R9, or all of a system: ANROT-HELANet, MML, RobDML (default: all)",
            positional=True,
            count="*",
            metavar="ID",
        ),
    ] = ()
    json: Annotated[bool, Option("print JSON instead of a table")] = False


@dataclass(frozen=True)
class ClaimsOptions:
    systems: Annotated[
        tuple[str, ...],
        Option("some of ANROT-HELANet, MML, RobDML (default: all)", positional=True, count="*", metavar="SYSTEM"),
    ] = ()
    json: Annotated[bool, Option("print JSON instead of a table")] = False


@dataclass(frozen=True)
class RecomputeOptions:
    records: Annotated[
        Path | None,
        Option("a folder of records, or one file (default: data/results)", positional=True, metavar="PATH"),
    ] = None
    json: Annotated[bool, Option("print JSON instead of text")] = False


@dataclass(frozen=True)
class ConsequencesOptions:
    checkpoint: Annotated[
        Path | None, Option("file of a trained net (default: nets are trained, see --split-seeds)", positional=True)
    ] = None
    allow_seen: Annotated[
        bool, Option("test even on classes or images that the net was trained on; every number is marked")
    ] = False
    split_seeds: Annotated[
        tuple[int, ...],
        Option(
            "in place of a net: train one for each of these draws of the classes, and test it on classes that it has "
            "not seen and on those of the release (default: 0 1 2)"
        ),
    ] = ()


VERIFY = Verb(
    "verify",
    "show the defects of the released code, live: what each does, and the test that would have caught it",
    "anrot verify D1 D12 D15",
    "audit.verify",
    lambda parser: add_options(parser, VerifyOptions),
    details=(
        "Each demo takes seconds and needs no data; what only trained nets show is read from committed records. "
        "Of single defects the whole text is printed."
    ),
)
CLAIMS = Verb(
    "claims",
    "list the published claims beside the nearest measurements of this repository",
    "anrot claims ANROT-HELANet",
    "audit.claims",
    lambda parser: add_options(parser, ClaimsOptions),
    details=(
        "A number is called equal, below or above only where data, sizes and training are those of the claim; "
        "elsewhere the differences are listed. No claim stands in for a measurement."
    ),
)
RECOMPUTE = Verb(
    "recompute",
    "compute every mean, interval and paired difference of the records again from their counts",
    "anrot recompute data/runs",
    "recompute.recompute",
    lambda parser: add_options(parser, RecomputeOptions),
    details=(
        "It needs no torch. Gaps, verdicts, scores and certificates of other records are held against what they hold; "
        "of the reference records every table and number of the pages is computed, too. What a record holds as a final "
        "number alone, such as a Frechet distance or seconds, is compared and counted as taken from the record. Exit "
        "code 1 if a number differs."
    ),
)


def _add_consequences(parser: argparse.ArgumentParser) -> None:
    add_options(parser, ConsequencesOptions)
    add_data_options(parser, size="that of the net")
    group = parser.add_argument_group("episodes")
    add_options(group, Protocol, "way", "shot", "sigma")
    flags = {"clean_tasks": "--tasks", "attacked_tasks": "--noisy-tasks"}
    add_options(group, Budget, *flags, defaults=PRESET_DEFAULTS, flags=flags)
    training = parser.add_argument_group("training, without a net")
    add_options(training, Budget, "encoder", "episodes", defaults=PRESET_DEFAULTS)
    add_run_options(parser, "preset", "device", "tag", "reference", "minutes")


CONSEQUENCES = Verb(
    "consequences",
    "what defects of the published evaluation do to the accuracy of a net, paired on the same episodes",
    "anrot consequences mine.pt --data mine --preset laptop --sigma 0.3",
    "consequences.consequences",
    _add_consequences,
    "Training augmentation in the test, noise that is clipped at 255, queries in batches where scores depend on them, "
    "and evaluations of a hundred tasks. Without a net: what the split of the release is worth, by nets of several "
    "draws, each tested on classes that it has not seen and on those of the release.",
)
VERBS = (VERIFY, CLAIMS, RECOMPUTE, CONSEQUENCES)
