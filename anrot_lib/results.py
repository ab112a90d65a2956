"""Result records: one JSON a run, one schema, checked on writing and on reading. Tables are drawn from these only.

A record keeps the correct counts of every episode as integers, so means, intervals and paired differences can be
computed again from it. Journals keep the parts of an evaluation that is not finished, for resuming.
"""

import dataclasses
import functools
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fastjsonschema
import numpy as np

from anrot_lib import __version__, devices, paths
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.checks import UserError
from anrot_lib.data.image_set import ImageSet
from anrot_lib.statistics import interval

SCHEMA_VERSION = 1
_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_NUMBER, _TEXT, _OBJECT, _COUNT = {"type": "number"}, {"type": "string"}, {"type": "object"}, {"type": "integer"}


def _exactly(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """JSON schema of an object with these keys and no others."""
    properties = required | (optional or {})
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_COLUMN = _exactly(
    {
        "correct": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2},
        "queries": {"type": "integer", "minimum": 1},
        "mean": {"type": "number", "minimum": 0, "maximum": 100},
        "half_width": {"type": "number", "minimum": 0},
        "bootstrap": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2},
        "seconds": {"type": "number", "minimum": 0},
    },
    {"threat": _OBJECT, "sigma": _NUMBER, "surrogate": _OBJECT},
)
_LIST = {"type": "array", "items": _OBJECT}
_RUN = _exactly(
    {"command": _TEXT, "commit": _TEXT, "versions": _OBJECT, "device": _TEXT}, {"peak_gib": _NUMBER, "also": _LIST}
)
_DATA = _exactly(
    {"name": _TEXT, "sha256": _HASH, "split_hash": _HASH, "size": _COUNT, "images": _COUNT, "classes": _OBJECT},
    {"licence": _TEXT, "left_out": _COUNT, "rows_hash": _HASH},
)
_INTERVAL = _exactly({"value": _NUMBER, "half_width": _NUMBER})
_DECODED = _exactly(  # of one way of decoding: the sample or the mean of the posterior
    {
        **dict.fromkeys(("squared_error", "psnr", "ssim", "kernel"), _INTERVAL),
        "frechet": _exactly(
            {"value": _NUMBER, "half_width": _NUMBER, "resampled": {"type": "array", "items": _NUMBER}}
        ),
        "over_images": _LIST,
        "seconds": {"type": "number", "minimum": 0},
    }
)
_SHARES = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}}  # of levels
_TRAINING = {  # more may stand here
    "type": "object",
    "properties": {
        "history": {"type": "array", "items": {"type": "object", "properties": {"shares": _SHARES}}},
        # of levels put on a trained encoder: weight x scale of each, its share on the test episodes
        "fusion": _exactly({"mode": _TEXT, "weights": _OBJECT, "shares": _SHARES}),
    },
}
_HEAD = {"schema": {"const": SCHEMA_VERSION}, "run": _RUN}
_NUMBERS = {"type": "object", "additionalProperties": _NUMBER}
_ATTACKED = _exactly({"attack": _TEXT, **dict.fromkeys(("benign", "attacked", "half_width", "seconds"), _NUMBER)})
_TESTED = {  # of a ranking model: what it is, on which images, what was asked
    **_HEAD,
    **dict.fromkeys(("row", "name"), _TEXT),
    "data": _DATA,
    "checkpoint": _exactly({"sha256": _HASH, "steps": _COUNT, "of": _COUNT}, {"start": _TEXT}),  # older ones lack it
    "protocol": _OBJECT,
}
SCHEMAS = {
    "accuracy": _exactly(
        {
            **_HEAD,
            "kind": {"const": "accuracy"},
            "row": _TEXT,
            "data": _DATA,
            "protocol": _OBJECT,
            "recipe": _OBJECT,
            "budget": _OBJECT,
            "manifest": _OBJECT,
            "parameters": _COUNT,
            "transductive": {"type": "boolean"},
            "training": _TRAINING,
            "columns": {"type": "object", "additionalProperties": _COLUMN},
        }
    ),
    "reconstruction": _exactly(
        {
            **_HEAD,
            "kind": {"const": "reconstruction"},
            "row": _TEXT,
            "data": _DATA,
            "vae": _OBJECT,
            "test": _OBJECT,
            "parameters": _COUNT,
            "training": _OBJECT,
            "extractor": _exactly({"name": _TEXT, "sha256": _HASH, "features": _COUNT, "resize": _TEXT}),
            "divergences": {"type": "object", "additionalProperties": _NUMBER},
            "decoded": {"type": "object", "additionalProperties": _DECODED, "minProperties": 1},
            "floor": _exactly({"images": _COUNT, "value": _NUMBER, "measured": {"type": "boolean"}, "points": _LIST}),
        }
    ),
    "ranking-training": _exactly(
        {
            **_HEAD,
            "kind": {"const": "ranking-training"},
            "row": _TEXT,
            "data": _DATA,
            "recipe": _OBJECT,
            "parameters": _COUNT,
            "training": _exactly(
                {
                    "steps": _COUNT,
                    **dict.fromkeys(("seconds", "seconds_per_step"), _NUMBER),
                    **dict.fromkeys(("precision", "start", "note"), _TEXT),
                    "history": _LIST,
                }
            ),
        }
    ),
    "ranking": _exactly(
        {
            **_TESTED,
            "kind": {"const": "ranking"},
            "recipe": _OBJECT,
            "parameters": _COUNT,
            "clean": _NUMBERS,
            "numbers": {"type": "object", "additionalProperties": _ATTACKED, "minProperties": 10},
            "ers": _OBJECT,
            "queries": {"type": "array", "items": _NUMBER, "minItems": 2},  # the score of each
        },
        {"few_shot": _exactly({"settings": _OBJECT, "columns": {"type": "object", "additionalProperties": _COLUMN}})},
    ),
    "ranking-checks": _exactly(
        {
            **_TESTED,
            "kind": {"const": "ranking-checks"},
            **dict.fromkeys(("pgd", "worst"), _NUMBER),
            "passed": {"type": "boolean"},
            "checks": {"type": "object", "additionalProperties": {"type": "object", "required": ["passed"]}},
            "seconds": _NUMBER,
        },
        {"other": _OBJECT},
    ),
    "timing": _exactly({**_HEAD, "kind": {"const": "timing"}, "what": _TEXT, "settings": _OBJECT, "seconds": _OBJECT}),
}


