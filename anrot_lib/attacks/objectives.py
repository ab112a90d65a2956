"""Losses of logits that an adversary climbs; each is above or at its highest value where the query is beaten."""

import torch
from torch import Tensor
from torch.nn import functional as F


def compute_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits)_y of each row (..., way) with label y (...)."""
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none").view_as(labels)


def compute_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max over j != y of z_j - z_y: above 0 where the row is beaten (Carlini & Wagner 2017). Shapes as above."""
    right = logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return logits.scatter(-1, labels.unsqueeze(-1), -torch.inf).amax(-1) - right


def compute_targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The targeted difference of logits ratio, for rows (..., way), labels y and targets t != y, both (...):

        (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2),   z_(k) the k-th largest logit

    (Croce & Hein 2020). It changes neither with the scale nor with the offset of the logits, so a small scale cannot
    hide the gradient, and it aims at one class, so an adversary tries them all. With three classes the denominator is
    z_(1) - z_(3), with two it is 1.
    """
    chosen = logits.gather(-1, torch.stack([labels, targets], -1))
    difference = chosen[..., 1] - chosen[..., 0]
    way = logits.shape[-1]
    if way < 3:
        return difference
    ordered = logits.sort(-1, descending=True).values
    reference = ordered[..., 2] if way == 3 else (ordered[..., 2] + ordered[..., 3]) / 2
    return difference / (ordered[..., 0] - reference + 1e-12)
