"""The answers to the questions of a record: measured in parts, which several processes share and a kill leaves."""

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anrot_lib.attacks.suite import choose_rule
from anrot_lib.attacks.transfer import measure_surrogate
from anrot_lib.core.configs import to_dict
from anrot_lib.core.paths import make_file_stem
from anrot_lib.core.progress import accumulate
from anrot_lib.core.resumable import Paused
from anrot_lib.data.episodes import EpisodeManifest, EpisodeRows
from anrot_lib.experiments.columns import Column, choose_stored, count_passes, make_pgd, select_columns
from anrot_lib.experiments.corruptions import measure_corruptions
from anrot_lib.experiments.setting import Setting
from anrot_lib.experiments.stored import ImageStore
from anrot_lib.experiments.surrogate import train_surrogate
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.evaluation import Evaluator, Keep, Marks, make_noise_change
from anrot_lib.records import answers, results
from anrot_lib.records.describe import describe_threat
from anrot_lib.records.journal import Journal, gather_parts, open_journal
from anrot_lib.records.parts import ColumnAbout, ColumnRecord

TASKS_PER_PART = 40  # tasks attacked together, and what a kill can lose of an attacked column


def find_journal(setting: Setting, row: str) -> Path:
    """Where the parts of a row are kept that are finished."""
    return setting.work / f"{make_file_stem(row)}-evaluation.jsonl"


def evaluate_row(
    setting: Setting,
    row: str,
    net: FewShotNet,
    manifest: EpisodeManifest,
    journal_key: str,
    columns: list[Column] | None = None,
) -> dict[str, ColumnRecord]:
    """All columns of a net, resumable: finished parts are kept in a journal until the record is written.

    Several processes take turns at the parts; each returns all columns.

    columns: other questions than those of `list_columns` that the setting asks for.
    """
    if columns is None:
        columns = select_columns(setting, manifest.n_tasks)
    settings = {"protocol": to_dict(setting.protocol), "budget": to_dict(setting.budget)}
    belongs_to = {"net": journal_key, "rows": manifest.hash, **settings}
    journal = open_journal(find_journal(setting, row), belongs_to, setting.ranks)
    evaluator = Evaluator(
        net, setting.image_set, setting.device, partial(train_surrogate, setting), setting.allow_seen, setting.split
    )
    costs = {column.name: count_passes(setting, column) for column in columns}
    stored, start, paused = choose_stored(setting), 0, False
    stores = {
        column.name: ImageStore(setting, row, column.name, manifest, journal_key)
        for column in columns
        if column == stored
    }
    turns = itertools.cycle(range(setting.ranks.count))  # of the parts that are missing
    with setting.progress(f"test {row}", sum(costs.values())) as bar:
        for column in columns:
            bar(start, {"column": column.name})
            end = start + costs[column.name]
            within = partial(_show_within, bar, start, end)
            try:
                _measure_parts(setting, evaluator, manifest, column, journal, turns, within, stores.get(column.name))
            except Paused:
                paused = True
                break
            start = end
        else:
            bar(start, {})
    if setting.ranks.agree(paused):
        raise Paused
    gather_parts(setting.ranks, journal)
    return {
        column.name: _join_parts(setting, evaluator, manifest, column, journal, stores.get(column.name))
        for column in columns
    }


def _show_within(bar: Callable[..., None], start: int, end: int, done: int) -> None:
    bar(min(start + done, end))


