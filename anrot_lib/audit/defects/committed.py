"""What committed records add to the demos: effects that only trained nets show."""

from collections.abc import Callable
from functools import partial

import numpy as np

from anrot_lib.audit.defects.registry import MEASUREMENTS, Measurement
from anrot_lib.core import paths
from anrot_lib.core.statistics import compare_paired, interval
from anrot_lib.records import results
from anrot_lib.records.schema import AccuracyRecord, RankingRecord

CIFAR = "cifar-fs-32px-5way-5shot-laptop"
CONSEQUENCES = f"{CIFAR}-consequences"
MINI = "mini-imagenet-32px-5way-5shot-laptop"
SPLIT, MINI_SPLIT = f"{CONSEQUENCES}-split", f"{MINI}-consequences-split"
RELEASED_NET = "published-ae5425d038ab"  # a net with the released distance, by the key of its recipe
FASHION, BIRDS = "ranking/fashion-28px", "ranking/cub200_2010-84px"
PHOTOGRAPHS = f"{CIFAR}-ablation"
ENCODERS = f"{CIFAR}-encoder-"

Place = tuple[str, str, str]  # experiment, row, column


def read_record(experiment: str, row: str) -> AccuracyRecord | None:
    """The record of a row of an experiment below data/results; None if it is not there."""
    path = paths.results_dir() / experiment / f"{paths.make_file_stem(row)}.json"
    return results.read(path, "accuracy") if path.is_file() else None


def compare_places(name: str, reference: Place, place: Place) -> Measurement | None:
    """place - reference in points, paired over the episodes they share; None if one is not recorded."""
    records = [read_record(experiment, row) for experiment, row, _ in (reference, place)]
    columns = [r["columns"].get(at[2]) for r, at in zip(records, (reference, place), strict=True) if r]
    if len(columns) < 2 or columns[0] is None or columns[1] is None:
        return None
    first, second = (results.compute_accuracies(c) for c in columns if c)
    n = min(len(first), len(second))
    difference = compare_paired(first[:n], second[:n], bootstrap=False)
    sources = dict.fromkeys(f"{experiment}/{row}" for experiment, row, _ in (reference, place))
    return Measurement({name: f"{difference.mean:+z.1f} +/- {difference.half_width:.1f}"}, tuple(sources))


def compare_rows(experiment: str, row: str, reference: str, column: str) -> Measurement | None:
    """row - reference in a column, in points, paired; None if one is not recorded."""
    places = ((experiment, name, column) for name in (reference, row))
    return compare_places(f"{row} - {reference}, {column}, points", *places)


def compare_columns(experiment: str, row: str, right: str, as_published: str) -> Measurement | None:
    """as_published - right of one row, in points, paired; None if a column is not recorded."""
    places = ((experiment, row, column) for column in (right, as_published))
    return compare_places(f"{row}, {as_published} - {right}, points", *places)


def compare_encoders(row: str, reference: str, encoder: str) -> Measurement | None:
    """encoder - reference, trained by the same recipe for as many steps, in points of clean accuracy, paired."""
    places = ((f"{ENCODERS}{name}", row, "clean") for name in (reference, encoder))
    return compare_places(f"{encoder} - {reference}, {row} after as many steps, points", *places)


def read_accuracies(experiment: str, row: str, columns: tuple[str, ...]) -> Measurement | None:
    """Accuracies of a row in per cent, those of the columns that it has; None if it is not recorded."""
    record = read_record(experiment, row)
    if record is None:
        return None
    present = {c: record["columns"][c] for c in columns if c in record["columns"]}
    numbers = {f"{row}, {c}, %": f"{v['mean']:.1f} +/- {v['half_width']:.1f}" for c, v in present.items()}
    return Measurement(dict(numbers), (f"{experiment}/{row}",)) if numbers else None


def read_validations(experiment: str, row: str) -> Measurement | None:
    """The best and the last validation of a training, in per cent of clean queries."""
    record = read_record(experiment, row)
    history = record["training"].get("history", []) if record else []
    clean = [100 * point["clean"] for point in history if "clean" in point]
    if not clean:
        return None
    numbers = {"best validation, %": f"{max(clean):.1f}", "last validation, %": f"{clean[-1]:.1f}"}
    return Measurement(dict(numbers), (f"{experiment}/{row}",))


def count_points(experiment: str, row: str) -> Measurement | None:
    """Half-widths of the 95 % interval at several numbers of tasks, from the spread of a recorded row."""
    record = read_record(experiment, row)
    if record is None:
        return None
    sd = 100 * float(results.compute_accuracies(record["columns"]["clean"]).std(ddof=1))
    numbers = {f"+/- at {n} tasks, points": f"{1.96 * sd / n**0.5:.2f}" for n in (100, 600, 1000, 10_000)}
    return Measurement(dict(numbers) | {"s.d. of a task, points": f"{sd:.1f}"}, (f"{experiment}/{row}",))


def measure_spread(experiment: str) -> Measurement | None:
    """How far the accuracy on unseen classes moves with the draw of the classes; None for fewer than two draws."""
    folder = paths.results_dir() / experiment
    means = [r["columns"]["clean"]["mean"] for r in results.read_all(folder)] if folder.is_dir() else []
    if len(means) < 2:
        return None
    numbers = {
        f"accuracy on unseen classes, {len(means)} draws of them, %": f"{min(means):.1f} to {max(means):.1f}",
        "s.d. over draws, points": f"{np.std(means, ddof=1):.1f}",
    }
    return Measurement(dict(numbers), (experiment,))


