"""Suites of strong attacks on episodes, and their worst case: a query is right only if no attack of the suite beats it.

The composition is AutoAttack's (Croce & Hein 2020, arXiv 2003.01690) for the classifier that an episode makes:
adaptive steps on the cross-entropy, adaptive steps on the targeted difference of logits ratio for every wrong class,
and a search by squares. Its FAB part is left out. Queries that are beaten leave before the next attack.

| suite | adaptive steps | targets | squares |
|---|---|---|---|
| aa-lite | 20, hasty | all | 300 |
| aa | 100 | all | 5000 |
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.episode import EpisodeNet, attack_both, attack_support, encode, fit_support
from anrot_lib.attacks.objectives import compute_cross_entropy, compute_margin, compute_targeted_dlr
from anrot_lib.attacks.queries import list_queries
from anrot_lib.attacks.search import Objective
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import UserError
from anrot_lib.core.trees import pick
from anrot_lib.data.episodes import Episode

LENGTHS = {"aa-lite": (20, 300), "aa": (100, 5000)}  # adaptive steps, squares
RULES: dict[str, Literal["adaptive", "hasty"]] = {"aa-lite": "hasty", "aa": "adaptive"}  # of the adaptive steps
TITLES = {"aa-lite": "AA-lite", "aa": "AA"}
QueryLoss = Callable[[Tensor, Tensor, Tensor], Tensor]  # (logits (n, way), labels (n,), targets (n,)) -> (n,)


def choose_rule(suite: str, target: str) -> Literal["adaptive", "hasty"]:
    """The adaptive steps of a suite on what `target` names: poisoned support sets are searched by the usual ones."""
    return "adaptive" if target == "support" else RULES[suite]


@dataclass(frozen=True)
class StrongAttack:
    """One attack of a suite.

    rule    how it moves, as in `ascend`.
    loss    "cross-entropy", "margin" or "targeted".
    target  for "targeted": which wrong class, by the logits of the clean query: 0 is the most likely one.
    """

    name: str
    threat: ThreatModel
    rule: str
    loss: str
    target: int = 0


def list_attacks(suite: str, eps: float, way: int, norm: str = "linf", restarts: int = 1) -> list[StrongAttack]:
    """The attacks of a suite on queries, from the one that beats most to the slowest. UserError for an unknown name.

    The search by squares knows the norm linf only, so a suite of another norm has none.
    """
    if suite not in LENGTHS:
        raise UserError(f"unknown suite {suite!r}; choose from {', '.join(LENGTHS)}")
    steps, squares = LENGTHS[suite]

    def make_threat(n: int) -> ThreatModel:
        return ThreatModel(norm=norm, eps=eps, step=2 * eps, steps=n, restarts=restarts, start="random", target="query")

    rule = RULES[suite]
    attacks = [StrongAttack(f"APGD-CE-{steps}", make_threat(steps), rule, "cross-entropy")]
    attacks += [
        StrongAttack(f"APGD-DLR-{steps} target {k + 1}", make_threat(steps), rule, "targeted", k)
        for k in range(way - 1)
    ]
    if norm == "linf":
        attacks.append(StrongAttack(f"Square-{squares}", make_threat(squares), "squares", "margin"))
    return attacks


def compute_loss(kind: str, logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The loss of a strong attack by its name; shapes as in `attacks.objectives`, at least fp32."""
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    if kind == "targeted":
        return compute_targeted_dlr(logits, labels, targets)
    return compute_margin(logits, labels) if kind == "margin" else compute_cross_entropy(logits, labels)


@dataclass(frozen=True)
class WorstCase:
    """What is left of the queries of E episodes after a suite.

    right   bool (E, n): no attack beat the query.
    images  (E, n, C, H, W): the candidate that beat it; of queries that are right, the clean image.
    beaten  name of an attack -> how many queries it was the first to beat; "clean" is among them.
    """

    right: Tensor
    images: Tensor
    beaten: dict[str, int]


def attack_queries_by_suite(
    net: EpisodeNet,
    episode: Episode,
    attacks: list[StrongAttack],
    generator: torch.Generator,
    max_images: int | None = None,
) -> WorstCase:
    """Run the attacks one after the other on the queries that are still right; the support set is not touched.

    The net is left as it was; put it in eval mode first. UserError for a head whose scores of a query depend on the
    other queries: there is no worst case of single queries.
    """
    if net.head.batch_dependent:
        raise UserError("the scores of this head depend on the other queries, so queries have no worst case one by one")
    single = list_queries(net, episode, max_images)
    labels, queries = single.labels, single.images
    with frozen(net), torch.no_grad():
        logits = net.head.score(single.model, encode(net, episode.query, max_images)).logits.flatten(0, 1)
    # wrong classes of each query, the most likely one first
    wrong = logits.scatter(-1, labels.unsqueeze(-1), -torch.inf).argsort(-1, descending=True)
    images, right = queries.clone(), logits.argmax(-1) == labels
    beaten = {"clean": int((~right).sum())}
    for attack in attacks:
        some = right.nonzero().squeeze(1)
        beaten[attack.name] = 0
        if not len(some):
            continue
        targets = wrong[some, min(attack.target, wrong.shape[1] - 2)]
        objective = make_objective(net, single.model, single.owners[some], labels[some], targets, attack.loss)
        with frozen(net):
            ascent = ascend(
                objective, queries[some], attack.threat, generator, stop="beaten", chunk=max_images, rule=attack.rule
            )
        assert ascent.beaten is not None, "a search that stops at beaten queries says which they are"
        lost = some[ascent.beaten]
        images[lost] = ascent.images[ascent.beaten]
        right[lost] = False
        beaten[attack.name] = len(lost)
    return WorstCase(right.view(episode.labels.shape), images.view(episode.query.shape), beaten)


