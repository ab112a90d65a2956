"""Figures of reconstruction records: error against pressure and distance, and pictures of reconstructions."""

from collections.abc import Sequence

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anrot_lib.core import palette
from anrot_lib.core.errors import UserError
from anrot_lib.divergences.names import TITLES
from anrot_lib.experiments.reconstruction_plan import Experiment, name_row
from anrot_lib.reconstruction import autoencoders
from anrot_lib.reconstruction.training import pick
from anrot_lib.reports import figures, pictures
from anrot_lib.reports.reconstruction import (
    COLOURS,
    Record,
    average_over_seeds,
    group_records,
    measure_pressure,
    title_distance,
)


def draw_betas(records: Sequence[Record], decoding: str) -> Figure:
    """Squared error of each model against its KL to the prior, betas written on, and against its Frechet distance.

    The divergence axis is the KL for all of them, whatever they were trained with: the divergences are not one scale.
    """
    if not records:
        raise UserError("there are no reconstruction records to draw; run anrot reconstruct first")
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for divergence in TITLES:
            models = {beta: rs for (beta, name), rs in group_records(records).items() if name == divergence}
            if models:
                rate = [measure_pressure(rs) for rs in models.values()]
                _draw_line(left, divergence, models, decoding, rate)
                for beta, x, rs in zip(models, rate, models.values(), strict=True):
                    place = (x, average_over_seeds(rs, decoding, "squared_error")[0])
                    left.annotate(
                        f"{beta:.2g}",
                        place,
                        (4, 4),
                        textcoords="offset points",
                        fontsize=8,
                        color=palette.adjust_text(COLOURS[divergence]),
                    )
                distance = [average_over_seeds(rs, decoding, "frechet")[0] for rs in models.values()]
                _draw_line(right, divergence, models, decoding, distance)
        floor = records[0]["floor"]
        left.set(xlabel="KL of the posterior to the prior, nats an image", ylabel="squared error an image")
        left.set_xscale("log")
        title = title_distance(records[0]).replace(", ", ",\n")
        right.set(xlabel=f"{title},\n{floor['images']} images; real against real: {floor['value']:.3g}")
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _draw_line(axes: Axes, divergence: str, models: dict[float, list[Record]], decoding: str, x: list[float]) -> None:
    points = [average_over_seeds(records, decoding, "squared_error") for records in models.values()]
    # One seed's interval is the spread of the images, which all models share: no bar for it.
    half = [h if len(records) > 1 else 0 for (_, h), records in zip(points, models.values(), strict=True)]
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
def draw_pictures(experiment: Experiment, columns: int = 10, decoding: str = "mean") -> Figure:
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
            line[0].set_ylabel(title, fontsize=8, rotation=0, ha="right", va="center")
        figure.suptitle(f"reconstructions from the {decoding} of the posterior, beta {first.beta:.3g}", fontsize=9)
    return figure
