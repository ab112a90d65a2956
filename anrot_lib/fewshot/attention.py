"""Channel and spatial attention, the two gates inside every block of the ANROT encoder."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class MeanAndMax(torch.autograd.Function):
    """Mean and maximum over one dimension of tokens (B, M, C), as one node of the graph.

    The obvious `x.mean(d)` beside `x.amax(d)` spends a quarter of a training step of the whole encoder in the
    backward pass of `amax`, which counts ties in int64, and adds one more full-size gradient. Here the gradient
    of the maximum goes to one maximal entry, and both gradients share one buffer. Not twice differentiable.
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        maximum, index = tokens.max(dim, keepdim=True)
        ctx.save_for_backward(index)
        ctx.dim, ctx.shape = dim, tokens.shape
        return _mean(tokens, dim), maximum

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_mean: Tensor, grad_max: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        _, m, c = ctx.shape
        grad = (grad_mean / ctx.shape[ctx.dim]).expand(ctx.shape).contiguous()
        # Every kept entry receives exactly one maximum, so plain flat indexing serves and is far
        # quicker than scatter_add_ on a bf16 tensor.
        grid = torch.arange(index.numel(), device=index.device).view_as(index)
        place = grid * c + index if ctx.dim == 2 else (grid // c * m + index) * c + grid % c
        flat, place = grad.view(-1), place.view(-1)
        flat[place] += grad_max.reshape(-1)
        return grad, None


def _mean(tokens: Tensor, dim: int) -> Tensor:
    # As a product with ones: a mean of bf16 numbers first writes a float32 copy of all of them.
    if tokens.dtype.itemsize > 2:
        return tokens.mean(dim, keepdim=True)
    b, m, c = tokens.shape
    if dim == 1:
        return tokens.new_ones(b, 1, m) @ tokens / m
    return tokens @ tokens.new_ones(c, 1) / c


def flatten_tokens(maps: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C); a view, contiguous when the channels are last in memory."""
    return maps.flatten(2).transpose(1, 2)


_mean_and_max: Callable[[Tensor, int], tuple[Tensor, Tensor]] = MeanAndMax.apply


class ChannelAttention(nn.Module):
    """Gate per channel: sigmoid(MLP(avgpool x) + MLP(maxpool x)), one shared MLP C -> C/16 -> C.

    Shapes: (B, C, H, W) -> gate (B, C, 1, 1) in (0, 1).
    Source: CBAM, Woo et al. 2018, eq. 2.
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.expand = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # Both pooled vectors go through the MLP as one batch of 2B.
        pooled = torch.cat(_mean_and_max(flatten_tokens(x), 1)).transpose(1, 2)[..., None]
        average, maximum = self.expand(self.squeeze(pooled).relu()).chunk(2)
        return torch.sigmoid(average + maximum)


class SpatialAttention(nn.Module):
    """Gate per position: sigmoid(conv7x7([mean over channels, max over channels])).

    Shapes: (B, C, H, W) -> gate (B, 1, H, W) in (0, 1).
    Source: CBAM, Woo et al. 2018, eq. 3.
    """

    def __init__(self, kernel_size: int = 7):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat(_mean_and_max(flatten_tokens(x), 2), 2).transpose(1, 2)
        return torch.sigmoid(self.conv(pooled.unflatten(2, x.shape[2:])))


class Attention(nn.Module):
    """Channel gate, then spatial gate, each multiplied in."""

    def __init__(self, channels: int):
        super().__init__()
        self.channel = ChannelAttention(channels)
        self.spatial = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        x = self.channel(x) * x
        gated: Tensor = self.spatial(x) * x
        return gated
