"""From an image set to records: train a row's recipe, evaluate it on the stored episodes, write what came out."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import numpy as np
import torch

from anrot_lib import checkpoints, devices, evaluation, paths, pretraining, randomness, results, training
from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.attacks.transfer import Surrogate, train_on_base
from anrot_lib.checks import UserError
from anrot_lib.classifiers import FewShotNet
from anrot_lib.data.episodes import EpisodeManifest, EpisodeRows
from anrot_lib.data.image_set import ImageSet
from anrot_lib.encoders import parameter_count
from anrot_lib.settings import Budget, Protocol, Recipe, to_dict
from anrot_lib.statistics import interval, tasks_for_precision

# The rows of the table, from the plainest to the whole. They differ in what their names say and in nothing else.
ROWS: dict[str, Recipe] = {
    "prototypes": Recipe(method="prototypes", hesim=0.0),
    "published": Recipe(method="published", hesim=0.0),  # its own Hesim is a constant: anrot_lib.audit.published
    "hela-vfa": Recipe(method="hela-vfa", hesim=0.0),
    "anrot-clean": Recipe(method="anrot"),
    "anrot": Recipe(method="anrot", clean=1.0, adversarial=1.0, noisy=1.0),
}
# Recipes beside the table, for the trade-off over the shares: weights of clean, adversarial and noisy queries.
SHARES: dict[str, tuple[float, float, float]] = {
    "shares-2-1-1": (2.0, 1.0, 1.0),
    "shares-1-2-1": (1.0, 2.0, 1.0),
    "clean-and-noise": (1.0, 0.0, 1.0),
    "fgsm-only": (0.0, 1.0, 0.0),
}
OTHER_ROWS = {
    name: Recipe(clean=clean, adversarial=adversarial, noisy=noisy)
    for name, (clean, adversarial, noisy) in SHARES.items()
}
TASKS_PER_PART = 40  # tasks attacked together, and what a kill can lose of an attacked column


class Progress(Interface):
    """What shows progress: `bar(title, total)` gives a context whose value is called with (done, numbers)."""

    def __call__(self, title: str, total: int) -> AbstractContextManager[Callable[..., None]]: ...


@dataclass(frozen=True)
class Setting:
    """Everything a row needs beside its recipe."""

    image_set: ImageSet
    protocol: Protocol
    budget: Budget
    device: torch.device
    precision: str
    progress: Progress
    folder: Path  # records go here
    columns: tuple[str, ...] | None = None  # None: all
    surrogates: dict[str, Surrogate] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Where checkpoints and journals of this setting live, apart from those of any other."""
        return paths.checkpoints_dir() / self.folder.name


def experiment_folder(image_set: ImageSet, protocol: Protocol, budget: Budget, tag: str = "") -> Path:
    """data/results/<set>-<size>px-<way>way-<shot>shot-<preset>[-tag]"""
    size = image_set.images.shape[1]
    name = f"{image_set.name}-{size}px-{protocol.way}way-{protocol.shot}shot-{budget.preset}"
    return paths.results_dir() / (f"{name}-{tag}" if tag else name)


