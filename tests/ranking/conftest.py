"""A smooth net in float64, and small batches of pairs."""

import pytest
import torch
from torch import nn


class SmoothNet(nn.Module):
    """Images (N, 1, 6, 6) to 8 numbers, with a batch norm, so that what an attack leaves behind shows."""

    metric = "N"

    def __init__(self, metric="N", seed=0):
        super().__init__()
        self.metric = metric
        layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Softplus(), nn.Flatten(), nn.Linear(64, 8))
        self.layers = nn.Sequential(*layers)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)

    def forward(self, images):
        return self.layers(images)


@pytest.fixture
def smooth_net():
    return SmoothNet().double().eval()


@pytest.fixture
def pairs():
    """12 images of 6 pairs in 4 classes, float64 in [0.2, 0.8], and their labels."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([0, 1, 2, 3, 0, 1]).repeat_interleave(2)
    coarse = torch.rand(4, 1, 6, 6, generator=generator, dtype=torch.float64)[labels]
    noise = torch.rand(12, 1, 6, 6, generator=generator, dtype=torch.float64)
    return 0.2 + 0.6 * (0.5 * coarse + 0.5 * noise), labels


def draw(name):
    return torch.Generator().manual_seed(sum(name.encode()))
