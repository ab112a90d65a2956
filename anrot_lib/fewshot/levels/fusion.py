"""Fusion: the levels' divergences, standardised and weighted, add up to logits.

Published multi-level models learn one weight a level behind batch norm; in the released ones the weight of the
distribution level has gone to 0. How much each level moves the logits is therefore part of what is returned.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import full_precision

MODES = ("shared_bn", "zscore", "fixed", "slot_bn")
SLOWEST = 0.01  # weight of a step in the running statistics, once 1/steps has fallen to it


class Fusion(nn.Module):
    """logits = sum_l contribution_l, contribution_l = -tau w_l z(D_l), for divergences D_l (E, n, way).

    mode "shared_bn": z is D_l minus its mean, over the root of its variance + 1e-5, of all queries and classes of the
         batch in training and by running statistics in eval mode; w_l = softplus(v_l) > 0, all equal at first; any
         way, and classes may be permuted;
    "zscore": per query over the classes, no statistics kept; w_l as above. With two classes z is -1 or 1;
    "fixed": z(D) = D, w_l = the given weights, nothing learnt but tau;
    "slot_bn": as published, a batch norm with its own scale and shift for each level and class slot, so `way` is
         fixed when it is built, classes cannot be permuted freely, and w_l may be negative.
    tau > 0 is learnt, except in slot_bn where it is 1. In training mode shared_bn and slot_bn couple the queries of
    a batch; in eval mode nothing does.
    """

    spread: Tensor
    steps: Tensor
    fixed: Tensor

    def __init__(
        self,
        levels: Sequence[str],
        mode: str = "shared_bn",
        weights: Sequence[float] | None = None,
        way: int | None = None,
    ):
        super().__init__()
        if mode not in MODES:
            raise UserError(f"unknown fusion {mode!r}; choose one of {', '.join(MODES)}")
        if weights is not None and len(weights) != len(levels):
            raise UserError(f"{len(levels)} levels need {len(levels)} weights, got {len(weights)}")
        if mode != "slot_bn":
            slots = 1
        elif way is None:
            raise UserError("slot_bn is built for one number of classes; give way")
        else:
            slots = way
        self.levels, self.mode, self.way = tuple(levels), mode, way
        start = torch.ones(len(levels)) if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("spread", torch.zeros(len(levels)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        if mode == "fixed":
            self.register_buffer("fixed", start)
        elif mode == "slot_bn":
            self.free = nn.Parameter(start)
        else:
            if not (start > 0).all():
                raise UserError(f"weights of {mode} are positive, got {', '.join(f'{w:g}' for w in start)}")
            self.raw = nn.Parameter(start + torch.log(-torch.expm1(-start)))  # the inverse of softplus
        if mode != "slot_bn":
            self.log_scale = nn.Parameter(torch.zeros(()))
        if mode in ("shared_bn", "slot_bn"):
            self.norm = nn.BatchNorm1d(len(levels) * slots, affine=mode == "slot_bn")

    @property
    def weights(self) -> Tensor:
        """w_l, (levels,)."""
        if self.mode == "fixed":
            return self.fixed
        return self.free if self.mode == "slot_bn" else nn.functional.softplus(self.raw)

    @full_precision
    def forward(self, *divergences: Tensor) -> dict[str, Tensor]:
        """Divergences (E, n, way), one a level in their order, to each level's contribution to the logits."""
        stacked = torch.stack(divergences, -1)  # (E, n, way, levels)
        standard = self._standardise(stacked)
        if self.training:
            with torch.no_grad():
                self.steps += 1
                spread = standard.detach().std(2, correction=0).mean((0, 1))
                self.spread += self._rate() * (spread - self.spread)
        scale = 1.0 if self.mode == "slot_bn" else self.log_scale.exp()
        parts = -scale * self.weights * standard
        return dict(zip(self.levels, parts.unbind(-1), strict=True))

    def _rate(self) -> float:
        """A plain average at first, so that early statistics are not those of the start; slowly forgetting later."""
        return max(1 / max(1, int(self.steps)), SLOWEST)

    def _standardise(self, stacked: Tensor) -> Tensor:
        if self.mode == "fixed":
            return stacked
        if self.mode == "zscore":
            centred = stacked - stacked.mean(2, keepdim=True)
            return centred / (centred.square().mean(2, keepdim=True) + 1e-12).sqrt()
        if self.mode == "slot_bn":
            if stacked.shape[2] != self.way:
                raise UserError(f"this fusion was built for {self.way} classes, got {stacked.shape[2]}")
            # One negated column a level and slot, as published, and the sign turned back for `forward`.
            columns = -stacked.transpose(2, 3).flatten(0, 1).flatten(1)
            slots: Tensor = self.norm(columns).unflatten(1, (len(self.levels), self.way))
            return -slots.transpose(1, 2).view_as(stacked)
        if self.training:
            tracked = self.norm.num_batches_tracked
            self.norm.momentum = max(1 / ((0 if tracked is None else int(tracked)) + 1), SLOWEST)
        standard: Tensor = self.norm(stacked.reshape(-1, stacked.shape[-1]))
        return standard.view_as(stacked)

    def shares(self) -> dict[str, float]:
        """Each level's share of what moves the logits, summing to 1: weight x running deviation over the classes."""
        moved = (self.weights.detach().abs() * self.spread).tolist()
        total = sum(moved)
        return {level: m / total if total else 0.0 for level, m in zip(self.levels, moved, strict=True)}


def measure_shares(contributions: Mapping[str, Tensor]) -> dict[str, float]:
    """Shares of the levels in given logits, from contributions (E, n, way) as `Scores.levels` has them.

    A share is the mean over queries of the deviation over classes, divided by the sum over levels.
    """
    moved = {level: part.detach().std(-1, correction=0).mean().item() for level, part in contributions.items()}
    total = sum(moved.values())
    return {level: m / total if total else 0.0 for level, m in moved.items()}


def fit(fusion: Fusion, divergences: Mapping[str, Tensor], labels: Tensor, steps: int = 100) -> float:
    """Fit a fusion to divergences (E, n, way) of validation queries with labels (E, n); returns the cross-entropy.

    Statistics are those of the given divergences; then L-BFGS on weights and scale, which is a convex problem in
    their product. The fusion is left in eval mode.
    """
    given = [divergences[level].detach() for level in fusion.levels]
    fusion.train()
    for buffer in fusion.buffers():
        if buffer.dtype == torch.int64:
            buffer.zero_()  # a plain average again
    momentum = fusion.norm.momentum if fusion.mode == "slot_bn" else None
    if momentum is not None:
        fusion.norm.momentum = 1.0
    with torch.no_grad():
        fusion(*given)
    if momentum is not None:
        fusion.norm.momentum = momentum
    fusion.eval()
    learnt = [p for p in fusion.parameters() if p.requires_grad]
    optimizer = torch.optim.LBFGS(learnt, max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(sum(fusion(*given).values()).flatten(0, 1), labels.flatten())
        value.backward()
        return value

    optimizer.step(loss)
    fusion.zero_grad()
    with torch.no_grad():
        return nn.functional.cross_entropy(sum(fusion(*given).values()).flatten(0, 1), labels.flatten()).item()
