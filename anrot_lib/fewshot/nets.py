"""Checkpoints of few-shot nets: architecture, weights, what they were trained on, and what else is known of them."""

import json
from pathlib import Path
from typing import Any

import torch

from anrot_lib.core.checkpoints import load, save
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.data.leakage.seen import Origin, set_origin
from anrot_lib.fewshot.classifier import FewShotNet, create_net


def describe_architecture(net: FewShotNet, method: str) -> dict[str, Any]:
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
    content = {"net": describe_architecture(net, method), "state": net.state_dict(), "about": about}
    save(path, content if net.origin is None else content | {"origin": net.origin.to_dict()})


def load_net(path: Path) -> tuple[FewShotNet, str, dict[str, Any]]:
    """(net in eval mode, method name, about); of a training in progress, the net selected so far.

    UserError if the weights do not fit the architecture they name, NotFinite if one of them is NaN or infinite.
    """
    content = load(path)
    if missing := {"net", "state", "about"} - set(content):
        raise UserError(f"{path} holds no net ({', '.join(sorted(missing))} missing); give one that train wrote")
    net = create_net(**content["net"])
    try:
        net.load_state_dict(content["state"])
    except RuntimeError as error:
        raise UserError(f"the weights in {path} do not fit the net that it names") from error
    if broken := [name for name, tensor in content["state"].items() if not torch.isfinite(tensor).all()]:
        raise NotFinite(f"the weights in {path} are not finite ({broken[0]}); train the net again, at a smaller rate")
    set_origin(net.backbone, Origin.from_dict(content["origin"]) if "origin" in content else None)
    return net.eval(), content["net"]["method"], content["about"]
