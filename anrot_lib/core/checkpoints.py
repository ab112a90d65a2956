"""Checkpoints: written atomically, read without code, checked by a hash, and they say what they are of.

A path that ends in `.safetensors` names a file of that format, any other path one of torch. A safetensors file holds
the tensors by their place in the content ("state/conv.weight"), and all else as JSON in its metadata.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from anrot_lib.core import paths
from anrot_lib.core.errors import NotFinite, UserError

FORMAT = 1
HASH = "content_sha256"  # older checkpoints lack it
SAFETENSORS, METADATA, PLACE = ".safetensors", "anrot", "tensor"  # the ending; the key of the JSON; what marks a tensor


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values: equal content, equal bytes. A kill meanwhile leaves the former file whole."""
    content = {"format": FORMAT, **{key: value for key, value in content.items() if key != HASH}}
    if Path(path).suffix == SAFETENSORS:
        _save_safetensors(path, content)
        return
    with paths.write_atomically(path) as temporary, open(temporary, "wb") as file:
        torch.save({**content, HASH: hash_content(content)}, file)  # given a name, torch would write that into the file


def _save_safetensors(path: Path, content: dict[str, Any]) -> None:
    """Plain values are those of JSON: a tuple comes back as a list."""
    tensors: dict[str, Tensor] = {}
    plain = json.loads(json.dumps(_take_tensors(content, "", tensors)))
    described = json.dumps({**plain, HASH: hash_content(_put_tensors(plain, tensors))})
    with paths.write_atomically(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors, metadata={METADATA: described}))


def _take_tensors(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """The value with a mark in the place of each tensor, which is put into `tensors` by that place."""
    if isinstance(value, Tensor):
        tensors[place] = value.detach().cpu().contiguous()
        return {PLACE: place}
    if isinstance(value, Mapping):
        return {key: _take_tensors(part, f"{place}/{key}" if place else key, tensors) for key, part in value.items()}
    return value


def _put_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() == {PLACE}:
        return tensors[value[PLACE]]
    return {key: _put_tensors(part, tensors) for key, part in value.items()}


def _read(path: Path) -> Any:
    if Path(path).suffix != SAFETENSORS:
        return torch.load(path, map_location="cpu", weights_only=True)
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        plain = (file.metadata() or {}).get(METADATA)
    return None if plain is None else _put_tensors(json.loads(plain), tensors)


def hash_content(content: Any) -> str:
    """sha256 of tensors and plain values, nested in dicts, lists and tuples."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            digest.update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
            plain = value.detach().cpu().contiguous()
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, Mapping):
            digest.update(f"dict {len(value)}".encode())
            for key, part in value.items():
                add(key)
                add(part)
        elif isinstance(value, list | tuple):
            digest.update(f"{type(value).__name__} {len(value)}".encode())
            for part in value:
                add(part)
        else:
            digest.update(f"{type(value).__name__} {value!r}".encode("utf-8", "surrogatepass"))

    add(content)
    return digest.hexdigest()


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing but tensors and plain values is ever read. UserError if it is not one."""
    if not Path(path).is_file():
        raise UserError(f"there is no checkpoint {path}; train one first, or give its path")
    try:
        content = _read(path)
    except Exception as error:  # damaged bytes, or a text file, can make the unpickler raise nearly anything
        raise UserError(f"{path} is not a readable checkpoint ({type(error).__name__}); it may be cut short") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this kit (format {FORMAT})")
    expected = content.pop(HASH, None)
    if expected is not None and hash_content(content) != expected:
        raise UserError(f"{path} is damaged: its content is not what was written; train the net again, or copy it anew")
    return content


def load_weights(net: nn.Module, state: Any, path: Path | str, what: str = "net") -> None:
    """Fill a net from the state of a checkpoint. UserError if it does not fit, NotFinite for a NaN or an infinity."""
    former = net.state_dict()
    whole = isinstance(state, Mapping) and state.keys() == former.keys()
    if not whole or not all(_may_replace(old, state[name]) for name, old in former.items()):
        raise UserError(f"the weights in {path} do not fit the {what} that it names")
    if broken := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise NotFinite(
            f"the weights in {path} are not finite ({broken[0]}); train the {what} again, at a smaller rate"
        )
    net.load_state_dict(state)


def _may_replace(old: Tensor, new: Any) -> bool:
    """Whether a tensor is of the shape and kind of a weight."""
    return isinstance(new, Tensor) and new.shape == old.shape and new.is_floating_point() == old.is_floating_point()


def sha256(path: Path) -> str:
    """The hash of a file. UserError for what is none: a pipe would be waited for, a device would never end."""
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy(source: Path, destination: Path) -> None:
    """Copy a checkpoint, atomically; into the format that the ending of the destination names."""
    if (Path(source).suffix == SAFETENSORS) != (Path(destination).suffix == SAFETENSORS):
        save(destination, load(source))
        return
    with paths.write_atomically(destination) as temporary:
        shutil.copyfile(source, temporary)
