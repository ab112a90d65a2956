"""The verbs verify, claims and recompute, and their options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from anrot_lib.cli.options.fields import add_options
from anrot_lib.cli.options.verbs import Verb
from anrot_lib.core.options import Option


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
        "It needs no torch. Of the reference records the accuracies and paired differences that the pages print are "
        "computed, too. Exit code 1 if a number differs."
    ),
)
VERBS = (VERIFY, CLAIMS, RECOMPUTE)