def make_objective(
    net: EpisodeNet, model: Any, owners: Tensor, labels: Tensor, targets: Tensor, loss: str
) -> Objective:
    """The loss of single queries (N,), whose episodes in the fitted `model` are `owners` (N,)."""

    def objective(images: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
        some = slice(None) if active is None else active
        maps = net.encode(images).unsqueeze(1)
        logits = net.head.score(pick(model, owners[some]), maps).logits.squeeze(1)
        value = compute_loss(loss, logits, labels[some], targets[some])
        return value, logits.detach().argmax(-1) != labels[some]

    return objective


def count_by_suite(
    net: EpisodeNet,
    episode: Episode,
    suite: str,
    threat: ThreatModel,
    generator: torch.Generator,
    max_images: int | None = None,
    keep: Callable[[Tensor], None] | None = None,
    beaten: dict[str, int] | None = None,
    table: torch.Generator | None = None,
) -> Tensor:
    """Right queries (E,) of each episode under the worst attack of a suite on what `threat.target` names.

    query    the worst case query by query.
    support  support sets poisoned by `threat` itself, and by as many fixed and adaptive steps as the suite takes; of
             each episode the one with the fewest right.
    both     both kinds of poisoned sets with their queries, and then the suite on those queries that are still right.
    keep     of target "query" only: called with the queries (E, n, C, H, W) of the worst case.
    beaten   of target "query" only: gets how many queries each attack was the first to beat, as in `WorstCase`.
    table    of the other targets: the stream of `threat` alone, so that the suite never leaves more than it does.
    """
    way = episode.mask.shape[1]
    attacks = list_attacks(suite, threat.eps, way, threat.norm, threat.restarts)
    if threat.target == "query":
        case = attack_queries_by_suite(net, episode, attacks, generator, max_images)
        if keep is not None:
            keep(case.images)
        if beaten is not None:
            beaten.update({name: beaten.get(name, 0) + n for name, n in case.beaten.items()})
        return case.right.sum(1)
    steps = LENGTHS[suite][0]
    poisons = [(threat, "fixed", table or generator)]
    if steps > threat.steps:
        poisons.append((replace(threat, steps=steps, step=threat.eps / 4, start="random"), "fixed", generator))
    poisons.append((replace(threat, steps=steps, step=2 * threat.eps, start="random"), "adaptive", generator))
    attacker, fewest = attack_support if threat.target == "support" else attack_both, None
    for poison, rule, stream in poisons:
        support, query, _ = attacker(net, episode, poison, stream, max_images=max_images, rule=rule)
        poisoned = Episode(**{**vars(episode), "support": support})
        right = count_right(net, poisoned, query, max_images)
        if threat.target == "both":
            right = torch.minimum(right, count_both(net, poisoned, query, attacks, generator, max_images))
        fewest = right if fewest is None else torch.minimum(fewest, right)
    assert fewest is not None
    return fewest


def count_both(
    net: EpisodeNet,
    poisoned: Episode,
    moved: Tensor,
    attacks: list[StrongAttack],
    generator: torch.Generator,
    max_images: int | None,
) -> Tensor:
    """Right queries (E,), with a poisoned support set, that neither moved images (E, n, C, H, W) nor a suite beats."""
    case = attack_queries_by_suite(net, poisoned, attacks, generator, max_images)
    return (case.right & classify(net, poisoned, moved, max_images)).sum(1)


@torch.no_grad()
def classify(net: EpisodeNet, episode: Episode, query: Tensor, max_images: int | None = None) -> Tensor:
    """Which queries (E, n) an episode's support set gets right."""
    model = fit_support(net, episode, max_images)
    right: Tensor = net.head.score(model, encode(net, query, max_images)).logits.argmax(-1) == episode.labels
    return right


def count_right(net: EpisodeNet, episode: Episode, query: Tensor, max_images: int | None = None) -> Tensor:
    """Number of them (E,)."""
    return classify(net, episode, query, max_images).sum(1)
