"""What a record says of a run: command, commit, versions and machine; the data; the threat model."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import cast

from torch import nn

from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core import devices
from anrot_lib.core.configs import to_dict
from anrot_lib.core.version import __version__
from anrot_lib.data.image_set import ImageSet
from anrot_lib.records.parts import CommandRecord, DataRecord, RunRecord
from anrot_lib.records.settings import BudgetRecord, ProtocolRecord, RecipeRecord, ThreatRecord
from anrot_lib.settings import Budget, Protocol, Recipe


def describe_threat(threat: ThreatModel) -> ThreatRecord:
    return {
        "name": threat.name,
        "norm": threat.norm,
        "eps": threat.eps,
        "step": threat.step,
        "steps": threat.steps,
        "restarts": threat.restarts,
        "start": threat.start,
        "target": threat.target,
    }


def describe_protocol(protocol: Protocol) -> ProtocolRecord:
    return cast(ProtocolRecord, to_dict(protocol))


def describe_recipe(recipe: Recipe) -> RecipeRecord:
    return cast(RecipeRecord, to_dict(recipe))


def describe_budget(budget: Budget) -> BudgetRecord:
    return cast(BudgetRecord, to_dict(budget))


def describe_run(device: str) -> RunRecord:
    """What ran: command, commit (with a "+" if files were changed), versions, kind of device, peak memory if known."""
    packages = ("torch", "torchvision", "numpy", "easyfsl", "pytorch-metric-learning")
    versions = {name: version(name).split("+")[0] for name in packages}
    command = ["anrot", *sys.argv[1:]] if sys.argv and "pytest" not in sys.argv[0] else ["anrot"]
    record: RunRecord = {
        "command": shlex.join(_strip_folders(word) for word in command),
        "commit": _find_commit(),
        "versions": {"anrot_lib": __version__, "python": platform.python_version(), **versions},
        "device": device,
    }
    if (peak := devices.measure_peak_memory()) is not None:
        record["peak_gib"] = round(peak, 2)
    return record


def join_runs(former: RunRecord, latest: RunRecord) -> RunRecord:
    """The latest run, with the commands and commits of former runs, which measured other columns, under "also"."""
    first: CommandRecord = {"command": former["command"], "commit": former["commit"]}
    also = [*former.get("also", []), first]
    return {**latest, "also": also}


def _strip_folders(word: str) -> str:
    """A word of a command; of an absolute path only its last part: a record does not say where on a disk files lie."""
    option, equals, value = word.rpartition("=")  # also of --data=PATH
    return f"{option}{equals}.../{Path(value).name}" if os.path.isabs(value) else word


def _find_commit() -> str:
    """The commit of the checkout of the package. An installed package may lie in a repository of somebody else."""
    here = Path(__file__).resolve().parents[1]  # the package
    if not (here.parent / "pyproject.toml").is_file():
        return f"release {__version__}"
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", str(here)], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return f"release {__version__}"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def describe_data(image_set: ImageSet) -> DataRecord:
    record: DataRecord = {
        "name": image_set.name,
        "sha256": image_set.sha256,
        "split_hash": image_set.split_hash,
        "size": int(image_set.images.shape[1]),
        "images": len(image_set),
        "classes": {split: len(classes) for split, classes in image_set.splits.items()},
    }
    if licence := image_set.provenance.get("licence"):
        record["licence"] = str(licence)
    if left_out := image_set.provenance.get("quarantine"):
        record["left_out"] = len(left_out)
    if without := image_set.provenance.get("without"):
        record["without"] = list(without)
    return record


def count_parameters(module: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(p.numel() for p in module.parameters())
