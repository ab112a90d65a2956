"""Reconstruction records as a table and as figures: which divergence, at which beta, how far from the originals."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from anrot_lib.core import palette
from anrot_lib.core.statistics import compute_t_quantile
from anrot_lib.divergences.names import TITLES
from anrot_lib.reconstruction.training import measure_progress
from anrot_lib.records.schema import ReconstructionRecord
from anrot_lib.reports import tables

Record = ReconstructionRecord
Measure = Literal["frechet", "kernel", "squared_error", "psnr", "ssim"]

COLOURS = {
    "kl": palette.BLUE,
    "wasserstein2": palette.BROWN,
    "hellinger2": palette.ORANGE,
    "hellinger": palette.PINK,
    "bhattacharyya": palette.GREEN,
}


def title_distance(record: Record) -> str:
    """What the distance may be called: FID for Inception with its published weights, else by the extractor's name."""
    from anrot_lib.reconstruction.extractors import INCEPTION_SHA256

    extractor = record["extractor"]
    return "FID" if extractor["sha256"] == INCEPTION_SHA256 else f"Frechet distance by {extractor['name']}"


def average_over_seeds(records: Sequence[Record], decoding: str, what: Measure) -> tuple[float, float]:
    """(mean, half-width): the 95 % t-interval over seeds, or the record's own interval if there is one seed."""
    measures = [record["decoded"][decoding][what] for record in records]
    values = np.array([m["value"] for m in measures])
    if len(values) == 1:
        return float(values[0]), float(measures[0]["half_width"])
    return float(values.mean()), compute_t_quantile(len(values)) * float(values.std(ddof=1)) / len(values) ** 0.5


def group_records(records: Sequence[Record]) -> dict[tuple[float, str], list[Record]]:
    """(beta, divergence) -> its records, betas ascending."""
    keys = {(r["vae"]["beta"], r["vae"]["divergence"]) for r in records}
    order = list(TITLES)
    return {
        key: [r for r in records if (r["vae"]["beta"], r["vae"]["divergence"]) == key]
        for key in sorted(keys, key=lambda k: (k[0], order.index(k[1])))
    }


def make_table(records: Sequence[Record], decoding: str) -> tuple[list[str], list[list[str]]]:
    """(headings, rows), one row a beta and divergence; the best distance of each divergence is starred."""
    names: dict[Measure, int] = {"frechet": 3, "kernel": 5, "squared_error": 2, "psnr": 2, "ssim": 4}
    headings = ["divergence", "beta", "seeds", "Frechet", "kernel", "squared error", "PSNR, dB", "SSIM", "KL"]
    headings += ["epochs", "moved, %"]
    best = find_best_betas(records, decoding)
    rows = []
    for (beta, divergence), models in group_records(records).items():
        cells = [
            "{:.{d}f} ± {:.{d}f}".format(*average_over_seeds(models, decoding, name), d=d) for name, d in names.items()
        ]
        rate = f"{measure_pressure(models):.1f}"
        epochs = ", ".join(dict.fromkeys(str(r["training"]["epochs"]) for r in models))
        star = " *" if best[divergence] == beta else ""
        rows.append(
            [
                TITLES[divergence],
                f"{beta:.3g}{star}",
                str(len(models)),
                *cells,
                rate,
                epochs,
                f"{measure_movement(models):.1f}",
            ]
        )
    return headings, rows


def compare_distances(
    ours: Sequence[Record], theirs: Sequence[Record], decoding: str
) -> tuple[float, float, int] | None:
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
        half = compute_t_quantile(len(values)) * values.std(ddof=1) / len(values) ** 0.5
    else:
        ours_resampled, theirs_resampled = (np.array(distance["resampled"]) for distance in pairs[0])
        half = 1.96 * np.std(ours_resampled - theirs_resampled, ddof=1)
    return float(values.mean()), float(half), len(values)


