"""The masking card of a few-shot classifier: does it withstand attacks, or do the attacks only lack a gradient?

Every check attacks the same queries in another way, and compares accuracies episode by episode.

| check | what is done | passed if |
|---|---|---|
| alone | each query is encoded and classified by itself, and beside the others | no prediction changes |
| gradient | the gradient of the loss at the queries | it is 0 for at most 1 % of those that are right |
| restarts | PGD from five random points | the accuracy is not lower |
| steps | PGD with four times as many steps, half as long | the accuracy is not lower |
| eps | larger balls, up to the whole pixel range | accuracies never rise; the last is half of that at eps, or chance |
| squares | a search without gradients (`attacks.squares`) | it beats no more than PGD with restarts |
| eot | of a head that draws: PGD on the mean of ten draws beside PGD on one | the mean over draws is not lower |
| transfer | queries that the surrogate's gradient moves | it beats no more than PGD |
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.checks import DEAD, check_falling, check_not_lower
from anrot_lib.attacks.episode import encode, fit_support
from anrot_lib.attacks.expectation import attack_drawn_queries, measure_drawn_accuracy
from anrot_lib.attacks.gradient import pgd
from anrot_lib.attacks.queries import list_queries
from anrot_lib.attacks.suite import make_objective
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core import randomness
from anrot_lib.data.episodes import Episode, EpisodeRows
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.fewshot.heads.trial import DEPENDENCE
from anrot_lib.fewshot.passes import count_images_per_pass, cut_blocks
from anrot_lib.settings import Protocol

CHECKS = ("alone", "gradient", "restarts", "steps", "eps", "squares", "eot", "transfer")
Count = Callable[[ThreatModel], np.ndarray]


@dataclass(frozen=True)
class CardEffort:
    """How hard to look: restarts, factor of the steps, factors of eps, squares, draws of a head that samples."""

    restarts: int = 5
    more_steps: int = 4
    factors: tuple[float, ...] = (0.5, 2.0, 4.0)
    squares: int = 300
    draws: int = 10


def check_masking(
    evaluator: Evaluator,
    rows: EpisodeRows,
    protocol: Protocol,
    effort: CardEffort = CardEffort(),
    transfers: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, dict[str, Any]]:
    """The checks of the card on some episodes, by name, each with "passed" and what was measured, in per cent.

    transfers  whether the evaluator's surrogate is good enough for the last check, which is left out otherwise.
    progress   called with the name of each check before it begins.
    """
    episode = rows.to_episode(evaluator.image_set, evaluator.device)
    base = pgd(protocol.eps, protocol.steps, protocol.step, 1, target="query", norm=protocol.norm)
    per_task = rows.query.shape[1] * rows.query.shape[2]

    def measure(threat: ThreatModel) -> np.ndarray:
        """Accuracies (E,) under an attack, in per cent."""
        accuracies: np.ndarray = 100 * evaluator.count_attacked(rows, threat, protocol.seed) / per_task
        return accuracies

    results: dict[str, dict[str, Any]] = {}
    progress("alone")
    results["alone"] = check_alone(evaluator, episode)
    progress("gradient")
    results["gradient"] = check_gradients(evaluator, episode)
    progress("restarts")
    plain, best = measure(base), measure(replace(base, restarts=effort.restarts))
    results["restarts"] = {"restarts": effort.restarts, **check_not_lower(plain, best)}
    progress("steps")
    longer = replace(base, steps=effort.more_steps * base.steps, step=base.step / 2)
    results["steps"] = {"times": effort.more_steps, **check_not_lower(plain, measure(longer))}
    progress("eps")
    largest = 1.0 if protocol.norm == "linf" else 8 * protocol.eps
    factors = sorted({*effort.factors, 1.0, largest / protocol.eps})
    balls = {f: plain if f == 1 else measure(scale_threat(base, f)) for f in factors if f * protocol.eps <= largest}
    results["eps"] = check_falling(balls, protocol.eps, 100 / protocol.way)
    if protocol.norm == "linf" and not evaluator.net.head.batch_dependent:
        progress("squares")
        blind = 100 * count_right_after_squares(evaluator, episode, base, protocol.seed, effort.squares) / per_task
        results["squares"] = {"population": effort.squares, **check_not_lower(np.minimum(plain, best), blind)}
    if evaluator.net.head.samples:
        progress("eot")
        results["eot"] = check_draws(evaluator, episode, base, protocol.seed, effort.draws)
    if transfers:
        progress("transfer")
        moved = 100 * evaluator.count_transferred(rows, base, protocol.seed) / per_task
        results["transfer"] = check_not_lower(plain, moved)
    return results


def scale_threat(threat: ThreatModel, factor: float) -> ThreatModel:
    """The threat model with its radius and its step times a factor."""
    return replace(threat, eps=factor * threat.eps, step=factor * threat.step)


def check_alone(evaluator: Evaluator, episode: Episode) -> dict[str, Any]:
    """Whether a query is classified alone, by encoder and head, as it is beside the others.

    If not, the "attack" of one moves all, or the net draws noise and gives another answer when it is asked again. An
    answer that changes by rounding alone, below DEPENDENCE of the spread of the logits, counts as the same.
    """
    net = evaluator.net
    limit = count_images_per_pass(episode.query.shape[-1], evaluator.device)
    with frozen(net, training=False), torch.no_grad():
        model = fit_support(net, episode, limit)
        together = net.head.score(model, encode(net, episode.query, limit)).logits
        parts = [encode(net, episode.query[:, i : i + 1], 1) for i in range(episode.query.shape[1])]
        alone = torch.cat([net.head.score(model, maps).logits for maps in parts], 1)
    moved = (alone - together).abs().amax(-1) > DEPENDENCE * (together.max() - together.min())
    changed = int((moved & (alone.argmax(-1) != together.argmax(-1))).sum())
    return {"passed": changed == 0, "changed": changed, "queries": episode.labels.numel()}


def check_gradients(evaluator: Evaluator, episode: Episode) -> dict[str, Any]:
    """Per cent of the right queries at which the gradient of the cross-entropy is exactly 0."""
    net, limit = evaluator.net, count_images_per_pass(episode.query.shape[-1], evaluator.device)
    dead, asked = 0, 0
    with frozen(net, training=False):
        single = list_queries(net, episode, limit)
        for part in cut_blocks(len(single.labels), limit):
            labels = single.labels[part]
            objective = make_objective(net, single.model, single.owners[part], labels, labels, "cross-entropy")
            images = single.images[part].clone().requires_grad_()
            loss, beaten = objective(images, None)
            (gradient,) = torch.autograd.grad(loss.sum(), images)
            still = gradient.flatten(1).abs().amax(1) == 0
            dead, asked = dead + int((still & ~beaten).sum()), asked + int((~beaten).sum())
    share = 100 * dead / max(asked, 1)
    return {"passed": share <= DEAD, "dead": {"cross-entropy": round(share, 4)}, "queries": asked}


def check_draws(evaluator: Evaluator, episode: Episode, threat: ThreatModel, seed: int, draws: int) -> dict[str, Any]:
    """Whether an adversary who averages over draws finds more than one who follows a single draw (the EOT gap).

    Both are scored as a net that draws, by the mean of the same `draws` draws.
    """
    net, limit = evaluator.net, count_images_per_pass(episode.query.shape[-1], evaluator.device)
    accuracies = []
    for k in (1, draws):
        generator = randomness.make_generator(seed, f"card/eot/{threat.name}")
        moved = attack_drawn_queries(net, episode, threat, k, generator, limit)
        judge = randomness.make_generator(seed, "card/eot")
        accuracies.append(100 * measure_drawn_accuracy(net, episode, moved, draws, judge, limit).cpu().numpy())
    return {"draws": draws, **check_not_lower(*accuracies)}


def count_right_after_squares(
    evaluator: Evaluator, episode: Episode, threat: ThreatModel, seed: int, squares: int
) -> np.ndarray:
    """Right queries (E,) of each episode after a search by squares, which asks for no gradient."""
    net, limit = evaluator.net, count_images_per_pass(episode.query.shape[-1], evaluator.device)
    blind = replace(threat, steps=squares, restarts=1)
    with frozen(net, training=False):
        single = list_queries(net, episode, limit)
        objective = make_objective(net, single.model, single.owners, single.labels, single.labels, "margin")
        generator = randomness.make_generator(seed, f"card/squares/{threat.name}")
        ascent = ascend(objective, single.images, blind, generator, stop="beaten", chunk=limit, rule="squares")
    assert ascent.beaten is not None, "a search that stops at beaten queries says which they are"
    right: np.ndarray = (~ascent.beaten).view(episode.labels.shape).sum(1).cpu().numpy()
    return right


def measure_surface(evaluator: Evaluator, episode: Episode, eps: float, seed: int, points: int = 21) -> np.ndarray:
    """Margins (points, points) of the first right query of an episode, moved along two directions.

    Rows go along the sign of its gradient, columns along random signs, both from -2 eps to 2 eps, clipped to pixels.
    Above 0 the query is beaten. A masked gradient shows as a plain without a slope, or as a saw.
    """
    net, n = evaluator.net, episode.labels.shape[1]
    limit = count_images_per_pass(episode.query.shape[-1], evaluator.device)
    one = torch.zeros(points * points, dtype=torch.long, device=evaluator.device)
    with frozen(net, training=False):
        with torch.no_grad():
            model = fit_support(net, episode, limit)
            logits = net.head.score(model, encode(net, episode.query, limit)).logits[0]
        right = (logits.argmax(-1) == episode.labels[0]).nonzero().flatten()
        query = int(right[0]) if len(right) else min(n - 1, 0)
        label = episode.labels[0, query].repeat(len(one))
        objective = make_objective(net, model, one, label, label, "margin")
        image = episode.query[0, query].clone().requires_grad_()
        loss, _ = objective(image[None].expand(len(one), -1, -1, -1), None)
        (gradient,) = torch.autograd.grad(loss.mean(), image)
        generator = randomness.make_generator(seed, "card/surface")
        signs = 2 * torch.randint(2, image.shape, generator=generator) - 1
        steps = torch.linspace(-2 * eps, 2 * eps, points, device=evaluator.device)
        along = steps[:, None, None, None, None] * gradient.sign()
        across = steps[None, :, None, None, None] * signs.to(image)
        moved = (image.detach() + along + across).clamp(0, 1).flatten(0, 1)
        with torch.no_grad():
            margins = objective(moved, None)[0]
    surface: np.ndarray = margins.view(points, points).cpu().numpy()
    return surface
