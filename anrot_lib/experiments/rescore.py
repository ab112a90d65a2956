"""Does a row of a table stand? A challenger's adversarial queries are checked, scored, and compared with its record."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anrot_lib.attacks.stored import StoredImages, check_ball, open_images
from anrot_lib.core import checkpoints, devices, paths
from anrot_lib.core.configs import add_defaults, from_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.paths import make_file_stem
from anrot_lib.core.progress import Progress
from anrot_lib.core.statistics import compare_paired
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.image_set import ImageSet
from anrot_lib.experiments.images import open_images as open_image_set
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.rescoring import name_queries
from anrot_lib.records import results
from anrot_lib.records.describe import describe_data, describe_run
from anrot_lib.records.schema import SCHEMA_VERSION, AccuracyRecord, RescoreRecord
from anrot_lib.settings import Budget

MOST_IMAGES = 10_000_000  # in a challenger's file: their row numbers are read before anything else


@dataclass(frozen=True)
class Challenge:
    """What a challenger asks: the record of a net, its images and episodes, and the column that may fall."""

    record: AccuracyRecord
    image_set: ImageSet
    manifest: EpisodeManifest
    column: str


@dataclass(frozen=True)
class Counts:
    """Right queries of each episode (E,): clean, and where neither the clean nor the challenger's image is beaten.

    ties: challenger's queries that are beaten or right only by rounding, and count as right.
    """

    clean: np.ndarray
    challenged: np.ndarray
    ties: int


def find_record(net_hash: str, manifest_hash: str) -> Path:
    """The accuracy record of a net on a manifest, in data/results or else in data/runs. UserError unless it is one."""
    for folder in (paths.results_dir(), paths.runs_dir()):
        known = [path for path in sorted(folder.rglob("*.json")) if is_record(path, net_hash, manifest_hash)]
        if len(known) > 1:
            raise UserError(f"there are {len(known)} records of this net; name one by --record, such as {known[0]}")
        if known:
            return known[0]
    raise UserError(
        "there is no record of this net on the episodes of the images; name it by --record, or test the net first: "
        "anrot evaluate NET"
    )


def is_record(path: Path, net_hash: str, manifest_hash: str) -> bool:
    """Whether a file is the accuracy record of a net on a manifest; a file that cannot be read is not."""
    try:
        record = results.read(path, "accuracy")
    except UserError:
        return False
    return record["training"].get("checkpoint") == net_hash and record["manifest"]["hash"] == manifest_hash


def open_challenge(stored: StoredImages, record: AccuracyRecord) -> Challenge:
    """Check a challenger's images against a record, all but the pixels. UserError for the first thing that is wrong."""
    about, where = stored.about, stored.path
    budget = from_dict(Budget, add_defaults(Budget, record["budget"]))
    image_set = open_image_set(record["data"]["name"], budget)
    recipe = record["manifest"]
    manifest = EpisodeManifest.draw_again(image_set, recipe)
    for what, here, there in (
        ("image set", image_set.sha256, record["data"]["sha256"]),
        ("split", image_set.split_hash, record["data"]["split_hash"]),
        ("manifest", manifest.hash, recipe["hash"]),
    ):
        if here != there:
            raise UserError(f"the record was measured on another {what} ({there[:10]}) than is here ({here[:10]})")
    for what, said, expected in (
        ("image set", about["image_set"], image_set.sha256),
        ("split", about["split_hash"], image_set.split_hash),
        ("manifest", about["manifest"], manifest.hash),
    ):
        if said != expected:
            raise UserError(f"{where} is of another {what} ({said[:10]!r}) than the record ({expected[:10]!r})")
    column = choose_column(stored, record)
    check_rows(stored, manifest, record["columns"][column]["queries"])
    shape = tuple(image_set.batch(stored.rows[0, :1]).shape[1:])
    if stored.shape[2:] != shape:
        raise UserError(f"{where} holds images of shape {stored.shape[2:]}, those of the set have {shape}")
    return Challenge(record, image_set, manifest, column)


def choose_column(stored: StoredImages, record: AccuracyRecord) -> str:
    """The column of the same norm, eps and queries with the fewest right on the challenger's episodes."""
    about, (tasks, n) = stored.about, stored.shape[:2]
    attacked = {
        name: column
        for name, column in record["columns"].items()
        if "threat" in column and "surrogate" not in column and column["threat"]["target"] == "query"
    }
    same = {
        name: column
        for name, column in attacked.items()
        if column["threat"]["norm"] == about["norm"] and abs(column["threat"]["eps"] - about["eps"]) < 1e-9
    }
    if not same:
        balls = sorted({f"{c['threat']['norm']} {255 * c['threat']['eps']:.4g}/255" for c in attacked.values()})
        asked = f"{about['norm']} {255 * about['eps']:.4g}/255"
        raise UserError(
            f"the record has no attack in the ball {asked} on queries; it has: {', '.join(balls) or 'none'}"
        )
    last = int(stored.tasks.max())
    long = {name: c for name, c in same.items() if len(c["correct"]) > last and c["queries"] == n}
    if not long:
        sizes = sorted({f"{len(c['correct'])} x {c['queries']}" for c in same.values()})
        raise UserError(
            f"{stored.path} holds {tasks} episodes up to number {last}, of {n} queries; the record's columns of this "
            f"ball have (episodes x queries) {', '.join(sizes)}"
        )
    return min(long, key=lambda name: sum(long[name]["correct"][task] for task in stored.tasks))


