"""Forms that keep their digits and their gradients where two distributions are nearly or exactly equal."""

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
    return torch.where(near, subtract_log1p(torch.where(near, offset, 0.0)), offset - (x / y).log())


def subtract_log1p(x: Tensor) -> Tensor:
    """x - ln(1 + x) for |x| <= 1/2, to the last digits also near 0, where it is x^2 / 2.

    With s = x / (2 + x): ln(1 + x) = 2 artanh(s) and x - 2 s = x s, so it is x s - 2 s^3 (1/3 + s^2/5 + s^4/7 + ...).
    """
    s = x / (2 + x)
    square = s.square()
    series = torch.zeros_like(s)
    for power in range(29, 1, -2):  # |s| <= 1/3: the next term is below the rounding of float64
        series = series * square + 1 / power
    return x * s - 2 * s * square * series


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Not by the matrix product: |x|^2 + |y|^2 - 2xy is not 0 between equal points. cdist's gradient at 0 is 0.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