def compute_differences(records: Sequence[Record], decoding: str) -> tuple[list[str], list[list[str]]]:
    """`compare_distances` of every divergence to KL at the same beta."""
    by = group_records(records)
    rows = []
    for (beta, divergence), models in by.items():
        difference = compare_distances(models, by.get((beta, "kl"), []), decoding)
        if divergence != "kl" and difference is not None:
            mean, half, n = difference
            rows.append([TITLES[divergence], f"{beta:.3g}", str(n), f"{mean:+z.3f} ± {half:.3f}"])
    return [f"Frechet distance minus {TITLES['kl']}'s", "beta", "seeds", "difference"], rows


def interpolate_distance(records: Sequence[Record], decoding: str, nats: float) -> tuple[float, np.ndarray]:
    """Frechet distance of one divergence's models where their KL to the prior is `nats`: (value, resampled values).

    By straight lines between its betas, over the logarithm of the KL; records of one seed.
    """
    records = sorted(records, key=lambda record: record["divergences"]["kl"])
    x = np.log([record["divergences"]["kl"] for record in records])
    distances = [record["decoded"][decoding]["frechet"] for record in records]
    value, *resampled = (
        float(np.interp(np.log(nats), x, y))
        for y in ([d["value"] for d in distances], *zip(*(d["resampled"] for d in distances), strict=True))
    )
    return value, np.array(resampled)


def find_best_betas(records: Sequence[Record], decoding: str) -> dict[str, float]:
    """Divergence -> the beta of its smallest distance, among models of the first seed."""
    first = min(r["vae"]["seed"] for r in records)
    best: dict[str, tuple[float, float]] = {}
    for record in (r for r in records if r["vae"]["seed"] == first):
        candidate = (record["decoded"][decoding]["frechet"]["value"], record["vae"]["beta"])
        divergence = record["vae"]["divergence"]
        best[divergence] = min(best.get(divergence, candidate), candidate)
    return {divergence: beta for divergence, (_, beta) in best.items()}


CLAIMS = {"kl": 3.43, "wasserstein2": 3.38, "hellinger2": 2.75}  # FID, mini-ImageNet, 10,000 images; arXiv 2509.11220
NOT_YET = "Not measured yet: there is no record of this experiment."


def measure_pressure(records: Sequence[Record]) -> float:
    """Mean KL to the prior, nats an image, over the seeds."""
    return float(np.mean([record["divergences"]["kl"] for record in records]))


def measure_movement(records: Sequence[Record]) -> float:
    """Per cent by which the validation bound still fell over the last fifth of a training, the most of these."""
    return 100 * max(measure_progress([point["loss"] for point in record["training"]["history"]]) for record in records)


def make_claims_table(records: Sequence[Record], decoding: str) -> tuple[list[str], list[list[str]]]:
    """(headings, rows): what was measured, and the published FID in a separate column.

    The KL to the prior stands beside it, whatever the divergence: equal beta is not equal pressure.
    """
    headings = ["divergence, beta", "paper says, FID", f"we measured, {title_distance(records[0])} (95 %, seeds)"]
    headings += ["squared error", "KL to the prior, nats", "moved, %"]
    rows = []
    for (beta, divergence), models in group_records(records).items():
        claim = CLAIMS.get(divergence)
        inception = title_distance(models[0]) == "FID"
        status = f"not comparable: {'' if inception else 'other extractor, '}other images" if claim else "no claim"
        value = "{:.3f} ± {:.3f} ({})".format(*average_over_seeds(models, decoding, "frechet"), len(models))
        error, rate = (
            f"{average_over_seeds(models, decoding, 'squared_error')[0]:.1f}",
            f"{measure_pressure(models):.0f}",
        )
        printed = f"{claim:.2f}" if claim else "-"
        rows.append(
            [
                f"{TITLES[divergence]}, {beta:.3g}",
                printed,
                value,
                error,
                rate,
                f"{measure_movement(models):.1f}",
                status,
            ]
        )
    return [*headings, "status"], rows


def write_claims(records: Sequence[Record], decoding: str = "mean") -> str:
    """The table of claims, its caption and the verdict as Markdown; one line that says so if there are no records."""
    if not records:
        return NOT_YET
    table = tables.format_markdown(*make_claims_table(records, decoding))
    minutes = sum(record["training"]["seconds"] for record in records) / 60
    about = f"{write_caption(records[0], decoding)}; {len(records)} models, {minutes:.0f} minutes of training in all"
    return f"{table}\n\n{about}.\n\n{write_verdict(records, decoding)}"


