"""Any attack of the adversarial-robustness-toolbox (an optional extra) on an episode's classifier."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from anrot_lib.attacks.ascent import frozen
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError


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
    numpy's global generator, which is not seeded here.
    """
    check_images(images)
    with frozen(model, training=False):
        attack = make(wrap_art_classifier(model, images))
        points = attack.generate(x=images.detach().cpu().numpy(), y=labels.cpu().numpy())
    return threat.project(torch.as_tensor(points).to(images), images.detach())
