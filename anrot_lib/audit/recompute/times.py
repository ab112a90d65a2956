"""Tables of times, computed again: ratios and exponents from the seconds of a record, which are taken as they are."""

import math
from collections.abc import Mapping
from typing import Any

from anrot_lib.audit.recompute.arithmetic import Recomputation, compute_slope
from anrot_lib.audit.recompute.printed import Cell, Cells, Shelf, read_cells, read_lines

COURSE = "the whole course"


def fit_exponent(row: Mapping[str, Any]) -> float:
    """The slope of log seconds over log size."""
    return compute_slope(
        [math.log(size) for size in row["sizes"]], [math.log(max(second, 1e-9)) for second in row["seconds"]]
    )[0]


def recompute_growth(record: Mapping[str, Any], where: str, again: Recomputation) -> None:
    for name, row in record["rows"].items():
        again.compare(where, f"exponent of {name}", row["exponent"], fit_exponent(row), 0.00051)


def recompute_timing(record: Mapping[str, Any], where: str, again: Recomputation) -> None:
    """Medians lie between their quartiles; the course takes as long as its notebooks together."""
    seconds = record["seconds"]
    for name, times in seconds.items():
        order = [times["low"], times["median"], times["high"], times.get("largest", times["high"])]
        again.compare_exactly(where, f"order of the quartiles of {name}", order, sorted(order))
    if COURSE in seconds:
        total = math.fsum(times["median"] for name, times in seconds.items() if name != COURSE)
        again.compare(where, "sum of the notebooks", seconds[COURSE]["median"], total, 0.02 * len(seconds))


def compute_speed(record: Mapping[str, Any], variant: str) -> str:
    """How many times as fast as its reference a variant is; "-" without one."""
    seconds, reference = record["seconds"], record["settings"]["reference"]
    base = reference.get(variant) if isinstance(reference, dict) else reference
    return f"{seconds[base]['median'] / seconds[variant]['median']:.2f}" if base in seconds else "-"


def compute_printed_speed(shelf: Shelf, file: str, variant: str) -> str:
    return compute_speed(shelf.read_file(file), variant)


def compute_limit(record: Mapping[str, Any], variant: str) -> str:
    """A variant in multiples of what it cannot go below."""
    limits, seconds = record["settings"]["limits"], record["seconds"]
    if variant not in limits:
        return "-"
    other, factor = limits[variant]
    return f"{seconds[variant]['median'] / (factor * seconds[other]['median']):.2f}"


def list_timing(shelf: Shelf, text: str, file: str) -> Cells:
    """Milliseconds, ratios and memory of the variants of a benchmark."""
    record = shelf.read_file(file)
    for name, heading, cell in read_cells(text):
        times, what = record["seconds"][name], f"{name}, {heading}"
        if heading == "median, ms":
            yield Cell(what, cell, f"{1000 * times['median']:.0f}", taken=True)
        elif heading == "quartiles, ms":
            yield Cell(what, cell, f"{1000 * times['low']:.0f} - {1000 * times['high']:.0f}", taken=True)
        elif heading.startswith("times as fast"):
            yield Cell(what, cell, compute_speed(record, name))
        elif heading == "times its limit":
            yield Cell(what, cell, compute_limit(record, name))
        else:
            peaks = record["settings"][heading]
            yield Cell(what, cell, f"{peaks[name]:.0f}" if name in peaks else "-", taken=True)


def list_growth(shelf: Shelf, text: str, file: str) -> Cells:
    """Sizes, seconds and exponents; of the stages of a large set minutes and memory, too, and the copies found."""
    if not (shelf.folder / f"{file}.json").is_file():
        return
    record = shelf.read_file(file)
    for part in text.strip().split("\n\n"):
        for line in read_lines(part):
            row = record["rows"].get(line[""])
            for heading, cell in list(line.items())[1:]:
                value = find_copies(record, line[""], heading) if row is None else find_growth(row, heading)
                yield Cell(f"{line['']}, {heading}", cell, value, taken=heading != "exponent")


def find_growth(row: Mapping[str, Any], heading: str) -> str:
    """The cell of a heading such as "seconds at last" or "GiB of memory, 1,000"."""
    if heading == "exponent":
        return f"{fit_exponent(row):.2f}"
    last = {"to": -1, "seconds at last": -1}.get(heading, 0)
    if heading in ("from", "to"):
        return f"{row['sizes'][last]:,}"
    if heading.startswith("seconds at"):
        return f"{row['seconds'][last]:.3f}"
    if heading == "minutes":
        return f"{row['minutes'][-1]:.1f}"
    if heading == "GiB on disk":
        disk = row.get("disk_gib", [])
        return f"{disk[-1]:.2f}" if disk and disk[-1] else "-"
    what, _, size = heading.partition(", ")
    place = row["sizes"].index(int(size.replace(",", "")))
    if what == "of the processor":
        return f"{row['seconds'][place] / 60:.2f}"
    return f"{row['peak_gib'][place]:.2f}"


def find_copies(record: Mapping[str, Any], change: str, heading: str) -> str:
    """ "97 of 100": planted copies that were found among so many images."""
    size = heading.removeprefix("found among ").removesuffix(" images").replace(",", "")
    copies = record["settings"]["copies"][size][change]
    return f"{copies['detected']} of {copies['planted']}"


def list_notebooks(shelf: Shelf, text: str) -> Cells:
    """Seconds of each notebook, and their sum."""
    if not (shelf.folder / "bench" / "notebooks.json").is_file():
        return
    seconds = shelf.read_file("bench/notebooks")["seconds"]
    numbers = {name if name == COURSE else name.partition("_")[0]: times for name, times in seconds.items()}
    for title, heading, cell in read_cells(text):
        times = numbers[title if title == COURSE else title.partition(" ")[0]]
        yield Cell(f"{title}, {heading}", cell, f"{times['median']:.0f}", taken=True)


def read_seconds(shelf: Shelf, name: str, variant: str) -> str:
    return f"{shelf.read_file(f'bench/{name}')['seconds'][variant]['median']:.0f} s"


def read_slowest(shelf: Shelf, name: str) -> str:
    """ "146 ms": the largest median of a record."""
    seconds = shelf.read_file(f"bench/{name}")["seconds"].values()
    return f"{1000 * max(times['median'] for times in seconds):.0f} ms"
