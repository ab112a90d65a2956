"""Feature extractors for distances between sets of images: each has a name, a resize rule and a hash.

An extractor takes uint8 images (B, C, H, W) and nothing else, so that pixels in [0, 1] cannot be mistaken for pixels
in [0, 255]; it returns float32 features (B, num_features), and so it is also a `feature` of torchmetrics' classes.
"""

import hashlib
import urllib.request
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anrot_lib.core import checkpoints, paths, torchvision_compat
from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot import nets
from anrot_lib.fewshot.encoders import Encoder
from anrot_lib.reconstruction import mobilenet

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def quantise(images: Tensor) -> Tensor:
    """Images in [0, 1] as the bytes that a file would hold: uint8, rounded."""
    return (check_images(images) * 255).round().to(torch.uint8)


class Extractor(nn.Module):
    """A net with what a record has to state about it.

    net      (B, C, H, W) -> (B, D), or maps (B, D, h, w), which are averaged over positions.
    pixels   what the net takes: "unit" float in [0, 1], "symmetric" float in [-1, 1], "bytes" uint8.
    size     images are resized to this side first, bilinear with antialiasing; None: as they are.
    channels 3: grey images are repeated.
    """

    def __init__(
        self,
        net: nn.Module,
        name: str,
        sha256: str,
        pixels: str = "unit",
        size: int | None = None,
        resize: str | None = None,
        channels: int = 3,
    ):
        super().__init__()
        self.net, self.name, self.sha256 = net, name, sha256
        self.pixels, self.size, self.channels = pixels, size, channels
        self.resize = resize or ("none" if size is None else f"bilinear, antialiased, to {size} px")
        if not isinstance(net, torch.fx.GraphModule):  # an exported program has no modes
            self.eval()
        probe = torch.zeros(2, channels, size or 32, size or 32, dtype=torch.uint8)
        with torch.no_grad():
            self.num_features = self(probe).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise UserError(
                f"an extractor takes uint8 images (B, C, H, W), got {images.dtype} {tuple(images.shape)}; "
                "turn images in [0, 1] into bytes by quantise"
            )
        images = images.expand(-1, 3, -1, -1) if self.channels == 3 and images.shape[1] == 1 else images
        if self.pixels != "bytes":
            images = images.float() / 255
            if self.size is not None and images.shape[-1] != self.size:
                images = nn.functional.interpolate(images, size=2 * [self.size], mode="bilinear", antialias=True)
            images = images * 2 - 1 if self.pixels == "symmetric" else images
        features: Tensor = self.net(images).float()
        return features.mean((-2, -1)) if features.ndim == 4 else features

    @property
    def is_inception(self) -> bool:
        """Whether this is the net that FID is defined by: the published weights, not just the architecture."""
        return self.sha256 == INCEPTION_SHA256

    @property
    def title(self) -> str:
        """What a distance by this extractor may be called."""
        return "FID" if self.is_inception else f"Frechet distance by {self.name}"

    def about(self) -> dict[str, Any]:
        return {"name": self.name, "sha256": self.sha256, "features": self.num_features, "resize": self.resize}


def wrap_encoder(encoder: nn.Module, name: str) -> Extractor:
    """An encoder of this kit, its maps averaged over positions; the hash is of its weights."""
    if not isinstance(encoder, Encoder):
        raise UserError(f"an encoder of this kit is needed, got {type(encoder).__name__}")
    content = hashlib.sha256()
    for key, tensor in sorted(encoder.state_dict().items()):
        content.update(key.encode())
        content.update(tensor.cpu().contiguous().numpy().tobytes())
    return Extractor(encoder, name, content.hexdigest(), channels=encoder.in_channels)


def load_encoder(path: Path) -> Extractor:
    """The encoder of a net that `train` wrote."""
    net, method, about = nets.load_net(path)
    return wrap_encoder(net.backbone, f"{net.backbone.name} ({about.get('row', method)})")


