"""Tables in Markdown files, drawn between marks from result records, so that no number is typed by hand.

A mark is `<!-- table: KIND ... -->` ... `<!-- end -->`. KIND is one of `MARKS`, or the folder of an experiment below
data/results, for its main table and caption.
"""

import re
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from anrot_lib.core import paths, statistics, units
from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.fewshot.methods import title_method
from anrot_lib.ranking.attacks import names
from anrot_lib.records import results
from anrot_lib.reports import figures as viz
from anrot_lib.reports import levels as level_report
from anrot_lib.reports import ranking as score_tables
from anrot_lib.reports import reconstruction as reconstruct_report
from anrot_lib.reports import tables

MARK = re.compile(r"(<!-- table: (?P<what>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def experiment(name: str, kind: str = "accuracy") -> list[dict]:
    folder = paths.results_dir() / name
    records = results.read_all(folder, kind)
    if not records:
        raise UserError(f"there are no result records in {folder}; run the experiment first")
    return records


def main_table(name: str) -> str:
    records = experiment(name)
    return f"{tables.as_markdown(*tables.table(records))}\n\n{tables.caption(records[0])}{tables.memory(records)}."


def contents() -> str:
    """The notebooks and their questions."""
    rows = [[f"[{n.number:02d} {n.title}](notebooks/{n.stem}.ipynb)", n.question] for n in catalogue.ready()]
    return tables.as_markdown(["notebook", "question"], rows, numbers=False)


def differences(name: str, row: str) -> str:
    """Paired differences to a row."""
    return tables.as_markdown(*tables.differences(experiment(name), row))


WEAK = 16 / 255  # up to here an attack is hard to see; the published curves go on to 0.3


def robustness(name: str) -> str:
    """What the main table leaves out: attacks on the support set and on both; of the curves, area and halving point."""
    records = tables.in_order(experiment(name))
    protocol = records[0]["protocol"]
    attack = f"PGD-{protocol['steps']} {units.pixels(protocol['eps'])}"
    headings = ["", f"{attack} on support", "on both", "mean over eps to 16/255", "eps that halves"]
    headings += ["mean over sigma", "sigma that halves"]
    rows = []
    for record in records:
        columns = record["columns"]
        cells = [tables.value(columns.get(f"{attack} {target}")) for target in ("support", "both")]
        for kind in ("eps", "sigma"):
            if not viz.has_curve(record, kind):
                cells += ["-", "-"]
                continue
            x, y = viz.curve(record, kind)[:2]
            near = x <= WEAK if kind == "eps" else x >= 0
            half = statistics.halving_point(x, y)
            said = f"above {x[-1]:g}" if half is None else f"{255 * half:.1f}/255" if kind == "eps" else f"{half:.2f}"
            cells += [f"{statistics.area_under(x[near], y[near]):.1f}", said]
        if set(cells) != {"-"}:
            rows.append([title_method(record["row"]), *cells])
    tasks = records[0]["budget"]["curve_tasks"]
    said = f"Curves under attack on {tasks} episodes, under noise on as many as the table above; means by trapezoids."
    return f"{tables.as_markdown(headings, rows)}\n\n{said}"


def levels(name: str) -> str:
    """The experiment on levels, with its verdict."""
    return level_report.markdown(experiment(name))


def timing(file: str) -> str:
    """A benchmark."""
    return tables.as_markdown(*tables.timing(results.read(paths.results_dir() / f"{file}.json")))


def reconstruction(name: str) -> str:
    """Claims beside measurements, or a line that there are none yet."""
    return reconstruct_report.claims_text(results.read_all(paths.results_dir() / name, "reconstruction"))


FIRST = ("measured", "R@1", "ERS", "at eps = 0", "few-shot", "few-shot, attacked")


def ranking(folder: str) -> str:
    """Measured rows of ranking models, and what every one of them was asked."""
    records = experiment(folder, "ranking")
    asked = []
    for protocol, name in ((record["protocol"], record["data"]["name"]) for record in records):
        threat = names.parse(protocol["attacks"][0]).threat().name.removesuffix(" query")
        asked.append(f"{name}, {threat}, all {protocol['gallery']} test images in the gallery")
    asked += [f"few-shot: {record['few_shot']['settings']['said']}" for record in records if "few_shot" in record]
    said = "± the half-width of the 95 % interval, over test images or queries; at eps = 0: the ceiling of ERS"
    headings, rows = score_tables.measured(records)
    first = [headings.index(name) for name in FIRST if name in headings]  # the rest needs scrolling
    order = first + [k for k in range(len(headings)) if k not in first]
    table = tables.as_markdown([headings[k] for k in order], [[row[k] for k in order] for row in rows])
    return f"{table}\n\n{'; '.join(dict.fromkeys(asked))}. {said}."


def checks(file: str) -> str:
    """Whether the gradient of a ranking model is masked."""
    return tables.as_markdown(*score_tables.checks(results.read(paths.results_dir() / f"{file}.json")), numbers=False)


MARKS: dict[str, tuple[str, Callable[..., str]]] = {  # kind -> what follows it, and what draws it
    "checks": ("FILE", checks),
    "course": ("", contents),
    "differences": ("NAME ROW", differences),
    "levels": ("NAME", levels),
    "ranking": ("NAME", ranking),
    "reconstruction": ("NAME", reconstruction),
    "robustness": ("NAME", robustness),
    "timing": ("FILE", timing),
}


def draw(what: str) -> str:
    """The text that stands between a mark's two comments. UserError for an unknown mark, or without records."""
    kind, *rest = what.split()
    if kind not in MARKS and not rest:
        return main_table(kind)
    if kind not in MARKS or len(rest) != len(MARKS[kind][0].split()):
        known = ", ".join(f"{name} {follows}".strip() for name, (follows, _) in MARKS.items())
        raise UserError(f"cannot draw the table {what!r}; marks are: NAME, {known}")
    return MARKS[kind][1](*rest)


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
    if vaes := results.read_all(folder, "reconstruction"):
        drawn["beta.png"] = lambda: reconstruct_report.beta_figure(vaes, "mean")
    if len(strong) > 1:
        drawn["shares.png"] = lambda: viz.trade_off_figure(strong)
    return drawn


def report(check: bool = False) -> int:
    """Redraw README.md and every experiment's figures from the records. With `check` nothing is written.

    Returns 0, or 1 if `check` found a table that does not say what the records say.
    """
    readme = Path(__file__).resolve().parents[2] / "README.md"
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
