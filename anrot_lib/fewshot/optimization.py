"""What both stages of a training share: the optimizer, the course of its rate, and the averaged weights."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from anrot_lib.settings import Recipe

MOMENTUM = 0.9  # of SGD, with Nesterov's step
WARM_UP = 0.1  # part of a one-cycle schedule in which the rate rises


def compute_rate_factor(schedule: str, step: int, n_steps: int) -> float:
    """The part of the largest rate that step number `step` of `n_steps` takes, in [0, 1].

    cosine     0.5 (1 + cos(pi t)) with t = step / n_steps, from 1 to 0 (Loshchilov & Hutter 2017).
    constant   1.
    one-cycle  from 1/w in the first step to 1 over the first w steps, a tenth of all, then in a line to 0
               (after Smith & Topin 2018).
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / n_steps))
    warm = max(1, math.ceil(WARM_UP * n_steps))
    return (step + 1) / warm if step < warm else (n_steps - step) / (n_steps - warm + 1)


def build_optimizer(recipe: Recipe, net: nn.Module, rate: float) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum. Weight decay is for weights of several dimensions: it leaves alone biases
    and the scales of batch norm and heads."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def set_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def build_average(net: nn.Module, memory: float) -> AveragedModel | None:
    """The running average of the weights and of batch norm's statistics; None for a memory of 0.

    After update number n it is d x average + (1 - d) x weights with d = min(memory, (n + 1) / (n + 10)), so that it
    forgets the start of a short training (Izmailov et al. 2018; Rebuffi et al. 2021 for robust training).
    """
    if memory == 0:
        return None

    def update(average: Tensor, weights: Tensor, n: Tensor | int) -> Tensor:
        if not average.is_floating_point():  # batch norm's count of batches
            return weights
        kept = min(memory, (int(n) + 1) / (int(n) + 10))
        return average.lerp(weights, 1 - kept)

    return AveragedModel(net, avg_fn=update, use_buffers=True)