def write_verdict(records: Sequence[Record], decoding: str = "mean") -> str:
    """Which divergence comes closest to the originals: at equal beta, each at its best beta, and at equal pressure."""
    by = group_records(records)
    seeds = {beta: sum(len(models) for (b, _), models in by.items() if b == beta) for beta, _ in by}
    beta, best = max(seeds, key=lambda b: seeds[b]), find_best_betas(records, decoding)
    at_best = ", ".join(f"{TITLES[name]} {b:.3g}" for name, b in best.items())
    equal = {divergence: models for (b, divergence), models in by.items() if b == beta}
    best_models = {divergence: by[b, divergence] for divergence, b in best.items()}
    lines = [
        f"At equal beta, {beta:.3g}: {_describe_smallest(equal, decoding)}",
        f"Each at its best beta of those tried ({at_best}): {_describe_smallest(best_models, decoding)}",
        _describe_equal_pressure(records, decoding),
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def _describe_smallest(chosen: dict[str, list[Record]], decoding: str) -> str:
    """The divergence of the smallest distance among these, and the paired differences to the others."""
    first, *others = sorted(chosen, key=lambda name: average_over_seeds(chosen[name], decoding, "frechet")[0])
    gaps = {name: compare_distances(chosen[first], chosen[name], decoding) for name in others}
    others_text = [
        f"{gap[0]:+z.1f} ± {gap[1]:.1f} to {TITLES[name]} ({gap[2]} seed{'s' if gap[2] > 1 else ''})"
        for name, gap in gaps.items()
        if gap is not None
    ]
    return f"the smallest distance is that of {TITLES[first]}, {', '.join(others_text) or 'alone'}."


def _describe_equal_pressure(records: Sequence[Record], decoding: str) -> str:
    """The same where all have the same KL to the prior, in the middle of what they share; "" if they share nothing."""
    seed = min(r["vae"]["seed"] for r in records)
    models: dict[str, list[Record]] = {}
    for record in (r for r in records if r["vae"]["seed"] == seed):
        models.setdefault(record["vae"]["divergence"], []).append(record)
    rates = [[r["divergences"]["kl"] for r in group] for group in models.values()]
    low, high = max(map(min, rates)), min(map(max, rates))
    if len(models) < 2 or low >= high:
        return ""
    nats = float(np.sqrt(low * high))
    distances = {name: interpolate_distance(rs, decoding, nats) for name, rs in models.items()}
    first, *others = sorted(distances, key=lambda name: distances[name][0])
    texts = []
    for name in others:
        difference, resampled = distances[first][0] - distances[name][0], distances[first][1] - distances[name][1]
        texts.append(f"{difference:+z.1f} ± {1.96 * np.std(resampled, ddof=1):.1f} to {TITLES[name]}")
    return (
        f"At equal pressure, {nats:.0f} nats to the prior, by lines between the betas of seed {seed}: the smallest "
        f"distance is that of {TITLES[first]}, {', '.join(texts)} (± over images)."
    )


def write_caption(record: Record, decoding: str) -> str:
    """What a table of these records is about: distance and floor, images, data, model."""
    data, vae, floor = record["data"], record["vae"], record["floor"]
    how = "measured" if floor["measured"] else "by the line over 1/n"
    return (
        f"{title_distance(record)}, {record['test']['images']} test images against their own originals, decoded from "
        f"the {decoding} of the posterior; two sets of real images of that size: {floor['value']:.3f} ({how}); "
        f"resize: {record['extractor']['resize']}; {data['name']}, {data['size']} px, {vae['train_images']} training "
        f"images, autoencoder {vae['model']}; ± over seeds, for one seed over images"
    )


MARKS = (
    "* the divergence's best beta; moved: by how much the validation bound, without its constant, still fell over the "
    "last fifth of the epochs"
)
