"""A toy few-shot net with batch norm, trained for a moment, and episodes it has not seen."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from anrot_lib.attacks.episode import count_loss


@dataclass(frozen=True)
class ToyEpisode:
    support: Tensor
    mask: Tensor
    query: Tensor
    labels: Tensor


class Moments(NamedTuple):
    mean: Tensor
    var: Tensor | None = None


class Model(NamedTuple):
    classes: Moments
    counts: Tensor


class ToyHead(nn.Module):
    """Prototypes: class means of pooled maps, logits = -squared distance."""

    batch_dependent = False

    def fit(self, maps, labels, mask):
        way = int(labels.max()) + 1
        weights = ((labels.unsqueeze(1) == torch.arange(way)[:, None]) & mask.unsqueeze(1)).to(maps.dtype)
        counts = weights.sum(-1)
        return Model(Moments(weights @ maps.mean((-2, -1)) / counts[..., None]), counts)

    def score(self, model, maps):
        distance = torch.cdist(maps.mean((-2, -1)), model.classes.mean).square()
        return SimpleNamespace(logits=-distance)


class ToyNet(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)),
        )
        self.head = ToyHead()
        self.images_seen = 0
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=generator)
        for name in (0, 3):
            nn.init.zeros_(self.layers[name].bias)

    def encode(self, images):
        self.images_seen += len(images)
        return self.layers(images)


def draw_episode(templates, generator, e, way, shot, n_query, noise=0.1):
    """Images are class templates plus noise, so a short training separates the classes."""
    chosen = torch.rand(e, len(templates), generator=generator).argsort(1)[:, :way]
    images = templates[chosen].unsqueeze(2).expand(-1, -1, shot + n_query, -1, -1, -1)
    images = (images + noise * torch.randn(images.shape, generator=generator, dtype=images.dtype)).clamp(0, 1)
    support, query = images.split([shot, n_query], 2)
    return ToyEpisode(
        support.contiguous(),
        torch.ones(support.shape[:3], dtype=torch.bool),
        query.flatten(1, 2).contiguous(),
        torch.arange(way).repeat_interleave(n_query).expand(e, -1).contiguous(),
    )


def episode_logits(net, episode):
    support = episode.support.flatten(1, 2)
    e, way, shot = episode.mask.shape
    labels = torch.arange(way).repeat_interleave(shot).expand(e, -1)
    maps = [net.encode(x.flatten(0, 1)).unflatten(0, x.shape[:2]) for x in (support, episode.query)]
    return net.head.score(net.head.fit(maps[0], labels, episode.mask.flatten(1)), maps[1]).logits


def episode_loss(net, episode):
    """(E, n) cross-entropies of the queries."""
    logits = episode_logits(net, episode)
    return nn.functional.cross_entropy(logits.flatten(0, 1), episode.labels.flatten(), reduction="none").view(
        episode.labels.shape
    )


@pytest.fixture(scope="session")
def trained_net():
    """A toy net in fp64 (so that batch sizes do not show), at about 90 % on novel classes."""
    generator = torch.Generator().manual_seed(7)
    coarse = torch.rand(40, 1, 4, 4, generator=generator, dtype=torch.float64) * 0.6 + 0.2
    templates = nn.functional.interpolate(coarse, scale_factor=2)
    net = ToyNet(generator).double()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        episode_loss(net, draw_episode(templates[:30], generator, 2, 5, 2, 4)).mean().backward()
        optimizer.step()
    optimizer.zero_grad()
    return net.eval().requires_grad_(True), templates[30:]


@pytest.fixture
def toy(trained_net):
    """net, episode (4 tasks of 5 ways, 2 shots, 4 queries a class), and helpers that measure."""
    net, templates = trained_net
    episode = draw_episode(templates, torch.Generator().manual_seed(3), 4, 5, 2, 4)

    @torch.no_grad()
    def accuracy(episode):
        return (episode_logits(net, episode).argmax(-1) == episode.labels).double().mean().item()

    @torch.no_grad()
    def loss(episode):
        return episode_loss(net, episode)

    @torch.no_grad()
    def count(episode):
        return count_loss(episode_logits(net, episode), episode.labels)

    return SimpleNamespace(net=net, episode=episode, accuracy=accuracy, loss=loss, count=count)