def load_mobilenet(path: Path, size: int | None = 128) -> Extractor:
    """MobileNet v1 from an .npz file of weights; it was trained at 224 px, and less is faster."""
    net = mobilenet.load(path)
    return Extractor(net, f"MobileNet v1 at {size} px", checkpoints.sha256(path), "symmetric", size)


def load_program(path: Path, size: int | None = None) -> Extractor:
    """Any torch module, from a file of torch.export.save (.pt2) with a free batch size.

    It takes floats in [0, 1] and normalises them itself; it returns features (B, D) or maps (B, D, h, w).
    """
    try:
        net = torch.export.load(str(path)).module()
    except Exception as error:  # damaged archives raise nearly anything
        raise UserError(f"{path} is not a module written by torch.export.save ({type(error).__name__})") from error
    try:
        return Extractor(net, Path(path).stem, checkpoints.sha256(path), size=size)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"the module in {path} does not take 2 images of {size or 32} px; export it with a free batch size, "
            "and give its image size"
        ) from error


def load_inception(path: Path | None = None, sha256: str = INCEPTION_SHA256, download: bool = False) -> Extractor:
    """Inception v3 as FID uses it, 2,048 features, through torchmetrics; its file is checked before it is opened.

    path      the file of weights; None: where the download puts it, below data/raw.
    sha256    what the file must have. Weights with another hash may be used, but their distance is not FID.
    download  fetch the published weights (96 MB) if the file is not there. Never done unless asked for.
    """
    torchvision_compat.load_torchvision()  # torchmetrics imports it
    from torchmetrics.image.fid import NoTrainInceptionV3

    path = Path(path) if path is not None else paths.raw_dir() / INCEPTION_URL.rsplit("/", 1)[1]
    if not path.is_file():
        if not download:
            raise UserError(f"there are no Inception weights at {path}; fetch {INCEPTION_URL}, or ask for the download")
        with paths.write_atomically(path) as temporary:
            try:
                urllib.request.urlretrieve(INCEPTION_URL, temporary)
            except OSError as error:
                raise UserError(f"the Inception weights could not be fetched from {INCEPTION_URL} ({error})") from error
            _check_hash(temporary, sha256, INCEPTION_URL)
    _check_hash(path, sha256, str(path))
    try:
        torch.load(path, map_location="cpu", weights_only=True)  # torchmetrics' own reader would unpickle anything
        net = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path))
    except Exception as error:
        raise UserError(f"{path} holds no Inception weights ({type(error).__name__})") from error
    name = "Inception v3" if sha256 == INCEPTION_SHA256 else "Inception v3 with other weights"
    return Extractor(net, name, sha256, "bytes", resize="bilinear, antialiased, to 299 px")


def _check_hash(path: Path, expected: str, source: str) -> None:
    if (actual := checkpoints.sha256(path)) != expected:
        raise UserError(f"{source} has sha256 {actual}, expected {expected}; it is damaged or another file")


def choose_extractor(
    words: str, sha256: str | None = None, size: int | None = None, download: bool = False
) -> Extractor:
    """The extractor that a command line names.

    inception; a file: .pth (Inception weights), .npz (MobileNet v1), .pt2 (any exported module), .pt or .safetensors
    (a net of ours).
    """
    if words == "inception":
        return load_inception(None, sha256 or INCEPTION_SHA256, download)
    path = Path(words).expanduser()
    if not path.is_file():
        raise UserError(f"unknown extractor {words!r}: neither own, inception, nor a file")
    known = {
        ".pth": lambda: load_inception(path, sha256 or INCEPTION_SHA256),
        ".npz": lambda: load_mobilenet(path, size or 128),
        ".pt2": lambda: load_program(path, size),
        ".pt": lambda: load_encoder(path),
        ".safetensors": lambda: load_encoder(path),
    }
    if path.suffix not in known:
        raise UserError(f"extractor {path.name}: known are files ending in {', '.join(known)}")
    return known[path.suffix]()
