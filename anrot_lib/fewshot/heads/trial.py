"""Trials of a head: does it keep the contract, and does one query's score depend on the queries beside it?"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.heads.contract import Head

CHANNELS, SIDE, WAY, SHOT, QUERIES = 8, 5, 3, 2, 4  # of the maps on which a head is tried
DEPENDENCE = 1e-3  # of the spread of the logits; rounding stays below 1e-5


@torch.no_grad()
def measure_batch_dependence(head: Head, model: Any, query_maps: Tensor) -> tuple[float, int]:
    """Does one query's score depend on the queries beside it? The probe that every method has to pass.

    Scores query_maps (E, n, C, h, w) all together and one by one. Returns (largest difference of a logit divided
    by the spread of the logits, number of queries whose prediction changes). An inductive head stays below 1e-5
    and changes none; bit equality is not to be had across batch sizes.
    """
    together = head.score(model, query_maps).logits
    alone = torch.cat([head.score(model, query_maps[:, i : i + 1]).logits for i in range(query_maps.shape[1])], 1)
    spread = (together.max() - together.min()).clamp_min(torch.finfo(together.dtype).tiny)
    changed = (together.argmax(-1) != alone.argmax(-1)).sum()
    return ((together - alone).abs().max() / spread).item(), int(changed)


def check_head(name: str, build: Callable[[int], Head]) -> None:
    """Build a head and score random maps with it. UserError if it does not keep the contract of `Head`."""
    generator = torch.Generator().manual_seed(0)
    try:
        head = build(CHANNELS)
    except TypeError as error:
        raise UserError(f"method {name!r}: a head is built from the number of channels alone; {error}") from error
    if not isinstance(head, Head):
        raise UserError(f"method {name!r}: build must return a Head, got {type(head).__name__}")
    labels = torch.arange(WAY).repeat_interleave(SHOT)[None]
    images = torch.rand(WAY * SHOT + QUERIES, CHANNELS, SIDE, SIDE, generator=generator)
    head.eval()
    try:
        with torch.no_grad():
            support, query = head.look(nn.Identity(), images).unsqueeze(0).split([WAY * SHOT, QUERIES], 1)
            model = head.fit(support, labels)
            logits = head.score(model, query).logits
    except (NotImplementedError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise UserError(f"method {name!r}: its head fails on feature maps: {error!r}") from error
    if logits.shape != (1, QUERIES, WAY) or not logits.isfinite().all():
        raise UserError(
            f"method {name!r}: scores of {QUERIES} queries in {WAY} classes must be finite logits of shape "
            f"(1, {QUERIES}, {WAY}), got shape {tuple(logits.shape)}"
        )
    if (
        not head.batch_dependent and not measure_batch_dependence(head, model, query)[0] <= DEPENDENCE
    ):  # NaN depends, too
        raise UserError(
            f"method {name!r}: the scores of a query depend on the other queries; set batch_dependent = True, and its "
            "rows are marked transductive"
        )
