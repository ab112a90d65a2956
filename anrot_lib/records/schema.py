"""TODO."""

import functools
from collections.abc import Callable
from typing import Any

import fastjsonschema

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
