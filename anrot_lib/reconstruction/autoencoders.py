"""Variational autoencoders: the nets, the posterior with its reparameterised sample, and the two parts of the bound."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import TypedDict

from anrot_lib.core import checkpoints
from anrot_lib.core.configs import check_type
from anrot_lib.core.devices import store_channels_last
from anrot_lib.core.errors import UserError
from anrot_lib.divergences.measures import to_standard

CENTRE, SPREAD = 0.45, 0.25  # of pixels of photographs, roughly: what the encoder sees is centred, see `Vae`
LOG_VAR_LIMIT = 40.0  # exp(+-40) is far outside anything useful, and far inside float32


class AutoencoderArchitecture(TypedDict):
    """What it takes to rebuild an empty autoencoder of the same shape."""

    name: str
    size: int
    channels: int


class AutoencoderAbout(TypedDict, total=False):
    """What an autoencoder was trained by and on, and how the training went."""

    asked: dict[str, Any]
    training: dict[str, Any]


class Shape(NamedTuple):
    """Widths of an autoencoder; the side of the images is free, a multiple of 4."""

    encoder: tuple[int, ...]  # 3x3 convolutions of stride 2
    hidden: int
    latent: int
    decoder: tuple[int, ...]  # channels at a quarter of the side, at half of it, at the full side


# "published" is the released code's at 32 px. At 84 px its dense layers grow with the map and nothing else changes.
SHAPES = {
    "published": Shape((32, 64, 128, 256), 512, 1024, (32, 128, 64)),
    "small": Shape((16, 32, 32), 64, 32, (16, 32, 16)),
}


class Posterior(NamedTuple):
    mean: Tensor  # (B, latent)
    log_var: Tensor  # (B, latent)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """mean + sigma * noise, so that gradients reach both (reparameterised). Noise is drawn on the CPU."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=torch.float32)
        return self.mean + (0.5 * self.log_var).exp() * noise.to(self.mean.device)


class TransposedConv(nn.ConvTranspose2d):
    """ConvTranspose2d whose bias is added afterwards: the same function, a third off a training step on a CPU.

    With the bias inside, oneDNN sums its gradient in a slow loop that takes longer than that of the weights.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert self.bias is not None and output_size is None
        y = nn.functional.conv_transpose2d(
            input,
            self.weight,
            stride=self.stride,
            padding=self.padding,  # type: ignore[arg-type]  # a transposed convolution has no padding by name
            output_padding=self.output_padding,
        )
        return y.add_(self.bias.to(input.dtype)[:, None, None])


class Vae(nn.Module):
    """Images (B, C, side, side) in [0, 1] -> Posterior; (B, latent) -> images (B, C, side, side) in (0, 1).

    Encoder: 3x3 convolutions of stride 2, ReLU, a dense layer, mean and log-variance. Decoder: a dense layer to a map
    of a quarter of the side, two transposed 3x3 convolutions of stride 2, one of stride 1, sigmoid.

    The layers are the published ones. Not published: pixels are centred on the way in, else brightness alone rules the
    gradient of the first layer; and layers before a ReLU start as in He et al. 2015.
    """

    def __init__(self, name: str, size: int, channels: int = 3, generator: torch.Generator | None = None):
        super().__init__()
        if name not in SHAPES:
            raise UserError(f"unknown autoencoder {name!r}; choose one of {', '.join(SHAPES)}")
        if not 8 <= size <= 1024 or size % 4:
            raise UserError(f"an autoencoder's images must have a side of 8, 12, 16, ... 1024 pixels, got {size}")
        if channels not in (1, 3):
            raise UserError(f"an autoencoder's images have 1 or 3 channels, got {channels}")
        self.name, self.size, self.channels = name, size, channels
        shape = SHAPES[name]
        self.latent = shape.latent
        layers, n_in, side = [], channels, size
        for width in shape.encoder:
            layers += [nn.Conv2d(n_in, width, 3, 2, 1), nn.ReLU(inplace=True)]
            n_in, side = width, (side + 1) // 2
        flat, quarter, (first, second, third) = n_in * side * side, size // 4, shape.decoder
        self.encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, shape.hidden), nn.ReLU(inplace=True))
        self.mean, self.log_var = nn.Linear(shape.hidden, self.latent), nn.Linear(shape.hidden, self.latent)
        self.decoder = nn.Sequential(
            nn.Linear(self.latent, first * quarter**2),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (first, quarter, quarter)),
            TransposedConv(first, second, 3, 2, 1, output_padding=1),
            nn.ReLU(inplace=True),
            TransposedConv(second, third, 3, 2, 1, output_padding=1),
            nn.ReLU(inplace=True),
            TransposedConv(third, channels, 3, 1, 1),
            nn.Sigmoid(),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                if module in (self.mean, self.log_var, self.decoder[-2]):
                    nn.init.xavier_uniform_(module.weight, generator=generator)
                else:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(module.get_parameter("bias"))
        store_channels_last(self)  # a fifth faster in training on a CPU

    def encode(self, images: Tensor) -> Posterior:
        if images.shape[1:] != (self.channels, self.size, self.size):
            raise UserError(
                f"this autoencoder takes images of {self.channels} x {self.size} x {self.size}, "
                f"got {' x '.join(map(str, images.shape[1:]))}"
            )
        hidden = self.encoder(((images - CENTRE) / SPREAD).contiguous(memory_format=torch.channels_last))
        log_var = self.log_var(hidden).float().clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT)
        return Posterior(self.mean(hidden).float(), log_var)

    def decode(self, z: Tensor) -> Tensor:
        images: Tensor = self.decoder(z)
        return images.float()

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Posterior]:
        """(reconstruction from a sample, posterior)."""
        posterior = self.encode(images)
        return self.decode(posterior.sample(generator)), posterior


class Terms(NamedTuple):
    """The two parts of the bound, one number an image: (B,) each."""

    error: Tensor  # squared, summed over pixels and channels
    divergence: Tensor  # summed over the latent dimensions

    def loss(self, beta: float) -> Tensor:
        """Minus the bound, (B,)."""
        return self.error + beta * self.divergence


def compute_terms(images: Tensor, reconstruction: Tensor, posterior: Posterior, divergence: str) -> Terms:
    """Both parts for each image. The divergence is one of `divergences.to_standard`, in float32."""
    error = (reconstruction.float() - images.float()).square().flatten(1).sum(1)
    return Terms(error, to_standard(divergence, *posterior).sum(1))


def save(path: Path, net: Vae, **about: Any) -> None:
    """A trained autoencoder by itself, with what is to be known about it (JSON-able)."""
    shape = {"name": net.name, "size": net.size, "channels": net.channels}
    checkpoints.save(path, {"autoencoder": shape, "weights": net.state_dict(), "about": about})


def load(path: Path) -> tuple[Vae, dict[str, Any]]:
    """(net in eval mode, about). UserError if the file holds no autoencoder."""
    content = checkpoints.load(path)
    if missing := {"autoencoder", "weights", "about"} - set(content):
        raise UserError(f"{path} holds no autoencoder ({', '.join(sorted(missing))} missing)")
    form: AutoencoderArchitecture = check_type(
        content["autoencoder"], AutoencoderArchitecture, f"the architecture in {path}"
    )
    about = check_type(content["about"], AutoencoderAbout, f"what {path} says of its autoencoder")
    net = Vae(**form)
    checkpoints.load_weights(net, content["weights"], path, "autoencoder")
    return net.eval(), about
