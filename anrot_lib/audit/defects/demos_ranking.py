"""Demos of the released code of robust metric learning, re-stated on numbers: its nets are not needed for them."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from anrot_lib.audit.defects.registry import Numbers, add_demo

COLLAPSED = (19.8, 92.4, 42.0, 51.9, 1.0, 0.0, 1.2, 1.2, 1.0, 14.1)  # CUB, HM[S,0]: the ten numbers that are printed
UNDEFENDED = (0.0, 100.0, 0.0, 99.9, 0.883, 1.762, 0.0, 0.0, 14.1, 0.0)  # CUB, no defence


def draw_embeddings(n: int, classes: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors (n, 16) around class centres, in random order of classes, and their labels."""
    labels = torch.randint(classes, (n,), generator=generator)
    centres = torch.randn(classes, 16, generator=generator)
    return F.normalize(centres[labels] + torch.randn(n, 16, generator=generator), dim=1), labels


@add_demo("R1")
def count_wrong_rows() -> Numbers:
    """500 images of 10 classes in random order: how often the row that the attack aims at is the nearest other."""
    embeddings, labels = draw_embeddings(500, 10, torch.Generator().manual_seed(0))
    right = same = 0
    for k in range(500):
        distance = (embeddings - embeddings[k]).norm(dim=1)
        other = (labels != labels[k]).nonzero().flatten()
        place = int(distance[other].argmin())
        right += int(other[place] == place)
        same += int(labels[place] == labels[k])
    return {
        "attacks": 500,
        "aim at the nearest row of another class": right,
        "aim at a row of the query's own class": same,
    }


@add_demo("R2")
def measure_nearest_of_class() -> Numbers:
    embeddings, labels = draw_embeddings(200, 5, torch.Generator().manual_seed(0))
    distances = torch.cdist(embeddings, embeddings)
    same = labels[:, None] == labels
    without = same.scatter(1, torch.arange(200)[:, None], torch.zeros(200, 1, dtype=torch.bool))
    kept, left_out = (distances.masked_fill(~mask, math.inf).amin(1).mean().item() for mask in (same, without))
    return {
        "distance to the nearest of the class, as published": round(kept, 3),
        "without the image itself": round(left_out, 3),
    }


@add_demo("R3")
def measure_last_step() -> Numbers:
    """A linear embedding of 48 pixels, moved away from itself by 4 steps of 3/255, as far as 8/255."""
    g = torch.Generator().manual_seed(0)
    weights, image = torch.randn(48, 16, generator=g), torch.rand(1, 48, generator=g)
    clean = F.normalize(image @ weights)
    moved, shifts = image + 1e-7, []
    for _ in range(4):
        moved = moved.detach().requires_grad_()
        shift = (F.normalize(moved @ weights) - clean).norm()
        shifts.append(shift.item())
        (gradient,) = torch.autograd.grad(shift, moved)
        moved = (image + (moved + 3 / 255 * gradient.sign() - image).clamp(-8 / 255, 8 / 255)).clamp(0, 1)
    last = (F.normalize(moved.detach() @ weights) - clean).norm().item()
    return {"shift after the last of 4 steps": round(last, 4), "shift that is reported": round(shifts[-1], 4)}


def compute_score(numbers: tuple[float, ...]) -> float:
    """ERS of its ten numbers, as the release computes it."""
    ca_up, ca_down, qa_up, qa_down, tma, es_d, *rest = numbers
    parts = [2 * ca_up, 100 - ca_down, 2 * qa_up, 100 - qa_down, 100 * (1 - tma), 50 * (2 - es_d), *rest]
    return sum(parts) / len(parts)


@add_demo("R4")
def score_collapsed_net() -> Numbers:
    return {
        "ERS of a collapsed net, R@1 0.8": round(compute_score(COLLAPSED), 1),
        "ERS of an undefended net, R@1 53.9": round(compute_score(UNDEFENDED), 1),
    }


@add_demo("R5")
def compare_precisions() -> Numbers:
    """One query with relevant images at the places 1, 3, 20 and 40 of its ranking."""
    places = (1, 3, 20, 40)
    precise = [(k + 1) / place for k, place in enumerate(places)]
    return {
        "mAP": round(sum(precise) / len(places), 4),
        "mAP@10": round(sum(p for p, place in zip(precise, places, strict=True) if place <= 10) / 10, 4),
    }


@add_demo("R6")
def measure_weights_of_batches() -> Numbers:
    """The test images of CARS in batches of 112."""
    last = 8131 % 112
    return {"images of the last batch": last, "an image of it counts as": round(112 / last, 2)}


@add_demo("R7")
def count_batch_norms() -> Numbers:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            layer = nn.Identity()
    left = sum(isinstance(layer, nn.BatchNorm2d) for layer in net)
    return {"batch norms before": 2, "after the loop": left}


@add_demo("R8")
def compare_margins() -> Numbers:
    embeddings, labels = draw_embeddings(256, 16, torch.Generator().manual_seed(0))
    distances = torch.cdist(embeddings, embeddings)
    gaps = []
    for anchor in range(0, 256, 2):
        positives = (labels == labels[anchor]) & (torch.arange(256) != anchor)
        if positives.any():
            near = distances[anchor][positives][0]
            gaps.append(distances[anchor][labels != labels[anchor]] - near)
    gap = torch.cat(gaps)
    inside = {margin: int(((gap > 0) & (gap < margin)).sum()) for margin in (0.2, 1.0)}
    return {"semi-hard negatives at margin 0.2": inside[0.2], "at margin 1": inside[1.0]}


@add_demo("R9")
def measure_moved_statistics() -> Numbers:
    net = nn.BatchNorm1d(4)
    with torch.no_grad():
        net.train()(torch.full((8, 4), 3.0))
        live = net.running_mean.clone() if net.running_mean is not None else torch.zeros(4)
        net.eval()(torch.full((8, 4), 9.0))
    assert net.running_mean is not None
    return {
        "running mean after a pass without gradients": round(live[0].item(), 2),
        "the same with frozen statistics moves by": (net.running_mean - live).abs().max().item(),
    }
