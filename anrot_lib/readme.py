"""Tables in Markdown files, drawn between marks from result records, so that no number is typed by hand.

A mark is `<!-- table: NAME -->` ... `<!-- end -->`, where NAME is the folder of an experiment below data/results
(the main table and its caption), `differences NAME ROW` (paired differences to a row), `reconstruction NAME` (claims
beside measurements, or a line that there are none yet), `timing FILE` (a benchmark) or `course` (the notebooks and
their questions).
"""

import re
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from anrot_lib import course, paths, reconstruct_report, results, tables, viz
from anrot_lib.checks import UserError

MARK = re.compile(r"(<!-- table: (?P<what>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def experiment(name: str) -> list[dict]:
    folder = paths.results_dir() / name
    records = results.read_all(folder)
    if not records:
        raise UserError(f"there are no result records in {folder}; run the experiment first")
    return records


def draw(what: str) -> str:
    """The text that stands between a mark's two comments."""
    if what == "course":
        rows = [[f"[{n.number:02d} {n.title}](notebooks/{n.stem}.ipynb)", n.question] for n in course.ready()]
        return tables.as_markdown(["notebook", "question"], rows).replace("---:", "---")
    kind, *rest = what.split()
    if len(rest) != {"differences": 2, "timing": 1, "reconstruction": 1}.get(kind, 0):
        known = "NAME, differences NAME ROW, reconstruction NAME, timing FILE, course"
        raise UserError(f"cannot draw the table {what!r}; marks are: {known}")
    if kind == "reconstruction":
        return reconstruct_report.claims_text(results.read_all(paths.results_dir() / rest[0], "reconstruction"))
    if kind == "differences":
        return tables.as_markdown(*tables.differences(experiment(rest[0]), rest[1]))
    if kind == "timing":
        return tables.as_markdown(*tables.timing(results.read(paths.results_dir() / f"{rest[0]}.json")))
    records = experiment(kind)
    return f"{tables.as_markdown(*tables.table(records))}\n\n{tables.caption(records[0])}."


def refresh(path: Path) -> bool:
    """Redraw all tables of a Markdown file; whether anything changed."""
    text = path.read_text("utf-8")
    drawn = MARK.sub(lambda m: f"{m[1]}{draw(m['what'])}\n{m[3]}", text)
    if drawn == text:
        return False
    with paths.atomic_write(path) as temporary:
        temporary.write_text(drawn, "utf-8")
    return True


def figures(folder: Path) -> dict[str, Callable[[], Figure]]:
    """File name -> drawing function, of the figures that an experiment's records allow."""
    records = results.read_all(folder)
    drawn: dict[str, Callable[[], Figure]] = {}
    if any(viz.has_curve(record, kind) for record in records for kind in ("eps", "sigma")):
        drawn["robustness.png"] = lambda: viz.robustness_figure(records)
    strong = [r for r in records if r["recipe"]["method"] == "anrot" and viz.strong_column(r)]
    if len(strong) > 1:
        drawn["shares.png"] = lambda: viz.trade_off_figure(strong)
    return drawn


def report(check: bool = False) -> int:
    """Redraw README.md and every experiment's figures from the records. With `check` nothing is written.

    Returns 0, or 1 if `check` found a table that does not say what the records say.
    """
    readme = Path(__file__).resolve().parent.parent / "README.md"
    if not readme.is_file():
        raise UserError("there is no README.md here; run this in a checkout of the repository")
    if check:
        text = readme.read_text("utf-8")
        return int(MARK.sub(lambda m: f"{m[1]}{draw(m['what'])}\n{m[3]}", text) != text)
    refresh(readme)
    for folder in sorted({path.parent for path in paths.results_dir().rglob("*.json")}):
        for name, figure in figures(folder).items():
            viz.save(figure(), folder / name)
    return 0
