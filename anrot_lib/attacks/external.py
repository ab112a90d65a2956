"""Attacks of other libraries on an episode's classifier: adversarial-robustness-toolbox and adv-lib, both optional.

adv-lib requires a plotting server that does not build everywhere and that its attacks do not use, so it is installed
without its requirements: pip install --no-deps adv-lib
"""

import importlib
import importlib.util
import logging
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib.attacks.ascent import frozen
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError
from anrot_lib.core.torchvision_compat import load_torchvision

UNUSED = "visdom"  # what adv-lib imports and its attacks use only if they are asked to draw


def wrap_art_classifier(model: nn.Module, images: Tensor) -> Any:
    """`model`, such as `net.bind(support, labels)`, as that library's PyTorchClassifier on pixels in [0, 1].

    images (B, C, H, W) give shape, device and, by one forward pass, the number of classes. Raises UserError when
    the library is not installed.
    """
    try:
        from art.estimators.classification import PyTorchClassifier
    except ImportError as error:
        raise UserError(
            "attacks from outside need an optional library: pip install adversarial-robustness-toolbox"
        ) from error
    logging.getLogger("art").setLevel(logging.WARNING)  # it reports every classifier and every batch
    with frozen(model, training=False), torch.no_grad():
        classes = model(images[:1]).shape[-1]
    return PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(images.shape[1:]),
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="gpu" if images.is_cuda else "cpu",
    )


def run_external_attack(
    make: Callable[[Any], Any], model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel
) -> Tensor:
    """Run `make(classifier).generate` on images (B, C, H, W) with labels (B,).

    For example `make=lambda classifier: SquareAttack(classifier, eps=8 / 255)`.
    What comes back is projected into the ball of `threat`, so that a row of a table means what its threat model
    says whatever the library did. The model runs in eval mode and is left as it was. That library draws from
    numpy's global generator, which is not seeded here: see `fork_generators`.
    """
    check_images(images)
    with frozen(model, training=False):
        attack = make(wrap_art_classifier(model, images))
        points = attack.generate(x=images.detach().cpu().numpy(), y=labels.cpu().numpy())
    return threat.project(torch.as_tensor(points).to(images), images.detach())


def load_adv_lib() -> ModuleType:
    """`adv_lib.attacks`; an empty module stands in for visdom while it is loaded. UserError if it is missing."""
    stands_in = UNUSED not in sys.modules and importlib.util.find_spec(UNUSED) is None
    if stands_in:
        sys.modules[UNUSED] = ModuleType(UNUSED)
    try:
        load_torchvision()  # it imports torchvision
        importlib.import_module("setuptools")  # it brings `distutils`, which Python has not had since 3.12
        return importlib.import_module("adv_lib.attacks")
    except ImportError as error:
        raise UserError("this attack needs an optional library: pip install --no-deps adv-lib setuptools") from error
    finally:
        if stands_in:
            del sys.modules[UNUSED]


def run_adv_lib_attack(
    name: str, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, **options: Any
) -> Tensor:
    """Run the function `name` of `adv_lib.attacks` on images (B, C, H, W) with labels (B,), as `run_external_attack`.

    options: what that function takes beside them. It draws from torch's global generator.
    """
    check_images(images)
    attack = getattr(load_adv_lib(), name)
    with frozen(model, training=False):
        points = attack(model, images.detach(), labels, **options)
    return threat.project(points.detach().to(images), images.detach())


@contextmanager
def fork_generators(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch, which these libraries use, and put them back after."""
    former_python, former_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(former_python)
            np.random.set_state(former_numpy)  # noqa: NPY002
