"""Records that lie there already: what of them stands, and what must not be overwritten."""

from pathlib import Path
from typing import Any, cast

from anrot_lib.attacks.suite import choose_rule
from anrot_lib.core.configs import add_defaults, list_differences, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import shorten
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.experiments.setting import Setting
from anrot_lib.records import results
from anrot_lib.records.measures import TrainingRecord
from anrot_lib.records.parts import ColumnRecord
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.settings import Budget, Protocol, Recipe


def check_former(path: Path, setting: Setting, recipe: Recipe, checkpoint: str | None = None) -> None:
    """UserError if a record of other images, another split, recipe or net stands in the way: none is overwritten.

    checkpoint: the hash of the net; None before it is trained.
    """
    if not path.is_file():
        return
    record = results.read(path, "accuracy")
    image_set = setting.image_set
    former = {
        "images": record["data"]["sha256"],
        "split": record["data"]["split_hash"],
        "recipe": add_defaults(Recipe, record["recipe"]),
    }
    asked = {"images": image_set.sha256, "split": image_set.split_hash, "recipe": to_dict(recipe)}
    if different := list_differences(cast(dict[str, Any], former), asked):
        what = f"of another training (different {', '.join(different)})"
    elif checkpoint is not None and record["training"].get("checkpoint") != checkpoint:
        what = "of another net"
    else:
        return
    raise UserError(f"{shorten(path)} is the record {what}; give another --tag to keep both, or delete it")


def get_current_columns(record: AccuracyRecord) -> dict[str, ColumnRecord]:
    """The columns that a test would measure in the same way today.

    Not worst cases of strong attacks of other adaptive steps; former attacks on support sets are not even read.
    """
    return {name: column for name, column in record["columns"].items() if is_current(column)}


def is_current(column: ColumnRecord) -> bool:
    """Whether the attack of a column is that of today."""
    if "suite" not in column or "threat" not in column:
        return True
    return column.get("rule") == choose_rule(column["suite"], column["threat"]["target"])


def find_record(
    path: Path, setting: Setting, recipe: Recipe, manifest: EpisodeManifest, trained: TrainingRecord
) -> AccuracyRecord | None:
    """The record of this very net, protocol and manifest, with any columns; None if there is none."""
    if not path.is_file():
        return None
    record = results.read(path, "accuracy")
    return record if matches(record, setting, recipe, manifest, trained) else None


def matches(
    record: AccuracyRecord, setting: Setting, recipe: Recipe, manifest: EpisodeManifest, trained: TrainingRecord
) -> bool:
    """Whether a record is of this very net, protocol and manifest."""
    return (
        record["training"].get("checkpoint") == trained["checkpoint"]
        and record["manifest"]["hash"] == manifest.hash
        and add_defaults(Protocol, record["protocol"]) == to_dict(setting.protocol)
        and add_defaults(Recipe, record["recipe"]) == to_dict(recipe)
        and add_defaults(Budget, record["budget"]) == to_dict(setting.budget)
    )
