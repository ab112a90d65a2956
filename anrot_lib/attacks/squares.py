"""A search without gradients: random squares of full strength, kept where they help (Square attack).

After Andriushchenko et al. 2020 (arXiv 1912.00049), for the l-infinity ball. It asks for losses alone, so a model that
only hides its gradient falls to it.
"""

import torch
from torch import Tensor

from anrot_lib.attacks.search import Search, choose_start
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import UserError

FIRST_SHARE = 0.8  # of the image, that the first squares cover
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 squares, after which that share is halved


def compute_side(step: int, steps: int, height: int, width: int) -> int:
    """Side in pixels of square number `step` of `steps`: the square root of its share of the image's area."""
    at = 10_000 * step / steps
    share = FIRST_SHARE / 2 ** sum(at > halving for halving in HALVINGS)
    return int(min(max(round((share * height * width) ** 0.5), 1), height, width))


def climb_by_squares(
    search: Search, threat: ThreatModel, clean: Tensor, generator: torch.Generator | None, start: Tensor | None
) -> Tensor:
    """`threat.steps` squares in each of `threat.restarts` runs: one forward pass each, none backward.

    A run begins with vertical stripes of +eps or -eps, or at `start`. Each step sets a square of each image, in a
    random place, to the original plus or minus eps by channel, and keeps it if the loss rises. Images of one unit
    change together. Needs an objective with one loss a unit. UserError for another norm than linf.
    """
    if threat.norm != "linf":
        raise UserError(f"the search by squares knows the norm linf only, got {threat.norm}")
    if generator is None:
        raise UserError("the search by squares needs a torch.Generator, pass generator=")
    search.look(clean, backward=False)
    for run in range(threat.restarts if threat.eps else 0):
        best = _draw_stripes(clean, threat, generator)
        if run == 0 and start is not None:
            best = choose_start(threat, clean, generator, start)
        if search.finished:
            break
        search.look(best, backward=False)
        best_loss = search.get_losses()
        for step in range(threat.steps):
            if search.finished:
                break
            squares = _draw_squares(clean, step, threat.steps, generator)
            candidate = torch.where(squares, _move_channels(clean, threat, generator), best)
            search.look(candidate, backward=False)
            rises = (search.get_losses() > best_loss).view(-1, *(1,) * (clean.ndim - 1))
            best = torch.where(rises, candidate, best)
            best_loss = torch.maximum(search.get_losses(), best_loss)
    return search.images


def _draw_stripes(clean: Tensor, threat: ThreatModel, generator: torch.Generator) -> Tensor:
    """The images with every column of every channel moved by +eps or -eps."""
    signs = _draw_signs((*clean.shape[:-2], 1, clean.shape[-1]), generator, clean)
    return threat.project(clean + threat.eps * signs, clean)


def _move_channels(clean: Tensor, threat: ThreatModel, generator: torch.Generator) -> Tensor:
    """The images with every channel moved by +eps or -eps."""
    return threat.project(clean + threat.eps * _draw_signs((*clean.shape[:-2], 1, 1), generator, clean), clean)


def _draw_signs(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    bits = torch.randint(2, shape, generator=generator, device=generator.device)
    return (2 * bits - 1).to(like)


def _draw_squares(clean: Tensor, step: int, steps: int, generator: torch.Generator) -> Tensor:
    """True inside a random square of each image: bool (..., 1, H, W)."""
    height, width = clean.shape[-2:]
    side, shape = compute_side(step, steps, height, width), (*clean.shape[:-3], 1, 1, 1)
    inside = []
    for size in (height, width):
        draws = torch.randint(size - side + 1, shape, generator=generator, device=generator.device)
        offset = torch.arange(size, device=clean.device) - draws.to(clean.device)
        inside.append((offset >= 0) & (offset < side))
    rows, columns = inside
    return rows.transpose(-2, -1) & columns
