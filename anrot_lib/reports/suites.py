"""Suites of strong attacks beside one another: how much more the long ones find than the short, on the same queries."""

from collections.abc import Sequence

from anrot_lib.attacks.suite import LENGTHS, RULES, TITLES
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import Interval, compare_paired
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.records.parts import ColumnRecord
from anrot_lib.records.results import compute_accuracies
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports.tables import Table, format_column, list_main_columns, title_row


def select_suites(record: AccuracyRecord) -> dict[str, ColumnRecord]:
    """Name of a suite -> its column on queries."""
    return {
        column["suite"]: column
        for column in record["columns"].values()
        if "suite" in column and column["threat"]["target"] == "query"
    }


def compare_suites(record: AccuracyRecord) -> Interval | None:
    """AA - AA-lite on the same queries, in points; None for a record that lacks one of them."""
    suites = select_suites(record)
    if len(suites) < len(TITLES):
        return None
    return compare_paired(compute_accuracies(suites["aa-lite"]), compute_accuracies(suites["aa"]))


def write_caption(records: Sequence[AccuracyRecord]) -> str:
    """What the attacks of the two suites are, and what they were run on."""
    parts = []
    for suite, title in TITLES.items():
        steps, squares = LENGTHS[suite]
        parts.append(f"{title}: {steps} {RULES[suite]} steps, {squares:,} squares")
    first = records[0]
    shots = f"{first['protocol']['way']}-way {first['protocol']['shot']}-shot"
    firsts = [count_first(record) for record in records if compare_suites(record) is not None]
    return (
        f"{'; '.join(parts)}{''.join(f'; {text}' for text in firsts if text)}; {shots}, manifest "
        f"{first['manifest']['hash'][:10]}; {first['run']['device']}"
    )


def count_first(record: AccuracyRecord) -> str:
    """How many queries of a row each kind of attack was the first to beat, suite by suite; "" where it is not known."""
    texts = []
    for suite, column in select_suites(record).items():
        kinds: dict[str, int] = {}
        for name, n in column.get("beaten", {}).items():
            kind = name.split(" target ")[0]
            kinds[kind] = kinds.get(kind, 0) + n
        if kinds:
            order = sorted(kinds, key=lambda kind: (kind != "clean", kind))  # the suites' own, too
            counts = ", ".join(f"{kind} {kinds[kind]}" for kind in order)
            texts.append(f"{TITLES[suite]} beats {title_method(record['row'])} first by {counts}")
    return "; ".join(texts)


def make_table(records: Sequence[AccuracyRecord]) -> Table:
    """One line a row that both suites tested: what PGD, AA-lite and AA leave, AA - AA-lite paired, and their seconds.

    PGD on the episodes of the suites. UserError if there is no such row.
    """
    lines = []
    for record in records:
        gap = compare_suites(record)
        if gap is None:
            continue
        lite, whole = (select_suites(record)[suite] for suite in TITLES)
        strong = record["columns"].get(list(list_main_columns(record["protocol"]).values())[2])
        lines.append(
            [
                title_row(record),
                record["data"]["name"],
                f"{len(whole['correct']) * whole['queries']:,}",
                format_column(strong),
                format_column(lite),
                format_column(whole),
                f"{gap.mean:+z.1f} ± {gap.half_width:.1f}",
                f"{lite['seconds']:.0f}, {whole['seconds']:.0f}",
            ]
        )
    if not lines:
        raise UserError(f"no record has columns of {' and '.join(TITLES.values())}")
    short, long = TITLES["aa-lite"], TITLES["aa"]
    strong_name = f"PGD-{records[0]['protocol']['steps']}"
    return ["row", "images", "queries", strong_name, short, long, f"{long} - {short}", "seconds of each"], lines
