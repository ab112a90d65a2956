"""Embedders: images (N, C, H, W) in [0, 1] to embeddings (N, D), for ranking. `metric` says how to compare them.

Pixels are normalised inside, as each backbone wants them, so attacks see plain pixels. Batch norms may be frozen: they
then use their running statistics in training mode too, while their weights still learn.
"""

import contextlib
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import TypedDict

from anrot_lib.core import checkpoints, torchvision_compat
from anrot_lib.core.configs import check_type
from anrot_lib.core.devices import store_channels_last
from anrot_lib.core.errors import UserError
from anrot_lib.ranking.distances import check_metric

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DOWNLOAD = "imagenet"  # in place of a file of weights: fetch torchvision's

# Backbone: torchvision's builder, and where its classifier sits.
TORCHVISION = {
    "rres18": ("resnet18", "fc"),
    "rres50": ("resnet50", "fc"),
    "rmnas05": ("mnasnet0_5", "classifier"),
    "rmnas10": ("mnasnet1_0", "classifier"),
    "reffb0": ("efficientnet_b0", "classifier"),
    "rswint": ("swin_t", "head"),
    "rswins": ("swin_s", "head"),
    "rswinb": ("swin_b", "head"),
}
# Swin-L, which torchvision does not build: the published widths (Liu et al. 2021), window 7.
SWIN_L = {"embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48], "stochastic_depth_prob": 0.5}


MOST_DIMENSIONS = 65_536


class EmbedderArchitecture(TypedDict):
    """What it takes to rebuild an empty embedder of the same shape."""

    backbone: str
    metric: str
    dim: int
    freeze_bn: bool


class EmbedderAbout(TypedDict, total=False):
    """What is known of an embedder beside its weights."""

    name: str
    recipe: dict[str, Any]
    data: dict[str, Any]
    steps: int
    of: int
    start: str


class Embedder(nn.Module):
    """A backbone that ends in a linear layer of `dim` outputs.

    backbone, metric, dim, in_channels and freeze_bn rebuild it (`build`); `trunk` is the net, `head` the name of its
    last layer. `size` is the side of the images it was made for, None for any.
    """

    def __init__(
        self, backbone: str, metric: str, trunk: nn.Module, head: str, dim: int, freeze_bn: bool, size: int | None
    ):
        super().__init__()
        self.backbone, self.metric, self.trunk, self.head = backbone, check_metric(metric), trunk, head
        self.dim, self.freeze_bn, self.size = dim, freeze_bn, size
        self.in_channels = 1 if size == 28 else 3
        mean, std = ((0.0,), (1.0,)) if size == 28 else (IMAGENET_MEAN, IMAGENET_STD)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] != self.in_channels or (self.size and images.shape[-1] != self.size):
            wanted = f"{self.in_channels} channels" + (f" and {self.size} px" if self.size else "")
            raise UserError(f"the backbone {self.backbone} takes images of {wanted}, got {tuple(images.shape[1:])}")
        if self.in_channels == 3:
            images = (images - self.mean) / self.std
        embeddings: Tensor = self.trunk(images.contiguous(memory_format=torch.channels_last))
        return embeddings

    def train(self, mode: bool = True) -> "Embedder":
        """Training mode as usual, but for frozen batch norms."""
        super().train(mode)
        if self.freeze_bn:
            for module in self.batch_norms():
                module.eval()
        return self

    def batch_norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def about(self) -> EmbedderArchitecture:
        """What `build` needs to make an empty one of the same shape."""
        return {"backbone": self.backbone, "metric": self.metric, "dim": self.dim, "freeze_bn": self.freeze_bn}


def rc2f2(dim: int) -> nn.Sequential:
    """conv5x5 1-32, ReLU, 2x2 max, conv5x5 32-64, ReLU, 2x2 max, 1024, ReLU, dim: 3,789,184 parameters for dim 512."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(3136, 1024),
        nn.ReLU(inplace=True),
        nn.Linear(1024, dim),
    )


def rlenet(dim: int) -> nn.Sequential:
    """LeNet as in Caffe, without a non-linearity between its convolutions; dim is 128 in the original."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(inplace=True),
        nn.Linear(500, dim),
    )


SMALL: dict[str, tuple[Callable[[int], nn.Sequential], str]] = {"rc2f2": (rc2f2, "9"), "rlenet": (rlenet, "7")}