@functools.cache
def _check(kind: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    # Compiled, because a report reads a hundred records, and an interpreting validator takes 25 ms for each.
    return fastjsonschema.compile(SCHEMAS[kind], use_default=False, use_formats=False)


def validate(record: dict[str, Any], where: str = "the record") -> dict[str, Any]:
    """The record, if it follows the schema of its kind; ValueError with the place of the first fault if not."""
    if not isinstance(record, dict):
        raise ValueError(f"{where}: a record is a JSON object, found {type(record).__name__}")
    if record.get("kind") not in SCHEMAS:
        raise ValueError(f"{where}: unknown kind {record.get('kind')!r}; known are {', '.join(SCHEMAS)}")
    try:
        _check(record["kind"])(record)
    except fastjsonschema.JsonSchemaValueException as error:
        raise ValueError(f"{where}: record{error.message.removeprefix('data')}") from error
    columns = record.get("columns", {}) | record.get("few_shot", {}).get("columns", {})
    for name, column in columns.items():
        if max(column["correct"]) > column["queries"]:
            raise ValueError(f"{where}: column {name!r} has more correct answers than queries in an episode")
    return record


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


def describe_threat(threat: ThreatModel) -> dict[str, Any]:
    return dataclasses.asdict(threat) | {"name": threat.name}


def describe_run(device: str) -> dict[str, Any]:
    """What ran: command, commit ("+" appended when files were changed), versions, kind of device, memory at most."""
    packages = ("torch", "torchvision", "numpy", "easyfsl", "pytorch-metric-learning")
    versions = {name: version(name).split("+")[0] for name in packages}
    command = ["anrot", *sys.argv[1:]] if sys.argv and "pytest" not in sys.argv[0] else ["anrot"]
    peak = devices.peak_memory()
    return {
        "command": shlex.join(_no_machine_path(word) for word in command),
        "commit": _commit(),
        "versions": {"anrot_lib": __version__, "python": platform.python_version(), **versions},
        "device": device,
        **({} if peak is None else {"peak_gib": round(peak, 2)}),
    }


def later_run(former: dict[str, Any], latest: dict[str, Any]) -> dict[str, Any]:
    """The run of a record whose other columns a former run measured: "also" names the commands and commits of those."""
    also = [*former.get("also", []), {key: former[key] for key in ("command", "commit")}]
    return latest | {"also": also}


def _no_machine_path(word: str) -> str:
    """A record says what was run, not where on somebody's disk: of an absolute path the last part is kept."""
    option, equals, value = word.rpartition("=")  # also of --data=PATH
    return f"{option}{equals}.../{Path(value).name}" if os.path.isabs(value) else word


def _commit() -> str:
    here = Path(__file__).resolve().parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", str(here)], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return f"release {__version__}"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def describe_data(image_set: ImageSet) -> dict[str, Any]:
    about = {
        "name": image_set.name,
        "sha256": image_set.sha256,
        "split_hash": image_set.split_hash,
        "size": int(image_set.images.shape[1]),
        "images": len(image_set),
        "classes": {split: len(classes) for split, classes in image_set.splits.items()},
    }
    if licence := image_set.provenance.get("licence"):
        about["licence"] = str(licence)
    if left_out := image_set.provenance.get("quarantine"):
        about["left_out"] = len(left_out)
    return about


class Journal:
    """Finished parts of an unfinished evaluation, a JSON line each: `journal[key]` after a kill is what it was.

    A line that a kill cut short is ignored. The first line names what the journal belongs to; one that belongs to
    something else starts empty.
    """

    def __init__(self, path: Path, belongs_to: dict[str, Any]):
        self.path, self.parts = Path(path), {}
        belongs_to = json.loads(json.dumps(belongs_to))  # as it will be read: tuples are lists then
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self._lines()
        if lines and lines[0] == {"belongs_to": belongs_to}:
            self.parts = {line["key"]: line["value"] for line in lines[1:]}
        with paths.atomic_write(self.path) as temporary:  # without the cut line, so that appending is safe
            kept = [{"belongs_to": belongs_to}, *({"key": k, "value": v} for k, v in self.parts.items())]
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")

    def _lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        lines = []
        for text in self.path.read_text("utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
        return lines

    def __contains__(self, key: str) -> bool:
        return key in self.parts

    def __getitem__(self, key: str) -> Any:
        return self.parts[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.parts[key] = value
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "value": value}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
