"""Reconstruction records and their table, computed again. Of a distance the record holds the final number, and its
values on resampled images: no features, so it cannot be computed without the images."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anrot_lib.audit.claims.registry import list_claims
from anrot_lib.audit.recompute.arithmetic import Recomputation, compute_mean, compute_slope
from anrot_lib.audit.recompute.printed import Cell, Cells, Shelf, read_lines
from anrot_lib.divergences.names import TITLES

LAST = 0.2  # part of the epochs at the end of a training
CAPTION = re.compile(r"of that size: ([\d.]+) \(.*; (\d+) models, (\d+) minutes of training in all")
LINES = {  # beginnings of the sentences of a verdict
    "beta": r"- At equal beta, (.+)\.",
    "best": r"- Each at its best beta of those tried (.+)\.",
    "pressure": r"- At equal pressure, (.+) \(± over images\)\.",
}
Models = dict[tuple[float, str], list[Any]]  # (beta, divergence) -> its records, one a seed


def recompute_reconstruction(record: Mapping[str, Any], where: str, again: Recomputation) -> None:
    """Half-widths from resampled distances, the floor from the line through its points, and the bound of training."""
    for decoding, measures in record["decoded"].items():
        distance = measures["frechet"]
        half = 1.96 * float(np.std(distance["resampled"], ddof=1))
        again.compare(where, f"half-width of the distance, {decoding}", distance["half_width"], half, 1e-3 * half)
    floor = record["floor"]
    points = {point["images"]: point["value"] for point in floor["points"]}
    value = points.get(floor["images"]) if floor["measured"] else None
    if value is None:
        slope, height = compute_slope([1 / n for n in points], list(points.values()))
        value = height + slope / floor["images"]
    again.compare(where, "floor of the distance", floor["value"], value, 1e-6)
    history, beta = record["training"]["history"], record["vae"]["beta"]
    for epoch in history:
        bound = epoch["error"] + beta * epoch["divergence"]
        again.compare(where, "bound of an epoch", epoch["loss"], bound, 1e-4 * (1 + beta))
    losses = [epoch["loss"] for epoch in history]
    again.compare_exactly(where, "best epoch of a training", losses[record["training"]["best_epoch"] - 1], min(losses))


def group_models(records: Sequence[Any]) -> Models:
    """Ascending in beta, divergences in the order of their titles."""
    models: Models = {}
    order = list(TITLES)
    for record in sorted(records, key=lambda r: (r["vae"]["beta"], order.index(r["vae"]["divergence"]))):
        models.setdefault((record["vae"]["beta"], record["vae"]["divergence"]), []).append(record)
    return models


def read_distance(record: Mapping[str, Any]) -> Any:
    return record["decoded"]["mean"]["frechet"]


def average_distances(records: Sequence[Any]) -> tuple[float, float]:
    """Mean over seeds and its half-width; of one seed the half-width over resampled images."""
    if len(records) > 1:
        return compute_mean([read_distance(record)["value"] for record in records])
    distance = read_distance(records[0])
    return float(distance["value"]), 1.96 * float(np.std(distance["resampled"], ddof=1))


def measure_movement(record: Mapping[str, Any]) -> float:
    """Per cent by which the best loss so far fell over the last fifth of the epochs."""
    losses = [epoch["loss"] for epoch in record["training"]["history"]]
    before = min(losses[: len(losses) - max(1, math.ceil(LAST * len(losses)))])
    return float(100 * (before - min(losses)) / abs(before))


def list_reconstruction(shelf: Shelf, text: str, name: str) -> Cells:
    """Distances and errors, which stand in the records, how far the trainings moved, and the verdict."""
    records = shelf.read_all(name, "reconstruction")
    models = group_models(records)
    claims = {c.setting.divergence: c.value for c in list_claims() if c.setting and c.setting.kind == "reconstruction"}
    titles = {f"{TITLES[divergence]}, {beta:.3g}": (beta, divergence) for beta, divergence in models}
    for line in read_lines(text):
        key = titles[line[""]]
        group, claim = models[key], claims.get(key[1])
        mean, half = average_distances(group)
        errors = [record["decoded"]["mean"]["squared_error"]["value"] for record in group]
        rates = [record["divergences"]["kl"] for record in group]
        computed = {
            "paper says": "-" if claim is None else f"{claim:.2f}",
            "we measured": f"{mean:.3f} ± {half:.3f} ({len(group)})",
            "squared error": f"{math.fsum(errors) / len(errors):.1f}",
            "KL to the prior": f"{math.fsum(rates) / len(rates):.0f}",
            "moved": f"{max(map(measure_movement, group)):.1f}",
        }
        for start, value in computed.items():
            (heading,) = (one for one in line if one.startswith(start))
            yield Cell(f"{line['']}, {start}", line[heading], value, start not in ("paper says", "moved"))
    if (match := CAPTION.search(text)) is not None:
        minutes = math.fsum(record["training"]["seconds"] for record in records) / 60
        about = f"{records[0]['floor']['value']:.3f} {len(records)} {minutes:.0f}"
        yield Cell("caption: floor, models, minutes", " ".join(match.groups()), about, taken=True)
    for kind, sentence in write_verdict(models).items():
        match = re.search(LINES[kind], text)
        yield Cell(f"verdict, {kind}", match[1] if match else "nothing", sentence, taken=True)


# The verdict, a second time


def write_verdict(models: Models) -> dict[str, str]:
    """Which divergence has the smallest distance: at the beta of most models, each at its best, at equal pressure."""
    sizes: dict[float, int] = {}
    for (b, _), group in models.items():
        sizes[b] = sizes.get(b, 0) + len(group)
    beta = max(sizes, key=lambda b: sizes[b])
    seed = min(record["vae"]["seed"] for group in models.values() for record in group)
    first = {key: record for key, group in models.items() for record in group if record["vae"]["seed"] == seed}
    best: dict[str, float] = {}
    for (b, divergence), record in first.items():
        lowest = read_distance(first[best[divergence], divergence])["value"] if divergence in best else math.inf
        if read_distance(record)["value"] < lowest:
            best[divergence] = b
    tried = ", ".join(f"{TITLES[divergence]} {best[divergence]:.3g}" for divergence in sorted(best))
    sentences = {
        "beta": f"{beta:.3g}: {describe_smallest({d: g for (b, d), g in models.items() if b == beta})}",
        "best": f"({tried}): {describe_smallest({d: models[b, d] for d, b in best.items()})}",
    }
    if pressure := describe_equal_pressure(first, seed):
        sentences["pressure"] = pressure
    return sentences


def describe_smallest(groups: Mapping[str, Sequence[Any]]) -> str:
    """The divergence of the smallest distance, and its differences to the others over the seeds that both have."""
    first, *others = sorted(groups, key=lambda d: average_distances(groups[d])[0])
    texts = []
    for other in others:
        sides = [{r["vae"]["seed"]: read_distance(r) for r in groups[d]} for d in (first, other)]
        pairs = [(sides[0][seed], sides[1][seed]) for seed in sorted(sides[0].keys() & sides[1].keys())]
        gaps = [a["value"] - b["value"] for a, b in pairs]
        if len(gaps) > 1:
            mean, half = compute_mean(gaps)
        else:
            mean, half = gaps[0], 1.96 * measure_spread(pairs[0][0]["resampled"], pairs[0][1]["resampled"])
        seeds = f"{len(gaps)} seed{'s' if len(gaps) > 1 else ''}"
        texts.append(f"{mean:+z.1f} ± {half:.1f} to {TITLES[other]} ({seeds})")
    return f"the smallest distance is that of {TITLES[first]}, {', '.join(texts)}"


def measure_spread(first: Sequence[float], second: Sequence[float]) -> float:
    """Standard deviation of the differences of distances that were resampled alike."""
    return float(np.std(np.array(first) - np.array(second), ddof=1))


def describe_equal_pressure(first: Mapping[tuple[float, str], Any], seed: int) -> str:
    """The same at the KL to the prior in the middle of what all have, by lines over its logarithm; "" without one."""
    lines: dict[str, list[Any]] = {}
    for (_, divergence), record in first.items():
        lines.setdefault(divergence, []).append(record)
    rates = {d: [math.log(r["divergences"]["kl"]) for r in group] for d, group in lines.items()}
    low, high = max(map(min, rates.values())), min(map(max, rates.values()))
    if len(lines) < 2 or low >= high:
        return ""
    at, values = (low + high) / 2, {}
    for divergence, group in lines.items():
        order = np.argsort(rates[divergence])
        x = np.array(rates[divergence])[order]
        heights = np.array([[read_distance(group[k])["value"], *read_distance(group[k])["resampled"]] for k in order])
        values[divergence] = [float(np.interp(at, x, column)) for column in heights.T]
    best, *others = sorted(values, key=lambda d: values[d][0])
    texts = []
    for divergence in others:
        gap = values[best][0] - values[divergence][0]
        half = 1.96 * measure_spread(values[best][1:], values[divergence][1:])
        texts.append(f"{gap:+z.1f} ± {half:.1f} to {TITLES[divergence]}")
    return (
        f"{math.exp(at):.0f} nats to the prior, by lines between the betas of seed {seed}: the smallest distance is "
        f"that of {TITLES[best]}, {', '.join(texts)}"
    )
