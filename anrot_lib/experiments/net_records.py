"""What records of one net have in common: the first part of cards, judges and certificates, and that none is lost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from anrot_lib.core import devices
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import shorten
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.experiments.rows import describe_seen
from anrot_lib.experiments.setting import Setting
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.records.describe import describe_data, describe_protocol, describe_run
from anrot_lib.records.parts import ManifestRecord
from anrot_lib.records.schema import SCHEMA_VERSION, NetHead
from anrot_lib.settings import Budget

TITLES = {"rows": "episodes", "tasks": "number of episodes", "judges": "set of judges"}  # in messages


def count_attacked_tasks(budget: Budget) -> int:
    """Episodes whose certificates are attacked: as many as strong attacks take, twice those of a curve."""
    return min(2 * budget.curve_tasks, budget.attacked_tasks)


def describe_head(
    setting: Setting,
    row: str,
    net_hash: str,
    manifest: EpisodeManifest,
    evaluator: Evaluator,
    seconds: float,
) -> NetHead:
    """The first part of a record. seconds: what the work took, also that of runs that were killed."""
    head: NetHead = {
        "schema": SCHEMA_VERSION,
        "run": describe_run(devices.describe_device(setting.device)),
        "row": row,
        "data": describe_data(setting.image_set),
        "protocol": describe_protocol(setting.protocol),
        "manifest": cast(ManifestRecord, manifest.recipe()),
        "net": {"sha256": net_hash, "name": row},
        "seconds": round(seconds, 2),
    }
    if evaluator.seen:
        head["seen"] = describe_seen(evaluator.seen)
    return head


def describe_former(record: NetHead, tasks: int) -> dict[str, Any]:
    """What a record answers, as `keep_former` compares it."""
    return {"net": record["net"]["sha256"], "rows": record["manifest"]["hash"], "tasks": tasks}


def keep_former(path: Path, stands: Mapping[str, Any], asked: Mapping[str, Any]) -> Path:
    """The path of a record, if it answers what is asked. UserError if not: none is overwritten."""
    if different := sorted(name for name in asked if asked[name] != stands[name]):
        what = ", ".join(TITLES.get(name, name) for name in different)
        raise UserError(f"{shorten(path)} is a record of another {what}; give another --tag to keep both, or delete it")
    return path
