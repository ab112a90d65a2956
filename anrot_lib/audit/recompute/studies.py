"""Tables of studies of few-shot rows, computed again: parts of a method, recipes, defences, leaky splits, defects."""

import math
import re
from collections.abc import Mapping
from typing import Any

from anrot_lib.audit.recompute.arithmetic import adjust_p, compute_mean, compute_p
from anrot_lib.audit.recompute.few_shot import count_seconds, find_card, list_overstatements
from anrot_lib.audit.recompute.printed import (
    DIFFERENCE,
    Cell,
    Cells,
    Rows,
    Shelf,
    find_column,
    find_row,
    format_counts,
    format_gap,
    list_accuracies,
    read_cells,
    read_lines,
)
from anrot_lib.fewshot.recipes import ABLATION, RANKING
from anrot_lib.fewshot.row_names import split_row

SURE = 0.05
WORST = 0.05  # part of the episodes that counts as the worst
FEW = 100  # tasks of a published evaluation
SPREAD = re.compile(r"^(\d+) evaluations of \d+ tasks each.*from ([\d.]+) to ([\d.]+) %, standard deviation ([\d.]+)\.")


def measure_mean(column: Mapping[str, Any]) -> float:
    """Mean accuracy of a column, in per cent."""
    return math.fsum(list_accuracies(column)) / len(column["correct"])


