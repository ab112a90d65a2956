"""Nets that were trained on one set and tested on another, beside those that were trained on the tested set."""

from collections.abc import Callable, Sequence

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
    return tables.format_difference(native["columns"].get(name), foreign["columns"].get(name))


def write_caption(pairs: Sequence[tuple[AccuracyRecord, AccuracyRecord | None]]) -> str:
    """On what the nets were tested, which test classes were left out for which of them, and which are close."""
    first, columns = pairs[0][0], [c for pair in pairs for r in pair if r for c in r["columns"].values()]
    foreign = [record for record, _ in pairs]
    left = _name_classes(foreign, lambda record: record["data"].get("without", []))
    close = _name_classes(foreign, lambda record: record.get("close", []))
    seen = f"test classes that the net has seen are left out: {left}" if left else "no test class was seen"
    near = f"; {tables.CLOSE}: {close}" if close else ""
    protocol, budget = first["protocol"], first["budget"]
    return (
        f"{first['data']['size']} px, {protocol['way']}-way {protocol['shot']}-shot; nets of another set attacked on "
        f"{budget['attacked_tasks']} episodes of {budget['attacked_query']} queries a class, the others as their own "
        f"page says; differences in points on the same episodes ± 95 % interval; {seen}{near}"
        f"{tables.explain_bounds(columns)}"
    )


def _name_classes(records: Sequence[AccuracyRecord], get_classes: Callable[[AccuracyRecord], Sequence[str]]) -> str:
    """ "lion for nets of cifar-fs on mini-imagenet; ...": classes by the nets that they concern, each once."""
    named = {
        f"{', '.join(classes)} for nets of {find_origin(record)} on {record['data']['name']}": None
        for record in records
        if (classes := get_classes(record))
    }
    return "; ".join(named)
