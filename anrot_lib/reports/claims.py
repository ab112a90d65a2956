"""Claims beside measurements, as tables. What was not measured in the same setting stands there as such."""

from collections import Counter
from collections.abc import Sequence

from anrot_lib.audit.claims import STATUSES, SYSTEMS, JudgedClaim
from anrot_lib.reports.tables import Table, format_markdown

HEADINGS = ["claim", "published", "measured, nearest setting", "status", "why, or what it takes"]


def explain(verdict: JudgedClaim) -> str:
    """What keeps a claim from being compared, or what a measurement takes, and what else is known of it."""
    claim = verdict.claim
    reason = ", ".join(verdict.differences) if verdict.differences else ("" if verdict.measured else claim.needs)
    parts = [reason, claim.remark]
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)


def make_table(verdicts: Sequence[JudgedClaim]) -> Table:
    """One line a claim."""
    rows = [
        [
            verdict.claim.text,
            str(verdict.claim),
            f"{verdict.measured} ({verdict.record})" if verdict.measured else "-",
            verdict.status,
            explain(verdict),
        ]
        for verdict in verdicts
    ]
    return HEADINGS, rows


def count_statuses(verdicts: Sequence[JudgedClaim]) -> Table:
    """How many claims of each system have which status."""
    rows = []
    for system in SYSTEMS:
        counts = Counter(verdict.status for verdict in verdicts if verdict.claim.system == system)
        if total := sum(counts.values()):
            rows.append([system, str(total), *(str(counts[status]) for status in STATUSES)])
    return ["claims of", "number", *STATUSES], rows


def list_unstated(verdicts: Sequence[JudgedClaim]) -> Table:
    """What the sources of the claims leave open, by how many claims it concerns."""
    counts = Counter(what for verdict in verdicts for what in verdict.claim.unstated)
    return ["not stated", "claims"], [[what, str(n)] for what, n in counts.most_common()]


def list_sources(verdicts: Sequence[JudgedClaim]) -> Table:
    """Where the claims are printed, in their order."""
    counts = Counter(verdict.claim.source for verdict in verdicts)
    return ["source", "claims"], [[source, str(n)] for source, n in counts.items()]


def write_markdown(verdicts: Sequence[JudgedClaim]) -> str:
    """The table of some claims, and below it where they are printed and what is not stated."""
    tables = [make_table(verdicts), list_sources(verdicts), list_unstated(verdicts)]
    return "\n\n".join(format_markdown(*table, numbers=False) for table in tables)
