"""The pages of the project whose tables and numbers are drawn from records, and the figures beside the records."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.experiments.consequences import TAG
from anrot_lib.experiments.leaky_split import RELEASED_TAG, SPLIT_TAG
from anrot_lib.fewshot.methods import LENGTHS
from anrot_lib.publish import hero, marks
from anrot_lib.records import results
from anrot_lib.reports import certificates, consequences, figures, leaky_split, lengths, reconstruction_figures, seeds
from anrot_lib.reports.studies import REPORTS

CHECKOUT = Path(__file__).resolve().parents[2]
out = logging.getLogger("anrot")


@dataclass(frozen=True)
class Page:
    """A Markdown page of the repository: its path from the root, and its title in lists of pages."""

    path: str
    title: str


PAGES = (
    Page("README.md", "Start"),
    Page("docs/results/README.md", "Results"),
    Page("docs/results/cifar-fs.md", "CIFAR-FS"),
    Page("docs/results/recipes.md", "Recipes"),
    Page("docs/results/defences.md", "Defences"),
    Page("docs/results/ablation.md", "Ablation"),
    Page("docs/results/attacks.md", "Attacks"),
    Page("docs/results/fc100.md", "FC100"),
    Page("docs/results/mini-imagenet.md", "mini-ImageNet"),
    Page("docs/results/cross-domain.md", "Other images"),
    Page("docs/results/certificates.md", "Certificates"),
    Page("docs/results/levels.md", "Levels"),
    Page("docs/results/ranking.md", "Ranking"),
    Page("docs/results/reconstruction.md", "Reconstruction"),
    Page("docs/results/claims.md", "Claims"),
    Page("docs/results/consequences.md", "Consequences"),
    Page("docs/results/speed.md", "Speed"),
    Page("docs/results/smoke.md", "Smoke run"),
    Page("docs/your_own.md", "Your own images, head, loss"),
    Page("docs/scale.md", "Several GPUs, several machines"),
    Page("docs/teaching.md", "Teaching"),
    Page("docs/lesson_plans.md", "Lesson plans"),
    Page("docs/courses.md", "How it compares"),
    Page("docs/glossary.md", "Glossary"),
    Page("docs/design.md", "Design"),
    Page("docs/errata.md", "Errata"),
    Page("docs/references.md", "References"),
    Page("CONTRIBUTING.md", "Contributing"),
    Page("CHANGELOG.md", "Changes"),
)


def list_pages(checkout: Path = CHECKOUT) -> list[Path]:
    """The pages that a checkout has. UserError if it has no README.md, and so is none."""
    if not (checkout / "README.md").is_file():
        raise UserError("there is no README.md here; run this in a checkout of the repository")
    return [checkout / page.path for page in PAGES if (checkout / page.path).is_file()]


def refresh(path: Path) -> bool:
    """Redraw all marks of a Markdown file; whether anything changed."""
    text = path.read_text("utf-8")
    drawn = marks.redraw(text)
    if drawn == text:
        return False
    paths.write_text(path, drawn)
    return True


def find_stale(checkout: Path = CHECKOUT) -> list[Path]:
    """The pages that do not say what the records say."""
    texts = {path: path.read_text("utf-8") for path in list_pages(checkout)}
    return [path for path, text in texts.items() if marks.redraw(text) != text]


def choose_figures(folder: Path) -> dict[str, Callable[[], Figure]]:
    """File name -> drawing function, of the figures that an experiment's records allow."""
    every = results.read_all(folder)
    chosen: dict[str, Callable[[], Figure]] = {}
    for study, report in REPORTS.items():
        if every and f"shot-{every[0]['budget']['preset']}-{study}" in folder.name:
            return {report.figure: partial(report.draw, every)} if len(every) > 1 else {}
    study, _, length = folder.name.rpartition("-")
    if every and f"shot-{every[0]['budget']['preset']}-{LENGTHS}" in study and length.isdecimal():
        # The figure of all lengths lies with the longest.
        last = lengths.list_folders(folder.parent, study)[-1] == folder
        return {lengths.FIGURE: lambda: lengths.draw(lengths.read_lengths(folder.parent, study))} if last else {}
    if every and folder.name.endswith(f"-{SPLIT_TAG}"):
        released = results.read_all(folder.with_name(folder.name.replace(SPLIT_TAG, RELEASED_TAG)))
        return {leaky_split.FIGURE: lambda: leaky_split.draw_splits(leaky_split.match_splits(every, released))}
    if every and folder.name.endswith(f"-{TAG}"):
        return {consequences.FIGURE: lambda: consequences.draw(every)}
    records = seeds.select_first_seeds(every)
    certified = results.read_all(folder, "smoothing"), results.read_all(folder, "poisoning")
    if any(certified):
        chosen[certificates.FIGURE] = lambda: certificates.draw_certificates(*certified)
    if any(figures.has_curve(record, kind) for record in records for kind in ("eps", "sigma")):
        chosen["robustness.png"] = lambda: figures.draw_robustness(records)
    episodic = [r for r in records if r["recipe"]["method"] == "anrot" and not r["recipe"]["pretrain"]]
    strong = [r for r in episodic if figures.find_strong_column(r)]
    if vaes := results.read_all(folder, "reconstruction"):
        chosen["beta.png"] = lambda: reconstruction_figures.draw_betas(vaes, "mean")
    if len(strong) > 1:
        chosen["shares.png"] = lambda: figures.draw_trade_off(strong)
    return chosen


def report(check: bool = False, checkout: Path = CHECKOUT) -> int:
    """Redraw all pages and every experiment's figures from the records. With `check` nothing is written.

    Returns 0, or 1 if `check` found a page that does not say what the records say.
    """
    if check:
        stale = find_stale(checkout)
        for path in stale:
            out.info("%s does not say what the records say; run: anrot report", path.relative_to(checkout).as_posix())
        return int(bool(stale))
    for path in list_pages(checkout):
        refresh(path)
    for folder in sorted({path.parent for path in paths.results_dir().rglob("*.json")}):
        for name, draw in choose_figures(folder).items():
            figures.save(draw(), folder / name)
    hero.save(checkout)
    return 0
