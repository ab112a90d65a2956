"""Checkpoints: written atomically, read with weights_only, and they say what they are checkpoints of."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError

FORMAT = 1


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values: equal content, equal bytes. A kill meanwhile leaves the former file whole."""
    with paths.write_atomically(path) as temporary, open(temporary, "wb") as file:
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


def copy(source: Path, destination: Path) -> None:
    """Copy a checkpoint, atomically."""
    with paths.write_atomically(destination) as temporary:
        shutil.copyfile(source, temporary)
