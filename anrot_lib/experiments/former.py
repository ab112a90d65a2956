"""Records that lie there already: what of them stands, and what must not be overwritten."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from anrot_lib.attacks.suite import choose_rule
from anrot_lib.core.configs import add_defaults, list_differences, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import shorten
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.experiments.setting import Setting
from anrot_lib.ranking.recipe import RankingRecipe
from anrot_lib.records import results
from anrot_lib.records.describe import describe_data
from anrot_lib.records.measures import TrainingRecord
from anrot_lib.records.parts import ColumnRecord
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.settings import Budget, Protocol, Recipe


def check_former(path: Path, setting: Setting, recipe: Recipe, checkpoint: str | None = None) -> None:
    """UserError if a record of other images, another split, recipe or net stands in the way: none is overwritten.

    checkpoint: the hash of the net; None before it is trained.
    """
    if path.is_file():
        _check_accuracy(results.read(path, "accuracy"), shorten(path), setting, recipe, checkpoint)


def check_former_rows(
    study: Path, rows: Iterable[str], setting: Setting, recipe: Recipe, checkpoint: str | None = None
) -> None:
    """The same of the rows of a study."""
    records = results.read_rows(study)
    for row in rows:
        if (record := records.get(row)) is not None and record["kind"] == "accuracy":
            _check_accuracy(record, f"{row} in {shorten(study)}", setting, recipe, checkpoint)


def _check_accuracy(
    record: AccuracyRecord, place: str, setting: Setting, recipe: Recipe, checkpoint: str | None
) -> None:
    former = describe_training(record["data"], add_defaults(Recipe, record["recipe"]))
    refuse_other(place, former, describe_training(describe_data(setting.image_set), to_dict(recipe)))
    if checkpoint is not None and record["training"].get("checkpoint") != checkpoint:
        refuse_other(place)


def check_former_ranking(path: Path, data: Mapping[str, Any], recipe: RankingRecipe | None, checkpoint: str) -> None:
    """The same of the record of a ranking model: of its training, or of a test, whose record tells the net.

    recipe: None for a test; checkpoint: the hash of the net, "" before it is trained.
    """
    record = results.read(path) if path.is_file() else None
    if record is not None and record["kind"] == "ranking-training" and recipe is not None:
        former = describe_training(record["data"], add_defaults(RankingRecipe, record["recipe"]))
        refuse_other(shorten(path), former, describe_training(data, to_dict(recipe)))
    elif record is not None and (record["kind"] == "ranking" or record["kind"] == "ranking-checks"):
        refuse_other(shorten(path), describe_training(record["data"], {}), describe_training(data, {}))
        if record["checkpoint"]["sha256"] != checkpoint:
            refuse_other(shorten(path))


def describe_training(data: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal in two records of one name: the images, their split, and the recipe of the net."""
    return {"images": data["sha256"], "split": data["split_hash"], "recipe": dict(recipe)}


def refuse_other(place: str, former: dict[str, Any] | None = None, asked: dict[str, Any] | None = None) -> None:
    """UserError unless two of `describe_training` are equal; without them, for a record of another net."""
    what = "of another net"
    if former is not None and asked is not None:
        if not (different := list_differences(former, asked)):
            return
        what = f"of another training (different {', '.join(different)})"
    raise UserError(f"{place} is the record {what}; give another --tag to keep both, or delete it")


def get_current_columns(record: AccuracyRecord, answered: Collection[str] = ()) -> dict[str, ColumnRecord]:
    """The columns that a test would measure in the same way today.

    Not worst cases of strong attacks of other adaptive steps, or on poisoned support sets that leave more right than
    the attack which is one of theirs; former attacks on support sets are not even read. Of the columns `answered` those
    that do not say which queries are right are measured again, too.
    """
    return {
        name: column
        for name, column in record["columns"].items()
        if is_current(column)
        and not is_beaten_by_part(column, record)
        and (name not in answered or "answers" in column)
    }


def is_beaten_by_part(column: ColumnRecord, record: AccuracyRecord) -> bool:
    """Whether a worst case on support sets or on both leaves more than the attack of the same threat model alone does.

    Until the end of November 2026 a suite had random starts of its own, and not also those of that attack.
    """
    if "suite" not in column or "threat" not in column or column["threat"]["target"] == "query":
        return False
    alone = record["columns"].get(column["threat"]["name"], column)
    pairs = zip(column["correct"], alone["correct"], strict=False)  # the first tasks of a manifest are the same
    return any(worst > plain for worst, plain in pairs) and column["queries"] == alone["queries"]


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
