"""Result records: one JSON a run, one schema, checked on writing and on reading. Tables are drawn from these only.

A record keeps the correct counts of every episode as integers, so means, intervals and paired differences can be
computed again from it. Journals keep the parts of an evaluation that is not finished, for resuming.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import interval
from anrot_lib.records.schema import validate


def write(path: Path, record: dict[str, Any]) -> None:
    """Check and write a record, atomically. Lists of counts stand on one line, so that a diff stays readable."""
    text = json.dumps(validate(record, str(path)), indent=1, sort_keys=True, ensure_ascii=False)
    for column in record.get("columns", {}).values():
        spread = json.dumps(column["correct"], indent=1).replace("\n", "\n   ")
        text = text.replace(spread, json.dumps(column["correct"]))
    if scores := record.get("queries"):
        text = text.replace(json.dumps(scores, indent=1).replace("\n", "\n "), json.dumps(scores))
    with paths.atomic_write(path) as temporary:
        temporary.write_text(text + "\n", "utf-8")


def read(path: Path) -> dict[str, Any]:
    """Read and check a record. UserError if it is missing, cut short or does not follow the schema."""
    try:
        return validate(json.loads(Path(path).read_text("utf-8")), str(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a result record: {error}") from error


def read_all(folder: Path, kind: str = "accuracy") -> list[dict[str, Any]]:
    """All records of a kind below a folder, in the order of their paths."""
    records = (read(path) for path in sorted(Path(folder).rglob("*.json")))
    return [record for record in records if record["kind"] == kind]


def column(counts: np.ndarray, queries: int, seconds: float, **about: Any) -> dict[str, Any]:
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


def accuracies(column: dict[str, Any]) -> np.ndarray:
    """Per-episode accuracies in [0, 1] of a record's column."""
    return np.asarray(column["correct"]) / column["queries"]
