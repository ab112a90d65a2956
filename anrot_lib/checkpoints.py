"""Checkpoints: written atomically, read with weights_only, and they say what they are checkpoints of."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from anrot_lib import paths
from anrot_lib.checks import UserError
from anrot_lib.classifiers import FewShotNet, build_net

FORMAT = 1


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values: equal content, equal bytes. A kill meanwhile leaves the former file whole."""
    with paths.atomic_write(path) as temporary, open(temporary, "wb") as file:
        torch.save({"format": FORMAT, **content}, file)  # given a name, torch would write that into the file


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing but tensors and plain values is ever unpickled. UserError if it is not one."""
    if not Path(path).is_file():
        raise UserError(f"there is no checkpoint {path}; train one first, or give its path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes, or a text file, can make the unpickler raise nearly anything
        raise UserError(f"{path} is not a readable checkpoint ({type(error).__name__}); it may be cut short") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this kit (format {FORMAT})")
    return content


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def architecture(net: FewShotNet, method: str) -> dict[str, Any]:
    """What it takes to rebuild an empty net of the same shape."""
    encoder = net.backbone
    return {
        "encoder": encoder.name,
        "method": method,
        "in_channels": encoder.in_channels,
        "attention": encoder.attention,
    }


def save_net(path: Path, net: FewShotNet, method: str, **about: Any) -> None:
    """A trained net by itself: architecture, weights, and whatever is to be known about it (JSON-able).

    Equal nets give equal files: pickle writes an object that stands in two places once, so `about` is rebuilt.
    """
    about = json.loads(json.dumps(about))
    save(path, {"net": architecture(net, method), "state": net.state_dict(), "about": about})


def load_net(path: Path) -> tuple[FewShotNet, str, dict[str, Any]]:
    """(net in eval mode, method name, about); of a training in progress, the net selected so far.

    UserError if the weights do not fit the architecture they name.
    """
    content = load(path)
    if missing := {"net", "state", "about"} - set(content):
        raise UserError(f"{path} holds no net ({', '.join(sorted(missing))} missing); give one that train wrote")
    net = build_net(**content["net"])
    try:
        net.load_state_dict(content["state"])
    except RuntimeError as error:
        raise UserError(f"the weights in {path} do not fit the net that it names") from error
    return net.eval(), content["net"]["method"], content["about"]


def copy(source: Path, destination: Path) -> None:
    """Copy a checkpoint, atomically."""
    with paths.atomic_write(destination) as temporary:
        shutil.copyfile(source, temporary)
