"""TODO."""

import torch
from torch import Tensor


def compute_hellinger(bhattacharyya: Tensor) -> Tensor:
    """H = sqrt(1 - exp(-D_B)) of Bhattacharyya distances, any shape: in [0, 1], exactly 0 at 0 with gradient 0.

    Of D_B / C it is the Hellinger distance of the geometric-mean coefficient of C dimensions, which does not saturate.
    """
    return _root(_hellinger2(bhattacharyya))


def _hellinger2(bhattacharyya: Tensor) -> Tensor:
    return -torch.expm1(-bhattacharyya)


def _root(x: Tensor) -> Tensor:
    # The plain root's gradient at 0 is infinite, and times the zero gradient below it, NaN.
    zero = x <= 0  # not x > 0: NaN must stay NaN
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x).sqrt())


def _excess(x: Tensor, y: Tensor) -> Tensor:
    """x/y - 1 - ln(x/y), which is >= 0, without cancellation where x is near y."""
    offset = (x - y) / y
    near = offset.abs() < 0.5
    log = torch.where(near, torch.log1p(torch.where(near, offset, 0.0)), (x / y).log())
    return offset - log


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Not by the matrix product: |x|^2 + |y|^2 - 2xy is not 0 between equal points. cdist's gradient at 0 is 0.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
