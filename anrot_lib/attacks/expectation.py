"""Attacks on heads that draw at random: the loss and its gradient are means over several draws (EOT).

A single draw shows the adversary a noisy gradient, and a net may look robust for no other reason. Averaged over draws
the loss is that of the net as it is on average (expectation over transformations, Athalye et al. 2018, arXiv
1802.00420). The encoder runs once a step, the head once a draw.
"""

from typing import Any

import torch
from torch import Tensor

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.episode import EpisodeNet, encode, fit_support
from anrot_lib.attacks.objectives import compute_cross_entropy
from anrot_lib.attacks.queries import list_queries
from anrot_lib.attacks.search import Objective
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError
from anrot_lib.core.trees import pick
from anrot_lib.data.episodes import Episode


def make_expected_objective(
    net: EpisodeNet, model: Any, owners: Tensor, labels: Tensor, draws: int, generator: torch.Generator
) -> Objective:
    """The mean over `draws` of the cross-entropy of single queries (N,), whose episodes in `model` are `owners` (N,).

    A query is beaten where fewer than half of the draws name it right.
    """

    def objective(images: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
        some = slice(None) if active is None else active
        picked, maps = pick(model, owners[some]), net.encode(images).unsqueeze(1)
        wanted = labels[some]
        scores = [net.head.score(picked, maps, generator).logits.squeeze(1).float() for _ in range(draws)]
        losses = torch.stack([compute_cross_entropy(logits, wanted) for logits in scores])
        right = torch.stack([logits.detach().argmax(-1) == wanted for logits in scores])
        return losses.mean(0), right.float().mean(0) < 0.5

    return objective


def attack_drawn_queries(
    net: EpisodeNet,
    episode: Episode,
    threat: ThreatModel,
    draws: int,
    generator: torch.Generator,
    max_images: int | None = None,
) -> Tensor:
    """Queries (E, n, C, H, W) that an adversary finds who averages over so many draws in each step; 1 is no average.

    Of all candidates the one of the largest mean loss is kept. UserError for a head without draws, and for one whose
    scores of a query depend on the other queries.
    """
    check_images(episode.query)
    if draws < 1:
        raise UserError(f"an average takes at least 1 draw, got {draws}")
    if not net.head.samples or net.head.batch_dependent:
        raise UserError("this head does not draw at random query by query, so there is nothing to average over")
    single = list_queries(net, episode, max_images)
    with frozen(net):
        objective = make_expected_objective(net, single.model, single.owners, single.labels, draws, generator)
        ascent = ascend(objective, single.images, threat, generator, keep="best", chunk=max_images)
    return ascent.images.view(episode.query.shape)


@torch.no_grad()
def measure_drawn_accuracy(
    net: EpisodeNet,
    episode: Episode,
    queries: Tensor,
    draws: int,
    generator: torch.Generator,
    max_images: int | None = None,
) -> Tensor:
    """Accuracy (E,) in [0, 1] on queries (E, n, C, H, W) of a net that draws: the mean over `draws`."""
    model, maps = fit_support(net, episode, max_images), encode(net, queries, max_images)
    right = [net.head.score(model, maps, generator).logits.argmax(-1) == episode.labels for _ in range(draws)]
    return torch.stack(right).double().mean((0, 2))
