"""Randomised smoothing of the whole episode classifier: answers that no change of so many pixels in l2 can turn.

For noise e ~ N(0, sigma^2 I) the smoothed classifier answers with the class A that the episode classifier f gives most
often, g(x) = argmax_c P(f(x + e) = c). If p_A > 1/2 is a lower limit of the share of A, then g answers A at every
x + d with

    ||d||_2 < sigma Phi^-1(p_A)

(Cohen et al. 2019, arXiv 1902.02918, theorem 1 with p_B = 1 - p_A). p_A is the exact one-sided limit of Clopper and
Pearson, from draws that did not choose A; a query whose limit does not exceed 1/2 abstains. f clips the noisy pixels to
[0, 1] before the encoder: a part of f, which may be any function.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor
from torch.nn import functional as F

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.episode import encode, fit_support
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.core.statistics import compute_lower_bound
from anrot_lib.core.trees import pick
from anrot_lib.data.episodes import Episode
from anrot_lib.fewshot.certificates import Smoothing
from anrot_lib.fewshot.classifier import FewShotNet

ABSTAINS = -1


class SmoothedAnswers(NamedTuple):
    """Of each query: the class that was chosen, how many of the other draws gave it, the radius or 0, and the answer:
    that class, or ABSTAINS where the radius is 0."""

    chosen: np.ndarray
    hits: np.ndarray
    radii: np.ndarray

    @property
    def answers(self) -> np.ndarray:
        answers: np.ndarray = np.where(self.radii > 0, self.chosen, ABSTAINS)
        return answers


def compute_radii(hits: np.ndarray, smoothing: Smoothing) -> np.ndarray:
    """Certified l2 radii, in units of the pixel range, for so many hits among the draws; 0 where a query abstains."""
    limit = compute_lower_bound(hits, smoothing.draws, smoothing.alpha)
    radii: np.ndarray = np.where(limit > 0.5, smoothing.sigma * ndtri(np.maximum(limit, 0.5)), 0.0)
    return radii


def certify_votes(first: Tensor, votes: Tensor, smoothing: Smoothing) -> SmoothedAnswers:
    """Answers and radii from votes (..., way): `first` of the draws that choose the class, `votes` of the others."""
    chosen = first.argmax(-1)
    hits = votes.gather(-1, chosen.unsqueeze(-1)).squeeze(-1).cpu().numpy()
    return SmoothedAnswers(chosen.cpu().numpy(), hits, compute_radii(hits, smoothing))


def draw_noisy(images: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """clip(x + sigma z, 0, 1), z standard normal for every pixel, drawn on the device of the generator."""
    noise = torch.randn(images.shape, generator=generator, device=generator.device, dtype=images.dtype)
    return noise.to(images.device).mul_(sigma).add_(images).clamp_(0, 1)


@torch.no_grad()
def count_votes(
    net: FewShotNet,
    episode: Episode,
    smoothing: Smoothing,
    draws: int,
    generator: torch.Generator,
    max_images: int,
    progress: Callable[[int], None] = lambda images: None,
) -> Tensor:
    """How many of the draws give each query of one episode each class, (n, way).

    Several draws of all queries go through the encoder together, at most `max_images` at once. A clean support set is
    fitted once; a noisy one is drawn anew with every draw, and shared by the queries of the draw. `progress` is called
    with the number of images of each pass. UserError for a net whose scores of a query depend on the other queries.
    """
    check_smoothable(net, episode)
    labels, query, way = episode.support_labels, episode.query, episode.mask.shape[1]
    images, model = query, fit_support(net, episode, max_images) if smoothing.noisy == "query" else None
    if model is None:
        images = torch.cat([episode.support.flatten(1, 2), query], 1)
    votes = torch.zeros(query.shape[1], way, dtype=torch.long, device=query.device)
    together = max(1, max_images // images.shape[1])
    for start in range(0, draws, together):
        count = min(together, draws - start)
        noisy = draw_noisy(images.expand(count, *images.shape[1:]), smoothing.sigma, generator)
        maps = encode(net, noisy, max_images)
        if model is None:
            support, maps = maps.split([labels.shape[1], query.shape[1]], 1)
            logits = net.head.score(net.head.fit(support, labels.expand(count, -1)), maps).logits
        else:
            logits = net.head.score(model, maps.flatten(0, 1)[None]).logits[0].unflatten(0, (count, -1))
        if not logits.isfinite().all():
            raise NotFinite("the net's logits are not finite under noise, so it names no class")
        votes += F.one_hot(logits.argmax(-1), way).sum(0)
        progress(noisy.shape[0] * noisy.shape[1])
    return votes


def check_smoothable(net: FewShotNet, episode: Episode) -> None:
    """UserError for a net or an episode that votes cannot be counted for."""
    if net.head.batch_dependent:
        raise UserError("the scores of a query depend on the other queries, so there is no classifier of one to smooth")
    if len(episode.query) != 1:
        raise UserError(f"votes are counted in one episode at a time, got {len(episode.query)}")


def certify_episode(
    net: FewShotNet,
    episode: Episode,
    smoothing: Smoothing,
    generator: torch.Generator,
    max_images: int,
    progress: Callable[[int], None] = lambda images: None,
) -> SmoothedAnswers:
    """Answers and radii of all queries of one episode. The net is in eval mode."""
    first = count_votes(net, episode, smoothing, smoothing.first_draws, generator, max_images, progress)
    votes = count_votes(net, episode, smoothing, smoothing.draws, generator, max_images, progress)
    return certify_votes(first, votes, smoothing)


@dataclass(frozen=True)
class SmoothedEffort:
    """Of an attack on the smoothed classifier: steps, noise draws of its gradient, draws that judge its result."""

    steps: int = 6
    samples: int = 4
    draws: int = 100


class SmoothedAttack(NamedTuple):
    """Attacked queries, and those of them that are broken."""

    queries: int
    broken: int


def attack_certified(
    net: FewShotNet,
    episode: Episode,
    certified: SmoothedAnswers,
    smoothing: Smoothing,
    generator: torch.Generator,
    max_images: int,
    effort: SmoothedEffort = SmoothedEffort(),
    factor: float = 1.0,
    progress: Callable[[int], None] = lambda images: None,
) -> SmoothedAttack:
    """Attack the certified queries of one episode within `factor` of their radii, and count the broken ones.

    The attack is PGD in l2 on -log of the mean probability of the answer over some noise draws (SmoothAdv, Salman et
    al. 2019, arXiv 1906.04584), which it uses in all steps; it moves the query, also where support images are noisy. A
    query is broken if fresh draws show that its answer has a share below 1/2: the exact limit of all other classes
    together, at the same alpha, exceeds 1/2.
    """
    some = torch.from_numpy((certified.answers != ABSTAINS).nonzero()[0]).to(episode.query.device)
    if not len(some):
        return SmoothedAttack(0, 0)
    moved = []
    with frozen(net):
        with torch.no_grad():
            model = fit_noisy_support(net, episode, smoothing, effort.samples, generator)
        for k in some.tolist():
            size = (effort.samples, *episode.query.shape[2:])
            noise = smoothing.sigma * torch.randn(size, generator=generator, device=generator.device)
            objective = make_smoothed_objective(net, model, noise.to(episode.query), int(certified.answers[k]))
            threat = make_threat(factor * float(certified.radii[k]), effort.steps)
            moved.append(ascend(objective, episode.query[0, k : k + 1], threat, keep="best").images)
            progress(3 * effort.steps * effort.samples)
    attacked = dataclasses.replace(
        episode,
        query=torch.cat(moved)[None],
        labels=episode.labels[:, some],
        query_rows=episode.query_rows[:, some.to(episode.query_rows.device)],
    )
    votes = count_votes(net, attacked, smoothing, effort.draws, generator, max_images, progress)
    answers = torch.from_numpy(certified.answers).to(votes.device)[some]
    hits = votes.gather(1, answers.unsqueeze(1)).squeeze(1).cpu().numpy()
    broken = compute_lower_bound(effort.draws - hits, effort.draws, smoothing.alpha) > 0.5
    return SmoothedAttack(len(some), int(broken.sum()))


def make_threat(radius: float, steps: int) -> ThreatModel:
    """PGD in a ball of l2, from its centre."""
    step = 2.5 * radius / steps
    return ThreatModel(norm="l2", eps=radius, step=step, steps=steps, restarts=1, start="clean", target="query")


def make_smoothed_objective(
    net: FewShotNet, model: Any, noise: Tensor, answer: int
) -> Callable[[Tensor, Tensor | None], Tensor]:
    """-log of the mean probability of a class over noise (samples, C, H, W), of one query (1, C, H, W).

    model: of as many episodes as there are samples.
    """

    def objective(images: Tensor, active: Tensor | None) -> Tensor:
        maps = net.encode((images + noise).clamp(0, 1)).unsqueeze(1)
        chances = net.head.score(model, maps).logits[:, 0].log_softmax(-1)[:, answer]
        return (math.log(len(noise)) - chances.logsumexp(0)).expand(1)

    return objective


def fit_noisy_support(
    net: FewShotNet, episode: Episode, smoothing: Smoothing, samples: int, generator: torch.Generator
) -> Any:
    """The model of one episode, repeated for every sample; of as many noisy support sets where they carry noise."""
    if smoothing.noisy == "query":
        model = fit_support(net, episode)
        return pick(model, torch.zeros(samples, dtype=torch.long, device=episode.query.device))
    support = episode.support.flatten(1, 2)
    noisy = draw_noisy(support.expand(samples, *support.shape[1:]), smoothing.sigma, generator)
    return net.fit(noisy, episode.support_labels.expand(samples, -1))
