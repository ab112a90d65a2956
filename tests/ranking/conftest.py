"""A toy embedder and a test set for it: fast, in float64, with classes that a clean query finds and an attack loses."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from anrot_lib.ranking.attacks.suite import Subject
from anrot_lib.ranking.distances import normalise
from anrot_lib.ranking.gallery import Gallery


class ToyEmbedder(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(96, 12)),
        )
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=generator)
        nn.init.zeros_(self.layers[0].bias)
        nn.init.normal_(self.layers[4].bias, std=0.1, generator=generator)

    def forward(self, images):
        return self.layers(images)


@dataclass(frozen=True)
class Toy:
    net: nn.Module
    images: Tensor
    labels: Tensor

    def subject(self, metric="N", net=None) -> Subject:
        net = net or self.net
        with torch.no_grad():
            embeddings = normalise(net(self.images), metric)
        return Subject(net, Gallery(embeddings, self.labels, metric), lambda rows: self.images[rows])


def make_toy() -> Toy:
    """600 images of 8 x 8 pixels in 6 classes, shuffled: a template of the class with noise."""
    generator = torch.Generator().manual_seed(11)
    templates = torch.rand(6, 1, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(6, (600,), generator=generator)
    noise = torch.randn(600, 1, 8, 8, generator=generator, dtype=torch.float64)
    images = (templates[labels] + 0.25 * noise).clamp(0, 1)
    return Toy(ToyEmbedder(generator).double().eval(), images, labels)


@pytest.fixture(scope="session")
def toy():
    return make_toy()
