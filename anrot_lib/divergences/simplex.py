"""Divergences between probability vectors."""

import math

import torch
from torch import Tensor

from anrot_lib.divergences.stable import _distances, _excess


def _inside(p: Tensor) -> Tensor:
    return p.clamp_min(torch.finfo(p.dtype).tiny)


def _simplex_hellinger(p: Tensor, q: Tensor) -> Tensor:
    return (_inside(p).sqrt() - _inside(q).sqrt()).abs() / math.sqrt(2)


def _simplex_kl(p: Tensor, q: Tensor) -> Tensor:
    p, q = _inside(p), _inside(q)
    return p * _excess(q, p)


def _pairwise_simplex_hellinger(p: Tensor, q: Tensor) -> Tensor:
    return _distances(_inside(p).sqrt(), _inside(q).sqrt()) / math.sqrt(2)


def _pairwise_simplex_bhattacharyya(p: Tensor, q: Tensor) -> Tensor:
    # From H^2 where the coefficient is near 1, so that equality gives exactly 0; from the coefficient elsewhere.
    hellinger2 = _pairwise_simplex_hellinger(p, q).square()
    coefficient = _inside(p).sqrt() @ _inside(q).sqrt().transpose(-1, -2)
    near = hellinger2 < 0.5
    return -torch.where(near, torch.log1p(-torch.where(near, hellinger2, 0.0)), coefficient.log())
