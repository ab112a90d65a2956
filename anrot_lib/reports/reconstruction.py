"""Reconstruction records as a table and as figures: which divergence, at which beta, how far from the originals."""

from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import t_quantile
from anrot_lib.experiments.reconstruction_plan import Experiment, name_row
from anrot_lib.reconstruction import autoencoders
from anrot_lib.reconstruction.training import moved, pick
from anrot_lib.records.schema import ReconstructionRecord
from anrot_lib.reports import figures, pictures, tables

Record = ReconstructionRecord
Measure = Literal["frechet", "kernel", "squared_error", "psnr", "ssim"]

TITLES = {
    "kl": "Kullback-Leibler",
    "wasserstein2": "Wasserstein",
    "hellinger2": "Hellinger (squared)",
    "hellinger": "Hellinger",
    "bhattacharyya": "Bhattacharyya",
}
COLOURS = {
    "kl": "#0072B2",
    "wasserstein2": "#E69F00",
    "hellinger2": "#D55E00",
    "hellinger": "#CC79A7",
    "bhattacharyya": "#009E73",
}


def distance_title(record: Record) -> str:
    """What the distance may be called: FID for Inception with its published weights, else by the extractor's name."""
    from anrot_lib.reconstruction.extractors import INCEPTION_SHA256

    extractor = record["extractor"]
    return "FID" if extractor["sha256"] == INCEPTION_SHA256 else f"Frechet distance by {extractor['name']}"


def over_seeds(records: Sequence[Record], decoding: str, what: Measure) -> tuple[float, float]:
    """(mean, half-width): the 95 % t-interval over seeds, or the record's own interval if there is one seed."""
    found = [record["decoded"][decoding][what] for record in records]
    values = np.array([f["value"] for f in found])
    if len(values) == 1:
        return float(values[0]), float(found[0]["half_width"])
    return float(values.mean()), t_quantile(len(values)) * float(values.std(ddof=1)) / len(values) ** 0.5


def groups(records: Sequence[Record]) -> dict[tuple[float, str], list[Record]]:
    """(beta, divergence) -> its records, betas ascending."""
    keys = {(r["vae"]["beta"], r["vae"]["divergence"]) for r in records}
    order = list(TITLES)
    return {
        key: [r for r in records if (r["vae"]["beta"], r["vae"]["divergence"]) == key]
        for key in sorted(keys, key=lambda k: (k[0], order.index(k[1])))
    }


def table(records: Sequence[Record], decoding: str) -> tuple[list[str], list[list[str]]]:
    """(headings, rows), one row a beta and divergence; the best distance of each divergence is starred."""
    names: dict[Measure, int] = {"frechet": 3, "kernel": 5, "squared_error": 2, "psnr": 2, "ssim": 4}
    headings = ["divergence", "beta", "seeds", "Frechet", "kernel", "squared error", "PSNR, dB", "SSIM", "KL"]
    headings += ["epochs", "moved, %"]
    best = best_betas(records, decoding)
    rows = []
    for (beta, divergence), own in groups(records).items():
        cells = ["{:.{d}f} ± {:.{d}f}".format(*over_seeds(own, decoding, name), d=d) for name, d in names.items()]
        rate = f"{rate_of(own):.1f}"
        epochs = ", ".join(dict.fromkeys(str(r["training"]["epochs"]) for r in own))
        star = " *" if best[divergence] == beta else ""
        rows.append(
            [TITLES[divergence], f"{beta:.3g}{star}", str(len(own)), *cells, rate, epochs, f"{still_moved(own):.1f}"]
        )
    return headings, rows


