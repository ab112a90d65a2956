"""Reconstruction records as a table and as figures: which divergence, at which beta, how far from the originals."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anrot_lib import autoencoders, pictures, tables, viz
from anrot_lib.checks import UserError
from anrot_lib.reconstruct import Experiment, row_of
from anrot_lib.reconstruction import moved, pick
from anrot_lib.statistics import t_quantile

Record = dict[str, Any]

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
    from anrot_lib.extractors import INCEPTION_SHA256

    extractor = record["extractor"]
    return "FID" if extractor["sha256"] == INCEPTION_SHA256 else f"Frechet distance by {extractor['name']}"


def over_seeds(records: Sequence[Record], decoding: str, what: str) -> tuple[float, float]:
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
    names = {"frechet": 3, "kernel": 5, "squared_error": 2, "psnr": 2, "ssim": 4}
    headings = ["divergence", "beta", "seeds", "Frechet", "kernel", "squared error", "PSNR, dB", "SSIM", "KL"]
    headings += ["epochs", "moved, %"]
    best = best_betas(records, decoding)
    rows = []
    for (beta, divergence), own in groups(records).items():
        cells = ["{:.{d}f} ± {:.{d}f}".format(*over_seeds(own, decoding, name), d=d) for name, d in names.items()]
        rate = f"{rate_of(own):.1f}"
        epochs = ", ".join(dict.fromkeys(str(r["training"]["epochs"]) for r in own))
        still = max(moved([point["loss"] for point in r["training"]["history"]]) for r in own)
        star = " *" if best[divergence] == beta else ""
        rows.append(
            [TITLES[divergence], f"{beta:.3g}{star}", str(len(own)), *cells, rate, epochs, f"{100 * still:.1f}"]
        )
    return headings, rows


def differences(records: Sequence[Record], decoding: str, reference: str = "kl") -> tuple[list[str], list[list[str]]]:
    """Frechet distance minus the reference divergence's at the same beta and seed, with 95 % intervals.

    Over seeds the t-interval of the differences; for one seed 1.96 standard deviations of the differences of the
    resampled distances, which were resampled alike for all models.
    """
    by_key = {(r["vae"]["beta"], r["vae"]["seed"], r["vae"]["divergence"]): r for r in records}
    rows = []
    for (beta, divergence), own in groups(records).items():
        pairs = [(r, by_key.get((beta, r["vae"]["seed"], reference))) for r in own]
        found = [[r["decoded"][decoding]["frechet"] for r in pair] for pair in pairs if pair[1] is not None]
        if divergence == reference or not found:
            continue
        values = np.array([a["value"] - b["value"] for a, b in found])
        if len(values) > 1:
            half = t_quantile(len(values)) * values.std(ddof=1) / len(values) ** 0.5
        else:
            half = 1.96 * np.std(np.subtract(*(f["resampled"] for f in found[0])), ddof=1)
        rows.append([TITLES[divergence], f"{beta:.3g}", str(len(values)), f"{values.mean():+.3f} ± {half:.3f}"])
    return [f"Frechet distance minus {TITLES[reference]}'s", "beta", "seeds", "difference"], rows


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


def claims_table(records: Sequence[Record], decoding: str) -> tuple[list[str], list[list[str]]]:
    """(headings, rows): what was measured, and the published FID in a column of its own.

    The KL to the prior stands beside it, whatever the divergence: equal beta is not equal pressure.
    """
    headings = ["divergence, beta", "paper says, FID", f"we measured, {distance_title(records[0])} (95 %, seeds)"]
    headings += ["squared error", "KL to the prior, nats"]
    rows = []
    for (beta, divergence), own in groups(records).items():
        claim = CLAIMS.get(divergence)
        inception = distance_title(own[0]) == "FID"
        status = f"not comparable: {'' if inception else 'other extractor, '}other images" if claim else "no claim"
        value = "{:.3f} ± {:.3f} ({})".format(*over_seeds(own, decoding, "frechet"), len(own))
        error, rate = f"{over_seeds(own, decoding, 'squared_error')[0]:.1f}", f"{rate_of(own):.0f}"
        said = f"{claim:.2f}" if claim else "-"
        rows.append([f"{TITLES[divergence]}, {beta:.3g}", said, value, error, rate, status])
    return [*headings, "status"], rows


def claims_text(records: Sequence[Record], decoding: str = "mean") -> str:
    """The table of claims with its caption as Markdown; one line that says so if there are no records."""
    if not records:
        return NOT_YET
    return f"{tables.as_markdown(*claims_table(records, decoding))}\n\n{caption(records[0], decoding)}."


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
    """Squared error of each model against its KL to the prior, and against its Frechet distance; betas are written on.

    The divergence axis is the KL for all of them, whatever they were trained with: their own are not one scale.
    """
    if not records:
        raise UserError("there are no reconstruction records to draw; run anrot reconstruct first")
    with matplotlib.rc_context(viz.STYLE):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for divergence in TITLES:
            own = {beta: rs for (beta, name), rs in groups(records).items() if name == divergence}
            if own:
                rate = [rate_of(rs) for rs in own.values()]
                _line(left, divergence, own, decoding, rate)
                distance = [over_seeds(rs, decoding, "frechet")[0] for rs in own.values()]
                _line(right, divergence, own, decoding, distance)
        floor = records[0]["floor"]
        left.set(xlabel="KL of the posterior to the prior, nats an image", ylabel="squared error an image")
        title = distance_title(records[0]).replace(", ", ",\n")
        right.set(xlabel=f"{title},\n{floor['images']} images; real against real: {floor['value']:.3g}")
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _line(axes: Axes, divergence: str, own: dict[float, list[Record]], decoding: str, x: list[float]) -> None:
    points = [over_seeds(records, decoding, "squared_error") for records in own.values()]
    y, half = zip(*points, strict=True)
    # One seed's interval is the spread of the images, which all models share: no bar for it.
    half = [h if len(records) > 1 else 0 for h, records in zip(half, own.values(), strict=True)]
    axes.errorbar(x, y, yerr=half, marker="o", markersize=3, color=COLOURS[divergence], label=TITLES[divergence])
    for beta, *place in zip(own, x, y, strict=True):
        axes.annotate(f"{beta:.3g}", place, textcoords="offset points", xytext=(4, 4), fontsize=7)


@torch.no_grad()
def picture_figure(experiment: Experiment, columns: int = 10, decoding: str = "mean") -> Figure:
    """Originals and, below them, their reconstructions: one row a divergence, first beta and seed of the experiment."""
    first = experiment.recipes[0]
    chosen = [r for r in experiment.recipes if (r.seed, r.beta) == (first.seed, first.beta)]
    rows = pick(experiment.image_set, "test", columns, experiment.seed)
    images = experiment.image_set.batch(rows)
    shown = {"original": images}
    for recipe in chosen:
        net, _ = autoencoders.load(experiment.work / f"{row_of(recipe)}.pt")
        posterior = net.encode(images)
        z = posterior.mean if decoding == "mean" else posterior.sample(experiment.draw("pictures"))
        shown[TITLES[recipe.divergence]] = net.decode(z)
    with matplotlib.rc_context(viz.STYLE):
        figure = Figure(figsize=(columns * 0.75 + 0.9, len(shown) * 0.8 + 0.3), layout="constrained")
        places = figure.subplots(len(shown), columns, squeeze=False)
        for line, (title, decoded) in zip(places, shown.items(), strict=True):
            pictures.row(line, decoded)
            line[0].set_ylabel(title, fontsize=7, rotation=0, ha="right", va="center")
        figure.suptitle(f"reconstructions from the {decoding} of the posterior, beta {first.beta:.3g}", fontsize=9)
    return figure
