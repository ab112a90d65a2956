"""The verb certify and its options."""

import argparse
from dataclasses import dataclass
from typing import Annotated

from anrot_lib.cli.options.fewshot import EvaluateOptions
from anrot_lib.cli.options.fields import add_options
from anrot_lib.cli.options.shared import PRESET_DEFAULTS, add_data_options, add_run_options
from anrot_lib.cli.options.verbs import Verb
from anrot_lib.core.errors import UserError
from anrot_lib.core.options import Option
from anrot_lib.fewshot.certificates import Smoothing
from anrot_lib.settings import Budget, Protocol

AGAINST = ("noise", "poison")


@dataclass(frozen=True)
class CertifyOptions:
    against: Annotated[
        tuple[str, ...],
        Option("certificates to make: noise is randomised smoothing, poison counts replaced shots", choices=AGAINST),
    ] = AGAINST
    head: Annotated[
        str | None,
        Option(
            "method whose head stands replaced shots, such as median-cosine, trimmed-cosine or median-gaussian "
            "(default: the median that is like the head of the net)",
            metavar="METHOD",
        ),
    ] = None

    def __post_init__(self) -> None:
        if not self.against:
            raise UserError(f"--against takes one of {', '.join(AGAINST)}, or both")


def _add_certify(parser: argparse.ArgumentParser) -> None:
    add_options(parser, EvaluateOptions)
    add_data_options(parser, size="that of the net")
    group = parser.add_argument_group("certificates")
    add_options(group, CertifyOptions)
    add_options(group, Protocol, "sigma")
    add_options(group, Smoothing)
    episodes = parser.add_argument_group("episodes")
    add_options(episodes, Protocol, "way", "shot")
    add_options(episodes, Budget, "attacked_tasks", defaults=PRESET_DEFAULTS, flags={"attacked_tasks": "--tasks"})
    add_run_options(parser, "preset", "device", "tag", "reference", "dry_run", precision=False)


CERTIFY = Verb(
    "certify",
    "answers that no small change of pixels, or no few replaced shots, can turn",
    "anrot certify mine.pt --data mine --preset laptop --sigma 0.12 --against noise poison",
    "certify.certify",
    _add_certify,
    "Randomised smoothing gives each query a radius in l2 within which the smoothed net keeps its answer. A median "
    "over shots gives each query a number of support images that may be replaced by anything. Both are attacked, too.",
)
