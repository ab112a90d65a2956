"""The verbs report and bench, and their options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from anrot_lib.cli.options.fields import add_options
from anrot_lib.cli.options.verbs import Verb
from anrot_lib.core.configs import check_at_least, check_at_most
from anrot_lib.core.options import Option

WHAT_TO_TIME = ("step", "episodes", "attacks", "reconstruction", "levels", "ranking", "peers", "growth", "large")


@dataclass(frozen=True)
class ReportOptions:
    check: Annotated[bool, Option("change nothing; exit code 1 if something is out of date")] = False
    site: Annotated[
        Path | None,
        Option(
            "write all pages, notebooks and an API reference as HTML, to site if no folder is named",
            metavar="FOLDER",
            alone="site",
        ),
    ] = None
    review: Annotated[
        Path | None,
        Option(
            "write a reviewer's report as Markdown, to review.md if no file is named: claims, defects, intervals, a "
            "checklist; FILE.html becomes a page with figures that a browser prints or saves as PDF",
            alone="review.md",
        ),
    ] = None


@dataclass(frozen=True)
class BenchOptions:
    what: Annotated[str, Option("what to time", choices=WHAT_TO_TIME, positional=True)] = "step"
    size: Annotated[
        int | None, Option("side of the images, for the first four (default: 84 for episodes, else 32)")
    ] = None
    repeats: Annotated[int | None, Option("how often each is timed (default: 2 to 12, as long as it takes)")] = None
    images: Annotated[int, Option("how many images large draws, packs and encodes")] = 1_000_000
    folder: Annotated[
        Path | None, Option("where large works, which needs 8 kB an image; deleted afterwards (default: data/large)")
    ] = None
    reference: Annotated[bool, Option("write the record to data/results instead of data/runs")] = False

    def __post_init__(self) -> None:
        for name in ("size", "repeats"):
            if getattr(self, name) is not None:
                check_at_least(self, **{name: 1})
        check_at_least(self, images=160_000)
        check_at_most(self, images=10**8)
        if self.size is not None:
            check_at_most(self, size=4096)


REPORT = Verb(
    "report",
    "redraw the pages and the figures from the records in data/results",
    "anrot report --check",
    "report.report",
    lambda parser: add_options(parser, ReportOptions),
)
BENCH = Verb(
    "bench",
    "time a training step, episodes, attacks, an autoencoder, levels, ranking, other kits, growth, a million images",
    "anrot bench episodes --repeats 3",
    "bench.bench",
    lambda parser: add_options(parser, BenchOptions),
)
