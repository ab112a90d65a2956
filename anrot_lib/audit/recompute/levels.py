"""Tables of levels, computed again: means over seeds, what a level adds to pixels, and which breaks first."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anrot_lib.audit.recompute.arithmetic import adjust_p, compute_mean, compute_p
from anrot_lib.audit.recompute.printed import Cell, Cells, Shelf, format_bound, list_accuracies, read_lines
from anrot_lib.fewshot.levels.names import TITLES
from anrot_lib.fewshot.row_names import title_method

PIXELS = "levels:pixel"
SURE = 0.05
RESAMPLES = 2_000
ATTACKS = re.compile(r"(?:FGSM|PGD-\d+) [\d./]+")
OTHERS = re.compile(
    r"(?:Of|Under (?P<attack>[^,]+), of) (?P<all>\d+) other \w+ (?P<better>\d+) are better than pixels alone and "
    r"(?P<worse>\d+) worse \(Holm, 5 %\)(?:; the best is (?P<best>.+?), (?P<gain>[+-][\d.]+ ± [\d.]+) points)?\."
)
FIRST = re.compile(
    r"the first to break is (?P<first>.+?): it keeps (?P<kept>\d+ %) of its clean accuracy, the least in "
    r"(?P<sure>\d+ %) of resampled sets of episodes; (?P<last>.+?) keeps (?P<most>\d+ %);"
)
LEFT = re.compile(
    r"Each attacked alone under (?P<weak>[^,]+),.* under (?P<strong>.+?) the best single level has "
    r"(?P<left>[\d.]+) % left"
)
Groups = dict[str, list[Any]]  # row -> its records, one a seed


def average_seeds(records: Sequence[Any], column: str) -> list[float]:
    """Accuracy of each episode in per cent, a mean over seeds."""
    return [
        math.fsum(values) / len(values)
        for values in zip(*(list_accuracies(record["columns"][column]) for record in records), strict=True)
    ]


def list_gaps(groups: Groups, column: str) -> dict[str, list[float]]:
    """Row -> its accuracy minus that of pixels alone in each episode, over the seeds that both have."""
    gaps, base = {}, {record["recipe"]["seed"]: record for record in groups[PIXELS]}
    for row, records in groups.items():
        both = [record for record in records if record["recipe"]["seed"] in base]
        if row != PIXELS and both:
            before = average_seeds([base[record["recipe"]["seed"]] for record in both], column)
            gaps[row] = [b - a for a, b in zip(before, average_seeds(both, column), strict=True)]
    return gaps


def group_rows(shelf: Shelf, name: str) -> Groups:
    groups: Groups = {}
    for record in shelf.read_all(name):
        groups.setdefault(record["row"], []).append(record)
    return groups


def compute_level_gain(shelf: Shelf, name: str, row: str) -> str:
    """ "+0.24 ± 0.08": what a combination of levels adds to pixels."""
    return format_gain(list_gaps(group_rows(shelf, name), "clean")[row])


def format_gain(gaps: Sequence[float]) -> str:
    mean, half = compute_mean(gaps)
    return f"{mean:+z.2f} ± {half:.2f}"


def format_accuracy(records: Sequence[Any], column: str) -> str:
    values = average_seeds(records, column)
    mean, half = compute_mean(values)
    if set(values) in ({0.0}, {100.0}):
        first = records[0]["columns"][column]
        return format_bound(first["queries"] * len(values), none=values[0] == 0)
    return f"{mean:.1f} ± {half:.1f}"


def list_shares(record: Mapping[str, Any]) -> dict[str, float]:
    """The share of each level in the logits, as the record holds it."""
    training = record["training"]
    if "fusion" in training:
        return dict(training["fusion"]["shares"])
    return training["history"][-1].get("shares") or {record["row"].partition(":")[2]: 1.0}


def list_levels(shelf: Shelf, text: str, name: str) -> Cells:
    """Every cell of the table, and the numbers of the verdict below it."""
    groups = group_rows(shelf, name)
    rows = {title_method(row): row for row in groups}
    gaps = list_gaps(groups, "clean")
    raised = dict(zip(gaps, adjust_p([compute_p(values) for values in gaps.values()]), strict=True))
    for line in read_lines(text):
        row = rows[line[""]]
        records = groups[row]
        for heading, cell in list(line.items())[1:]:
            what = f"{row}, {heading}"
            if heading == "minus pixels":
                yield Cell(what, cell, format_gain(gaps[row]) if row in gaps else "-")
            elif heading == "p (Holm)":
                p = raised.get(row)
                yield Cell(what, cell, "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}")
            elif heading.startswith("share"):
                shares = [list_shares(record) for record in records]
                means = [math.fsum(100 * s[k] for s in shares) / len(shares) for k in TITLES if k in shares[0]]
                yield Cell(what, cell, " : ".join(f"{mean:.0f}" for mean in means), taken=True)
            else:
                column = heading if heading == "clean" else f"{heading} query"
                yield Cell(what, cell, format_accuracy(records, column))
    yield from list_verdicts(groups, text)


def list_verdicts(groups: Groups, text: str) -> Cells:
    """How many rows are better and worse than pixels alone, the best of them, and which level breaks first."""
    for match in OTHERS.finditer(text):
        column = f"{match['attack']} query" if match["attack"] else "clean"
        gaps = list_gaps(groups, column)
        raised = dict(zip(gaps, adjust_p([compute_p(values) for values in gaps.values()]), strict=True))
        means = {row: math.fsum(values) / len(values) for row, values in gaps.items() if raised[row] <= SURE}
        better, worse = sum(mean > 0 for mean in means.values()), sum(mean < 0 for mean in means.values())
        what, printed = f"verdict, {column}", [match["all"], match["better"], match["worse"]]
        yield Cell(what, " ".join(printed), f"{len(gaps)} {better} {worse}")
        best = max(means, key=lambda row: means[row]) if better else None
        computed = f"{title_method(best)} {format_gain(gaps[best])}" if best else ""
        yield Cell(f"{what}, best", f"{match['best'] or ''} {match['gain'] or ''}".strip(), computed)
    if (left := LEFT.search(text)) is not None:
        yield from list_first_to_break(groups, text, f"{left['weak']} query")
        single = [records for row, records in groups.items() if row.partition(":")[2] in TITLES]
        strongest = [average_seeds(records, f"{left['strong']} query") for records in single]
        most = max(math.fsum(values) / len(values) for values in strongest)
        yield Cell("verdict, best single level under the strong attack", left["left"], f"{most:.1f}")


def list_first_to_break(groups: Groups, text: str, column: str) -> Cells:
    """The level that keeps the smallest part of its clean accuracy, in how many resampled sets of episodes it does."""
    levels = [name for name in TITLES if f"{PIXELS.partition(':')[0]}:{name}" in groups]
    sides = [
        np.array([average_seeds(groups[f"levels:{name}"], side) for name in levels])
        for side in (column, "clean, attacked tasks")
    ]
    kept = sides[0].sum(1) / sides[1].sum(1)
    n = sides[0].shape[1]
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)  # the stream of the report
    again = (sides[0] @ counts.T) / (sides[1] @ counts.T)
    first, last = int(kept.argmin()), int(kept.argmax())
    sure = float((again.argmin(0) == first).mean())
    computed = "no single level"
    if sure >= 1 - SURE:
        parts = [f"{100 * kept[first]:.0f} %", f"{100 * sure:.0f} %", TITLES[levels[last]], f"{100 * kept[last]:.0f} %"]
        computed = ", ".join([TITLES[levels[first]], *parts])
    match = FIRST.search(text)
    printed = ", ".join(match[k] for k in ("first", "kept", "sure", "last", "most")) if match else "no single level"
    yield Cell("verdict, first to break", printed, computed)
