"""The columns of a record: which questions are put to a net, and the answers, resumable after a kill."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.attacks.suite import TITLES, choose_rule, list_attacks
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.attacks.transfer import measure_surrogate
from anrot_lib.core.configs import to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.paths import make_file_stem
from anrot_lib.core.progress import accumulate
from anrot_lib.core.resumable import Paused
from anrot_lib.data.corruptions import SEVERITIES, STRENGTHS
from anrot_lib.data.episodes import EpisodeManifest, EpisodeRows
from anrot_lib.experiments.corruptions import measure_corruptions
from anrot_lib.experiments.setting import Setting
from anrot_lib.experiments.stored import ImageStore
from anrot_lib.experiments.surrogate import train_surrogate
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.evaluation import Evaluator, Keep, Marks, make_noise_change
from anrot_lib.records import answers, results
from anrot_lib.records.describe import describe_threat
from anrot_lib.records.journal import Journal
from anrot_lib.records.parts import ColumnAbout, ColumnRecord
from anrot_lib.settings import Budget, Protocol

TASKS_PER_PART = 40  # tasks attacked together, and what a kill can lose of an attacked column
CURVE_STEPS = 10


@dataclass(frozen=True)
class Column:
    """One question to a net: the tasks it is asked on, and how their images are changed."""

    name: str
    tasks: int
    query: int
    threat: ThreatModel | None = None
    sigma: float | None = None
    surrogate: bool = False
    suite: str = ""
    corrupted: str = ""  # query, support or both


def list_suite_columns(setting: Setting) -> list[Column]:
    """The worst cases of strong attacks that a setting asks for. They take far longer, so they are asked on fewer tasks
    than other attacks: twice those of a curve."""
    protocol, budget = setting.protocol, setting.budget
    tasks = min(2 * budget.curve_tasks, budget.attacked_tasks)
    columns = []
    for suite in setting.suites:
        for target in setting.targets:
            threat = replace(make_pgd(protocol), target=target)
            name = threat.name.replace(threat.name.split()[0], TITLES[suite], 1)
            columns.append(Column(name, tasks, budget.attacked_query, threat, suite=suite))
    return columns + [Column(f"corruptions {t}", tasks, budget.attacked_query, corrupted=t) for t in setting.corrupted]


def make_pgd(protocol: Protocol) -> ThreatModel:
    """PGD on queries as a protocol has it."""
    return pgd(protocol.eps, protocol.steps, protocol.step, protocol.restarts, target="query", norm=protocol.norm)


def list_columns(protocol: Protocol, budget: Budget, clean_tasks: int | None = None) -> list[Column]:
    """All columns of a record. The names stand in tables and figures, so they say what was done."""
    attacked = partial(Column, tasks=budget.attacked_tasks, query=budget.attacked_query)
    short = partial(Column, tasks=budget.curve_tasks, query=budget.attacked_query)
    strong, plain = make_pgd(protocol), fgsm(protocol.eps, target="query", norm=protocol.norm)
    columns = [
        Column("clean", clean_tasks or budget.clean_tasks, budget.clean_query),
        attacked("clean, attacked tasks"),
        attacked(plain.name, threat=plain),
        attacked(strong.name, threat=strong),
        attacked(f"transfer {plain.name}", threat=plain, surrogate=True),
    ]
    for target in ("support", "both"):
        threat = replace(strong, target=target)
        columns.append(short(threat.name, threat=threat))
    sigmas = sorted({*protocol.curve_sigma, protocol.sigma})
    columns += [attacked(name_noise_column(sigma), sigma=sigma) for sigma in sigmas if sigma]
    for eps in protocol.curve_eps:
        threat = pgd(eps, CURVE_STEPS, eps / 4, 1, target="query", norm=protocol.norm)
        columns.append(short(f"curve {threat.name}", threat=threat))
    return columns


def select_columns(setting: Setting, clean_tasks: int | None = None) -> list[Column]:
    """The columns of a setting that it asks for."""
    usual = [c for c in list_columns(setting.protocol, setting.budget, clean_tasks) if setting.asks(c.name)]
    return usual + list_suite_columns(setting)


def choose_stored(setting: Setting) -> Column | None:
    """The column whose adversarial queries a setting stores: of its suite, else of PGD; None if it stores none."""
    strong = make_pgd(setting.protocol).name
    columns = [c for c in select_columns(setting) if c.suite or c.name == strong]
    columns = [c for c in columns if c.threat and c.threat.target == "query"]
    return columns[-1] if setting.stores and columns else None


def check_asked(setting: Setting) -> None:
    """UserError if a column that the setting asks for, or whose images it stores, does not exist."""
    names = [column.name for column in list_columns(setting.protocol, setting.budget)]
    for words in setting.columns or ():
        if not any(replace(setting, columns=(words,)).asks(name) for name in names):
            known = ", ".join(sorted({name.split()[0].rstrip(",") for name in names}))
            raise UserError(f"unknown column {words!r}; choose from {known}, or a whole name such as {names[2]!r}")
    if setting.stores and choose_stored(setting) is None:
        raise UserError("--store keeps the adversarial queries of PGD or of --attacks, and neither is measured here")


def evaluate_row(
    setting: Setting,
    row: str,
    net: FewShotNet,
    manifest: EpisodeManifest,
    journal_key: str,
    columns: list[Column] | None = None,
) -> dict[str, ColumnRecord]:
    """All columns of a net, resumable: finished parts are kept in a journal until the record is written.

    columns: other questions than those of `list_columns` that the setting asks for.
    """
    if columns is None:
        columns = select_columns(setting, manifest.n_tasks)
    settings = {"protocol": to_dict(setting.protocol), "budget": to_dict(setting.budget)}
    belongs_to = {"net": journal_key, "rows": manifest.hash, **settings}
    journal = Journal(setting.work / f"{make_file_stem(row)}-evaluation.jsonl", belongs_to)
    values = {}
    evaluator = Evaluator(
        net, setting.image_set, setting.device, partial(train_surrogate, setting), setting.allow_seen, setting.split
    )
    costs = {column.name: count_passes(setting, column) for column in columns}
    stored, start = choose_stored(setting), 0
    with setting.progress(f"test {row}", sum(costs.values())) as bar:
        for column in columns:
            bar(start, {"column": column.name})
            end = start + costs[column.name]
            within = partial(_show_within, bar, start, end)
            store = ImageStore(setting, row, column.name, manifest, journal_key) if column == stored else None
            values[column.name] = _test_column(setting, evaluator, manifest, column, journal, within, store)
            start = end
        bar(start, {})
    return values


def _show_within(bar: Callable[..., None], start: int, end: int, done: int) -> None:
    bar(min(start + done, end))


def count_passes(setting: Setting, column: Column) -> int:
    """Encoder passes that a column takes, forward = 1, if no query were beaten early: what bars and dry runs count."""
    if column.suite and column.threat is not None:
        attacks = list_attacks(column.suite, column.threat.eps, setting.protocol.way, column.threat.norm)
        passes = sum(attack.threat.steps * (1 if attack.rule == "squares" else 3) for attack in attacks)
        return column.tasks * setting.protocol.way * column.query * passes * setting.protocol.restarts
    if column.corrupted:
        return len(setting.image_set.rows(setting.split)) * len(STRENGTHS) * len(SEVERITIES)
    if column.threat is None and column.sigma is None:  # descriptions of all test images, computed once
        return len(setting.image_set.rows(setting.split)) if column.name == "clean" else 1
    steps = 0 if column.threat is None or column.surrogate else column.threat.steps * column.threat.restarts
    return column.tasks * setting.protocol.way * column.query * (1 + 2 * steps)


def _test_column(
    setting: Setting,
    evaluator: Evaluator,
    manifest: EpisodeManifest,
    column: Column,
    journal: Journal,
    progress: Callable[[int], None],
    store: ImageStore | None = None,
) -> ColumnRecord:
    rows = manifest.rows[: column.tasks].with_queries(column.query)
    if column.corrupted:
        return measure_corruptions(setting, evaluator, rows, column.name, column.corrupted, journal, progress)
    counts: list[int] = []
    seconds = 0.0
    for start, part in _split_tasks(rows, column):
        key = f"{column.name} / {start}"
        if key not in journal or (store is not None and not store.has(start, part)):
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
            journal[key] = piece  # at once: a kill between two parts of it would leave a record without the second
            if setting.pause():
                raise Paused
        progress(count_passes(setting, column) * (start + len(part)) // len(rows))
        counts += journal[key]["correct"]
        seconds += journal[key]["seconds"]
    about: ColumnAbout = {}
    if _keeps_answers(setting, column):
        kept = [
            (journal[f"{column.name} / {start}"].get("answers"), len(part))
            for start, part in _split_tasks(rows, column)
        ]
        about |= answers.join_answers(kept, rows)
    if store is not None:
        about["images"] = store.join([start for start, _ in _split_tasks(rows, column)], rows.query.size)
    if column.threat is not None:
        about["threat"] = describe_threat(column.threat)
        if column.threat.target != "query":
            about["objective"] = "beaten queries"
        if column.suite:
            about["suite"] = column.suite
            about["rule"] = choose_rule(column.suite, column.threat.target)
            counted = [journal[f"{column.name} / {start}"].get("beaten", {}) for start, _ in _split_tasks(rows, column)]
            if all(counted):  # parts of an older journal do not say it
                about["beaten"] = {name: sum(part[name] for part in counted) for name in counted[0]}
    if column.sigma is not None:
        about["sigma"] = column.sigma
    if column.name == "clean" and "calibration_error" in (whole := journal[f"{column.name} / 0"]):
        about["calibration_error"] = whole["calibration_error"]
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


def count_column(evaluator: Evaluator, manifest: EpisodeManifest, column: Column, seed: int) -> np.ndarray:
    """Correct queries of each task of a column (tasks,), all at once: `evaluate_row` can be killed between parts."""
    parts = _split_tasks(manifest.rows[: column.tasks].with_queries(column.query), column)
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


def _keeps_answers(setting: Setting, column: Column) -> bool:
    """Whether a record says which queries of a column are right, and not only how many: of clean images and of PGD."""
    named = column.name in ("clean", make_pgd(setting.protocol).name)
    return named and column.tasks <= answers.MOST_EPISODES


def list_left_out(setting: Setting, columns: Sequence[Column]) -> dict[str, str]:
    """Those of some columns that would say nothing, with the reason: transfer columns whose surrogate is near chance.

    The surrogate is trained for this, if there is such a column.
    """
    if not (transferred := [column.name for column in columns if column.surrogate]):
        return {}
    quality = measure_surrogate(train_surrogate(setting), setting.image_set)
    reason = f"the surrogate {quality}: its attack would be little more than random signs"
    return {} if quality.is_useful else dict.fromkeys(transferred, reason)


def name_noise_column(sigma: float) -> str:
    """The name of the column of a sigma: two decimals where they say it all, so that no two share a name."""
    return f"noise {sigma:.2f} query" if float(f"{sigma:.2f}") == sigma else f"noise {sigma:g} query"
