"""How long the course takes, from the records that `notebooks/clock.py` and `notebooks/sweep.py` write."""

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.records import results
from anrot_lib.records.schema import TimingRecord
from anrot_lib.reports import tables

COURSE, GRADED = "the whole course", "40 submissions"  # variants of the two records
NOT_TIMED = "(not timed yet)"


def read_times(name: str) -> TimingRecord | None:
    """A reference record of bench; None if nobody timed that yet."""
    path = paths.results_dir() / "bench" / f"{name}.json"
    return results.read(path, "timing") if path.is_file() else None


def draw_notebook_times() -> str:
    """Seconds of processor time of every notebook at smoke, and of all together."""
    record = read_times("notebooks")
    seconds = record["seconds"] if record else {}
    titles = {notebook.stem: f"{notebook.number:02d} {notebook.title}" for notebook in catalogue.list_ready()}
    rows = [[titles.get(name, name), f"{measured['median']:.0f}"] for name, measured in seconds.items()]
    rows = rows or [[COURSE, NOT_TIMED]]
    return tables.format_markdown(["notebook, at smoke on one thread", "processor time, s"], rows)


def format_seconds(name: str, variant: str) -> str:
    """ "16 s": a variant of a record of bench. UserError for a variant that the record does not hold."""
    record = read_times(name)
    if record is None:
        return NOT_TIMED
    seconds = record["seconds"]
    if variant not in seconds:
        raise UserError(f"{name}.json in data/results/bench has no {variant!r}; it has {', '.join(seconds)}")
    return f"{seconds[variant]['median']:.0f} s"


def format_slowest(name: str) -> str:
    """ "146 ms": the largest median of a record of bench."""
    record = read_times(name)
    return f"{1000 * max(s['median'] for s in record['seconds'].values()):.0f} ms" if record else NOT_TIMED