def key_of(*parts: Any) -> str:
    """A short name for settings: equal settings, equal name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def train_row(setting: Setting, row: str, recipe: Recipe) -> tuple[FewShotNet, dict[str, Any], Path]:
    """Train a recipe, or take up where a killed training stopped. Returns (net, what its record stores, path)."""
    path = setting.work / f"{row}.pt"
    resume = setting.work / f"{row}-training.pt"
    encoder_state, pretraining_seconds = None, 0.0
    if recipe.pretrain:
        encoder_state, pretraining_seconds = pretraining.pretrained(setting, recipe)
    with setting.progress(f"train {row}", setting.budget.episodes) as bar:
        size = setting.budget.episodes_per_step
        found = training.train(
            *(setting.image_set, recipe, setting.budget, setting.protocol, resume),
            device=setting.device,
            precision=setting.precision,
            progress=lambda step, _, numbers: bar(step * size, numbers),
            encoder_state=encoder_state,
        )
    about = {
        "seconds": round(found.seconds, 2),
        "seconds_per_step": round(found.seconds_per_step, 5),
        "pretraining_seconds": round(pretraining_seconds, 2),
        "cost_limit": round(found.cost, 4),
        "best_step": found.best_step,
        "precision": setting.precision,
        "alarms": found.alarms,
        "history": [{k: round(v, 5) for k, v in point.items()} for point in found.history],
    }
    checkpoints.save_net(
        path, found.net, recipe.method, size=setting.budget.size, row=row, recipe=to_dict(recipe), training=about
    )
    return found.net, about | {"checkpoint": checkpoints.sha256(path)}, path


def make_manifest(setting: Setting, tasks: int | None = None) -> EpisodeManifest:
    """The test episodes of a setting. Its first tasks are the same whatever their number."""
    protocol, budget = setting.protocol, setting.budget
    n = max(tasks or budget.clean_tasks, budget.attacked_tasks)
    return EpisodeManifest.make(
        setting.image_set, "test", protocol.way, protocol.shot, budget.clean_query, n, protocol.seed
    )


def tasks_for(setting: Setting, net: FewShotNet, half_width: float) -> int:
    """Number of clean episodes for a 95 % interval of +/- half_width points, from a pilot of 200."""
    if not half_width > 0:
        raise UserError(f"a precision is a half-width in points and must be above 0, got {half_width:g}")
    rows = make_manifest(setting, 200).rows
    counts = evaluation.clean_counts(net, setting.image_set, rows, setting.device)
    return max(200, tasks_for_precision(interval(counts / (rows.query[0].size)).sd, half_width))


@dataclass(frozen=True)
class Column:
    """One question to a net: the tasks it is asked on, and how their images are changed."""

    name: str
    tasks: int
    query: int
    threat: ThreatModel | None = None
    sigma: float | None = None
    surrogate: bool = False


def columns_of(protocol: Protocol, budget: Budget, clean_tasks: int | None = None) -> list[Column]:
    """All columns of a record. The names stand in tables and figures, so they say what was done."""
    attacked = {"tasks": budget.attacked_tasks, "query": budget.attacked_query}
    short = {"tasks": budget.curve_tasks, "query": budget.attacked_query}
    strong = pgd(protocol.eps, protocol.steps, protocol.step, 1, target="query")
    plain = fgsm(protocol.eps, target="query")
    columns = [
        Column("clean", clean_tasks or budget.clean_tasks, budget.clean_query),
        Column("clean, attacked tasks", **attacked),
        *(Column(threat.name, **attacked, threat=threat) for threat in (plain, strong)),
        Column(f"transfer {plain.name}", **attacked, threat=plain, surrogate=True),
    ]
    for target in ("support", "both"):
        threat = replace(strong, target=target)
        columns.append(Column(threat.name, **short, threat=threat))
    columns += [noise_column(sigma, attacked) for sigma in sorted({*protocol.curve_sigma, protocol.sigma}) if sigma]
    for eps in protocol.curve_eps:
        threat = pgd(eps, CURVE_STEPS, eps / 4, 1, target="query")
        columns.append(Column(f"curve {threat.name}", **short, threat=threat))
    return columns


CURVE_STEPS = 10


def noise_column(sigma: float, sizes: dict[str, int]) -> Column:
    return Column(f"noise {sigma:.2f} query", **sizes, sigma=sigma)


def evaluate_row(
    setting: Setting, row: str, net: FewShotNet, manifest: EpisodeManifest, journal_key: str
) -> dict[str, dict[str, Any]]:
    """All columns of a net, resumable: finished parts are kept in a journal until the record is written."""
    columns = columns_of(setting.protocol, setting.budget, manifest.n_tasks)
    columns = [c for c in columns if setting.columns is None or c.name.split()[0] in setting.columns]
    journal = results.Journal(setting.work / f"{row}-evaluation.jsonl", {"net": journal_key, "rows": manifest.hash})
    values = {}
    with setting.progress(f"test {row}", len(columns)) as bar:
        for done, column in enumerate(columns):
            bar(done, {"column": column.name})
            values[column.name] = _column(setting, net, manifest, column, journal)
        bar(len(columns), {})
    return values


def _column(
    setting: Setting, net: FewShotNet, manifest: EpisodeManifest, column: Column, journal: results.Journal
) -> dict[str, Any]:
    rows = manifest.rows[: column.tasks].with_queries(column.query)
    counts, seconds = [], 0.0
    for start, part in _parts(rows, column):
        key = f"{column.name} / {start}"
        if key not in journal:
            started = time.perf_counter()
            found = _counts(setting, net, part, column, start)
            journal[key] = {"correct": found.tolist(), "seconds": time.perf_counter() - started}
        counts += journal[key]["correct"]
        seconds += journal[key]["seconds"]
    about: dict[str, Any] = {}
    if column.threat is not None:
        about["threat"] = results.describe_threat(column.threat)
    if column.sigma is not None:
        about["sigma"] = column.sigma
    if column.surrogate:
        about["surrogate"] = {"loss": "mse", "trained on": "base classes", "label": "the surrogate's own prediction"}
    return results.column(np.array(counts), rows.query.shape[1] * column.query, seconds, **about)


def _parts(rows: EpisodeRows, column: Column) -> Iterator[tuple[int, EpisodeRows]]:
    """Attacks go in parts; everything else is one pass over the distinct images."""
    white_box = column.threat is not None and not column.surrogate
    size = TASKS_PER_PART if white_box else len(rows)
    return ((start, rows[start : start + size]) for start in range(0, len(rows), size))


def _counts(setting: Setting, net: FewShotNet, rows: EpisodeRows, column: Column, start: int) -> np.ndarray:
    image_set, seed, device = setting.image_set, setting.protocol.seed, setting.device
    if column.surrogate:
        change = evaluation.transferred(_surrogate(setting), column.threat, seed)
        return evaluation.changed_counts(net, image_set, rows, change, device=device)
    if column.threat is not None and column.threat.eps > 0:
        return evaluation.attacked_counts(net, image_set, rows, column.threat, seed, device, start)
    if column.sigma is not None:
        change = evaluation.gaussian_noise(column.sigma, seed)
        return evaluation.changed_counts(net, image_set, rows, change, device=device)
    return evaluation.clean_counts(net, image_set, rows, device)


def _surrogate(setting: Setting) -> Surrogate:
    """The small CNN of the transfer attack, trained once a setting on the base classes."""
    if "mse" not in setting.surrogates:
        generator = randomness.generator(setting.protocol.seed, "surrogate")
        epochs = setting.budget.surrogate_epochs
        setting.surrogates["mse"] = train_on_base(setting.image_set, generator, epochs=epochs, device=setting.device)
    return setting.surrogates["mse"]


def make_record(
    setting: Setting,
    row: str,
    recipe: Recipe,
    net: FewShotNet,
    manifest: EpisodeManifest,
    trained: dict[str, Any],
    columns: dict[str, Any],
) -> dict[str, Any]:
    return {
        "schema": results.SCHEMA_VERSION,
        "kind": "accuracy",
        "row": row,
        "run": results.describe_run(devices.device_kind(setting.device)),
        "data": results.describe_data(setting.image_set),
        "protocol": to_dict(setting.protocol),
        "recipe": to_dict(recipe),
        "budget": to_dict(setting.budget),
        "manifest": manifest.recipe(),
        "parameters": parameter_count(net),
        "transductive": net.is_transductive(),
        "training": trained,
        "columns": columns,
    }


def finish_row(
    setting: Setting,
    row: str,
    recipe: Recipe,
    net: FewShotNet,
    trained: dict[str, Any],
    manifest: EpisodeManifest,
) -> Path:
    """Evaluate a trained row, write its record, and drop its journal."""
    path = setting.folder / f"{row}.json"
    columns = evaluate_row(setting, row, net, manifest, trained.get("checkpoint", ""))
    results.write(path, make_record(setting, row, recipe, net, manifest, trained, columns))
    (setting.work / f"{row}-evaluation.jsonl").unlink(missing_ok=True)
    return path


def run_row(setting: Setting, row: str, recipe: Recipe, half_width: float | None = None) -> Path:
    """Train, test and record one row. A record that answers the same settings already is kept."""
    path = setting.folder / f"{row}.json"
    manifest = make_manifest(setting)  # now, because it says what the test classes lack before hours of training
    net, trained, _ = train_row(setting, row, recipe)
    if half_width:
        manifest = make_manifest(setting, tasks_for(setting, net, half_width))
    if is_finished(path, setting, recipe, manifest, trained):
        return path
    return finish_row(setting, row, recipe, net, trained, manifest)


def is_finished(
    path: Path, setting: Setting, recipe: Recipe, manifest: EpisodeManifest, trained: dict[str, Any]
) -> bool:
    """Whether a record of this very net, protocol and manifest exists, with all the columns that are asked for."""
    if not path.is_file():
        return False
    record = results.read(path)
    asked = {c.name for c in columns_of(setting.protocol, setting.budget, manifest.n_tasks)}
    asked = {name for name in asked if setting.columns is None or name.split()[0] in setting.columns}
    return (
        record["training"].get("checkpoint") == trained["checkpoint"]
        and record["manifest"]["hash"] == manifest.hash
        and record["protocol"] == to_dict(setting.protocol)
        and record["recipe"] == to_dict(recipe)
        and record["budget"] == to_dict(setting.budget)
        and asked <= set(record["columns"])
    )


def check_rows(names: list[str]) -> list[str]:
    known = ROWS | OTHER_ROWS
    if unknown := [name for name in names if name not in known and not name.startswith("easyfsl:")]:
        raise UserError(f"unknown row {unknown[0]!r}; choose from {', '.join(known)}, or easyfsl:NAME")
    return names


def recipe_of(row: str) -> Recipe:
    """The recipe of a row; of any other method, clean training without Hesim."""
    return (ROWS | OTHER_ROWS).get(row) or Recipe(method=row, hesim=0.0)
