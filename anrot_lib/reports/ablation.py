"""The ablation of ANROT: what each part is worth, as paired differences to the whole, over episodes and over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anrot_lib.core import palette
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import adjust_holm, compare_paired, compute_paired_p
from anrot_lib.fewshot.recipes import ABLATION, CLEAN_ALONE, WHOLE
from anrot_lib.fewshot.row_names import split_row, title_method
from anrot_lib.records.results import compute_accuracies
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import figures, sizes, tables

FIGURE = "ablation.png"
REFERENCES = {variant.name: variant.reference for variant in ABLATION}
LEVEL = 0.05

BySeed = dict[int | None, AccuracyRecord]


@dataclass(frozen=True)
class PartDifference:
    """A variant minus its reference in one column, in points, on the same episodes and with the same seeds.

    half_width   of the 95 % t-interval over episodes; of each episode the difference is averaged over seeds.
    by_seed      the mean difference of each seed alone.
    p            of the paired t-test over episodes, after Holm's correction for all differences of the column.
    """

    mean: float
    half_width: float
    by_seed: tuple[float, ...]
    p: float

    @property
    def is_clear(self) -> bool:
        """Whether p is below 5 %, and all seeds agree which of the two is better."""
        return self.p < LEVEL and len({np.sign(value) for value in self.by_seed}) == 1

    def __str__(self) -> str:
        """ "-1.6 ± 0.4 (-2.1 to -1.0) *": the range is that of single seeds, the star stands where it is clear."""
        text = f"{self.mean:+z.1f} ± {self.half_width:.1f}"
        if len(self.by_seed) > 1:
            text += f" ({min(self.by_seed):+z.1f} to {max(self.by_seed):+z.1f})"
        return f"{text} *" if self.is_clear else text


def group_variants(records: Sequence[AccuracyRecord]) -> dict[str, BySeed]:
    """Variant -> seed -> record, in the order of the study; the seed of the first is None. Other rows are left out."""
    groups: dict[str, BySeed] = {}
    for record in tables.sort_records(records):
        variant, seed = split_row(record["row"])
        if variant in REFERENCES:
            groups.setdefault(variant, {})[seed] = record
    return groups


def list_columns(records: Sequence[AccuracyRecord]) -> dict[str, str]:
    """Heading -> name of the columns that are compared: clean, FGSM, PGD. UserError if a record lacks one of them,
    or if the nets are of several sizes."""
    sizes.check_one_size(records)
    headings = dict(list(tables.list_main_columns(records[0]["protocol"]).items())[:3])
    for record in records:
        if missing := [name for name in headings.values() if name not in record["columns"]]:
            raise UserError(f"the record of {record['row']!r} lacks the column {missing[0]!r}")
    return headings


def match_seeds(variant: BySeed, reference: BySeed, column: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Accuracies (E,) of reference and variant for each seed that both were trained with, on the same episodes."""
    pairs = []
    for seed in sorted(variant.keys() & reference.keys(), key=lambda seed: -1 if seed is None else seed):
        first, second = reference[seed], variant[seed]
        if first["manifest"]["hash"] == second["manifest"]["hash"]:
            pairs.append((compute_accuracies(first["columns"][column]), compute_accuracies(second["columns"][column])))
    return pairs


def compute_part_differences(records: Sequence[AccuracyRecord], column: str) -> dict[str, PartDifference]:
    """Variant -> difference to its reference, of the variants that have one with a seed in common."""
    groups = group_variants(records)
    pairs = {
        name: match_seeds(group, groups.get(REFERENCES[name], {}), column)
        for name, group in groups.items()
        if REFERENCES[name]
    }
    means = {name: np.mean(values, axis=0) for name, values in pairs.items() if values}
    raised = adjust_holm([compute_paired_p(first, second) for first, second in means.values()])
    differences = {}
    for (name, (first, second)), p in zip(means.items(), raised, strict=True):
        total = compare_paired(first, second, bootstrap=False)
        by_seed = tuple(100 * float(np.mean(b - a)) for a, b in pairs[name])
        differences[name] = PartDifference(total.mean, total.half_width, by_seed, p)
    return differences


def count_unmoved(group: BySeed) -> str:
    """ "1 of 3": nets that validation selected before their first episode; "-" where a record does not say it."""
    steps = [record["training"].get("best_step") for record in group.values()]
    return "-" if None in steps else f"{steps.count(0)} of {len(steps)}"


def make_table(records: Sequence[AccuracyRecord]) -> tables.Table:
    """One line a variant: mean accuracies over seeds, and differences to the whole or to clean queries alone."""
    groups, columns = group_variants(records), list_columns(records)
    compared = {heading: compute_part_differences(records, name) for heading, name in columns.items()}
    headings = ["what is changed", *columns, *(f"{heading}, difference" for heading in columns), "of step 0"]
    rows = []
    for variant, group in groups.items():
        means = [np.mean([record["columns"][name]["mean"] for record in group.values()]) for name in columns.values()]
        differences = [str(column[variant]) if variant in column else "-" for column in compared.values()]
        rows.append([title_method(variant), *(f"{mean:.1f}" for mean in means), *differences, count_unmoved(group)])
    return headings, rows


def write_caption(records: Sequence[AccuracyRecord]) -> str:
    """What the table is about, and what is compared with what."""
    groups = group_variants(records)
    seeds = sorted({len(group) for group in groups.values()})
    number = " to ".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1])))
    return (
        f"{tables.write_caption(records[0])}; means over {number} seeds; differences to {title_method(WHOLE)!r}, of "
        f"rows that begin with clean, to {title_method(CLEAN_ALONE)!r}, on the same episodes ± 95 % interval over "
        "episodes, in brackets the least and the greatest of single seeds; * p < 0.05 after Holm's correction for all "
        "in the column, and of one sign in all seeds; of step 0: nets that were best on the validation classes before "
        "their first episode, with the pre-trained encoder and the head as it was drawn"
    )


def draw(records: Sequence[AccuracyRecord]) -> Figure:
    """The differences of the table with their intervals; dots are single seeds, orange is clear."""
    columns = list_columns(records)
    compared = {heading: compute_part_differences(records, name) for heading, name in columns.items()}
    variants = list(next(iter(compared.values())))
    if not variants:
        raise UserError("there is nothing to draw: no variant was trained beside its reference")
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(8.4, 0.9 + 0.24 * len(variants)), layout="constrained")
        places = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
        for axes, (heading, differences) in zip(places, compared.items(), strict=True):
            draw_differences(axes, [differences[name] for name in variants])
            axes.set_title(heading, fontsize=9)
            axes.set_xlabel("difference, points")
        places[0].set_yticks(range(len(variants)), [title_method(name) for name in variants], fontsize=8)
        places[0].invert_yaxis()
    return figure


def draw_differences(axes: Axes, differences: Sequence[PartDifference]) -> None:
    """One line a difference: its interval over episodes, and a small dot for each seed."""
    axes.axvline(0, color="black", linewidth=0.8)
    for place, difference in enumerate(differences):
        colour = palette.ORANGE if difference.is_clear else palette.GREY
        axes.errorbar(
            difference.mean, place, xerr=difference.half_width, fmt="o", markersize=4, elinewidth=1.2, color=colour
        )
        axes.plot(
            difference.by_seed, np.full(len(difference.by_seed), place + 0.25), ".", markersize=3, color=palette.BLUE
        )