def gap(ours: Sequence[Record], theirs: Sequence[Record], decoding: str) -> tuple[float, float, int] | None:
    """Frechet distance of ours minus theirs: (mean, half-width, seeds), paired by seed; None without a common seed.

    Over seeds the t-interval of the differences; for one seed 1.96 standard deviations of the differences of the
    resampled distances, which were resampled alike for all models.
    """
    by_seed = [{r["vae"]["seed"]: r["decoded"][decoding]["frechet"] for r in records} for records in (ours, theirs)]
    pairs = [(by_seed[0][seed], by_seed[1][seed]) for seed in sorted(by_seed[0].keys() & by_seed[1].keys())]
    if not pairs:
        return None
    values = np.array([a["value"] - b["value"] for a, b in pairs])
    if len(values) > 1:
        half = t_quantile(len(values)) * values.std(ddof=1) / len(values) ** 0.5
    else:
        ours_resampled, theirs_resampled = (np.array(distance["resampled"]) for distance in pairs[0])
        half = 1.96 * np.std(ours_resampled - theirs_resampled, ddof=1)
    return float(values.mean()), float(half), len(values)


def differences(records: Sequence[Record], decoding: str, reference: str = "kl") -> tuple[list[str], list[list[str]]]:
    """`gap` of every divergence to the reference at the same beta."""
    by = groups(records)
    rows = []
    for (beta, divergence), own in by.items():
        found = gap(own, by.get((beta, reference), []), decoding)
        if divergence != reference and found is not None:
            mean, half, n = found
            rows.append([TITLES[divergence], f"{beta:.3g}", str(n), f"{mean:+.3f} ± {half:.3f}"])
    return [f"Frechet distance minus {TITLES[reference]}'s", "beta", "seeds", "difference"], rows


def at_pressure(records: Sequence[Record], decoding: str, nats: float) -> tuple[float, np.ndarray]:
    """Frechet distance of one divergence's models where their KL to the prior is `nats`: (value, resampled values).

    By straight lines between its betas, over the logarithm of the KL; records of one seed.
    """
    records = sorted(records, key=lambda record: record["divergences"]["kl"])
    x = np.log([record["divergences"]["kl"] for record in records])
    found = [record["decoded"][decoding]["frechet"] for record in records]
    value, *resampled = (
        float(np.interp(np.log(nats), x, y))
        for y in ([f["value"] for f in found], *zip(*(f["resampled"] for f in found), strict=True))
    )
    return value, np.array(resampled)


def best_betas(records: Sequence[Record], decoding: str) -> dict[str, float]:
    """Divergence -> the beta of its smallest distance, among models of the first seed."""
    first = min(r["vae"]["seed"] for r in records)
    best: dict[str, tuple[float, float]] = {}
    for record in (r for r in records if r["vae"]["seed"] == first):
        found = (record["decoded"][decoding]["frechet"]["value"], record["vae"]["beta"])
        divergence = record["vae"]["divergence"]
        best[divergence] = min(best.get(divergence, found), found)
    return {divergence: beta for divergence, (_, beta) in best.items()}


CLAIMS = {"kl": 3.43, "wasserstein2": 3.38, "hellinger2": 2.75}  # FID, mini-ImageNet, 10,000 images; arXiv 2509.11220
NOT_YET = "Not measured yet: there is no record of this experiment."


def rate_of(records: Sequence[Record]) -> float:
    """Mean KL to the prior, nats an image, over the seeds."""
    return float(np.mean([record["divergences"]["kl"] for record in records]))


def still_moved(records: Sequence[Record]) -> float:
    """Per cent by which the validation bound still fell over the last fifth of a training, the most of these."""
    return 100 * max(moved([point["loss"] for point in record["training"]["history"]]) for record in records)


def claims_table(records: Sequence[Record], decoding: str) -> tuple[list[str], list[list[str]]]:
    """(headings, rows): what was measured, and the published FID in a column of its own.

    The KL to the prior stands beside it, whatever the divergence: equal beta is not equal pressure.
    """
    headings = ["divergence, beta", "paper says, FID", f"we measured, {distance_title(records[0])} (95 %, seeds)"]
    headings += ["squared error", "KL to the prior, nats", "moved, %"]
    rows = []
    for (beta, divergence), own in groups(records).items():
        claim = CLAIMS.get(divergence)
        inception = distance_title(own[0]) == "FID"
        status = f"not comparable: {'' if inception else 'other extractor, '}other images" if claim else "no claim"
        value = "{:.3f} ± {:.3f} ({})".format(*over_seeds(own, decoding, "frechet"), len(own))
        error, rate = f"{over_seeds(own, decoding, 'squared_error')[0]:.1f}", f"{rate_of(own):.0f}"
        said = f"{claim:.2f}" if claim else "-"
        rows.append([f"{TITLES[divergence]}, {beta:.3g}", said, value, error, rate, f"{still_moved(own):.1f}", status])
    return [*headings, "status"], rows