def _measure_parts(
    setting: Setting,
    evaluator: Evaluator,
    manifest: EpisodeManifest,
    column: Column,
    journal: Journal,
    turns: Iterator[int],
    progress: Callable[[int], None],
    store: ImageStore | None = None,
) -> None:
    """Measure what is missing of a column and is this process's turn."""
    rows = _cut_rows(manifest, column)
    for start, part in _split_tasks(rows, column):
        key = f"{column.name} / {start}"
        missing = key not in journal or (store is not None and not store.has(start, part))
        if missing and next(turns) == setting.ranks.number:
            if column.corrupted:
                measure_corruptions(setting, evaluator, rows, column.name, column.corrupted, journal, progress)
            else:
                # At once: a kill between two pieces of a part would leave a record without the second.
                journal[key] = _measure_part(setting, evaluator, part, column, start, progress, store)
            if setting.pause():
                raise Paused
        progress(count_passes(setting, column) * (start + len(part)) // len(rows))


def _measure_part(
    setting: Setting,
    evaluator: Evaluator,
    part: EpisodeRows,
    column: Column,
    start: int,
    progress: Callable[[int], None],
    store: ImageStore | None,
) -> dict[str, Any]:
    started = time.perf_counter()
    keep = None if store is None else store.keep(start, part)
    marks: Marks = [] if _keeps_answers(setting, column) else None
    asked, beaten = (column, setting.protocol.seed, start, progress), dict[str, int]()
    correct = _count_correct(evaluator, part, *asked, keep, marks, beaten)
    piece: dict[str, Any] = {"correct": correct.tolist(), "seconds": time.perf_counter() - started}
    if beaten:
        piece["beaten"] = beaten
    if marks:
        piece["answers"] = answers.pack_answers(np.concatenate(marks))
    if column.name == "clean":
        piece["calibration_error"] = round(evaluator.measure_calibration(part), 5)
    return piece


def _join_parts(
    setting: Setting,
    evaluator: Evaluator,
    manifest: EpisodeManifest,
    column: Column,
    journal: Journal,
    store: ImageStore | None = None,
) -> ColumnRecord:
    """The record of a column from its parts, all of which are in the journal."""
    rows = _cut_rows(manifest, column)
    if column.corrupted:
        return measure_corruptions(setting, evaluator, rows, column.name, column.corrupted, journal, lambda done: None)
    pieces = [journal[f"{column.name} / {start}"] for start, _ in _split_tasks(rows, column)]
    counts = [count for piece in pieces for count in piece["correct"]]
    seconds = sum(piece["seconds"] for piece in pieces)
    about: ColumnAbout = {}
    if _keeps_answers(setting, column):
        parts = (part for _, part in _split_tasks(rows, column))
        kept = [(piece.get("answers"), len(part)) for piece, part in zip(pieces, parts, strict=True)]
        about |= answers.join_answers(kept, rows)
    if store is not None and setting.ranks.is_first:
        about["images"] = store.join([start for start, _ in _split_tasks(rows, column)], rows.query.size)
    if column.threat is not None:
        about["threat"] = describe_threat(column.threat)
        if column.threat.target != "query":
            about["objective"] = "beaten queries"
        if column.suite:
            about["suite"] = column.suite
            about["rule"] = choose_rule(column.suite, column.threat.target)
            counted = [piece.get("beaten", {}) for piece in pieces]
            if all(counted):  # parts of an older journal do not say it
                about["beaten"] = {name: sum(part[name] for part in counted) for name in counted[0]}
    if column.sigma is not None:
        about["sigma"] = column.sigma
    if column.name == "clean" and "calibration_error" in pieces[0]:
        about["calibration_error"] = pieces[0]["calibration_error"]
    if column.surrogate:
        quality = measure_surrogate(evaluator.get_surrogate(), setting.image_set)
        about["surrogate"] = {
            "loss": "mse",
            "trained on": "base classes",
            "label": "the surrogate's own prediction",
            "accuracy": round(quality.accuracy, 4),
            "images": quality.images,
            "classes": quality.classes,
        }
    return results.make_column(np.array(counts), rows.query.shape[1] * column.query, seconds, **about)


def _cut_rows(manifest: EpisodeManifest, column: Column) -> EpisodeRows:
    return manifest.rows[: column.tasks].with_queries(column.query)


def count_column(evaluator: Evaluator, manifest: EpisodeManifest, column: Column, seed: int) -> np.ndarray:
    """Correct queries of each task of a column (tasks,), all at once: `evaluate_row` can be killed between parts."""
    parts = _split_tasks(_cut_rows(manifest, column), column)
    return np.concatenate([_count_correct(evaluator, part, column, seed, start) for start, part in parts])


def _split_tasks(rows: EpisodeRows, column: Column) -> Iterator[tuple[int, EpisodeRows]]:
    """Attacks go in parts; everything else is one pass over the distinct images."""
    white_box = column.threat is not None and not column.surrogate
    size = TASKS_PER_PART if white_box else len(rows)
    return ((start, rows[start : start + size]) for start in range(0, len(rows), size))


def _count_correct(
    evaluator: Evaluator,
    rows: EpisodeRows,
    column: Column,
    seed: int,
    start: int,
    progress: Callable[[int], None] = lambda done: None,
    keep: Keep = None,
    marks: Marks = None,
    beaten: dict[str, int] | None = None,
) -> np.ndarray:
    """Correct queries of each task; `start` numbers the first task for the attack's random stream."""
    images_done = accumulate(progress)
    if column.surrogate and column.threat is not None:
        return evaluator.count_transferred(rows, column.threat, seed, images_done)
    if column.suite and column.threat is not None:
        return evaluator.count_worst(rows, column.suite, column.threat, seed, start, keep, beaten)
    if column.threat is not None and column.threat.eps > 0:
        return evaluator.count_attacked(rows, column.threat, seed, start, keep, marks)
    if column.sigma is not None:
        return evaluator.count_changed(rows, make_noise_change(column.sigma, seed), progress=images_done)
    return evaluator.count_clean(rows, images_done, marks)


def list_answered(setting: Setting, clean_tasks: int | None = None) -> list[str]:
    """The columns of which a record says which queries are right."""
    return [column.name for column in select_columns(setting, clean_tasks) if _keeps_answers(setting, column)]


def _keeps_answers(setting: Setting, column: Column) -> bool:
    """Whether a record says which queries of a column are right, and not only how many: of clean images and of PGD."""
    named = column.name in ("clean", make_pgd(setting.protocol).name)
    return named and column.tasks <= answers.MOST_EPISODES
