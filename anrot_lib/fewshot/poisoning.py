"""How many shots may be replaced by anything without changing the answer to a query: exact, for heads of shots.

`fewshot.heads.shots` gives a class the mean of the middle divergences of its K shots. An adversary who replaces r of
them by arbitrary images changes r of the d_(1) <= ... <= d_(K) to any values in [0, largest]. The least and the largest
mean that this can lead to are those of

    0 (r times), d_(1), ..., d_(K-r)        and        d_(r+1), ..., d_(K), largest (r times),

because the mean of the middle grows with each d: the best for the adversary is to replace the r farthest shots by the
query itself, or the r nearest by something as far as can be. Divergences of one class do not depend on the shots of
another, so an answer y stands, against r replaced shots

    of one class, whichever it is, if   D_y < min over j != y of lowest_j   and   highest_y < min over j != y of D_j,
    of every class at once, if          highest_y < min over j != y of lowest_j.

Both are exact in feature space, where an adversary may take any features: what does not stand is turned by the
replacements above, up to ties. In image space some divergences may be out of reach, so there a certificate can only be
too careful.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.core.trees import concatenate, map_tree
from anrot_lib.data.episodes import EpisodeRows
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.descriptions import Descriptions
from anrot_lib.fewshot.evaluation import make_support_labels
from anrot_lib.fewshot.heads.contract import Head
from anrot_lib.fewshot.heads.shots import ShotHead, ShotModel, count_trimmed
from anrot_lib.fewshot.methods import build_head

SLACK = 1e-5  # relative difference of two divergences that may be rounding: it certifies nothing


class PoisonedAnswers(NamedTuple):
    """Of each query (E, n): its class, and how many shots may be replaced in one class, and in every class at once."""

    answers: Tensor
    one_class: Tensor
    every_class: Tensor


def bound_middle(ordered: Tensor, replaced: int, trimmed: int, largest: float) -> tuple[Tensor, Tensor]:
    """(lowest, highest) mean of the middle that so many replaced shots can lead to, from ordered divergences (..., K).

    Float64, (...); infinite where there is no bound.
    """
    shots = ordered.shape[-1]
    ordered = ordered.double()
    kept = ordered[..., : shots - replaced], ordered[..., replaced:]
    nearest, farthest = (torch.full_like(ordered[..., :replaced], value) for value in (0.0, largest))
    lowest, highest = torch.cat([nearest, kept[0]], -1), torch.cat([kept[1], farthest], -1)
    middle = slice(trimmed, shots - trimmed)
    return lowest[..., middle].mean(-1), highest[..., middle].mean(-1)


def certify_shots(divergences: Tensor, rule: str, largest: float) -> PoisonedAnswers:
    """The certificates of queries from the divergences of all shots (..., way, K), any lead."""
    way, shots = divergences.shape[-2:]
    trimmed = int(count_trimmed(torch.tensor(shots), rule))
    ordered = divergences.nan_to_num(torch.inf, torch.inf).sort(-1).values
    plain, _ = bound_middle(ordered, 0, trimmed, largest)
    if not plain.isfinite().all():
        raise NotFinite("divergences of unchanged shots are not finite, so there is no answer to certify")
    answers = plain.argmin(-1)
    mine = F.one_hot(answers, way).bool()

    def pick_answer(values: Tensor) -> Tensor:
        return values.gather(-1, answers.unsqueeze(-1)).squeeze(-1) * (1 + SLACK)

    def find_nearest_other(values: Tensor) -> Tensor:
        return values.masked_fill(mine, torch.inf).amin(-1)

    one, every = [], []
    for replaced in range(1, shots + 1):
        lowest, highest = bound_middle(ordered, replaced, trimmed, largest)
        pushed = pick_answer(highest) < find_nearest_other(plain)
        pulled = pick_answer(plain) < find_nearest_other(lowest)
        one.append(pushed & pulled)
        every.append(pick_answer(highest) < find_nearest_other(lowest))
    count = [torch.stack(stands).long().cumprod(0).sum(0) for stands in (one, every)]
    return PoisonedAnswers(answers, *count)


def get_shot_head(net: FewShotNet) -> ShotHead:
    """The head of a net. UserError for one that takes no median over shots: a single shot can turn its answers."""
    return _check_shot_head(net.head)


def build_shot_head(method: str, channels: int) -> ShotHead:
    """The head of a method. UserError for one that takes no median over shots."""
    return _check_shot_head(build_head(method, channels))


def _check_shot_head(head: Head) -> ShotHead:
    if not isinstance(head, ShotHead):
        raise UserError("only a head that takes a median over shots has a certificate; take one, such as median-cosine")
    return head


@torch.no_grad()
def measure_shots(net: FewShotNet, rows: EpisodeRows, described: Descriptions) -> Tensor:
    """Divergences of all queries to all shots of their episodes, (E, n, way, K), from descriptions of the images."""
    e, way, shots = rows.support.shape
    support, query = described.select(rows.support.reshape(e, -1)), described.select(rows.query.reshape(e, -1))
    divergences: Tensor = get_shot_head(net).measure_shots(support, query)
    return divergences.view(*divergences.shape[:2], way, shots)


@dataclass(frozen=True)
class PoisonEffort:
    """Steps of the search for an image far from a query."""

    steps: int = 5


class PoisonAttack(NamedTuple):
    """Whether an attack with so many replaced shots turns the answers of queries (E, n): in one class, in every one."""

    one_class: Tensor
    every_class: Tensor


def find_far_images(net: FewShotNet, queries: Tensor, starts: Tensor, effort: PoisonEffort, max_images: int) -> Tensor:
    """Images (n, C, H, W), anywhere in [0, 1], whose divergence to each query is as large as an ascent makes it."""
    head = get_shot_head(net)
    threat = ThreatModel(
        norm="linf", eps=1.0, step=0.25, steps=effort.steps, restarts=1, start="clean", target="support"
    )
    with frozen(net):
        with torch.no_grad():
            parts = [head.describe(net.encode(part)) for part in queries.split(max_images)]
            described = map_tree(lambda tensor: tensor.unsqueeze(1), concatenate(parts))

        def objective(images: Tensor, active: Tensor | None) -> Tensor:
            moved = map_tree(lambda tensor: tensor.unsqueeze(1), head.describe(net.encode(images)))
            query = described if active is None else map_tree(lambda tensor: tensor[active], described)
            return head.measure_shots(moved, query).flatten()

        return ascend(objective, starts, threat, keep="best", chunk=max_images).images


@torch.no_grad()
def attack_shots(
    net: FewShotNet, pool: Any, support: Tensor, query: Tensor, far: Tensor, answers: Tensor, replaced: int
) -> PoisonAttack:
    """Replace shots of n queries by images of a pool, as an adversary would, and score the queries again.

    pool      descriptions of images; support (n, way, K), query (n) and far (n) are numbers of images in it.
    answers   (n) what the net says of the unchanged episode.
    replaced  shots a class. In the class of the answer those nearest to the query give way to `far`, in another class
              those farthest from it to the query itself.
    """
    head, way = get_shot_head(net), support.shape[1]
    queries = map_tree(lambda tensor: tensor[query].unsqueeze(1), pool)
    divergences = head.measure_shots(map_tree(lambda tensor: tensor[support.flatten(1)], pool), queries)
    rank = divergences.view(support.shape).argsort(-1).argsort(-1)
    mine = F.one_hot(answers, way).bool().unsqueeze(-1)
    gives_way = torch.where(mine, rank < replaced, rank >= support.shape[2] - replaced)
    poison = torch.where(gives_way, torch.where(mine, far[:, None, None], query[:, None, None]), support)
    labels = make_support_labels(way, support.shape[2], len(support)).to(support.device)

    def turns(rows: Tensor) -> Tensor:
        model: ShotModel = head.fit_described(map_tree(lambda tensor: tensor[rows.flatten(1)], pool), labels)
        return head.score_described(model, queries).logits[:, 0].argmax(-1) != answers

    ways = torch.arange(way, device=support.device)[:, None]
    single = [turns(torch.where(ways == k, poison, support)) for k in range(way)]
    return PoisonAttack(torch.stack(single).any(0), turns(poison))


def attack_poisoned(
    net: FewShotNet,
    image_set: ImageSet,
    rows: EpisodeRows,
    described: Descriptions,
    answers: Tensor,
    most: int,
    max_images: int,
    effort: PoisonEffort = PoisonEffort(),
) -> list[PoisonAttack]:
    """Attacks with 1, 2, ..., `most` replaced shots a class on all queries of some episodes, by images in [0, 1].

    answers (E, n). The search for a far image starts at the shot that is farthest from the query.
    """
    divergences = measure_shots(net, rows, described).flatten(2)
    e, n = answers.shape
    support = np.broadcast_to(rows.support[:, None], (e, n, *rows.support.shape[1:])).reshape(e * n, -1)
    query_rows = rows.query.reshape(e * n)
    start_rows = np.take_along_axis(support, divergences.argmax(-1).view(-1, 1).cpu().numpy(), 1)[:, 0]
    device = answers.device
    images = (image_set.batch(query_rows, device), image_set.batch(start_rows, device))
    far = find_far_images(net, *images, effort, max_images)
    with torch.no_grad():
        farthest = concatenate([get_shot_head(net).describe(net.encode(part)) for part in far.split(max_images)])
    pool = concatenate([described.values, farthest])

    shots = described.find(support).to(device).view(e * n, *rows.support.shape[1:])
    queries = described.find(query_rows).to(device)
    beyond = len(described.rows) + torch.arange(e * n, device=device)
    attacks = [
        attack_shots(net, pool, shots, queries, beyond, answers.flatten(), replaced) for replaced in range(1, most + 1)
    ]
    return [PoisonAttack(*(turned.view(e, n) for turned in attack)) for attack in attacks]