def build(
    backbone: str,
    metric: str = "N",
    dim: int = 512,
    freeze_bn: bool = False,
    generator: torch.Generator | None = None,
    weights: Path | str | None = None,
) -> Embedder:
    """An embedder by its name in the grammar of `ranking.names`.

    generator  the initial weights follow from it; without one they are chance
    weights    a file with the state of torchvision's classifier of that name, or "imagenet" to fetch torchvision's own;
               None is from scratch. Its last layer is left out: the new one has `dim` outputs.

    Raises UserError for an unknown backbone, one that is not available, or weights that do not fit.
    """
    if backbone == "ribn":
        raise UserError("ribn (Inception-BN) is not available: torchvision has no such net; take rres50 or reffb0")
    trunk: nn.Module
    with _seeded(generator):
        if backbone in SMALL:
            if weights is not None:
                raise UserError(f"{backbone} is trained from scratch; leave --weights out")
            builder, head = SMALL[backbone]
            trunk, size = builder(dim), 28
        else:
            trunk, head = _torchvision(backbone)
            if weights is not None:
                load_weights(trunk, backbone, head, weights)
            old = trunk.get_submodule(head)
            last = old[-1] if isinstance(old, nn.Sequential) else old
            assert isinstance(last, nn.Linear), f"{backbone} ends in a linear layer"
            setattr(trunk, head, nn.Linear(last.in_features, dim))
            size = None
    embedder = Embedder(backbone, metric, trunk, head, dim, freeze_bn, size)
    return store_channels_last(embedder)


@contextlib.contextmanager
def _seeded(generator: torch.Generator | None) -> Iterator[None]:
    """torchvision draws its initial weights from the global generator: lend it a seed, and leave it as it was."""
    if generator is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.randint(2**62, (), generator=generator).item())
        yield


def _torchvision(backbone: str) -> tuple[nn.Module, str]:
    models = torchvision_compat.load_torchvision().models
    if backbone == "rswinl":
        swin = models.SwinTransformer(patch_size=[4, 4], window_size=[7, 7], **SWIN_L)
        return swin, "head"
    if backbone not in TORCHVISION:
        raise UserError(f"unknown backbone {backbone!r}; choose from {', '.join((*SMALL, *TORCHVISION, 'rswinl'))}")
    name, head = TORCHVISION[backbone]
    return models.get_model(name, weights=None), head


def load_weights(trunk: nn.Module, backbone: str, head: str, weights: Path | str) -> None:
    """Fill a trunk, all but its classifier, from a file or, for "imagenet", from torchvision's server."""
    state = _fetch(backbone) if str(weights) == DOWNLOAD else _read(Path(weights))
    former = trunk.state_dict()
    kept = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
    wanted = {key for key in former if not key.startswith(f"{head}.")}
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}  # older files have none
    if wanted - counters - set(kept) or set(kept) - wanted or any(former[k].shape != v.shape for k, v in kept.items()):
        raise UserError(
            f"the weights in {weights} are not those of {backbone} ({TORCHVISION.get(backbone, ('Swin-L',))[0]})"
        )
    trunk.load_state_dict(kept, strict=False)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"there is no file of weights {path}; give one, {DOWNLOAD} to fetch them, or nothing")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes, or a text file, can make the unpickler raise nearly anything
        raise UserError(f"{path} cannot be read as a file of weights ({type(error).__name__})") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no weights; it should be the state of a torchvision model")
    return state


def _fetch(backbone: str) -> dict[str, Tensor]:
    if backbone not in TORCHVISION:
        raise UserError(f"torchvision has no ImageNet weights for {backbone}; give a file")
    models = torchvision_compat.load_torchvision().models
    try:
        weights = models.get_model_weights(TORCHVISION[backbone][0]).IMAGENET1K_V1
        state: dict[str, Tensor] = weights.get_state_dict(check_hash=True)
        return state
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UserError(f"the ImageNet weights of {backbone} could not be fetched ({error}); give a file") from None


def save(path: Path, embedder: Embedder, **about: Any) -> None:
    """An embedder by itself: what it is, its weights, and whatever is to be known about it (JSON-able)."""
    checkpoints.save(path, {"embedder": embedder.about(), "state": embedder.state_dict(), "about": about})


def load(path: Path) -> tuple[Embedder, dict[str, Any]]:
    """(embedder in eval mode, what is known about it); of a training in progress, as far as it has come.

    UserError if the file holds none, or weights that do not fit.
    """
    content = checkpoints.load(path)
    if missing := {"embedder", "state", "about"} - set(content):
        raise UserError(f"{path} holds no embedder ({', '.join(sorted(missing))} missing); see anrot retrieve train")
    shape: EmbedderArchitecture = check_type(content["embedder"], EmbedderArchitecture, f"the architecture in {path}")
    if not 1 <= shape["dim"] <= MOST_DIMENSIONS:
        raise UserError(f"{path} names an embedder of {shape['dim']} dimensions")
    about = check_type(content["about"], EmbedderAbout, f"what {path} says of its net")
    embedder = build(**shape, generator=torch.Generator())
    checkpoints.load_weights(embedder, content["state"], path, "embedder")
    return embedder.eval(), about
