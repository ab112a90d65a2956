"""The table of a benchmark."""

from anrot_lib.core import paths
from anrot_lib.records import results
from anrot_lib.records.schema import TimingRecord
from anrot_lib.records.timing import PEAK
from anrot_lib.reports import tables
from anrot_lib.reports.tables import Table


def make_table(record: TimingRecord) -> Table:
    """A benchmark's record: median seconds, spread, the ratio to its reference if there is one; one line a variant."""
    headings = [record["what"], "median, ms", "quartiles, ms"]
    rows = [
        [name, f"{1000 * s['median']:.0f}", f"{1000 * s['low']:.0f} - {1000 * s['high']:.0f}"]
        for name, s in record["seconds"].items()
    ]
    settings, seconds = record["settings"], record["seconds"]
    if reference := settings.get("reference"):
        base_of = reference if isinstance(reference, dict) else dict.fromkeys(seconds, reference)
        headings.append(f"times as fast as {settings.get('reference_title', reference)}")
        for row in rows:
            base = seconds.get(base_of.get(row[0], ""))
            row.append("-" if base is None else f"{base['median'] / seconds[row[0]]['median']:.2f}")
    if limits := settings.get("limits"):
        headings.append("times its limit")
        for row in rows:
            if row[0] in limits:
                other, factor = limits[row[0]]
                row.append(f"{seconds[row[0]]['median'] / factor / seconds[other]['median']:.2f}")
            else:
                row.append("-")
    if peaks := settings.get(PEAK):
        headings.append(PEAK)
        for row in rows:
            row.append(f"{peaks[row[0]]:.0f}" if row[0] in peaks else "-")
    return headings, rows


def write_table(file: str) -> str:
    """The table of a record below data/results."""
    return tables.format_markdown(*make_table(results.read(paths.results_dir() / f"{file}.json", "timing")))