def list_gaps(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[float]:
    """second - first of two columns in points, of each episode that both have."""
    return [b - a for a, b in zip(list_accuracies(first), list_accuracies(second), strict=False)]


# Parts of a method


def match_seeds(rows: Rows, variant: str) -> list[tuple[Any, Any]]:
    """(reference, variant) of each seed that a variant of the ablation and its reference have."""
    (reference,) = (one.reference for one in ABLATION if one.name == variant)
    bases = {row: reference + row.removeprefix(variant) for row in rows if split_row(row)[0] == variant}
    return [(rows[base], rows[row]) for row, base in bases.items() if reference and base in rows]


def compute_part(rows: Rows, variant: str, column: str) -> tuple[list[float], list[float]]:
    """(differences of the episodes, each a mean over seeds; mean differences of the seeds) of a heading's column."""
    pairs = match_seeds(rows, variant)
    name = find_column(pairs[0][0], column)
    seeds = [list_gaps(first["columns"][name], second["columns"][name]) for first, second in pairs]
    episodes = [math.fsum(episode) / len(episode) for episode in zip(*seeds, strict=True)]
    return episodes, [math.fsum(seed) / len(seed) for seed in seeds]


def compute_printed_part(shelf: Shelf, name: str, variant: str, column: str) -> str:
    """ "-1.6 ± 0.4": a variant of the ablation minus its reference."""
    mean, half = compute_mean(compute_part(shelf.read_rows(name), variant, column)[0])
    return f"{mean:+z.1f} ± {half:.1f}"


def list_ablation(shelf: Shelf, text: str, name: str) -> Cells:
    """Means over seeds, differences with the range of single seeds, and the star of a clear one."""
    rows, titles = shelf.read_rows(name), {variant.title: variant.name for variant in ABLATION}
    lines = read_lines(text)
    for heading in list(lines[0])[1:] if lines else []:
        column = heading.removesuffix(DIFFERENCE)
        parts = {}
        if heading.endswith(DIFFERENCE):
            compared = [titles[line[""]] for line in lines if line[heading] != "-"]
            parts = {variant: compute_part(rows, variant, column) for variant in compared}
        raised = dict(zip(parts, adjust_p([compute_p(episodes) for episodes, _ in parts.values()]), strict=True))
        for line in lines:
            variant, what = titles[line[""]], f"{titles[line['']]}, {heading}"
            group = [record for row, record in rows.items() if split_row(row)[0] == variant]
            if variant in parts:
                yield Cell(what, line[heading], format_part(*parts[variant], raised[variant]))
            elif heading == "of step 0":
                steps = [record["training"].get("best_step") for record in group]
                unmoved = "-" if None in steps else f"{steps.count(0)} of {len(steps)}"
                yield Cell(what, line[heading], unmoved, taken=True)
            elif not heading.endswith(DIFFERENCE):
                means = [measure_mean(record["columns"][find_column(record, column)]) for record in group]
                yield Cell(what, line[heading], f"{math.fsum(means) / len(means):.1f}")


def format_part(episodes: list[float], seeds: list[float], p: float) -> str:
    """ "-1.6 ± 0.4 (-2.1 to -1.0) *": the star where p is small and all seeds agree."""
    mean, half = compute_mean(episodes)
    text = f"{mean:+z.1f} ± {half:.1f}"
    if len(seeds) > 1:
        text += f" ({min(seeds):+z.1f} to {max(seeds):+z.1f})"
    return f"{text} *" if p < SURE and (min(seeds) > 0 or max(seeds) < 0) else text


# Recipes and defences


def list_recipes(shelf: Shelf, text: str, name: str) -> Cells:
    """Both accuracies, their differences to the first line without any, and the stars of a column."""
    rows, lines = shelf.read_rows(name), read_lines(text)
    records = {line[""]: rows[find_row(line[""], rows)] for line in lines}
    for heading in list(lines[0])[1:] if lines else []:
        base = records[next(line[""] for line in lines if line.get(f"clean{DIFFERENCE}") == "-")]
        column = find_column(base, heading.removesuffix(DIFFERENCE))
        others = [title for title, record in records.items() if record is not base]
        gaps = [list_gaps(base["columns"][column], records[t]["columns"][column]) for t in others] if column else []
        stars = {t: " *" * (p < SURE) for t, p in zip(others, adjust_p([compute_p(g) for g in gaps]), strict=False)}
        for line in lines:
            record = records[line[""]]
            computed = f"{count_seconds(record) / 60:.0f}"
            if heading.endswith(DIFFERENCE):
                gap = format_gap(base["columns"][column], record["columns"][column])
                computed = "-" if record is base else gap + stars[line[""]]
            elif column:
                computed = format_counts(record["columns"].get(column))
            elif heading == "card":
                computed = find_card(shelf, name, record)
            yield Cell(f"{line['']}, {heading}", line[heading], computed, heading == "minutes")


def list_defences(shelf: Shelf, text: str, name: str) -> Cells:
    """Accuracies, the worst episodes, calibration and cost of each defence."""
    rows = shelf.read_rows(name)
    for title, heading, cell in read_cells(text):
        record = rows[find_row(title, rows)]
        clean = record["columns"]["clean"]
        if heading.startswith("worst"):
            worst = sorted(list_accuracies(clean))[: max(1, round(WORST * len(clean["correct"])))]
            yield Cell(f"{title}, {heading}", cell, f"{math.fsum(worst) / len(worst):.1f}")
        elif heading == "card":
            yield Cell(f"{title}, {heading}", cell, find_card(shelf, name, record))
        elif heading in ("calibration error", "minutes", "cost, episodes"):
            computed = {
                "calibration error": f"{100 * clean['calibration_error']:.1f}" if "calibration_error" in clean else "-",
                "minutes": f"{count_seconds(record) / 60:.1f}",
                "cost, episodes": f"{count_clean_steps(record):.0f}",
            }
            yield Cell(f"{title}, {heading}", cell, computed[heading], taken=True)
        else:
            yield Cell(f"{title}, {heading}", cell, format_counts(record["columns"].get(find_column(record, heading))))
        yield from list_overstatements(title, heading, record)


def count_clean_steps(record: Mapping[str, Any]) -> float:
    """The cost of a training in episodes of clean training, of passes of the encoder over an image.

    A forward pass counts 1, a gradient to the weights, too, 3, and one to the pixels alone 2.
    """
    budget, training, recipe = record["budget"], record["training"], record["recipe"]
    images = record["protocol"]["way"] * (record["protocol"]["shot"] + budget["train_query"])
    attacked = recipe["adversarial"] / (recipe["clean"] + recipe["adversarial"] + recipe["noisy"])
    passes = 3 + attacked * 2 * recipe["attack_steps"] + (4 * attacked if recipe.get("trades") else 0)
    if (recipe.get("pretrain_as") or "").startswith(RANKING):  # triplets: two for four images, all six attacked
        passes = 1 + 1.5 * (2 * recipe["attack_steps"] + 3)
    pretrained = training.get("pretraining_steps", 0) * budget.get("pretrain_batch", 64) * passes / 3 / images
    episodes = budget["episodes"] * recipe.get("episodic", 1.0) * training.get("cost_limit", 1.0)
    return float(episodes + pretrained)


# The leaky split, and what defects of an evaluation do


def list_splits(shelf: Shelf, text: str, name: str) -> Cells:
    """Both accuracies of each draw, what the net has seen, and the mean difference over draws."""
    pairs = {
        row.removeprefix("split-"): (record, shelf.read_rows(f"{name}-released")[row])
        for row, record in shelf.read_rows(name).items()
    }
    means = {seed: [measure_mean(record["columns"]["clean"]) for record in pair] for seed, pair in pairs.items()}
    drawn = [line[""] for line in read_lines(text) if line[""] != "mean"]
    for seed, heading, cell in read_cells(text):
        if seed == "mean":
            sides = {"unseen classes, %": 0, "classes of the release, %": 1}
            mean, half = compute_mean([means[s][1] - means[s][0] for s in drawn])
            computed = f"{mean:+z.1f} ± {half:.1f}" if heading.startswith("difference") else ""
            if heading in sides:
                computed = f"{math.fsum(means[s][sides[heading]] for s in drawn) / len(drawn):.1f}"
            yield Cell(f"mean, {heading}", cell, computed)
            continue
        first, second = pairs[seed]
        seen, (before, after) = second.get("seen", {}), means[seed]
        options = {
            "test classes of the release that trained the net": f"{seen.get('trained_classes', 0)} of "
            f"{second['data']['classes']['test']}",
            "that selected it": f"{seen.get('selected_classes', 0)}",
            "unseen classes, %": format_counts(first["columns"]["clean"]),
            "classes of the release, %": format_counts(second["columns"]["clean"]),
            "difference, points": f"{after - before:+z.1f}",
        }
        yield Cell(f"draw {seed}, {heading}", cell, options[heading], list(options).index(heading) < 2)


def list_consequences(shelf: Shelf, text: str, name: str) -> Cells:
    """The paired difference of each consequence; one table a net, whose first heading is its title."""
    rows = shelf.read_rows(name)
    record: Any = None
    for part in text.strip().split("\n\n"):
        if (spread := SPREAD.match(part)) is not None:
            values = list_accuracies(record["columns"]["clean"])
            blocks = [math.fsum(values[k : k + FEW]) / FEW for k in range(0, len(values) - FEW + 1, FEW)]
            mean = math.fsum(blocks) / len(blocks)
            deviation = math.sqrt(math.fsum((block - mean) ** 2 for block in blocks) / (len(blocks) - 1))
            numbers = (min(blocks), max(blocks), deviation)
            computed = " ".join([f"{len(blocks)}", *(f"{number:.1f}" for number in numbers)])
            yield Cell(f"{record['row']}, evaluations of {FEW} tasks", " ".join(spread.groups()), computed)
        if not part.startswith("| "):
            continue
        record = rows[find_row(part.split("|")[1].strip(), rows)]
        noise = find_column(record, "noise")
        pairs = {
            "training augmentation": ("clean", "clean, training augmentation"),
            "noise of": (noise, noise.replace(" query", " unclipped query")),
            "queries in batches": ("clean, queries one by one", "clean"),
        }
        for title, heading, cell in read_cells(part):
            (pair,) = (pair for words, pair in pairs.items() if title.startswith(words))
            first, second = (record["columns"][column] for column in pair)
            changed = [a != b for a, b in zip(first["correct"], second["correct"], strict=True)]
            options = {
                "right, %": format_counts(first),
                "as published, %": format_counts(second),
                "difference, points": format_gap(first, second),
                "tasks whose count changes": f"{100 * sum(changed) / len(changed):.0f} %",
            }
            yield Cell(f"{record['row']}, {title}, {heading}", cell, options[heading])
