"""Gaussians, and Hellinger, Bhattacharyya, Kullback-Leibler and Wasserstein between them."""

from typing import TYPE_CHECKING

from anrot_lib.core.lazy import attach

if TYPE_CHECKING:
    from anrot_lib.divergences.covariance import estimate_gaussian
    from anrot_lib.divergences.gaussian import (
        DiagonalGaussian,
        FullGaussian,
        Gaussian,
        LowRankGaussian,
        estimate_diagonal,
        estimate_from_maps,
        full_precision,
        pool,
    )
    from anrot_lib.divergences.measures import compute_terms, pairwise, to_standard
    from anrot_lib.divergences.stable import compute_hellinger

__all__ = [
    "DiagonalGaussian",
    "FullGaussian",
    "Gaussian",
    "LowRankGaussian",
    "compute_hellinger",
    "compute_terms",
    "estimate_diagonal",
    "estimate_from_maps",
    "estimate_gaussian",
    "full_precision",
    "pairwise",
    "pool",
    "to_standard",
]

__getattr__, __dir__ = attach(__name__, __file__)
