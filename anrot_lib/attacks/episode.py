"""Attacks on episodes: on the queries, on the support set, or on both at once, many episodes together.

They need of a net what `EpisodeNet` says; a `FewShotNet` has it. All are white-box: gradients run through
encoder, aggregation and divergence, and the adversary knows the labels of the queries.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from anrot_lib.attacks.ascent import Ascent, ascend, frozen
from anrot_lib.attacks.gradient import keep_loss_only, margin_loss
from anrot_lib.attacks.objectives import compute_margin
from anrot_lib.attacks.search import Objective, make_ordinary
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.trees import map_tree, pick
from anrot_lib.data.episodes import Episode

BEYOND = 0.2  # margin, in standard deviations of a query's logits, beyond which a beaten query stays beaten
Parts = Callable[[Tensor, Tensor | None], tuple[Any, Tensor]]  # (maps, episodes) -> (model, query maps)


class HasLogits(Protocol):
    """Scores of queries."""

    @property
    def logits(self) -> Tensor: ...


class EpisodeHead(Protocol):
    """What an attack needs of a head: see `fewshot.heads.contract.Head`."""

    batch_dependent: bool
    samples: bool  # whether a generator makes its scores random draws

    def fit(self, support_maps: Tensor, labels: Tensor, mask: Tensor | None = None) -> Any: ...

    def score(self, model: Any, query_maps: Tensor, generator: torch.Generator | None = None) -> HasLogits: ...


class EpisodeNet(Protocol):
    """What an attack needs of a net: see `fewshot.classifier.FewShotNet`."""

    @property
    def head(self) -> EpisodeHead: ...

    def encode(self, images: Tensor) -> Tensor: ...

    def modules(self) -> Iterator[nn.Module]: ...


def attack_episodes(
    net: EpisodeNet,
    episode: Episode,
    threat: ThreatModel,
    generator: torch.Generator | None = None,
    stop: str | None = None,
    keep: str | None = None,
    max_images: int | None = None,
) -> Episode:
    """The episode with its queries, its support set or both replaced by adversarial ones, as `threat.target` says.

    stop="beaten" (query target only): a query leaves at its first misclassified candidate; the accuracy under
    attack is then the share of queries that no candidate beat, and the passes shrink. Without it each query (or
    episode) keeps its candidate of largest loss. max_images bounds the images in one pass; it changes no result
    beyond rounding. The net is left as it was (see `frozen`); put it in eval mode first to test it.
    """
    if threat.target == "query":
        with frozen(net), torch.no_grad():
            model = fit_support(net, episode, max_images)
        ascent = attack_queries(net, model, episode.query, episode.labels, threat, generator, stop, keep, max_images)
        return dataclasses.replace(episode, query=ascent.images)
    attacker = attack_support if threat.target == "support" else attack_both
    support, query, _ = attacker(net, episode, threat, generator, keep, max_images)
    return dataclasses.replace(episode, support=support, query=query)


def attack_queries(
    net: EpisodeNet,
    model: Any,
    queries: Tensor,
    labels: Tensor,
    threat: ThreatModel,
    generator: torch.Generator | None = None,
    stop: str | None = None,
    keep: str | None = None,
    max_images: int | None = None,
    start: Tensor | None = None,
) -> Ascent:
    """Attack queries (E, n, C, H, W) with labels (E, n) against a fitted `model` of E episodes, every query by itself.

    The support set is not touched and not encoded again: `model` is detached and reused in every step. Queries that
    are still in the batch are scored as one-query episodes, their model picked by episode. A head whose scores
    depend on the other queries (`head.batch_dependent`) is attacked with the queries of an episode as one unit, to
    raise their mean loss, and none leaves the batch. The Ascent has images (E, n, C, H, W), loss and beaten (E, n),
    or loss (E,) for such a head.
    """
    model = map_tree(lambda t: make_ordinary(t).detach(), model)
    labels = make_ordinary(labels)
    e, n = labels.shape
    if net.head.batch_dependent:

        def get_parts(maps: Tensor, some: Tensor | None) -> tuple[Any, Tensor]:
            return pick(model, some), maps

        together, chunk = _episode_loss(net, labels, get_parts, _mean_loss), _count_units(n, max_images)
        with frozen(net):
            return ascend(together, queries, threat, generator, start, keep=keep, chunk=chunk)

    def objective(images: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
        maps = net.encode(images)
        if active is None:
            logits = net.head.score(model, maps.unflatten(0, (e, n))).logits.flatten(0, 1)
            return margin_loss(logits, labels.flatten())
        logits = net.head.score(pick(model, active // n), maps.unsqueeze(1)).logits.squeeze(1)
        return margin_loss(logits, labels.flatten()[active])

    with frozen(net):
        ascent = ascend(
            objective if stop else keep_loss_only(objective),
            queries.flatten(0, 1),
            threat,
            generator,
            None if start is None else start.flatten(0, 1),
            stop=stop,
            keep=keep,
            chunk=max_images,
        )
    loss = None if ascent.loss is None else ascent.loss.unflatten(0, (e, n))
    beaten = None if ascent.beaten is None else ascent.beaten.unflatten(0, (e, n))
    return Ascent(ascent.images.unflatten(0, (e, n)), loss, beaten)


def attack_support(
    net: EpisodeNet,
    episode: Episode,
    threat: ThreatModel,
    generator: torch.Generator | None = None,
    keep: str | None = None,
    max_images: int | None = None,
    rule: str = "fixed",
) -> tuple[Tensor, Tensor, Ascent]:
    """Change all support images of an episode together, to have as many of its (clean) queries misclassified as can be.

    The poisoned support set of one episode is a unit; the feature maps of the queries are computed once. Returns
    (support, query, Ascent), the images with the episode's shapes and the loss of shape (E,), that of `count_loss`.
    rule: how it moves, as in `ascend`.
    """
    support = _flat_support(episode)
    with frozen(net), torch.no_grad():
        query_maps = encode(net, episode.query, max_images)

    def parts(rows: Tensor, some: Tensor | None) -> tuple[Any, Tensor]:
        return _refit(net, rows, episode, some), pick(query_maps, some)

    chunk = _count_units(support.shape[1], max_images)
    with frozen(net):
        objective = _episode_loss(net, episode.labels, parts, count_loss)
        ascent = ascend(objective, support, threat, generator, keep=keep, chunk=chunk, rule=rule)
    return _only_real_shots(ascent.images, episode), episode.query, ascent


def attack_both(
    net: EpisodeNet,
    episode: Episode,
    threat: ThreatModel,
    generator: torch.Generator | None = None,
    keep: str | None = None,
    max_images: int | None = None,
    rule: str = "fixed",
) -> tuple[Tensor, Tensor, Ascent]:
    """Change support images and queries of an episode in the same step, by one joint gradient of `count_loss`.

    Every image has its own eps-ball. Simultaneous steps, not alternating ones: one pass serves both sides, and each
    side sees the other's current candidate. Returns as `attack_support` does.
    """
    support = _flat_support(episode)
    images, sizes = torch.cat([support, episode.query], 1), [support.shape[1], episode.query.shape[1]]

    def parts(maps: Tensor, some: Tensor | None) -> tuple[Any, Tensor]:
        support_maps, query_maps = maps.split(sizes, 1)
        return _refit(net, support_maps, episode, some), query_maps

    with frozen(net):
        objective = _episode_loss(net, episode.labels, parts, count_loss)
        chunk = _count_units(sum(sizes), max_images)
        ascent = ascend(objective, images, threat, generator, keep=keep, chunk=chunk, rule=rule)
    support, query = ascent.images.split(sizes, 1)
    return _only_real_shots(support, episode), query, ascent


def count_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """What an adversary of whole episodes maximises: logits (E, n, way), labels (E, n) -> (E,), at least fp32.

    The number of misclassified queries, plus a part between -1/2 and 1/2 that says how near the others are:

        mean over queries of min(gap / s, BEYOND) / (2 way),   gap = largest wrong logit - right logit,

    s the standard deviation of a query's logits, a constant for the gradient. So of two candidates the one with more
    beaten queries is the better, and a query that is beaten by a clear margin asks for nothing more. A mean of
    cross-entropies does: it grows without bound on queries that are lost already, where nothing is left to gain, and
    such an attack makes a robust net look more robust than it is.
    """
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    margin = compute_margin(logits, labels)
    spread = logits.detach().std(-1, correction=0).clamp_min(torch.finfo(logits.dtype).tiny)
    near = (margin / spread).clamp(max=BEYOND).mean(-1) / (2 * logits.shape[-1])
    return (margin > 0).sum(-1) + near


def _mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return margin_loss(logits, labels)[0].mean(1)


def _episode_loss(net: EpisodeNet, labels: Tensor, parts: Parts, loss: Callable[[Tensor, Tensor], Tensor]) -> Objective:
    """Objective with the episode as unit. parts(maps, episodes) -> (model, query maps)."""
    labels = make_ordinary(labels)

    def objective(images: Tensor, active: Tensor | None) -> Tensor:
        model, query_maps = parts(encode(net, images), active)
        return loss(net.head.score(model, query_maps).logits, pick(labels, active))

    return objective


def _refit(net: EpisodeNet, support_maps: Tensor, episode: Episode, some: Tensor | None) -> Any:
    mask = make_ordinary(episode.mask).flatten(1)
    return net.head.fit(support_maps, pick(_support_labels(episode), some), pick(mask, some))


def fit_support(net: EpisodeNet, episode: Episode, max_images: int | None = None) -> Any:
    """The head's model of E episodes, from at most `max_images` support images in one pass."""
    maps = encode(net, _flat_support(episode), max_images)
    return net.head.fit(maps, _support_labels(episode), episode.mask.flatten(1))


def encode(net: EpisodeNet, images: Tensor, max_images: int | None = None) -> Tensor:
    """Maps of images (E, n, C, H, W), at most `max_images` in one pass."""
    flat = images.flatten(0, 1)
    flat_maps = torch.cat([net.encode(part) for part in flat.split(max_images or len(flat))])
    maps: Tensor = flat_maps.unflatten(0, images.shape[:2])
    return maps


def _flat_support(episode: Episode) -> Tensor:
    return episode.support.flatten(1, 2)


def _support_labels(episode: Episode) -> Tensor:
    e, way, shot = episode.mask.shape
    return torch.arange(way, device=episode.mask.device).repeat_interleave(shot).expand(e, way * shot)


def _only_real_shots(support: Tensor, episode: Episode) -> Tensor:
    """Back to (E, way, shot, C, H, W); padding that stands for missing shots stays as it was."""
    mask = episode.mask[..., None, None, None]
    return torch.where(mask, support.view_as(episode.support), episode.support)


def _count_units(images_per_unit: int, max_images: int | None) -> int | None:
    """How many units fit into one pass; one unit always has to."""
    return None if max_images is None else max(1, max_images // images_per_unit)
