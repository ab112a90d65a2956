"""Demos of the published distance, of Hesim, and of what both do to scores."""

import math

import torch
from torch.nn import functional as F

from anrot_lib.audit import published
from anrot_lib.audit.defects.registry import Numbers, add_demo
from anrot_lib.divergences.gaussian import DiagonalGaussian
from anrot_lib.divergences.measures import pairwise
from anrot_lib.fewshot import encoders
from anrot_lib.fewshot.hesim import Hesim, flatten_gaussians

WAY, BATCH = 5, 75


def draw_features(
    seed: int, dims: int, scale: float = 1.0, noise: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features of 75 queries of 5 classes (75, d), class means (5, d), labels: positive, as after a ReLU."""
    g = torch.Generator().manual_seed(seed)
    means = scale * torch.randn(WAY, dims, generator=g)
    labels = torch.arange(BATCH) % WAY
    queries = means[labels] + scale * noise * torch.randn(BATCH, dims, generator=g)
    return queries.relu(), means.relu(), labels


def score_alone(queries: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    return torch.cat([published.hellinger_distance(q[None], means) for q in queries])


@add_demo("D12")
def measure_flips() -> Numbers:
    """Predictions of 75 queries together and one by one: 5 seeds, 2 scales, 2 widths."""
    flipped, euclid = [], []
    for dims in (64, 256):
        for scale in (0.3, 1.0):
            changed = other = 0
            for seed in range(5):
                queries, means, _ = draw_features(seed, dims, scale, noise=1.5)
                together = published.hellinger_distance(queries, means).argmin(1)
                changed += int((together != score_alone(queries, means).argmin(1)).sum())
                alone = torch.cat([torch.cdist(q[None], means) for q in queries]).argmin(1)
                other += int((torch.cdist(queries, means).argmin(1) != alone).sum())
            flipped.append(100 * changed / (5 * BATCH))
            euclid.append(other)
    return {
        "predictions that flip, %, least": round(min(flipped), 1),
        "most": round(max(flipped), 1),
        "with Euclid's distance": sum(euclid),
    }


@add_demo("D13")
def compare_mirrored() -> Numbers:
    """m + z against m - z; and how often each distance names 1-shot classes of fixed synthetic features right."""
    g = torch.Generator().manual_seed(0)
    z = torch.randn(1, 64, generator=g, dtype=torch.float64)
    z -= z.mean()
    right = {"published": 0, "euclid": 0}
    for seed in range(40):
        g = torch.Generator().manual_seed(seed)
        centres, labels = torch.randn(WAY, 256, generator=g), torch.arange(BATCH) % WAY
        shots = centres + 0.6 * math.sqrt(8) * torch.randn(WAY, 256, generator=g)
        queries = centres[labels] + 0.6 * math.sqrt(8) * torch.randn(BATCH, 256, generator=g)
        distances = {"published": published.hellinger_distance(queries, shots), "euclid": torch.cdist(queries, shots)}
        for name, distance in distances.items():
            right[name] += int((distance.argmin(1) == labels).sum())
    return {
        "distance of m + z and m - z": published.hellinger_distance(2 + z, 2 - z).item(),
        "their Euclidean distance": round(2 * z.norm().item(), 1),
        "synthetic 1-shot, right of 100": round(100 * right["published"] / (40 * BATCH), 1),
        "the same by Euclid's distance": round(100 * right["euclid"] / (40 * BATCH), 1),
    }


@add_demo("D14")
def measure_scale() -> Numbers:
    queries, means, labels = draw_features(0, 256, noise=0.1)
    logits = -published.hellinger_distance(queries, means)
    wide = draw_features(1, 512)
    encoder = encoders.build("resnet12_anrot", generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        maps = encoder(torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(1))).mean((-2, -1))
    new = published.hellinger_distance(maps[5:], maps[:5])
    return {
        "largest value (a Hellinger distance stays below 1)": round(
            published.hellinger_distance(*wide[:2]).max().item(), 2
        ),
        "spread of the logits of a new net": round((new.max(1).values - new.min(1).values).mean().item(), 4),
        "cross-entropy where all are right": round(F.cross_entropy(logits, labels).item(), 2),
        "the same by Euclid's square": round(F.cross_entropy(-torch.cdist(queries, means).square(), labels).item(), 4),
    }


@add_demo("D15")
def measure_hesim() -> Numbers:
    labels = torch.arange(WAY).repeat_interleave(10)
    target = F.one_hot(labels, WAY).float()
    g = torch.Generator().manual_seed(0)
    inputs = {"random scores": -torch.rand(50, WAY, generator=g), "equal": -torch.ones(50, WAY), "perfect": target - 1}
    numbers: dict[str, float] = {}
    steepest = 0.0
    for name, scores in inputs.items():
        scores.requires_grad_()
        loss = published.hesim(scores, labels)
        steepest = max(steepest, torch.autograd.grad(loss, scores)[0].abs().max().item())
        numbers[f"Hesim of {name}"] = round(loss.item(), 4)
    start = F.cross_entropy(torch.full((50, WAY), -0.1), labels) + 0.5 * published.hesim(target - 1, labels)
    rows = flatten_gaussians(DiagonalGaussian(torch.randn(50, 16, generator=g), torch.ones(50, 16)))
    rows.requires_grad_()
    (gradient,) = torch.autograd.grad(Hesim()(rows, labels), rows)
    return numbers | {
        "126 ln 2": round(126 * math.log(2), 4),
        "largest gradient": steepest,
        "the loss starts at": round(start.item(), 2),
        "largest gradient of the corrected Hesim": round(gradient.abs().max().item(), 4),
    }


@add_demo("D16")
def compare_score_rows() -> Numbers:
    """How alike the rows are that the loss is to contrast: scores of queries of 5 classes, normalised."""
    queries, means, labels = draw_features(0, 256)
    other = labels[:, None] != labels
    rows = {
        "scores": F.normalize(-published.hellinger_distance(queries, means), dim=1),
        "embeddings": F.normalize(queries - queries.mean(0), dim=1),
    }
    cosines = {name: (x @ x.T)[other].mean().item() for name, x in rows.items()}
    return {
        "cosine of queries of different classes, scores": round(cosines["scores"], 4),
        "the same, centred embeddings": round(cosines["embeddings"], 2),
    }


@add_demo("D27")
def measure_dropping() -> Numbers:
    """Half of a batch of 75 leaves, as beaten queries do in an attack; the others' pixels stay as they are."""
    flips, moved = 0, 0.0
    for seed in range(20):
        queries, means, _ = draw_features(seed, 256, noise=1.5)
        order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(seed))[: BATCH // 2]
        before = published.hellinger_distance(queries, means)[order]
        after = published.hellinger_distance(queries[order], means)
        flips += int((before.argmin(1) != after.argmin(1)).sum())
        moved = max(moved, ((before - after).abs().max() / (before.max() - before.min())).item())
    gaussian = DiagonalGaussian(queries, torch.ones_like(queries)), DiagonalGaussian(means, torch.ones_like(means))
    exact = pairwise("bhattacharyya", *gaussian)[order]
    kept = pairwise("bhattacharyya", gaussian[0].map(lambda t: t[order]), gaussian[1])
    return {
        "predictions that flip, %": round(100 * flips / (20 * len(order)), 1),
        "largest move of a logit, in spreads": round(moved, 2),
        "the same with Bhattacharyya's distance": round(((exact - kept).abs().max() / exact.max()).item(), 6),
    }
