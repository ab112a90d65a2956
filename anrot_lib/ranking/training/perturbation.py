"""How a defense perturbs a batch: the inner attacks of robust ranking, on single images, pairs and triplets.

Attacks begin at the image, take `eta` signed steps against the net in eval mode with fixed weights, in float32, and
keep the last point. A triplet whose hardness has reached H_D has gradient 0 and leaves the batch: the rest of the
attack costs nothing for it and its images are the same bits. (The original code also ends an attack when the loss of
the whole batch moved by less than 1e-7; that is not repeated here, under either parity.)
"""

from collections.abc import Callable

import torch
from torch import Tensor

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core import devices
from anrot_lib.ranking.distances import distance, hardness, normalise
from anrot_lib.ranking.embedders import Embedder
from anrot_lib.ranking.recipe import RankingRecipe


def make_threat(recipe: RankingRecipe) -> ThreatModel:
    """The adversary of a recipe: l-infinity, from the image, one step of eps or `eta` steps of `step`."""
    step = recipe.eps if recipe.eta == 1 else recipe.step
    return ThreatModel(
        norm="linf", eps=recipe.eps, step=step, steps=recipe.eta, restarts=1, start="clean", target="query"
    )


def embed(net: Embedder, images: Tensor) -> Tensor:
    """Normalised embeddings (N, D) of images (N, C, H, W)."""
    return normalise(net(images), net.metric)


def perturb(
    net: Embedder,
    images: Tensor,
    value: Callable[[Tensor, Tensor | None], Tensor],
    threat: ThreatModel,
    precision: str = "fp32",
    stop: str | None = "still",
) -> Tensor:
    """Images (U, K, C, H, W) moved so that `value` grows: K images make a unit, such as a triplet.

    `value(embeddings (u, K, D), active)` gives one number a unit, (u,), or a scalar that makes one unit of all;
    `active` and `stop` as in `ascend`. The net is left as it was, and no gradient is left on the result.
    """
    k = images.shape[1]

    def objective(points: Tensor, active: Tensor | None) -> Tensor:
        with devices.autocast(points.device, precision):
            rows = net(points.flatten(0, 1))
        return value(normalise(rows, net.metric).view(-1, k, rows.shape[-1]), active)

    with frozen(net, training=False):
        return ascend(objective, images.detach(), threat, keep="last", stop=stop).images.detach()


@torch.no_grad()
def embed_benign(net: Embedder, images: Tensor, precision: str = "fp32") -> Tensor:
    """Normalised embeddings of the images by the net in eval mode, without gradient."""
    with frozen(net, training=False), devices.autocast(images.device, precision):
        return embed(net, images)


def push_away(
    net: Embedder, images: Tensor, threat: ThreatModel, generator: torch.Generator, precision: str = "fp32"
) -> Tensor:
    """EST: each image (N, C, H, W) away from its own embedding.

    The first step measures against the embedding + 1e-7 {-1, 0, 1}, because the distance to itself has no direction.
    """
    target = embed_benign(net, images, precision)
    noise = torch.randint(-1, 2, target.shape, generator=generator, device=generator.device).to(target)
    started = False

    def value(rows: Tensor, active: Tensor | None) -> Tensor:
        nonlocal started
        aim = target if started else target + 1e-7 * noise
        started = True
        return distance(rows[:, 0], aim if active is None else aim[active], net.metric)

    # the first step's aim is another one: no image may leave because it stands still there
    return perturb(net, images.unsqueeze(1), value, threat, precision, stop=None).squeeze(1)


def pull_together(
    net: Embedder, positive: Tensor, negative: Tensor, threat: ThreatModel, precision: str = "fp32"
) -> tuple[Tensor, Tensor]:
    """ACT: positives and negatives (B, C, H, W) each towards the other."""
    pairs = torch.stack([positive, negative], 1)
    moved = perturb(net, pairs, lambda rows, _: -distance(rows[:, 0], rows[:, 1], net.metric), threat, precision)
    return moved[:, 0], moved[:, 1]


def measure_alignment(reached: Tensor, aim: Tensor, kind: str) -> Tensor:
    """What a hardness manipulation minimises, of H (B,) and H_D (B,).

    et  relu(H_D - H)^2 of each triplet: no gradient once H >= H_D
    l2  (H - H_D)^2 of each triplet: lowers hardness too
    kl  Kullback-Leibler divergence of the hardness of the batch over the sum of its absolute values, up to a constant:
        a scalar, because the triplets influence one another
    """
    if kind == "et":
        return (aim - reached).relu().square()
    if kind == "l2":
        return (reached - aim).square()
    parts = [h / h.abs().sum().clamp_min(1e-12) for h in (reached, aim)]
    return -(parts[1] * parts[0]).mean()


def manipulate(
    net: Embedder,
    triplets: Tensor,
    aim: Tensor,
    threat: ThreatModel,
    kind: str = "et",
    anchor: Tensor | None = None,
    precision: str = "fp32",
) -> Tensor:
    """Hardness manipulation: triplets (B, 3, C, H, W) towards hardness `aim` (B,); the same shape.

    anchor  embeddings (B, D) of anchors that stay as they are; then triplets is (B, 2, C, H, W): positive, negative.
    """

    def value(rows: Tensor, active: Tensor | None) -> Tensor:
        some = slice(None) if active is None else active
        a = rows[:, 0] if anchor is None else anchor[some]
        return -measure_alignment(hardness(a, rows[:, -2], rows[:, -1], net.metric), aim[some], kind)

    return perturb(net, triplets, value, threat, precision, stop=None if kind == "kl" else "still")


def maximise(net: Embedder, triplets: Tensor, threat: ThreatModel, precision: str = "fp32") -> Tensor:
    """Min-max training's attack: triplets (B, 3, C, H, W) towards the largest d(a, p) - d(a, n)."""

    def value(rows: Tensor, active: Tensor | None) -> Tensor:
        return hardness(rows[:, 0], rows[:, 1], rows[:, 2], net.metric)

    return perturb(net, triplets, value, threat, precision)
