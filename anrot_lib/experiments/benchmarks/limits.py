"""What a piece of work cannot do without: the convolutions alone, the passes alone."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from anrot_lib.core import randomness

CPU = torch.device("cpu")


def prepare_layers(
    encoder: nn.Module, images: int, size: int, precision: str, kind: type[nn.Module] = nn.Conv2d
) -> Callable[[int], None]:
    """Forward and backward of all layers of a kind of an encoder for (images, 3, size, size), on random tensors.

    Every layer gets an input of the shape that it sees in the encoder and a random gradient; a convolution of the
    images themselves computes no gradient for its input. Batch norms keep their weights in float32, as in a training
    step, and read the statistics of their batch.
    """
    seen: list[tuple[nn.Module, torch.Size]] = []
    hooks = [
        module.register_forward_pre_hook(lambda m, inputs: seen.append((m, inputs[0].shape)))
        for module in encoder.modules()
        if isinstance(module, kind)
    ]
    with torch.no_grad():
        encoder(torch.rand(2, 3, size, size, generator=randomness.make_generator(0, "limit")))
    for hook in hooks:
        hook.remove()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    work: list[tuple[nn.Module, Tensor, Tensor]] = []
    for module, shape in seen:
        layer = module.train()
        if isinstance(module, nn.Conv2d):
            layer = module.to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = torch.rand(images, *shape[1:], dtype=dtype).contiguous(memory_format=torch.channels_last)
        gradient = torch.rand_like(layer(x).detach())
        work.append((layer, x.requires_grad_(shape[1:] != (3, size, size)), gradient))

    def once(k: int) -> None:
        for layer, x, gradient in work:
            layer.zero_grad(set_to_none=True)
            x.grad = None
            torch.autograd.backward(layer(x), gradient)

    return once


def prepare_passes(encoder: nn.Module, images: int, size: int, passes: int) -> Callable[[int], None]:
    """Passes of an encoder over (images, 3, size, size) with the gradient of the images, as an attack takes them."""
    x = torch.rand(images, 3, size, size, generator=randomness.make_generator(0, "limit"))
    x = x.contiguous(memory_format=torch.channels_last)

    def once(k: int) -> None:
        for _ in range(passes):
            maps = encoder(x.requires_grad_(True))
            torch.autograd.grad(maps.sum(), x)

    return once