def check_rows(stored: StoredImages, manifest: EpisodeManifest, queries: int) -> None:
    """UserError unless the images were made from the queries of distinct episodes of the manifest, in their order."""
    tasks = stored.tasks
    if len(tasks) < 2 or len(np.unique(tasks)) < len(tasks):
        raise UserError(f"{stored.path} must hold two or more different episodes; it names {tasks[:5].tolist()} ...")
    if tasks.min() < 0 or tasks.max() >= manifest.n_tasks:
        raise UserError(
            f"{stored.path} names the episode {int(tasks.min())} or {int(tasks.max())} of {manifest.n_tasks}"
        )
    expected = manifest.rows.with_queries(queries // manifest.n_way).query[tasks].reshape(len(tasks), -1)
    if not np.array_equal(stored.rows, expected):
        wrong = int(np.flatnonzero((stored.rows != expected).any(1))[0])
        raise UserError(
            f"{stored.path}: the images of episode {int(tasks[wrong])} were not made from its queries, class by class; "
            "their row numbers differ from the manifest's"
        )


def score(net: FewShotNet, stored: StoredImages, challenge: Challenge, device: torch.device, bar: Progress) -> Counts:
    """Check and score the images, one episode at a time. UserError for one outside the threat model."""
    about, rows, image_set = stored.about, challenge.manifest.rows, challenge.image_set
    n_query = stored.shape[1] // challenge.manifest.n_way
    labels = torch.tensor([c for c in range(challenge.manifest.n_way) for _ in range(n_query)])
    clean_counts, counts, ties = [], [], 0
    with bar("rescore", len(stored.tasks)) as update:
        for k, task in enumerate(stored.tasks.tolist()):
            support, clean = image_set.batch(rows.support[task], device), image_set.batch(stored.rows[k])
            images = stored.read(k)
            check_ball(
                images, clean, about["norm"], about["eps"], [f"episode {task}, query {i}" for i in range(len(labels))]
            )
            unchanged = name_queries(net, support, clean.to(device), labels)
            changed = name_queries(net, support, images.to(device), labels)
            # queries that depend on each other stand or fall as they were sent in
            right = changed.right if net.is_transductive() else changed.right & unchanged.right
            clean_counts.append(int(unchanged.right.sum()))
            counts.append(int(right.sum()))
            ties += int(changed.tied.sum())
            update(k + 1)
    return Counts(np.array(clean_counts), np.array(counts), ties)


def run_rescore(
    net: FewShotNet,
    net_path: Path,
    images: Path,
    record: Path | None,
    device: torch.device,
    bar: Progress,
    reference: bool,
) -> Path:
    """Check and score a challenger's images, compare them with the record of the net, and write what came out.

    record: that of the net; None searches for it by the hashes of net and manifest. Nothing is written where an image
    is refused.
    """
    started = time.perf_counter()
    net_hash = checkpoints.sha256(net_path)
    with open_images(images, MOST_IMAGES) as stored:
        path = record or find_record(net_hash, stored.about["manifest"])
        former = results.read(path, "accuracy")
        if former["training"].get("checkpoint") != net_hash:
            raise UserError(f"{path} is the record of another net than {net_path}")
        challenge = open_challenge(stored, former)
        counts = score(net, stored, challenge, device, bar)
        content = checkpoints.sha256(images)
        column = former["columns"][challenge.column]
        tasks, queries, attack = stored.tasks.tolist(), column["queries"], stored.about["attack"]
        norm, eps = stored.about["norm"], stored.about["eps"]
    seconds = time.perf_counter() - started
    recorded = np.array([column["correct"][task] for task in tasks])
    gap = compare_paired(recorded / queries, counts.challenged / queries)
    result: RescoreRecord = {
        "schema": SCHEMA_VERSION,
        "kind": "rescore",
        "row": former["row"],
        "run": describe_run(devices.describe_device(device)),
        "data": describe_data(challenge.image_set),
        "manifest": former["manifest"],
        "net": {"sha256": net_hash, "name": former["row"]},
        "images": {"sha256": content, "attack": attack, "norm": norm, "eps": eps},
        "column": challenge.column,
        "tasks": tasks,
        "of": len(column["correct"]),
        "columns": {
            "clean": results.make_column(counts.clean, queries, seconds),
            "recorded": results.make_column(recorded, queries, column["seconds"]),
            "challenged": results.make_column(counts.challenged, queries, seconds),
        },
        "difference": {"value": round(gap.mean, 4), "half_width": round(gap.half_width, 4)},
        "ties": counts.ties,
        "from_record": column.get("images") == content,
        "falls": bool(counts.challenged.sum() < recorded.sum()),
        "seconds": round(seconds, 2),
    }
    if "seen" in former:
        result["seen"] = former["seen"]
    written = (
        paths.records_dir(reference) / path.parent.name / f"{make_file_stem(former['row'])}-rescored-{content[:8]}.json"
    )
    results.write(written, result)
    return written
