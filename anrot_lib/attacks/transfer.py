"""A transfer attack: a small CNN is trained as a classifier, and its gradient attacks another model.

It is a black-box attack, the weakest of the rows: the attacked net is never asked. The idea is published beside
arXiv 2509.11220; the net and its training are this kit's (`audit.surrogate` re-states the released ones). Here the
threat model is explicit, points stay in its ball and in [0, 1], the surrogate sees base classes only, and its own
prediction stands in for the label; one loss, squared error or cross-entropy, serves its training and the attack.

The attack is worth as much as its surrogate: `measure_surrogate` says how many held-out images of its own classes it
names, and one near chance makes random signs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.search import Objective
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core import devices, randomness
from anrot_lib.core.errors import UserError
from anrot_lib.data.image_set import ImageSet

LOSSES = ("mse", "cross_entropy")
EPOCHS, BATCH = 5, 128
HELD_OUT_EVERY = 10  # one image in ten of each class is kept from the training, to measure the surrogate on
LEAST_SKILL = 0.1  # share of what chance leaves wrong that a surrogate must name right to be of use


class Surrogate(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> logits (B, classes): conv 32, pool, conv 64, pool, conv 64, dense 64, dense.

    Average pooling to 4x4 before the dense layers makes the number of parameters independent of the image size.
    Channels are last in memory, which is quicker on a CPU.
    """

    def __init__(self, classes: int, channels: int, generator: torch.Generator):
        super().__init__()
        conv1, conv2, conv3 = (
            _build_empty(nn.Conv2d, a, b, 3, padding=1) for a, b in ((channels, 32), (32, 64), (64, 64))
        )
        dense1, dense2 = _build_empty(nn.Linear, 64 * 16, 64), _build_empty(nn.Linear, 64, classes)
        for layer in (conv1, conv2, conv3, dense1, dense2):  # from `generator`, where the constructors would not draw
            nn.init.kaiming_uniform_(layer.get_parameter("weight"), nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.get_parameter("bias"))
        layers = [conv1, nn.ReLU(), nn.MaxPool2d(2), conv2, nn.ReLU(), nn.MaxPool2d(2), conv3, nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), dense1, nn.ReLU(), dense2]
        self.layers = nn.Sequential(*layers)
        devices.store_channels_last(self)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers((2 * images - 1).contiguous(memory_format=torch.channels_last))
        return logits


def _build_empty(kind: type[nn.Module], *sizes: int, **options: int) -> nn.Module:
    """A layer whose weights are not drawn yet."""
    layer: nn.Module = skip_init(kind, *sizes, **options)
    return layer