def claims_text(records: Sequence[Record], decoding: str = "mean") -> str:
    """The table of claims, its caption and the verdict as Markdown; one line that says so if there are no records."""
    if not records:
        return NOT_YET
    table = tables.as_markdown(*claims_table(records, decoding))
    minutes = sum(record["training"]["seconds"] for record in records) / 60
    about = f"{caption(records[0], decoding)}; {len(records)} models, {minutes:.0f} minutes of training in all"
    return f"{table}\n\n{about}.\n\n{verdict(records, decoding)}"


def verdict(records: Sequence[Record], decoding: str = "mean") -> str:
    """Which divergence comes closest to the originals: at equal beta, each at its best beta, and at equal pressure."""
    by = groups(records)
    seeds = {beta: sum(len(own) for (b, _), own in by.items() if b == beta) for beta, _ in by}
    beta, best = max(seeds, key=lambda b: seeds[b]), best_betas(records, decoding)
    at_best = ", ".join(f"{TITLES[name]} {b:.3g}" for name, b in best.items())
    equal = {divergence: own for (b, divergence), own in by.items() if b == beta}
    own_best = {divergence: by[b, divergence] for divergence, b in best.items()}
    said = [
        f"At equal beta, {beta:.3g}: {_smallest(equal, decoding)}",
        f"Each at its best beta of those tried ({at_best}): {_smallest(own_best, decoding)}",
        _equal_pressure(records, decoding),
    ]
    return "\n".join(f"- {line}" for line in said if line)


def _smallest(chosen: dict[str, list[Record]], decoding: str) -> str:
    """The divergence of the smallest distance among these, and the paired differences to the others."""
    first, *others = sorted(chosen, key=lambda name: over_seeds(chosen[name], decoding, "frechet")[0])
    gaps = {name: gap(chosen[first], chosen[name], decoding) for name in others}
    said = [
        f"{found[0]:+.1f} ± {found[1]:.1f} to {TITLES[name]} ({found[2]} seed{'s' if found[2] > 1 else ''})"
        for name, found in gaps.items()
        if found is not None
    ]
    return f"the smallest distance is that of {TITLES[first]}, {', '.join(said) or 'alone'}."


def _equal_pressure(records: Sequence[Record], decoding: str) -> str:
    """The same where all have the same KL to the prior, in the middle of what they share; "" if they share nothing."""
    seed = min(r["vae"]["seed"] for r in records)
    own: dict[str, list[Record]] = {}
    for record in (r for r in records if r["vae"]["seed"] == seed):
        own.setdefault(record["vae"]["divergence"], []).append(record)
    rates = [[r["divergences"]["kl"] for r in found] for found in own.values()]
    low, high = max(map(min, rates)), min(map(max, rates))
    if len(own) < 2 or low >= high:
        return ""
    nats = float(np.sqrt(low * high))
    found = {name: at_pressure(rs, decoding, nats) for name, rs in own.items()}
    first, *others = sorted(found, key=lambda name: found[name][0])
    said = []
    for name in others:
        difference, resampled = found[first][0] - found[name][0], found[first][1] - found[name][1]
        said.append(f"{difference:+.1f} ± {1.96 * np.std(resampled, ddof=1):.1f} to {TITLES[name]}")
    return (
        f"At equal pressure, {nats:.0f} nats to the prior, by lines between the betas of seed {seed}: the smallest "
        f"distance is that of {TITLES[first]}, {', '.join(said)} (± over images)."
    )