def measure_leak(experiment: str) -> Measurement | None:
    """Accuracy on the classes of the release minus that on unseen classes of the same nets; None for fewer than two."""
    folders = [paths.results_dir() / name for name in (experiment, f"{experiment}-released")]
    if not all(folder.is_dir() for folder in folders):
        return None
    true, released = ({r["row"]: r["columns"]["clean"]["mean"] for r in results.read_all(f)} for f in folders)
    gains = [released[row] - true[row] for row in sorted(true.keys() & released.keys())]
    if len(gains) < 2:
        return None
    gain = interval(np.array(gains) / 100, bootstrap=False)
    data = experiment.partition("px")[0].rpartition("-")[0]
    name = f"{data}, classes of the release - unseen classes, {len(gains)} nets, points"
    return Measurement({name: f"{gain.mean:+z.1f} +/- {gain.half_width:.1f}"}, (experiment, f"{experiment}-released"))


def join(*readers: Callable[[], Measurement | None]) -> Measurement | None:
    """What several records say; None if none of them is there."""
    parts = [part for read in readers if (part := read()) is not None]
    if not parts:
        return None
    numbers = {name: value for part in parts for name, value in part.numbers.items()}
    return Measurement(numbers, tuple(name for part in parts for name in part.records))


def read_ranking(folder: str, row: str, shown: Callable[[RankingRecord], dict[str, str]]) -> Measurement | None:
    """Numbers of the test of a ranking model; None if it is not recorded."""
    path = paths.results_dir() / folder / f"{row}.json"
    return Measurement(dict(shown(results.read(path, "ranking"))), (f"{folder}/{row}",)) if path.is_file() else None


def show_both_targets(record: RankingRecord) -> dict[str, str]:
    """GTM left by an attack with the right target, and with the released one."""
    right, released = (record["numbers"][name]["attacked"] for name in ("GTM", "GTM robrank"))
    return {
        f"{record['row']}, GTM, %": f"{right:.1f}",
        f"{record['row']}, GTM with the released target, %": f"{released:.1f}",
    }


def show_score(record: RankingRecord) -> dict[str, str]:
    """The score and R@1 of a net, with how it was trained."""
    score, start = record["ers"], record["checkpoint"].get("start", "")
    name = "trained" if record["recipe"]["epochs"] or "classifier" in start else "untrained"
    return {
        f"{name}, ERS": f"{score['value']:.1f} +/- {score['half_width']:.1f}",
        f"{name}, R@1, %": f"{record['clean']['R@1']:.1f}",
    }


def show_mean_precisions(record: RankingRecord) -> dict[str, str]:
    return {f"{record['row']}, {name}, %": f"{record['clean'][name]:.1f}" for name in ("mAP", "mAP@10")}


WEAK_TO_STRONG = ("transfer FGSM 8/255 query", "FGSM 8/255 query", "PGD-20 8/255 query")
_READERS: dict[str, Callable[[], Measurement | None]] = {
    "D1": partial(join, partial(measure_leak, MINI_SPLIT), partial(measure_leak, SPLIT)),
    "D3": partial(measure_spread, SPLIT),
    "D5": partial(compare_rows, CIFAR, "anrot", "anrot-clean", "PGD-20 8/255 query"),
    "D7": partial(read_accuracies, CIFAR, "anrot-clean", WEAK_TO_STRONG),
    "D9": partial(compare_columns, CONSEQUENCES, "clean-classes", "noise 0.30 query", "noise 0.30 unclipped query"),
    "D10": partial(compare_columns, CONSEQUENCES, "clean-classes", "clean", "clean, training augmentation"),
    "D12": partial(compare_columns, CONSEQUENCES, RELEASED_NET, "clean, queries one by one", "clean"),
    "D13": partial(compare_rows, CIFAR, "published", "prototypes", "clean"),
    "D15": partial(compare_rows, PHOTOGRAPHS, "ablation-clean-constant-hesim", "ablation-clean-no-hesim", "clean"),
    "D16": partial(compare_rows, PHOTOGRAPHS, "ablation-clean", "ablation-clean-no-hesim", "clean"),
    "D17": partial(read_validations, CIFAR, "anrot-clean"),
    "D18": partial(compare_encoders, "clean-classes", "resnet12_anrot", "resnet12"),
    "D19": partial(count_points, CIFAR, "anrot-clean"),
    "D26": partial(compare_rows, PHOTOGRAPHS, "ablation-variational", "ablation-whole", "clean"),
    "R1": partial(read_ranking, FASHION, "rc2f2p-ptripletN-eta8-seed0.rob28", show_both_targets),
    "R4": partial(
        join,
        partial(read_ranking, BIRDS, "rres18-ptripletN-seed0-untrained.rob224", show_score),
        partial(read_ranking, BIRDS, "rres18-ptripletN-seed0-classifier.rob224", show_score),
    ),
    "R5": partial(read_ranking, BIRDS, "rres18-ptripletN-seed0-classifier.rob224", show_mean_precisions),
}
MEASUREMENTS.update(_READERS)