def train_surrogate(
    images: Tensor | Callable[[Tensor], Tensor],
    labels: Tensor | np.ndarray,
    generator: torch.Generator,
    loss: str = "mse",
    epochs: int = EPOCHS,
    batch_size: int = BATCH,
    learning_rate: float = 1e-3,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    state: dict[str, Any] | None = None,
    keep: Callable[[dict[str, Any]], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Surrogate:
    """Train a surrogate with Adam on mini-batches in an order drawn from `generator` (a CPU generator).

    images  float tensor (N, C, H, W) in [0, 1], uint8 tensor of that shape, or a function from positions (B,) in
            `labels` to a float batch, so that a memory-mapped set need not be loaded whole.
    labels  (N,) class numbers; they need not be consecutive.
    loss    "mse" (softmax against one-hot) or "cross_entropy".
    precision  "fp32" or "bf16", the arithmetic of the layers; the loss is always computed in float32.
    keep, state  after each epoch `keep` is called with what `state` takes to go on from there; the weights in the end
            are those of a training without the interruption.
    progress  called with the number of images seen so far, of epochs x N.
    Same generator state, same machine: same weights. Returned in eval mode. FloatingPointError when training diverges.
    """
    _check_loss(loss)
    device = torch.device(device)
    classes, numbered = np.unique(np.asarray(labels), return_inverse=True)
    if len(classes) < 2:
        raise UserError(f"a surrogate classifier needs images of at least 2 classes, got {len(classes)}")
    batch = images if callable(images) else lambda rows: _make_float(images[rows])
    channels = batch(torch.arange(1)).shape[1]
    net = Surrogate(len(classes), channels, generator).to(device)
    targets = torch.as_tensor(numbered, device=device)
    optimizer = torch.optim.Adam(net.parameters(), lr=learning_rate)
    start = 0
    if state is not None:
        start = _restore(state, net, optimizer, generator)
    seen = start * len(targets)
    if progress is not None:
        progress(seen)
    for epoch in range(start, epochs):
        for rows in torch.split(torch.randperm(len(targets), generator=generator), batch_size):
            with devices.autocast(device, precision):
                logits = net(batch(rows).to(device))
            value = _losses(logits, targets[rows.to(device)], loss).mean()
            if not torch.isfinite(value):
                raise FloatingPointError("the surrogate's loss is not finite; lower its learning rate")
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
            seen += len(rows)
            if progress is not None:
                progress(seen)
        if keep is not None:
            content = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
            keep(content | {"generator": generator.get_state(), "epochs": epoch + 1})
    return net.eval()


def _restore(
    state: dict[str, Any], net: Surrogate, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> int:
    """Take up what `keep` was given; returns the number of epochs done. UserError for anything else."""
    try:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        whole = type(state["epochs"]) is int and all(weight.isfinite().all() for weight in net.parameters())
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError):
        whole = False
    if not whole:
        raise UserError("the stored surrogate of the transfer attack is damaged; delete its checkpoint, surrogate-*.pt")
    epochs: int = state["epochs"]
    return epochs


def split_base(image_set: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the train split to train a surrogate on, and those held out: of each class every tenth image, or the last
    of fewer; a class of one image holds out none. UserError for a set without training classes."""
    rows = image_set.rows("train")
    if not len(rows):
        raise UserError(f"{image_set.name} has no training classes to train the surrogate on; give it a class split")
    held_out = np.zeros(len(rows), dtype=bool)
    labels = image_set.labels[rows]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            held_out[members[min(HELD_OUT_EVERY, len(members)) - 1 :: HELD_OUT_EVERY]] = True
    return rows[~held_out], rows[held_out]


def train_on_base(image_set: ImageSet, generator: torch.Generator, **options: Any) -> Surrogate:
    """`train_surrogate` on the images of the train split and no others, so that no test label leaks into the attack;
    those that `split_base` holds out are left for `measure_surrogate`."""
    rows, _ = split_base(image_set)
    return train_surrogate(lambda i: image_set.batch(rows[i.numpy()]), image_set.labels[rows], generator, **options)


class Quality(NamedTuple):
    """How well a surrogate knows its own classes: accuracy in [0, 1] on held-out images, their number, the classes."""

    accuracy: float
    images: int
    classes: int

    @property
    def is_useful(self) -> bool:
        """Whether it is better than chance by a tenth of what chance leaves: below, the attack is near random signs."""
        chance = 1 / self.classes
        return (self.accuracy - chance) / (1 - chance) >= LEAST_SKILL

    def __str__(self) -> str:
        return (
            f"names {100 * self.accuracy:.1f} % of {self.images:,} held-out images of its own {self.classes} classes "
            f"right, chance {100 / self.classes:.1f} %"
        )


@torch.no_grad()
def measure_surrogate(surrogate: nn.Module, image_set: ImageSet, max_images: int = 512) -> Quality:
    """The accuracy of a surrogate of `train_on_base` on the images that it was not trained on."""
    rows, held_out = split_base(image_set)
    classes = np.unique(image_set.labels[rows])
    device, correct = next(surrogate.parameters()).device, 0
    for start in range(0, len(held_out), max_images):
        part = held_out[start : start + max_images]
        predicted = surrogate(image_set.batch(part).to(device)).argmax(1).cpu().numpy()
        correct += int((classes[predicted] == image_set.labels[part]).sum())
    return Quality(correct / max(1, len(held_out)), len(held_out), len(classes))


def transfer(
    surrogate: nn.Module,
    images: Tensor,
    threat: ThreatModel,
    generator: torch.Generator | None = None,
    loss: str = "mse",
    max_images: int = 512,
) -> Tensor:
    """Images (..., C, H, W) moved to raise the surrogate's loss against *its own prediction* for the clean image.

    Novel classes have no label among the surrogate's classes, so the class it takes an image for stands in: the
    change leads away from whatever the surrogate saw there. A saturated softmax has an "mse" gradient of exactly 0;
    such pixels stay.
    """
    _check_loss(loss)
    flat = images.flatten(0, -4)
    with frozen(surrogate, training=False):
        with torch.no_grad():
            labels = torch.cat([surrogate(part).argmax(1) for part in torch.split(flat, max_images)])
        objective = _surrogate_loss(surrogate, labels, loss)
        return ascend(objective, flat, threat, generator, chunk=max_images).images.view_as(images)


def _surrogate_loss(surrogate: nn.Module, labels: Tensor, loss: str) -> Objective:
    def objective(images: Tensor, active: Tensor | None) -> Tensor:
        return _losses(surrogate(images), labels if active is None else labels[active], loss)

    return objective


def _losses(logits: Tensor, labels: Tensor, loss: str) -> Tensor:
    if loss == "cross_entropy":
        return F.cross_entropy(logits.float(), labels, reduction="none")
    one_hot = F.one_hot(labels, logits.shape[1])
    return (logits.float().softmax(1) - one_hot).square().mean(1)


def _check_loss(loss: str) -> None:
    if loss not in LOSSES:
        raise UserError(f"the surrogate's loss must be one of {', '.join(LOSSES)}, got {loss!r}")


def _make_float(images: Tensor) -> Tensor:
    return images if images.is_floating_point() else images.float() / 255


def make_transfer_change(
    surrogate: torch.nn.Module, threat: ThreatModel, seed: int
) -> Callable[[Tensor, np.ndarray], Tensor]:
    """The surrogate's attack. It knows no episode, so each distinct image is attacked once."""

    def change(images: Tensor, rows: np.ndarray) -> Tensor:
        with torch.enable_grad():
            generator = randomness.make_generator(seed, f"transfer/{rows[0]}")
            return transfer(surrogate, images, threat, generator, max_images=len(images))

    return change
