"""TODO."""

import dataclasses
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core import devices
from anrot_lib.core.version import __version__
from anrot_lib.data.image_set import ImageSet


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
    here = Path(__file__).resolve().parents[1]  # the package
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


def parameter_count(module: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(p.numel() for p in module.parameters())
