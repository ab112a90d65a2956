"""Tables of how work grows with its size: seconds, exponent, memory; and the copies that were found at each size."""

from anrot_lib.core import paths
from anrot_lib.records import results
from anrot_lib.records.schema import GrowthRecord
from anrot_lib.reports import tables
from anrot_lib.reports.tables import Table


def write_tables(file: str) -> str:
    """The tables of a record below data/results, or a line that it was not measured yet."""
    path = paths.results_dir() / f"{file}.json"
    if not path.is_file():
        return "Not measured yet."
    return "\n\n".join(tables.format_markdown(*table) for table in list_tables(results.read(path, "growth")))


def list_tables(record: GrowthRecord) -> list[Table]:
    """The stages of a large set and the copies that were found, or pieces of work that each have sizes of their own."""
    if all("minutes" in row for row in record["rows"].values()):
        return [_list_stages(record), _list_copies(record)]
    return [_list_rows(record)]


def _list_rows(record: GrowthRecord) -> Table:
    headings = [record["what"], "from", "to", "seconds at first", "seconds at last", "exponent"]
    return headings, [
        [
            name,
            *(f"{row['sizes'][k]:,}" for k in (0, -1)),
            *(f"{row['seconds'][k]:.3f}" for k in (0, -1)),
            f"{row['exponent']:.2f}",
        ]
        for name, row in record["rows"].items()
    ]


def _list_stages(record: GrowthRecord) -> Table:
    sizes = next(iter(record["rows"].values()))["sizes"]
    headings = [record["what"], "minutes", *(f"of the processor, {n:,}" for n in sizes), "exponent"]
    headings += [*(f"GiB of memory, {n:,}" for n in (sizes[0], sizes[-1])), "GiB on disk"]
    lines = []
    for name, row in record["rows"].items():
        peaks, disk = row.get("peak_gib", []), row.get("disk_gib", [])
        cells = [name, f"{row['minutes'][-1]:.1f}", *(f"{s / 60:.2f}" for s in row["seconds"])]
        cells += [f"{row['exponent']:.2f}", *(f"{peaks[k]:.2f}" for k in (0, -1) if peaks)]
        lines.append([*cells, f"{disk[-1]:.2f}" if disk and disk[-1] else "-"])
    return headings, lines


def _list_copies(record: GrowthRecord) -> Table:
    copies = record["settings"].get("copies", {})
    sizes = sorted(copies, key=int)
    kinds = list(copies[sizes[0]]) if sizes else []
    headings = ["near copies, planted across splits", *(f"found among {int(n):,} images" for n in sizes)]
    return headings, [
        [kind, *(f"{copies[n][kind]['detected']} of {copies[n][kind]['planted']}" for n in sizes)] for kind in kinds
    ]
