"""Checkpoints of few-shot nets: architecture, weights, what they were trained on, and what else is known of them."""

import json
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from anrot_lib.core.checkpoints import hash_content, load, load_weights, save
from anrot_lib.core.configs import add_defaults, check_type, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.data.leakage.seen import Origin, set_origin
from anrot_lib.fewshot.classifier import FewShotNet, create_net
from anrot_lib.settings import Recipe


class NetArchitecture(TypedDict):
    """What it takes to rebuild an empty net of the same shape."""

    encoder: str
    method: str
    in_channels: int
    attention: bool | None


class NetAbout(TypedDict, total=False):
    """What is known of a net beside its weights; a caller of `save_net` may add more."""

    row: str
    size: int
    recipe: dict[str, Any]
    training: dict[str, Any]


def describe_architecture(net: FewShotNet, method: str) -> NetArchitecture:
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
    content = {"net": describe_architecture(net, method), "state": net.state_dict(), "about": about}
    save(path, content if net.origin is None else content | {"origin": net.origin.to_dict()})


def has_net(path: Path, net: FewShotNet, method: str, recipe: Recipe) -> bool:
    """Whether a file holds this very net of this recipe, as far as its recipe goes: older ones know fewer fields."""
    if not path.is_file():
        return False
    try:
        content = load(path)
        stored = add_defaults(Recipe, content["about"]["recipe"])
    except (KeyError, TypeError, UserError):  # another file, a damaged one, or a net without a recipe
        return False
    parts: dict[str, Any] = {"net": describe_architecture(net, method), "state": dict(net.state_dict())}
    parts["origin"] = None if net.origin is None else net.origin.to_dict()
    former = {name: content.get(name) for name in parts} | {"state": dict(content["state"])}
    return stored == to_dict(recipe) and hash_content(former) == hash_content(parts)


def load_net(path: Path) -> tuple[FewShotNet, str, dict[str, Any]]:
    """(net in eval mode, method name, about); of a training in progress, the net selected so far.

    UserError if the weights do not fit the architecture they name, NotFinite if one of them is NaN or infinite.
    """
    content = load(path)
    if missing := {"net", "state", "about"} - set(content):
        raise UserError(f"{path} holds no net ({', '.join(sorted(missing))} missing); give one that train wrote")
    shape: NetArchitecture = check_type(content["net"], NetArchitecture, f"the architecture in {path}")
    about = check_type(content["about"], NetAbout, f"what {path} says of its net")
    if about.get("size", 1) < 1:
        raise UserError(f"{path} says that its net takes images of {about['size']} px")
    net = create_net(**shape)
    load_weights(net, content["state"], path)
    set_origin(net.backbone, Origin.from_dict(content["origin"]) if "origin" in content else None)
    return net.eval(), shape["method"], about
