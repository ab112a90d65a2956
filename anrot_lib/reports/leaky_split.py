"""What the split of the release is worth: the same nets on classes that they know, and on classes they do not."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from anrot_lib.core import palette
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import Interval, interval
from anrot_lib.experiments.leaky_split import name_split
from anrot_lib.records.measures import SeenRecord
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import figures, sizes, tables

FIGURE = "leaky-split.png"
Pair = tuple[AccuracyRecord, AccuracyRecord]  # of one net: on its own test classes, on those of the release
NOTHING_SEEN: SeenRecord = {"trained_classes": 0, "selected_classes": 0, "images": 0}


def match_splits(records: Sequence[AccuracyRecord], released: Sequence[AccuracyRecord]) -> dict[int, Pair]:
    """Seed of the draw -> both records of its net. UserError if there is no pair, or the two are not of one net."""
    first, second = ({record["row"]: record for record in some} for some in (records, released))
    rows = {
        seed: name_split(seed) for seed in sorted(int(row.rpartition("-")[2]) for row in first.keys() & second.keys())
    }
    if not rows:
        raise UserError("there is no net that was tested on both kinds of classes; run anrot consequences first")
    for row in rows.values():
        if first[row]["training"].get("checkpoint") != second[row]["training"].get("checkpoint"):
            raise UserError(f"the two records of {row} are of different nets")
    sizes.check_one_size([some[row] for row in rows.values() for some in (first, second)])
    return {seed: (first[row], second[row]) for seed, row in rows.items()}


def measure_gain(pairs: dict[int, Pair]) -> Interval | None:
    """What the classes of the release add, in points: mean over nets of the paired difference; None for one net."""
    differences = [_clean(released)["mean"] - _clean(split)["mean"] for split, released in pairs.values()]
    return interval(np.array(differences) / 100, bootstrap=False) if len(differences) > 1 else None


def _clean(record: AccuracyRecord) -> dict[str, float]:
    column = record["columns"]["clean"]
    return {"mean": column["mean"], "half_width": column["half_width"]}


def make_split_table(pairs: dict[int, Pair]) -> tables.Table:
    """One line a draw: how many test classes the net knows, both accuracies, their difference; then the mean."""
    headings = ["seed of the draw", "test classes of the release that trained the net", "that selected it"]
    headings += ["unseen classes, %", "classes of the release, %", "difference, points"]
    rows = []
    for seed, (split, released) in pairs.items():
        seen, n = released.get("seen", NOTHING_SEEN), released["data"]["classes"]["test"]
        first, second = _clean(split), _clean(released)
        known = [f"{seen['trained_classes']} of {n}", f"{seen['selected_classes']}"]
        cells = [tables.format_column(record["columns"]["clean"]) for record in (split, released)]
        rows.append([str(seed), *known, *cells, f"{second['mean'] - first['mean']:+z.1f}"])
    if (gain := measure_gain(pairs)) is not None:
        means = [np.mean([_clean(pair[k])["mean"] for pair in pairs.values()]) for k in (0, 1)]
        rows.append(["mean", "", "", *(f"{mean:.1f}" for mean in means), f"{gain.mean:+z.1f} ± {gain.half_width:.1f}"])
    return headings, rows


def write_split_caption(pairs: dict[int, Pair]) -> str:
    """What the table is about."""
    split, _ = next(iter(pairs.values()))
    trained = split["data"]["classes"]
    return (
        f"{split['data']['name']}, {split['data']['size']} px, {split['protocol']['way']}-way "
        f"{split['protocol']['shot']}-shot, encoder {split['budget']['encoder']}; {trained['train']} classes trained a "
        f"net for {split['budget']['episodes']} clean episodes, {trained['val']} selected it; one net a draw, both "
        f"accuracies of this net, each on {split['manifest']['n_tasks']} episodes; difference: ± 95 % interval over "
        f"nets; {split['run']['device']}"
    )


def draw_splits(pairs: dict[int, Pair]) -> Figure:
    """A line a net, from its accuracy on unseen classes to that on the classes of the release."""
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(4.2, 3.2), layout="constrained")
        axes = figure.subplots()
        values = np.array([[_clean(record)["mean"] for record in pair] for pair in pairs.values()])
        axes.plot(values.T, color=palette.GREY, marker="o", markersize=3, linewidth=1)
        axes.plot(values.mean(0), color=palette.ORANGE, marker="o", linewidth=2.4, label="mean of the nets")
        axes.set_xticks((0, 1), ["classes that the net\nhas not seen", "test classes\nof the release"])
        axes.set(ylabel="clean accuracy, %", xlim=(-0.3, 1.3))
        axes.set_title(f"{len(pairs)} nets, one for each draw of the classes", fontsize=9)
        axes.legend(fontsize=8, loc="lower right")
    return figure