def caption(record: Record, decoding: str) -> str:
    """What a table of these records is about: distance and floor, images, data, model."""
    data, vae, floor = record["data"], record["vae"], record["floor"]
    how = "measured" if floor["measured"] else "by the line over 1/n"
    return (
        f"{distance_title(record)}, {record['test']['images']} test images against their own originals, decoded from "
        f"the {decoding} of the posterior; two sets of real images of that size: {floor['value']:.3f} ({how}); "
        f"resize: {record['extractor']['resize']}; {data['name']}, {data['size']} px, {vae['train_images']} training "
        f"images, autoencoder {vae['model']}; ± over seeds, for one seed over images"
    )


MARKS = (
    "* the divergence's best beta; moved: by how much the validation bound, without its constant, still fell over the "
    "last fifth of the epochs"
)


def beta_figure(records: Sequence[Record], decoding: str) -> Figure:
    """Squared error of each model against its KL to the prior, betas written on, and against its Frechet distance.

    The divergence axis is the KL for all of them, whatever they were trained with: their own are not one scale.
    """
    if not records:
        raise UserError("there are no reconstruction records to draw; run anrot reconstruct first")
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for divergence in TITLES:
            own = {beta: rs for (beta, name), rs in groups(records).items() if name == divergence}
            if own:
                rate = [rate_of(rs) for rs in own.values()]
                _line(left, divergence, own, decoding, rate)
                for beta, x, rs in zip(own, rate, own.values(), strict=True):
                    place = (x, over_seeds(rs, decoding, "squared_error")[0])
                    left.annotate(
                        *(f"{beta:.2g}", place, (4, 4)),
                        textcoords="offset points",
                        fontsize=7,
                        color=COLOURS[divergence],
                    )
                distance = [over_seeds(rs, decoding, "frechet")[0] for rs in own.values()]
                _line(right, divergence, own, decoding, distance)
        floor = records[0]["floor"]
        left.set(xlabel="KL of the posterior to the prior, nats an image", ylabel="squared error an image")
        left.set_xscale("log")
        title = distance_title(records[0]).replace(", ", ",\n")
        right.set(xlabel=f"{title},\n{floor['images']} images; real against real: {floor['value']:.3g}")
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _line(axes: Axes, divergence: str, own: dict[float, list[Record]], decoding: str, x: list[float]) -> None:
    points = [over_seeds(records, decoding, "squared_error") for records in own.values()]
    # One seed's interval is the spread of the images, which all models share: no bar for it.
    half = [h if len(records) > 1 else 0 for (_, h), records in zip(points, own.values(), strict=True)]
    axes.errorbar(
        x,
        [y for y, _ in points],
        yerr=half,
        marker="o",
        markersize=3,
        color=COLOURS[divergence],
        label=TITLES[divergence],
    )


@torch.no_grad()
def picture_figure(experiment: Experiment, columns: int = 10, decoding: str = "mean") -> Figure:
    """Originals and, below them, their reconstructions: one row a divergence, first beta and seed of the experiment."""
    first = experiment.recipes[0]
    chosen = [r for r in experiment.recipes if (r.seed, r.beta) == (first.seed, first.beta)]
    rows = pick(experiment.image_set, "test", columns, experiment.seed)
    images = experiment.image_set.batch(rows)
    shown = {"original": images}
    for recipe in chosen:
        net, _ = autoencoders.load(experiment.work / f"{name_row(recipe)}.pt")
        posterior = net.encode(images)
        z = posterior.mean if decoding == "mean" else posterior.sample(experiment.draw("pictures"))
        shown[TITLES[recipe.divergence]] = net.decode(z)
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(columns * 0.75 + 0.9, len(shown) * 0.8 + 0.3), layout="constrained")
        places = figure.subplots(len(shown), columns, squeeze=False)
        for line, (title, decoded) in zip(places, shown.items(), strict=True):
            pictures.row(line, decoded)
            line[0].set_ylabel(title, fontsize=7, rotation=0, ha="right", va="center")
        figure.suptitle(f"reconstructions from the {decoding} of the posterior, beta {first.beta:.3g}", fontsize=9)
    return figure
