"""What is printed and drawn of a study of few-shot recipes, by its name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from anrot_lib.fewshot.methods import ABLATION, DEFENCES, RECIPES
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import ablation, defences, recipes, tables


@dataclass(frozen=True)
class StudyReport:
    """The table of a study's records, its caption, its figure and the figure's file name."""

    make_table: Callable[[Sequence[AccuracyRecord]], tables.Table]
    write_caption: Callable[[Sequence[AccuracyRecord]], str]
    draw: Callable[[Sequence[AccuracyRecord]], Figure]
    figure: str


REPORTS = {
    RECIPES: StudyReport(recipes.make_table, recipes.write_caption, recipes.draw, recipes.FIGURE),
    DEFENCES: StudyReport(defences.make_table, defences.write_caption, defences.draw, defences.FIGURE),
    ABLATION: StudyReport(ablation.make_table, ablation.write_caption, ablation.draw, ablation.FIGURE),
}
