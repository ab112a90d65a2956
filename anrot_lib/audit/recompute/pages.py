"""What pages print of records, computed again: single numbers in sentences, and the cells of tables.

Every mark of a page (`publish.marks`) whose text holds a measured number is read here by code of its own, which shares
no function with what drew it.
"""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from anrot_lib.audit.recompute import (
    certified,
    checks,
    claimed,
    few_shot,
    levels,
    ranking,
    reconstruction,
    studies,
    times,
    trainings,
)
from anrot_lib.audit.recompute.arithmetic import Deviation, Recomputation
from anrot_lib.audit.recompute.printed import (
    Cell,
    Cells,
    Shelf,
    compute_gap,
    find_column,
    format_counts,
    format_gap,
)
from anrot_lib.core.errors import UserError

MARK = re.compile(r"<!-- (table|number): ([^>]+?) -->(.*?)<!-- end -->", re.DOTALL)
NOT_YET = ("Not measured yet.", "(not timed yet)", "No net has been tested on another set yet.")
# Kinds of tables without a number of a record.
UNMEASURED = ("commands", "course", "courses", "methods", "presets", "references", "rooms", "rooms-picture")


def recompute_page(page: Path, shelf: Shelf, again: Recomputation) -> None:
    """The numbers that a page prints, from the records that its marks name."""
    recompute_text(page.name, page.read_text("utf-8"), shelf, again)


def recompute_text(name: str, text: str, shelf: Shelf, again: Recomputation) -> None:
    """The same of the text of a page."""
    for sort, what, between in MARK.findall(text):
        kind, *arguments = shlex.split(what)
        if kind in UNMEASURED or between.strip().startswith(NOT_YET):
            continue
        where, label = f"{name}, {' '.join((kind, *arguments[:1]))}", kind if kind in (*TABLES, *NUMBERS) else "rows"
        try:
            for cell in list_printed(shelf, sort, kind, arguments, between):
                again.compare_text(where, cell.what, cell.printed, cell.computed, label if cell.taken else "")
        except (LookupError, ValueError, UserError) as error:  # a kind, a title or a file that the records do not have
            again.deviations.append(Deviation(where, "the mark", str(error), "what the records have"))


def list_printed(shelf: Shelf, sort: str, kind: str, arguments: list[str], text: str) -> Cells:
    """The cells of a mark. LookupError for a kind that is not known."""
    if sort == "number":
        return iter([Cell(" ".join(arguments[1:]), text, NUMBERS[kind](shelf, *arguments), kind in TAKEN)])
    if kind not in TABLES and not (shelf.folder / kind).is_dir():
        raise LookupError(f"{kind} is no kind of table, nor an experiment")
    return TABLES[kind](shelf, text, *arguments) if kind in TABLES else few_shot.list_main_cells(shelf, text, kind)


def compute_accuracy(shelf: Shelf, name: str, row: str, column: str) -> str:
    record = shelf.read_rows(name)[row]
    return format_counts(record["columns"][find_column(record, column)])


def compute_gain(shelf: Shelf, name: str, row: str, reference: str, column: str) -> str:
    return compute_gap(shelf.read_rows(name), row, reference, column)


def compute_suite_gap(shelf: Shelf, name: str, row: str) -> str:
    suites = few_shot.select_suites(shelf.read_rows(name)[row])
    return format_gap(suites["AA-lite"], suites["AA"])


def compute_halving(shelf: Shelf, name: str, row: str, kind: str) -> str:
    return few_shot.format_halving(few_shot.read_curve(shelf.read_rows(name)[row], kind), kind)


def read_left_out(shelf: Shelf, name: str) -> str:
    return str(shelf.read_all(name)[0]["data"]["left_out"])


NUMBERS: dict[str, Callable[..., str]] = {
    "ablation": studies.compute_printed_part,
    "accuracy": compute_accuracy,
    "broken": certified.compute_broken,
    "certified-part": certified.compute_held_part,
    "certified-radius": certified.compute_certified,
    "certified-shots": certified.compute_held,
    "checked-score": ranking.read_checked_score,
    "difference": compute_gain,
    "first-rank": ranking.read_first_rank,
    "halving": compute_halving,
    "judge-gap": checks.compute_judge_gap,
    "left-out": read_left_out,
    "level-gain": levels.compute_level_gain,
    "score": ranking.compute_printed_score,
    "seconds": times.read_seconds,
    "slowest": times.read_slowest,
    "speed": times.compute_printed_speed,
    "suite-gap": compute_suite_gap,
}
TAKEN = ("broken", "checked-score", "first-rank", "left-out", "seconds", "slowest")  # of the numbers in sentences
TABLES: dict[str, Callable[..., Cells]] = {
    "ablation": studies.list_ablation,
    "card": checks.list_card,
    "challenges": checks.list_challenges,
    "checks": ranking.list_checks,
    "claims": claimed.list_claims,
    "consequences": studies.list_consequences,
    "cross-domain": few_shot.list_cross_domain,
    "defences": studies.list_defences,
    "differences": few_shot.list_differences,
    "growth": times.list_growth,
    "judges": checks.list_judges,
    "leaky-split": studies.list_splits,
    "lengths": trainings.list_lengths,
    "levels": levels.list_levels,
    "notebook-times": times.list_notebooks,
    "poisoning": certified.list_poisoning,
    "ranking": ranking.list_ranking,
    "recipes": studies.list_recipes,
    "reconstruction": reconstruction.list_reconstruction,
    "robustness": few_shot.list_robustness,
    "rows": few_shot.list_main_cells,
    "seeds": few_shot.list_seeds,
    "smoothing": certified.list_smoothing,
    "suites": few_shot.list_suites,
    "timing": times.list_timing,
    "twins": trainings.list_twins,
}
