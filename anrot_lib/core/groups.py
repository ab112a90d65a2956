"""Steps of training that are cut into groups, which several processes can share."""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from anrot_lib.core.ranks import Ranks


def average_groups(net: nn.Module, compute_loss: Callable[[int], Tensor], groups: int, ranks: Ranks) -> float:
    """Leave the gradients of the mean loss over `groups` parts of a step at the weights of a net; returns that loss.

    compute_loss  the loss of group number k, a scalar; of those of this process alone. A FloatingPointError, for a NaN
                  that an attack met, makes the mean NaN, so that every process hears of it.

    Each group begins with the same running statistics of batch norm and is normalised by its own images alone; then
    these statistics become their means over the groups, too. What was computed is gathered and averaged in the order
    of the groups, so a step has the same bits for any number of processes.
    """
    buffers = list(net.buffers())
    statistics = [b for b in buffers if b.is_floating_point()]
    weights = [w for w in net.parameters() if w.requires_grad]
    before = [b.clone() for b in buffers]
    rows = []
    for group in ranks.share(groups):
        for buffer, start in zip(buffers, before, strict=True):
            buffer.copy_(start)
        for weight in weights:
            weight.grad = None
        loss = weights[0].new_tensor([_descend(compute_loss, group)])
        rows.append(torch.cat([loss, *_flatten_gradients(weights), *(b.flatten() for b in statistics)]))
    mean = ranks.gather_rows(rows).mean(0)
    parts = iter(mean[1:].split([t.numel() for t in (*weights, *statistics)]))
    for weight, part in zip(weights, parts, strict=False):
        weight.grad = torch.empty_like(weight).copy_(part.view_as(weight))  # in the layout of the weight
    for buffer, part in zip(statistics, parts, strict=True):
        buffer.copy_(part.view_as(buffer))
    return mean[0].item()


def _descend(compute_loss: Callable[[int], Tensor], group: int) -> float:
    """The loss of a group, whose gradients are left at the weights; NaN where the attack met one."""
    try:
        loss = compute_loss(group)
    except FloatingPointError:
        return math.nan
    torch.autograd.backward(loss)
    return loss.item()


def _flatten_gradients(weights: Sequence[Tensor]) -> Iterable[Tensor]:
    """The gradients as rows; zeros for a weight that the loss does not depend on."""
    return ((torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in weights)


def name_stream(name: str, step: int, group: int, groups: int) -> str:
    """The name of the random numbers of a step, and of its group where there are several."""
    return f"{name}/{step}" if groups == 1 else f"{name}/{step}/{group}"
