"""Result records in files: one JSON a row, or one a study where a study has dozens of rows. Tables are drawn from them.

A record keeps the correct counts of every episode as integers, so means, intervals and paired differences can be
computed again from it. Journals keep the parts of an evaluation that is not finished, for resuming.
"""

import json
import re
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from filelock import FileLock
from typing_extensions import Unpack

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import interval
from anrot_lib.records import studies
from anrot_lib.records.parts import ColumnAbout, ColumnRecord
from anrot_lib.records.schema import (
    AccuracyRecord,
    CardRecord,
    GrowthRecord,
    JudgesRecord,
    PoisoningRecord,
    RankingChecksRecord,
    RankingRecord,
    ReconstructionRecord,
    Record,
    RescoreRecord,
    SmoothingRecord,
    TimingRecord,
    validate,
)

_NUMBERS = re.compile(r"\[\n\s*((?:[-+.\deE]+,\s+)*[-+.\deE]+)\n\s*\]")  # as `json.dumps` indents a list of numbers


def write(path: Path, record: Record) -> None:
    """Check and write a record, atomically."""
    _write_json(path, validate(record, str(path)))


def write_row(path: Path, name: str, record: Record) -> None:
    """Add a record to the file of a study under a name, or replace it there; atomic, and safe with other writers."""
    validate(record, f"{path}, {name}")
    lock = paths.checkpoints_dir() / f"{path.parent.name}-{path.stem}.lock"  # it stays, so not beside the records
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        _write_json(path, studies.pack(read_rows(path) | {name: record}))


def _write_json(path: Path, content: Any) -> None:
    """Keys are sorted and lists of numbers stand on one line, so that a difference between two files is readable."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    text = _NUMBERS.sub(lambda match: f"[{' '.join(match[1].split())}]", text)
    paths.write_text(path, text + "\n")


def _read_json(path: Path) -> dict[str, Record]:
    """Name -> record of a file: its rows if it is a study, else the one record under its own name."""
    if not Path(path).is_file():
        raise UserError(f"{path} is not a result record: there is no such file")
    try:
        content = json.loads(Path(path).read_text("utf-8"))
        rows = studies.unpack(content) if studies.is_study(content) else {path.stem: content}
        valid = {name: validate(row, f"{path}, {name}" if len(rows) > 1 else str(path)) for name, row in rows.items()}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a result record: {error}") from error
    return {name: _drop_weaker(record) for name, record in valid.items()}


def _drop_weaker(record: Record) -> Record:
    """A record without the columns of attacks on support sets whose objective was not the one of today.

    Until November 2026 these raised a mean over queries, and overstated robustness (docs/errata.md). What is not read
    is shown nowhere, and measured again by the next test.
    """
    if record["kind"] == "accuracy":
        for name, column in list(record["columns"].items()):
            if "threat" in column and column["threat"]["target"] != "query" and "objective" not in column:
                del record["columns"][name]
    return record


def read_rows(path: Path) -> dict[str, Record]:
    """Name -> record of a study; empty if there is no such file yet. UserError as `read`."""
    return _read_json(path) if path.is_file() else {}


@overload
def read(path: Path, kind: Literal["accuracy"]) -> AccuracyRecord: ...
@overload
def read(path: Path, kind: Literal["ranking"]) -> RankingRecord: ...
@overload
def read(path: Path, kind: Literal["ranking-checks"]) -> RankingChecksRecord: ...
@overload
def read(path: Path, kind: Literal["card"]) -> CardRecord: ...
@overload
def read(path: Path, kind: Literal["smoothing"]) -> SmoothingRecord: ...
@overload
def read(path: Path, kind: Literal["poisoning"]) -> PoisoningRecord: ...
@overload
def read(path: Path, kind: Literal["rescore"]) -> RescoreRecord: ...
@overload
def read(path: Path, kind: Literal["judges"]) -> JudgesRecord: ...
@overload
def read(path: Path, kind: Literal["timing"]) -> TimingRecord: ...
@overload
def read(path: Path, kind: Literal["growth"]) -> GrowthRecord: ...
@overload
def read(path: Path, kind: None = None) -> Record: ...
def read(path: Path, kind: str | None = None) -> Record:
    """The one record of a file. UserError if it is missing, cut short, faulty, a study, or of another kind."""
    rows = _read_json(Path(path))
    if len(rows) != 1:
        raise UserError(f"{path} holds {len(rows)} records, not one")
    (record,) = rows.values()
    if kind not in (None, record["kind"]):
        raise UserError(f"{path} is a record of the kind {record['kind']}, not {kind}")
    return record


@overload
def read_all(folder: Path, kind: Literal["accuracy"] = "accuracy") -> list[AccuracyRecord]: ...
@overload
def read_all(folder: Path, kind: Literal["reconstruction"]) -> list[ReconstructionRecord]: ...
@overload
def read_all(folder: Path, kind: Literal["ranking"]) -> list[RankingRecord]: ...
@overload
def read_all(folder: Path, kind: Literal["card"]) -> list[CardRecord]: ...
@overload
def read_all(folder: Path, kind: Literal["smoothing"]) -> list[SmoothingRecord]: ...
@overload
def read_all(folder: Path, kind: Literal["poisoning"]) -> list[PoisoningRecord]: ...
@overload
def read_all(folder: Path, kind: Literal["rescore"]) -> list[RescoreRecord]: ...
@overload
def read_all(folder: Path, kind: Literal["judges"]) -> list[JudgesRecord]: ...
@overload
def read_all(folder: Path, kind: Literal["timing"]) -> list[TimingRecord]: ...
@overload
def read_all(folder: Path, kind: str | None) -> list[Record]: ...
def read_all(folder: Path, kind: str | None = "accuracy") -> Any:
    """All records of a kind (None: of any) in the files below a folder, in the order of their paths, or in one file.

    Rows of a study are in the order of their names.
    """
    folder = Path(folder)
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
    return [record for path in files for record in _read_json(path).values() if kind in (None, record["kind"])]


def make_column(counts: np.ndarray, queries: int, seconds: float, **about: Unpack[ColumnAbout]) -> ColumnRecord:
    """One column of a record from the correct counts (E,) of its episodes."""
    stats = interval(np.asarray(counts) / queries)
    return {
        "correct": [int(c) for c in counts],
        "queries": int(queries),
        "mean": round(stats.mean, 4),
        "half_width": round(stats.half_width, 4),
        "bootstrap": [round(stats.bootstrap_low, 4), round(stats.bootstrap_high, 4)],
        "seconds": round(seconds, 2),
        **about,
    }


def compute_accuracies(column: ColumnRecord) -> np.ndarray:
    """Per-episode accuracies in [0, 1] of a record's column."""
    return np.asarray(column["correct"]) / np.float64(column["queries"])
