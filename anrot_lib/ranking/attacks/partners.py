"""The rows of a gallery that an attack moves its image towards, away from, or past: its partners."""

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.ranking.attacks.names import RankAttack
from anrot_lib.ranking.gallery import Gallery

NEAREST_SHARE = 0.01  # of the gallery: where CA- and QA- take their partners


def draw_chance(attack: RankAttack, n: int, generator: torch.Generator) -> Tensor:
    """The chance behind the partners of n images: numbers in [0, 1), float64 (n, W), on the CPU.

    Drawn for all images before the first is attacked, so that partners do not depend on how images are batched.
    """
    count = {"TMA": 1}.get(attack.kind, attack.count)
    return torch.rand((n, count), generator=generator, dtype=torch.float64)


def choose_partners(
    attack: RankAttack, gallery: Gallery, rows: Tensor, others: Tensor, chance: Tensor, parity: bool = False
) -> Tensor:
    """Row numbers (B, W) of the partners of images that are `rows` (B,) of the gallery.

    others  distances (B, N) of the images to the gallery, infinite to themselves; chance: from `draw_chance`.
    """
    chance = chance.to(others.device)
    if attack.kind == "GTT":
        return others.argmin(1, keepdim=True)
    if attack.kind == "GTM":
        return find_mismatch(others, gallery.labels, gallery.labels[rows], parity).unsqueeze(1)
    if attack.pm == "-":
        nearest = max(1, int(NEAREST_SHARE * len(gallery)))
        if attack.kind == "QA" and attack.count > nearest:
            raise UserError(f"{attack} needs {attack.count} different rows among the nearest {nearest}")
        order = others.topk(nearest, 1, largest=False).indices
        places = draw_different(chance, nearest) if attack.kind == "QA" else (chance * nearest).long()
        return order.gather(1, places)
    return (chance * len(gallery)).long()


def find_mismatch(distances: Tensor, labels: Tensor, label: Tensor, parity: bool = False) -> Tensor:
    """GTM's row u for each query: the nearest row of another class than the query's `label` (B,).

    distances (B, N) with the own row at infinity. parity: of another class than the nearest row's, and the number of u
    *among the rows of other classes* is used as a number of X, a mistake of the published code.
    """
    if parity:
        label = labels[distances.argmin(1)]
    other = labels != label[:, None]
    nearest = distances.masked_fill(~other, torch.inf).argmin(1)
    return other.cumsum(1).gather(1, nearest[:, None]).squeeze(1) - 1 if parity else nearest


def draw_different(chance: Tensor, n: int) -> Tensor:
    """Numbers below n, all different in a row, from numbers in [0, 1) of shape (B, M): drawing without putting back."""
    places = (chance[:, :1] * n).long()
    for j in range(1, chance.shape[1]):
        place = (chance[:, j : j + 1] * (n - j)).long()
        for taken in torch.split(places.sort(1).values, 1, 1):
            place = place + (place >= taken)
        places = torch.cat([places, place], 1)
    return places
