"""Nets that were trained on one set and tested on another, beside those that were trained on the tested set."""

from collections.abc import Sequence

from anrot_lib.core.statistics import compare_paired
from anrot_lib.records.results import compute_accuracies
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import tables


def match_nets(
    foreign: Sequence[AccuracyRecord], native: Sequence[AccuracyRecord]
) -> list[tuple[AccuracyRecord, AccuracyRecord | None]]:
    """Each record of a net from another set, with that of the same recipe trained on the tested set; None if there is
    none of the same protocol and size."""
    ordered = sorted(tables.sort_records(foreign), key=lambda record: (record["data"]["name"], find_origin(record)))
    return [(record, next((r for r in native if _fits(r, record)), None)) for record in ordered]


def _fits(native: AccuracyRecord, foreign: AccuracyRecord) -> bool:
    same = native["row"] == foreign["row"] and find_origin(native) == native["data"]["name"] == foreign["data"]["name"]
    return same and (native["protocol"], native["data"]["size"]) == (foreign["protocol"], foreign["data"]["size"])


def find_origin(record: AccuracyRecord) -> str:
    """The name of the set that trained the net of a record; that of the tested set where it is not known."""
    origin = record["training"].get("origin")
    return record["data"]["name"] if origin is None else origin["data"]


def make_table(pairs: Sequence[tuple[AccuracyRecord, AccuracyRecord | None]]) -> tables.Table:
    """A line a net from another set, and below it the one of the same recipe that was trained on the tested set.

    The differences, first minus second in points, are paired: on the episodes that both were tested on.
    """
    columns = list(tables.list_main_columns(pairs[0][0]["protocol"]).items())[:3]
    del columns[1]  # FGSM
    columns += tables.list_suite_columns([record for record, _ in pairs]).items()
    compared = columns[:2]
    rows = []
    for foreign, native in pairs:
        for record in filter(None, (foreign, native)):
            cells = [tables.format_column(record["columns"].get(name)) for _, name in columns]
            other = native if record is foreign else None
            cells += [format_difference(record, other, name) for _, name in compared]
            rows.append([record["data"]["name"], find_origin(record), tables.title_row(record), *cells])
    headings = [heading for heading, _ in columns] + [f"{heading}, difference" for heading, _ in compared]
    return ["tested on", "trained on", "net", *headings], rows


def format_difference(foreign: AccuracyRecord, native: AccuracyRecord | None, name: str) -> str:
    """ "-0.8 ± 0.5": a column of one net minus that of another on the same episodes; "-" where there are no such."""
    if native is None or foreign["manifest"]["hash"] != native["manifest"]["hash"]:
        return "-"
    columns = [record["columns"].get(name) for record in (native, foreign)]
    if None in columns:
        return "-"
    first, second = (compute_accuracies(column) for column in columns if column is not None)
    n = min(len(first), len(second))  # the first tasks of a manifest are the same
    gain = compare_paired(first[:n], second[:n], bootstrap=False)
    return f"{gain.mean:+z.1f} ± {gain.half_width:.1f}"


def write_caption(pairs: Sequence[tuple[AccuracyRecord, AccuracyRecord | None]]) -> str:
    """On what the nets were tested, and which test classes were left out for which of them."""
    first, columns = pairs[0][0], [c for pair in pairs for r in pair if r for c in r["columns"].values()]
    left = {
        f"{', '.join(without)} for nets of {find_origin(record)} on {record['data']['name']}": None
        for record, _ in pairs
        if (without := record["data"].get("without"))
    }
    close = {
        f"{', '.join(record['close'])} for nets of {find_origin(record)} on {record['data']['name']}": None
        for record, _ in pairs
        if "close" in record
    }
    near = f"; {tables.CLOSE}: {'; '.join(close)}" if close else ""
    protocol, budget = first["protocol"], first["budget"]
    seen = f"test classes that the net has seen are left out: {'; '.join(left)}" if left else "no test class was seen"
    return (
        f"{first['data']['size']} px, {protocol['way']}-way {protocol['shot']}-shot; nets of another set attacked on "
        f"{budget['attacked_tasks']} episodes of {budget['attacked_query']} queries a class, the others as their own "
        f"page says; differences in points on the same episodes ± 95 % interval; {seen}{near}"
        f"{tables.explain_bounds(columns)}"
    )
