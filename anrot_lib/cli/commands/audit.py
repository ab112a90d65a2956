"""The verbs verify and claims."""

import argparse
import dataclasses
import json
import textwrap
from typing import TYPE_CHECKING

from anrot_lib.cli.commands.namespaces import read_options
from anrot_lib.cli.options.audit import ClaimsOptions, VerifyOptions

if TYPE_CHECKING:
    from anrot_lib.audit.claims import JudgedClaim
    from anrot_lib.audit.defects.registry import Numbers, Shown

WIDTH, INDENT = 110, " " * 5


def verify(arguments: argparse.Namespace) -> int:
    """Run the demos of some defects or of all; print effect and guard of each."""
    from anrot_lib.audit import defects

    options = read_options(VerifyOptions, arguments)
    chosen = defects.select_defects(options.defects)
    if options.json:
        shown = [defects.show_defect(defect).to_dict() for defect in chosen]
        print(json.dumps({"said": defects.UNKNOWN, "defects": shown}, indent=1, ensure_ascii=False))
        return 0
    for defect in chosen:
        print(format_shown(defects.show_defect(defect), full=bool(options.defects)), flush=True)
    print(f"\n{len(chosen)} defects. {defects.UNKNOWN}")
    return 0


def claims(arguments: argparse.Namespace) -> int:
    """Print the claims of some systems or of all, each with the nearest measurement and what keeps them apart."""
    from anrot_lib.audit import claims as registry
    from anrot_lib.reports import claims as report
    from anrot_lib.reports import tables

    options = read_options(ClaimsOptions, arguments)
    verdicts = registry.join_claims(registry.select_claims(options.systems), registry.read_located())
    if options.json:
        print(json.dumps([dataclasses.asdict(verdict) for verdict in verdicts], indent=1, ensure_ascii=False))
        return 0
    for verdict in verdicts:
        print(format_verdict(verdict, report.explain(verdict)))
    print(f"\n{tables.format_text(*report.count_statuses(verdicts))}")
    return 0


def format_verdict(verdict: "JudgedClaim", reason: str) -> str:
    """A claim as lines: its value, the measurement beside it, and why they cannot be compared."""
    claim = verdict.claim
    lines = [
        f"{claim.text}: {claim}  [{verdict.status}]" if claim.value is not None else f"{claim.text}  [{verdict.status}]"
    ]
    if verdict.measured:
        lines.append(_wrap(f"measured {verdict.measured} ({verdict.record})"))
    lines.append(_wrap(f"{'why' if verdict.measured else 'note':8} {reason}"))
    lines.append(
        _wrap(f"source   {claim.source}; not stated: {', '.join(claim.unstated) or 'nothing that matters here'}")
    )
    return "\n".join(lines)


def format_shown(shown: "Shown", full: bool) -> str:
    """A defect as lines: its title, with `full` what it does and what follows, its numbers, records, its guard."""
    defect = shown.defect
    lines = [f"{defect.id:4} {defect.title}  [{defect.system}: {defect.place}]"]
    if full:
        lines += [_wrap(f"does     {defect.does}"), _wrap(f"follows  {defect.follows}")]
    lines.append(_wrap(f"effect   {_list(shown.numbers)}"))
    if shown.measurement:
        lines.append(_wrap(f"records  {_list(shown.measurement.numbers)} ({', '.join(shown.measurement.records)})"))
    elif defect.needs:
        lines.append(_wrap(f"records  none yet. {defect.needs}"))
    lines.append(_wrap(f"guard    {defect.guard}"))
    return "\n".join(lines)


def _list(numbers: "Numbers") -> str:
    return "; ".join(f"{name}: {value}" for name, value in numbers.items())


def _wrap(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=INDENT,
        subsequent_indent=INDENT + " " * 9,
        break_long_words=False,
        break_on_hyphens=False,
    )
