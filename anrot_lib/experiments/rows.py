"""From an image set to records: train a row's recipe, evaluate it on the stored episodes, write what came out."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from anrot_lib.core import checkpoints, devices
from anrot_lib.core.configs import to_dict
from anrot_lib.core.paths import make_file_stem
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.leakage.seen import Origin, Seen, check_unseen, find_close
from anrot_lib.experiments.columns import choose_stored, list_left_out, select_columns
from anrot_lib.experiments.former import check_former, find_record, get_current_columns
from anrot_lib.experiments.setting import Setting, make_manifest, plan_tasks
from anrot_lib.experiments.stored import has_images
from anrot_lib.experiments.testing import evaluate_row, find_journal, list_answered
from anrot_lib.fewshot import training
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.first_stage import make_stage_key, pretrain_encoder
from anrot_lib.fewshot.methods import get_method
from anrot_lib.fewshot.nets import has_net, load_net, save_net
from anrot_lib.fewshot.pretraining import Pretrained
from anrot_lib.ranking.training.first_stage import choose_training
from anrot_lib.records import results
from anrot_lib.records.describe import (
    count_parameters,
    describe_budget,
    describe_data,
    describe_protocol,
    describe_recipe,
    describe_run,
    join_runs,
)
from anrot_lib.records.journal import remove_journals
from anrot_lib.records.measures import SeenRecord, TrainingRecord
from anrot_lib.records.parts import ColumnRecord, ManifestRecord, OriginRecord, ValidationRecord
from anrot_lib.records.schema import SCHEMA_VERSION, AccuracyRecord
from anrot_lib.settings import Recipe

log = logging.getLogger(__name__)
NO_WORST_CASE = "the scores of a query depend on the other queries, so single queries have no worst case"


def round_validation(point: Mapping[str, Any]) -> ValidationRecord:
    """A validation as a record keeps it, with five decimals."""
    rounded = {k: round_validation(v) if isinstance(v, dict) else round(v, 5) for k, v in point.items()}
    return cast(ValidationRecord, rounded)


def train_row(setting: Setting, row: str, recipe: Recipe) -> tuple[FewShotNet, TrainingRecord, Path]:
    """Train a recipe, or take up where a killed training stopped. Returns (net, what its record stores, path)."""
    path = setting.work / f"{make_file_stem(row)}.pt"
    resume = setting.work / f"{make_file_stem(row)}-training.pt"
    pretrained = pretrain_once(setting, recipe) if recipe.pretrain else None
    with setting.progress(f"train {row}", setting.budget.episodes) as bar:
        size = setting.budget.episodes_per_step
        trained = training.train(
            setting.image_set,
            recipe,
            setting.budget,
            setting.protocol,
            resume,
            device=setting.device,
            precision=setting.precision,
            progress=lambda step, _, numbers: bar(step * size, numbers),
            pause=setting.pause,
            encoder_state=None if pretrained is None else pretrained.encoder,
            ranks=setting.ranks,
        )
    loss = get_method(recipe.method).metric_loss
    about: TrainingRecord = {
        "seconds": round(trained.seconds, 2),
        "seconds_per_step": round(trained.seconds_per_step, 5),
        "pretraining_seconds": 0.0 if pretrained is None else round(pretrained.seconds, 2),
        "cost_limit": round(trained.cost, 4),
        "best_step": trained.best_step,
        "precision": setting.precision,
        "alarms": trained.alarms,
        "history": [round_validation(point) for point in trained.history],
    }
    if pretrained is not None:
        about["pretraining_steps"] = pretrained.steps
        about["pretraining_seconds_per_step"] = round(pretrained.seconds_per_step, 5)
    if trained.heads:
        about["heads"] = {name: round(score, 5) for name, score in trained.heads.items()}
    if loss is not None:
        about["loss"] = training.check_metric_loss(loss, recipe)
    net = trained.net
    with setting.ranks.first():
        if not setting.ranks.is_first:  # one net for all, whatever rounding did to the others' choice of a step
            net = load_net(path)[0].to(setting.device)
        elif not has_net(path, net, trained.method, recipe):  # a file that is written again may have another hash
            save_net(
                path, net, trained.method, size=setting.budget.size, row=row, recipe=to_dict(recipe), training=about
            )
    return net, {**about, "checkpoint": checkpoints.sha256(path)}, path


def make_record(
    setting: Setting,
    row: str,
    recipe: Recipe,
    net: FewShotNet,
    manifest: EpisodeManifest,
    trained: TrainingRecord,
    columns: dict[str, ColumnRecord],
) -> AccuracyRecord:
    if net.origin is not None:
        trained = {**trained, "origin": describe_origin(net.origin)}
    record: AccuracyRecord = {
        "schema": SCHEMA_VERSION,
        "kind": "accuracy",
        "row": row,
        "run": describe_run(setting.ranks.describe(devices.describe_device(setting.device))),
        "data": describe_data(setting.image_set),
        "protocol": describe_protocol(setting.protocol),
        "recipe": describe_recipe(recipe),
        "budget": describe_budget(setting.budget),
        "manifest": describe_manifest(manifest, setting, columns),
        "parameters": count_parameters(net),
        "transductive": net.is_transductive(),
        "training": trained,
        "columns": columns,
    }
    tests = setting.split == "test"
    if tests and net.origin is not None and (close := find_close(net.origin, setting.image_set)):
        record["close"] = list(close)
    if tests and net.origin is None:
        record["unknown_origin"] = True
    if tests and (seen := check_unseen(net.origin, setting.image_set, allow_seen=setting.allow_seen)):
        record["seen"] = describe_seen(seen)
    return record


def describe_manifest(
    manifest: EpisodeManifest, setting: Setting, columns: Mapping[str, ColumnRecord]
) -> ManifestRecord:
    """The recipe of the episodes; beside columns that hold answers also what it takes to draw the episodes again."""
    record = cast(ManifestRecord, manifest.recipe())
    if any("answers" in column for column in columns.values()):
        labels = setting.image_set.labels[setting.image_set.rows(manifest.split)]
        record["layout"] = np.unique(labels, return_counts=True)[1].tolist()
    return record


def describe_seen(seen: Seen) -> SeenRecord:
    """What a record says of a net that has seen what it is tested on."""
    return {"trained_classes": len(seen.trained), "selected_classes": len(seen.selected), "images": seen.images}


def describe_origin(origin: Origin) -> OriginRecord:
    """What a record says of the origin of a net."""
    return {
        "data": origin.data,
        "sha256": origin.sha256,
        "split_hash": origin.split_hash,
        "classes": len(origin.trained) + len(origin.selected),
        "images": len(origin.images),
    }


def finish_row(
    setting: Setting,
    row: str,
    recipe: Recipe,
    net: FewShotNet,
    trained: TrainingRecord,
    manifest: EpisodeManifest,
) -> Path:
    """Evaluate a trained row, write its record, and drop its journal.

    Columns that a record of this very net, protocol and manifest has already are kept and not measured again.
    """
    path = setting.folder / f"{make_file_stem(row)}.json"
    former = find_record(path, setting, recipe, manifest, trained)
    check_former(path, setting, recipe, trained.get("checkpoint"))
    kept = {} if former is None else get_current_columns(former, list_answered(setting, manifest.n_tasks))
    if (stored := choose_stored(setting)) and not has_images(setting, row, stored.name, kept.get(stored.name)):
        kept.pop(stored.name, None)
    left_out = {} if former is None else former.get("left_out", {})
    wanted = [c for c in select_columns(setting, manifest.n_tasks) if c.name not in kept and c.name not in left_out]
    if former is not None and not wanted:
        return path
    with setting.ranks.first():  # it trains the surrogate, the others find it
        left_out |= list_left_out(setting, wanted)
    if net.is_transductive():
        left_out |= {c.name: NO_WORST_CASE for c in wanted if c.suite and c.threat and c.threat.target != "support"}
    wanted = [column for column in wanted if column.name not in left_out]
    columns = kept | evaluate_row(setting, row, net, manifest, trained.get("checkpoint", ""), wanted)
    record = make_record(setting, row, recipe, net, manifest, trained, columns)
    if left_out:
        record["left_out"] = left_out
    if former is not None:
        record["run"] = join_runs(former["run"], record["run"])
        for lost in sorted(former["columns"].keys() - columns.keys()):
            log.warning(
                "%r left the record of %s: its attack is weaker than today's; ask for it to measure it", lost, row
            )
    if setting.ranks.is_first:
        results.write(path, record)
        remove_journals(find_journal(setting, row))
    setting.ranks.wait()
    return path


def run_rows(
    setting: Setting,
    recipes: dict[str, Recipe],
    half_width: float | None = None,
    tested_in: Setting | None = None,
) -> list[Path]:
    """`run_row` for each. For a half-width all are trained first, and tested on the same episodes: as many as the one
    that needs most. tested_in: as in `run_row`."""
    tests = tested_in or setting
    if half_width is None:
        return [run_row(setting, row, recipe, tested_in=tests) for row, recipe in recipes.items()]
    make_manifest(tests)  # now, as in `run_row`
    nets = [train_row(setting, row, recipe)[0] for row, recipe in recipes.items()]
    tasks = max(plan_tasks(tests, net, half_width) for net in nets)
    return [run_row(setting, row, recipe, tasks, tests) for row, recipe in recipes.items()]


def run_row(
    setting: Setting, row: str, recipe: Recipe, tasks: int | None = None, tested_in: Setting | None = None
) -> Path:
    """Train, test and record one row. A record that answers the same settings already is kept.

    tasks      the number of clean episodes, if it is not the budget's.
    tested_in  the setting of the test, if it is not that of the training, such as one of another number of shots.
    """
    tests = tested_in or setting
    path = tests.folder / f"{make_file_stem(row)}.json"
    manifest = make_manifest(tests, tasks)  # now, because it says what the test classes lack before hours of training
    check_former(path, tests, recipe)
    net, trained, _ = train_row(setting, row, recipe)
    if tests.protocol.shot != setting.protocol.shot:
        trained = {**trained, "shot": setting.protocol.shot}
    return finish_row(tests, row, recipe, net, trained, manifest)


def check_rows(names: list[str]) -> list[str]:
    """The names, if each is a method that can be built. UserError before anything is trained, if not."""
    for name in names:
        get_method(name).build(1)
    return names


def pretrain_once(setting: Setting, recipe: Recipe) -> Pretrained:
    """Pre-train for a setting, once for all rows whose recipes agree in all that the first stage depends on."""
    path = setting.work / f"pretraining-{make_stage_key(recipe)}.pt"
    with setting.progress("pre-train", setting.budget.pretrain_steps) as bar:
        return pretrain_encoder(
            setting.image_set,
            recipe,
            setting.budget,
            setting.protocol,
            path,
            setting.device,
            setting.precision,
            bar,
            setting.pause,
            setting.ranks,
            choose_training(recipe),
        )
