"""The file of a study: what all its records share stands in it once, and of each record only what differs.

    {"kind": "study", "schema": 1, "shared": {...}, "rows": {"pixel-seed-0": {...}, ...}}

A record is `shared` with its row laid over it, nested objects key by key.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from anrot_lib.records.schema import SCHEMA_VERSION

Tree = Mapping[str, Any]  # JSON objects, nested


def is_study(content: Any) -> bool:
    return isinstance(content, dict) and content.get("kind") == "study"


def pack(rows: Mapping[str, Tree]) -> dict[str, Any]:
    """The content of the file for records by name."""
    shared = _find_shared(list(rows.values()))
    different = {name: _subtract(row, shared) for name, row in rows.items()}
    return {"kind": "study", "schema": SCHEMA_VERSION, "shared": shared, "rows": different}


def unpack(content: Tree) -> dict[str, dict[str, Any]]:
    """The full records by name, in the order in which files of these names would be sorted. ValueError if it is cut."""
    schema = content.get("schema")
    if content.keys() != {"kind", "schema", "shared", "rows"} or type(schema) is not int or schema != SCHEMA_VERSION:
        raise ValueError(f"a study has the keys kind, rows, schema ({SCHEMA_VERSION}) and shared")
    shared, rows = content["shared"], content["rows"]
    if not (isinstance(rows, dict) and all(isinstance(tree, dict) for tree in (shared, *rows.values()))):
        raise ValueError("the shared part and the rows of a study are JSON objects")
    return {name: _lay_over(shared, rows[name]) for name in sorted(rows, key=lambda name: f"{name}.json")}


def _are_equal(a: Any, b: Any) -> bool:
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)  # for Python, 1 == 1.0 == True


def _find_shared(trees: Sequence[Tree]) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    for key in trees[0]:
        values = [tree[key] for tree in trees if key in tree]
        if len(values) < len(trees):
            continue
        if all(_are_equal(value, values[0]) for value in values[1:]):
            shared[key] = values[0]
        elif all(isinstance(value, dict) for value in values) and (inner := _find_shared(values)):
            shared[key] = inner
    return shared


def _subtract(tree: Tree, shared: Tree) -> dict[str, Any]:
    rest: dict[str, Any] = {}
    for key, value in tree.items():
        if key not in shared:
            rest[key] = value
        elif not _are_equal(value, shared[key]):
            rest[key] = _subtract(value, shared[key])
    return rest


def _lay_over(shared: Tree, rest: Tree) -> dict[str, Any]:
    both = {key: value for key, value in rest.items() if key not in shared}
    for key, value in shared.items():
        if key in rest and not (isinstance(value, dict) and isinstance(rest[key], dict)):
            raise ValueError(f"a row of the study has a value of its own for the shared {key!r}")
        both[key] = _lay_over(value, rest[key]) if key in rest else value
    return dict(sorted(both.items()))
