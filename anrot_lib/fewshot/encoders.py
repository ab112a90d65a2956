"""Encoders: images in [0, 1] to feature maps. Each normalises its input itself, so attacks see plain pixels."""

import copy
import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.attention import Attention

PIXEL_MEAN, PIXEL_STD = 0.5, 0.25  # one fixed affine map for every data set: no statistics to leak or to forget


def conv3x3(n_in: int, n_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """conv3x3-BN-ReLU-conv3x3-BN, attention, plus identity (1x1 conv + BN where the shape changes), ReLU."""

    def __init__(self, n_in: int, n_out: int, stride: int, attention: bool):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(n_in, n_out, stride), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = conv3x3(n_out, n_out), nn.BatchNorm2d(n_out)
        self.attention = Attention(n_out) if attention else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn1(self.conv1(x)).relu_()
        out = self.attention(self.bn2(self.conv2(out)))
        out = out + self.shortcut(x)
        return out.relu_()


class WideBlock(nn.Module):
    """Three conv3x3-BN with LeakyReLU(0.1), 1x1 conv + BN shortcut, 2x2 max pooling: the block of ResNet-12."""

    def __init__(self, n_in: int, n_out: int, attention: bool):
        super().__init__()
        self.layers = nn.Sequential(
            conv3x3(n_in, n_out),
            nn.BatchNorm2d(n_out),
            nn.LeakyReLU(0.1),
            conv3x3(n_out, n_out),
            nn.BatchNorm2d(n_out),
            nn.LeakyReLU(0.1),
            conv3x3(n_out, n_out),
            nn.BatchNorm2d(n_out),
        )
        self.attention = Attention(n_out) if attention else nn.Identity()
        self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        out = self.attention(self.layers(x)) + self.shortcut(x)
        return nn.functional.max_pool2d(nn.functional.leaky_relu(out, 0.1), 2)


def conv_block(n_in: int, n_out: int, attention: bool, pool: bool = True) -> nn.Sequential:
    """conv3x3-BN-(attention)-ReLU-(2x2 max pooling): the block of Conv-4 (Vinyals et al. 2016)."""
    gate = [Attention(n_out)] if attention else []
    pooling = [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(conv3x3(n_in, n_out), nn.BatchNorm2d(n_out), *gate, nn.ReLU(), *pooling)


class Encoder(nn.Module):
    """Images (B, C, H, W) in [0, 1] to feature maps (B, out_channels, h, w).

    `name`, `attention` and `in_channels` rebuild it; `stages` is the trunk, one module a resolution.
    """

    def __init__(self, name: str, stages: list[nn.Module], in_channels: int, out_channels: int, attention: bool):
        super().__init__()
        self.name, self.attention = name, attention
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stages = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] != self.in_channels:
            raise UserError(
                f"encoder {self.name} was built for {self.in_channels}-channel images, got {images.shape[1]} channels"
            )
        maps: Tensor = self.stages((images - PIXEL_MEAN) / PIXEL_STD)
        return maps


def resnet12_anrot(in_channels: int, attention: bool) -> tuple[list[nn.Module], int]:
    """The encoder of the published code: widths 32-64-128-256, blocks 1-1-2-1; 1,547,498 parameters for RGB.

    84 x 84 -> 256 x 11 x 11. Smaller by far than the "ResNet-12" of published tables (`resnet12`).
    """
    stages: list[nn.Module] = [nn.Sequential(conv3x3(in_channels, 64), nn.BatchNorm2d(64), nn.ReLU(inplace=True))]
    n_in = 64
    for width, blocks, stride in ((32, 1, 1), (64, 1, 2), (128, 2, 2), (256, 1, 2)):
        stage = []
        for index in range(blocks):
            stage.append(BasicBlock(n_in, width, stride if index == 0 else 1, attention))
            n_in = width
        stages.append(nn.Sequential(*stage))
    return stages, n_in


def resnet12(in_channels: int, attention: bool) -> tuple[list[nn.Module], int]:
    """The ResNet-12 that published tables mean: widths 64-160-320-640; 84 x 84 -> 640 x 5 x 5 (Lee et al. 2019)."""
    widths = (in_channels, 64, 160, 320, 640)
    return [WideBlock(a, b, attention) for a, b in itertools.pairwise(widths)], 640


def conv4(in_channels: int, attention: bool) -> tuple[list[nn.Module], int]:
    """Four conv blocks of 64 channels; 84 x 84 -> 64 x 5 x 5 (Vinyals et al. 2016)."""
    return [conv_block(n, 64, attention) for n in (in_channels, 64, 64, 64)], 64


def conv64f(in_channels: int, attention: bool) -> tuple[list[nn.Module], int]:
    """Conv-4 with pooling after the first two blocks only; 84 x 84 -> 64 x 21 x 21 (DN4, Li et al. 2019).

    With ReLU, as all encoders here; the code of DN4, ADM and MML has LeakyReLU(0.2), so descriptors of either sign.
    """
    pools = ((in_channels, True), (64, True), (64, False), (64, False))
    return [conv_block(n, 64, attention, pool) for n, pool in pools], 64


def tiny(in_channels: int, attention: bool) -> tuple[list[nn.Module], int]:
    """Three conv blocks, 32-64-64, for the smoke preset; 32 x 32 -> 64 x 4 x 4."""
    widths = (in_channels, 32, 64, 64)
    return [conv_block(a, b, attention) for a, b in itertools.pairwise(widths)], 64


BUILDERS: dict[str, Callable[[int, bool], tuple[list[nn.Module], int]]] = {
    f.__name__: f for f in (resnet12_anrot, resnet12, conv4, conv64f, tiny)
}


def build(
    name: str,
    in_channels: int = 3,
    attention: bool | None = None,
    generator: torch.Generator | None = None,
) -> Encoder:
    """Build an encoder by name, initialised Kaiming-normal (fan out), BN at 1/0, from `generator`.

    attention: the gates on or off; None means what the encoder's authors have (on for resnet12_anrot only).
    Raises UserError for an unknown name.
    """
    if name not in BUILDERS:
        raise UserError(f"unknown encoder {name!r}; choose one of {', '.join(BUILDERS)}")
    if in_channels not in (1, 3):
        raise UserError(f"encoders take images of 1 or 3 channels, got {in_channels!r}")
    attention = name == "resnet12_anrot" if attention is None else attention
    stages, out_channels = BUILDERS[name](in_channels, attention)
    encoder = Encoder(name, stages, in_channels, out_channels, attention)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    return encoder


def fold(encoder: nn.Module) -> nn.Module:
    """A copy in eval mode whose batch norms are folded into the convolutions before them: for testing only.

    The same function up to rounding. An attack goes through the encoder hundreds of times with its weights fixed, and a
    batch norm costs about as much time as the convolution that it follows, forward and backward.
    """
    encoder = copy.deepcopy(encoder).eval()
    for module in encoder.modules():
        children = list(module.named_children())
        for (_, first), (name, second) in itertools.pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                fused = fuse_conv_bn_eval(first, second)
                first.weight, first.bias = fused.weight, fused.bias
                setattr(module, name, nn.Identity())
    return encoder
