"""easyfsl as its documentation uses it: encoder, data sets and sampler of the comparisons."""

from importlib.metadata import PackageNotFoundError, version

import numpy as np
from torch import Tensor, nn
from torch.utils.data import Dataset

from anrot_lib.core.torchvision_compat import load_torchvision
from anrot_lib.data.image_set import ImageSet

load_torchvision()  # easyfsl imports it, and beside a CPU build of torch it loads only this way
from easyfsl.datasets import FeaturesDataset, FewShotDataset, WrapFewShotDataset  # noqa: E402
from easyfsl.methods import FewShotClassifier, PrototypicalNetworks  # noqa: E402
from easyfsl.modules import resnet12  # noqa: E402
from easyfsl.samplers import TaskSampler  # noqa: E402
from easyfsl.utils import evaluate  # noqa: E402

__all__ = [
    "FeaturesDataset",
    "FewShotClassifier",
    "FewShotDataset",
    "InMemory",
    "Pooled",
    "PrototypicalNetworks",
    "WrapFewShotDataset",
    "evaluate",
    "find_versions",
    "make_task_sampler",
    "resnet12",
]


def find_versions(*libraries: str) -> dict[str, str]:
    """Versions of the libraries that are installed."""
    versions = {}
    for library in libraries:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


class Pooled(nn.Module):
    """An encoder whose maps are averaged over positions, as easyfsl's prototypes take them."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.encoder(images)
        return maps.mean((2, 3))


def make_task_sampler(data: FewShotDataset, way: int, shot: int, query: int, tasks: int) -> TaskSampler:
    """easyfsl's sampler, made without its constructor, which hands torch's an argument that is no longer taken."""
    sampler = TaskSampler.__new__(TaskSampler)
    sampler.n_way, sampler.n_shot, sampler.n_query, sampler.n_tasks = way, shot, query, tasks
    labels = np.asarray(data.get_labels())
    sampler.items_per_label = {int(c): np.flatnonzero(labels == c).tolist() for c in np.unique(labels)}
    return sampler


class InMemory(Dataset[tuple[Tensor, int]]):
    """An image set as a torchvision data set: (image, class number)."""

    def __init__(self, image_set: ImageSet):
        self.image_set = image_set

    def __len__(self) -> int:
        return len(self.image_set.labels)

    def __getitem__(self, k: int) -> tuple[Tensor, int]:
        return self.image_set.batch(np.array([k]))[0].contiguous(), int(self.image_set.labels[k])
