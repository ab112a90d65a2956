"""Demos of how the release trains, attacks and tests."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from anrot_lib.attacks.gradient import attack, fgsm, pgd
from anrot_lib.audit import published
from anrot_lib.audit.defects.registry import Numbers, add_demo
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.fewshot import encoders

STANDARD_EPS = 8 / 255


@add_demo("D5")
def count_trained_versions() -> Numbers:
    return {"read in the code, versions of the images that are made": 3, "versions that training iterates": 1}


@add_demo("D6")
def count_tested_versions() -> Numbers:
    return {"read in the code, test sets that are made": 3, "test sets that are evaluated": 1}


@add_demo("D7")
def compare_attacks() -> Numbers:
    """A classifier of synthetic figures, attacked from the surrogate of the release and by its own gradient."""
    g = torch.Generator().manual_seed(0)
    images, labels = draw_figures()
    net = train_classifier(images, labels, g)
    surrogate = published.train_published_surrogate(images, labels, g, epochs=3)
    some = torch.randperm(len(images), generator=g)[:200]
    x, y = images[some], labels[some]

    def rate(points: torch.Tensor) -> float:
        with torch.no_grad():
            right = float((net(points).argmax(1) == y).double().mean())
        return round(100 * right, 1)

    eps = STANDARD_EPS
    white = fgsm(eps, "query"), pgd(eps, 20, eps / 4, 1, "query")
    attacked = [attack(net, x, y, threat, generator=g).images for threat in white]
    transferred = published.published_step(surrogate, x, y, eps).clamp(0, 1)
    return {
        "right of 100 clean images": rate(x),
        "after the step on the other net, 8/255": rate(transferred),
        "after the same step on itself": rate(attacked[0]),
        "after 20 steps on itself": rate(attacked[1]),
    }


def draw_figures() -> tuple[torch.Tensor, torch.Tensor]:
    """800 synthetic figures of 20 classes, 16 px, and their labels."""
    figures = synthetic(n_classes=20, per_class=40, size=16)
    return figures.batch(np.arange(800)), torch.from_numpy(np.array(figures.labels)).long()


def train_classifier(images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> nn.Module:
    """A small net that names the classes of the images: 6 epochs of Adam, in eval mode."""
    encoder = encoders.build("tiny", generator=generator)
    head = nn.Linear(encoder.out_channels, int(labels.max()) + 1)
    nn.init.normal_(head.weight, std=0.1, generator=generator)
    net = nn.Sequential(encoder, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(6):
        for rows in torch.randperm(len(images), generator=generator).split(64):
            optimizer.zero_grad()
            F.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimizer.step()
    return net.eval()


@add_demo("D8")
def measure_range() -> Numbers:
    g = torch.Generator().manual_seed(0)
    images = torch.rand(16, 3, 32, 32, generator=g)
    net = published.PublishedSurrogate(18, 32, 3, g).eval()
    points = published.published_step(net, images, torch.arange(16) % 18, published.EPS_TEST)
    outside = ((points < 0) | (points > 1)).double().mean().item()
    return {
        "eps of the tests, in 255ths": 255 * published.EPS_TEST,
        "pixels outside [0, 1], %": round(100 * outside, 1),
        "darkest": round(points.min().item(), 2),
        "brightest": round(points.max().item(), 2),
    }


@add_demo("D17")
def compare_two_runs() -> Numbers:
    """Two trainings of a small net on half of the figures, tested on the other half: other seeds, nothing else."""
    images, labels = draw_figures()
    even, odd = slice(0, None, 2), slice(1, None, 2)
    nets = [train_classifier(images[even], labels[even], torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    with torch.no_grad():
        named = [net(images[odd]).argmax(1) for net in nets]
    right = [round(100 * (names == labels[odd]).double().mean().item(), 1) for names in named]
    return {
        "episodes without validation or checkpoint": published.TRAINING_EPISODES,
        "two runs of a small net, right of 100": f"{right[0]} and {right[1]}",
        "predictions that differ, %": round(100 * (named[0] != named[1]).double().mean().item(), 1),
    }


@add_demo("D18")
def count_weights() -> Numbers:
    sizes = {
        name: sum(p.numel() for p in encoders.build(name, generator=torch.Generator().manual_seed(0)).parameters())
        for name in ("resnet12_anrot", "resnet12")
    }
    return {
        "weights": sizes["resnet12_anrot"],
        "of the ResNet-12 of published tables": sizes["resnet12"],
        "ratio": round(sizes["resnet12"] / sizes["resnet12_anrot"], 1),
    }


@add_demo("D19")
def measure_evaluation() -> Numbers:
    """With 10 points as the spread of a task, which is usual at one shot."""
    line = published.pool_accuracy([40, 45, 41], queries=50)
    return {
        "what is left of 100 tasks": f"the line {line!r}",
        "tasks": published.EVALUATION_TASKS,
        "+/- of 100 tasks at a spread of 10 points": round(1.96 * 10 / 100**0.5, 1),
        "tasks that +/- 0.3 takes": round((1.96 * 10 / 0.3) ** 2),
    }


@add_demo("D26")
def count_variational_parts() -> Numbers:
    head = published.PublishedHead(8)
    g = torch.Generator().manual_seed(0)
    support, query = torch.rand(1, 10, 8, 3, 3, generator=g), torch.rand(1, 4, 8, 3, 3, generator=g)
    labels = torch.arange(5).repeat_interleave(2)[None]
    model = head.train().fit(support, labels)
    twice = [head.score(model, query, torch.Generator().manual_seed(k)).logits for k in (0, 1)]
    return {
        "weights of the head": sum(p.numel() for p in head.parameters()),
        "difference of two passes in training": (twice[0] - twice[1]).abs().max().item(),
        "views of an image": 1,
    }
