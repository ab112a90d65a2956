"""Demos of the released autoencoder and of its Frechet distance."""

import warnings

import numpy as np
import torch
from scipy.linalg import LinAlgWarning
from torch import Tensor
from torch.nn import functional as F

from anrot_lib.audit import published
from anrot_lib.audit.defects.registry import Numbers, add_demo
from anrot_lib.audit.reconstruction import POLE
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.divergences.measures import to_standard


def extract(images: Tensor) -> Tensor:
    """32 features of images (N, C, S, S'): random filters, a ReLU, means over the image stretched to 32 x 32."""
    g = torch.Generator().manual_seed(0)
    filters = torch.randn(32, 3, 5, 5, generator=g) / 5
    stretched = F.interpolate(images.expand(-1, 3, -1, -1), (32, 32), mode="nearest-exact")
    return F.conv2d(stretched, filters, padding=2).relu().mean((-2, -1)).double()


@add_demo("D23")
def compare_inputs() -> Numbers:
    """The distance of 600 images from blurred ones, with the inputs of the release and with all images."""
    figures = synthetic(n_classes=20, per_class=30, size=32)
    images = figures.batch(np.arange(600))
    blurred = F.interpolate(F.avg_pool2d(images, 4), (32, 32), mode="bilinear")

    def take(x: Tensor) -> Tensor:
        return published.scale_twice(published.take_rows_of_last_image(x))

    inputs = {
        "all images": (2 * images - 1, 2 * blurred - 1),
        "scaled twice": (published.scale_twice(images), published.scale_twice(blurred)),
        "rows of the last image, scaled twice": (take(images), take(blurred)),
    }
    distances = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)  # 32 rows span no 32 dimensions
        for name, pair in inputs.items():
            features = [extract(x).numpy() for x in pair]
            distances[f"distance, {name}"] = published.compute_published_fid(features[0], features[1])
    seen = published.scale_twice(images)
    return {name: float(f"{value:.3g}") for name, value in distances.items()} | {
        "pictures that the release compares": len(published.take_rows_of_last_image(images)),
        "the net sees numbers up to": round(seen.max().item(), 3),
    }


@add_demo("D24")
def compute_beta() -> Numbers:
    return {"beta of a batch of 128": round(published.effective_beta(128), 4), "latent dimensions": 1024}


@add_demo("D25")
def compare_terms() -> Numbers:
    def term(mean: float, log_var: float) -> float:
        return published.hellinger_term(*torch.tensor([mean, log_var], dtype=torch.float64)).item()

    exact = to_standard("hellinger2", torch.tensor(3.0), torch.tensor(0.0)).item()
    return {
        "published at mean 3, unit variance": abs(term(3, 0)),
        "exact, H^2": round(exact, 4),
        "published at log-variance -1, mean 0": round(term(0, -1), 4),
        "the same at mean 3": round(term(3, -1), 4),
        "log-variance of its pole": round(POLE, 5),
        "value at 1.3842": round(term(0, 1.3842), 0),
        "value at 1.3845": round(term(0, 1.3845), 0),
    }
