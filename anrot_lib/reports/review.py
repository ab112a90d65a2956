"""A reviewer's report as Markdown: claims, defects, intervals, and a checklist to fill in."""

from collections.abc import Callable
from pathlib import Path

from anrot_lib.audit import claims as registry
from anrot_lib.audit import defects
from anrot_lib.core import paths
from anrot_lib.core.version import __version__
from anrot_lib.experiments.leaky_split import RELEASED_TAG, SPLIT_TAG
from anrot_lib.fewshot.methods import ABLATION
from anrot_lib.records import results
from anrot_lib.reports import claims, intervals, tables

STUDIES = (f"-{ABLATION}", f"-{SPLIT_TAG}", f"-{RELEASED_TAG}")  # ends of the names of their folders

QUESTIONS = (
    "Which classes and images trained the net, which selected it, and are the test classes disjoint from both?",
    "Is the split the published one? What is its hash?",
    "How many test episodes, of how many queries a class, drawn from which seed?",
    "What does ± mean: over episodes, over classes, over trainings? How many of them?",
    "Are two methods compared on the same episodes, paired, and corrected for the number of comparisons?",
    "Norm, eps in units of the pixel range, steps, step size, restarts: are all of them stated?",
    "Does the attack use the gradient of the attacked net, through its distance? Is a transfer attack called one?",
    "What is attacked: queries, support images, both?",
    "Do attacked and noisy images stay in the range of pixels?",
    "Does accuracy fall to chance as eps grows, and do more steps and restarts never help the defender?",
    "Is a gradient-free or transferred attack ever stronger than the white-box one? Then the gradient is masked.",
    "Does the score of a query depend on the queries beside it? Then attacks that drop beaten ones change the rest.",
    "Is the clean price of robustness stated beside it, and the cost of training?",
    "How many seeds of training? Is the reported net the best of several on the test set?",
    "Can every number be computed again from files that are published?",
)


TITLE = "# Review of ANROT-HELANet, MML and RobDML"
CHECKLIST = "Checklist for a claim of robustness"


def write_review(progress: Callable[[int], None] | None = None) -> str:
    """The report as Markdown. Demos of defects run for it; `progress` counts them."""
    verdicts = registry.join_claims(registry.list_claims(), registry.read_located())
    parts = [
        TITLE,
        f"Written by `anrot report --review`, anrot_lib {__version__}. {defects.UNKNOWN}",
        "## Claims beside measurements",
        tables.format_markdown(*claims.count_statuses(verdicts)),
        "A claim agrees, or stands below or above, only in its own setting. All claims: `anrot claims`.",
    ]
    for system in registry.SYSTEMS:
        measured = [
            v for v in verdicts if v.claim.system == system and (v.measured or v.status == "a difference of claims")
        ]
        if measured:
            parts += [f"### {system}", tables.format_markdown(*claims.make_table(measured), numbers=False)]
    parts += ["## What the released code does", write_defects(progress)]
    parts += ["## Four intervals of one number", EXPLAINED, write_intervals()]
    parts += [f"## {CHECKLIST}", "\n".join(f"- [ ] {question}" for question in QUESTIONS)]
    return "\n\n".join(parts) + "\n"


EXPLAINED = """Closed: over the episodes of these test classes. Open: the test classes and the query images are
draws too, and others could have been drawn; it takes a record that says which queries are right. Older records, which
stand apart, keep counts alone, and most of their nets are gone. There "(classes)" is the interval over classes with the
images held fixed, where the image set is prepared here. Paired: of the difference to prototypes, or else to ANROT
trained clean, on the same episodes. Seeds: over trainings. A dash: the records do not hold it."""


def write_defects(progress: Callable[[int], None] | None = None) -> str:
    """One line a defect: what it does, what its demo shows, and the test that would have caught it."""
    rows = []
    for done, defect in enumerate(defects.list_defects(), 1):
        shown = defects.show_defect(defect)
        numbers = dict(shown.numbers) | (dict(shown.measurement.numbers) if shown.measurement else {})
        effect = "; ".join(f"{name}: {value}" for name, value in numbers.items())
        rows.append([defect.id, f"{defect.does} {defect.follows}", effect, f"`{defect.guard.rpartition('::')[2]}`"])
        if progress is not None:
            progress(done)
    return tables.format_markdown(["", "what it does, and what follows", "shown", "guard"], rows, numbers=False)


def list_experiments() -> list[Path]:
    """Folders of reference records that hold rows of a main table, a file each; those of studies are left out."""
    folders = sorted({path.parent for path in paths.results_dir().rglob("*.json")})
    tables_only = [f for f in folders if not (f / "study.json").is_file() and f.parent == paths.results_dir()]
    return [f for f in tables_only if not f.name.endswith(STUDIES)]


def write_intervals() -> str:
    """The four intervals of every such row, clean and under PGD; rows whose records hold counts alone stand apart.

    A sentence if there are no records.
    """
    lines: list[intervals.FourIntervals] = []
    for folder in list_experiments():
        records = [r for r in results.read_all(folder) if r["manifest"]["split"] == "test" and "seen" not in r]
        lines += intervals.measure_intervals(folder.name, records)
    parts = {
        "### Rows that say which queries are right": [line for line in lines if line.open is not None],
        "### Older rows, of counts alone": [line for line in lines if line.open is None],
    }
    texts = [
        f"{title}\n\n{tables.format_markdown(*intervals.make_table(some))}" for title, some in parts.items() if some
    ]
    return "\n\n".join(texts) or "There are no records here."


def save_review(path: Path, progress: Callable[[int], None] | None = None) -> Path:
    """Write the report to a file, whole or not at all. UserError for a file that is there and is no such report."""
    paths.refuse_other_file(path, TITLE, "review")
    text = write_review(progress)
    paths.write_text(path, text)
    return path
