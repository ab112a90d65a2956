"""As published, bug for bug: three levels of the multi-level code of 2021, and its encoder of 2022.

Re-stated from what that code computes (the April 2021 state of the repository behind arXiv 2103.11383). Nothing here
is a default anywhere; the corrected forms are in `multilevel`. Whether the published numbers came from exactly this
code is unknown.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from anrot_lib.core.errors import UserError
from anrot_lib.divergences import linalg, measures, pairs
from anrot_lib.divergences.covariance import estimate_gaussian, make_dense
from anrot_lib.divergences.gaussian import FullGaussian, full_precision
from anrot_lib.fewshot.encoders import conv_block
from anrot_lib.fewshot.levels.fusion import Fusion
from anrot_lib.fewshot.levels.head import Level, MultiLevelHead
from anrot_lib.fewshot.levels.matching import ClassMaps, compute_similarity, make_unit, mark_counted
from anrot_lib.fewshot.levels.pixel import pixel_similarity

RIDGE = 0.01  # on every covariance


@full_precision
def part_similarity(query: Tensor, pool: ClassMaps, k: int = 1) -> Tensor:
    """The published part level: (E, n, C, h, w) -> (E, n, way), a sum.

    Each pixel is divided by its length over the channels, and the rows of channels are then multiplied without being
    divided by their own lengths. So these are no cosines: the squares of all rows add up to h w, and a channel with
    large values dominates.
    """
    rows = make_unit(pool.maps.flatten(-2), dim=-2).flatten(2, 3)
    channels = make_unit(query.flatten(-2), dim=-2)
    return compute_similarity(channels, rows, mark_counted(pool, query.shape[-3]), k, reduce="sum")


@full_precision
def kl(query: FullGaussian, classes: FullGaussian) -> Tensor:
    """The published KL level: full Gaussians (E, n) and (E, way) -> (E, n, way), KL(class || query) misplaced.

    Trace and Mahalanobis terms are computed as (way, n) and then read as (n, way) without being transposed: entry
    (j, i) belongs to class (way j + i) // n and query (way j + i) % n. Only the log-determinants are in their place.
    With queries in the order of their classes the misplaced terms of a row mostly belong to one class, and carry no
    evidence. A query's row depends on the other queries and on their number.
    """
    logs = [linalg.log_det(linalg.cholesky(pairs.widen(g.cov))).to(g.cov.dtype) for g in (query, classes)]
    in_place = 0.5 * (logs[0].unsqueeze(-1) - logs[1].unsqueeze(-2))  # (E, n, way)
    rest = measures.pairwise("kl", classes, query) - in_place.mT  # (E, way, n)
    return rest.reshape(in_place.shape) + in_place


def draw_separated(seed: int, way: int = 5, each: int = 15, dims: int = 8) -> tuple[FullGaussian, FullGaussian, Tensor]:
    """Gaussians on which KL makes no mistake, to show `kl` on: queries (1, way x each), classes (1, way), labels.

    Centres are 2 N(0, I); a query is 40 samples around its centre, a class 200. Queries stand in the order of classes.
    """
    g = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(way, dims, generator=g, dtype=torch.float64)
    labels = torch.arange(way).repeat_interleave(each)
    of_queries = centres[labels, None] + torch.randn(way * each, 40, dims, generator=g, dtype=torch.float64)
    of_classes = centres[:, None] + torch.randn(way, 200, dims, generator=g, dtype=torch.float64)
    queries, classes = (
        make_dense(estimate_gaussian(x[None], None, "ridge", RIDGE, form="full")) for x in (of_queries, of_classes)
    )
    return queries, classes, labels


@full_precision
def wasserstein(query: FullGaussian, classes: FullGaussian) -> Tensor:
    """The published "Wasserstein" level: |m_q - m_s| / C + |S_q - S_s|_F / C^2, (E, n) x (E, way) -> (E, n, way).

    Neither of the two formulas of the paper: nothing is squared, and no matrix root is taken.
    """
    c = query.mean.shape[-1]
    means: Tensor = torch.linalg.vector_norm(query.mean.unsqueeze(-2) - classes.mean.unsqueeze(-3), dim=-1)
    spreads: Tensor = torch.linalg.matrix_norm(query.cov.unsqueeze(-3) - classes.cov.unsqueeze(-4))
    return means / c + spreads / c**2


@dataclass(frozen=True)
class PublishedPixel:
    """The published pixel level in a head; divergence = minus the sum of cosines over the pixels, k = 1.

    `levels.pixel` takes 1 - mean instead. Batch norm divides by sqrt(variance + 1e-5), and the variance of a mean over
    441 pixels is not large beside 1e-5; running statistics of sums are not those of means either.
    """

    scale = 1.0

    def fit(self, pool: ClassMaps) -> None:
        """Nothing beyond the maps themselves is kept of a class."""

    def divergence(self, pool: ClassMaps, model: None, query: Tensor) -> Tensor:
        return -pixel_similarity(query, pool, reduce="sum")


@dataclass(frozen=True)
class PublishedPart:
    """The published part level in a head; divergence = minus its sum."""

    scale = 1.0

    def fit(self, pool: ClassMaps) -> None:
        """Nothing beyond the maps themselves is kept of a class."""

    def divergence(self, pool: ClassMaps, model: None, query: Tensor) -> Tensor:
        return -part_similarity(query, pool)


@dataclass(frozen=True)
class PublishedDistribution:
    """The published KL or Wasserstein level in a head: unbiased covariances + 0.01 I, always written out."""

    measure: str = "wasserstein"
    scale = 1.0

    def fit(self, pool: ClassMaps) -> FullGaussian:
        samples = pool.maps.flatten(-2).transpose(2, 3).flatten(-2)
        mask = mark_counted(pool, pool.maps.shape[-1] * pool.maps.shape[-2])
        return make_dense(estimate_gaussian(samples, mask, "ridge", RIDGE, form="full", axis=-1))

    def divergence(self, pool: ClassMaps, model: FullGaussian, query: Tensor) -> Tensor:
        queries = make_dense(estimate_gaussian(query.flatten(-2), None, "ridge", RIDGE, form="full", axis=-1))
        return {"kl": kl, "wasserstein": wasserstein}[self.measure](queries, model)


def build_published_mml(channels: int, way: int = 5, measure: str = "wasserstein") -> MultiLevelHead:
    """The published three-level head for a fixed number of classes: raw sums, fused by slot batch norm.

    measure "kl" or "wasserstein". With "kl" a query's logits depend on the queries beside it, and the head says so.
    """
    if measure not in ("kl", "wasserstein"):
        raise UserError(f"unknown measure {measure!r}; choose kl or wasserstein")
    levels: dict[str, Level] = {
        "distribution": PublishedDistribution(measure),
        "pixel": PublishedPixel(),
        "part": PublishedPart(),
    }
    head = MultiLevelHead(channels, levels, partial(Fusion, mode="slot_bn", way=way))
    head.batch_dependent = measure == "kl"
    return head


def build_four_layer_64f(in_channels: int = 3) -> nn.Sequential:
    """The encoder of the 2022 code: Conv-64F whose last convolution has no padding, no batch norm and no activation.

    84 x 84 -> 64 x 19 x 19. (It also uses LeakyReLU(0.2) for ReLU, which is not re-stated.)
    """
    blocks = [conv_block(in_channels, 64, False), conv_block(64, 64, False), conv_block(64, 64, False, pool=False)]
    return nn.Sequential(*blocks, nn.Conv2d(64, 64, 3, bias=False))
