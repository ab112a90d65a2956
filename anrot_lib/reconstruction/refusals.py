"""Autoencoders and extractors whose pictures or features mean nothing: refused, before a distance rests on them."""

from pathlib import Path

import torch
from torch import Tensor

from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.data.image_set import ImageSet
from anrot_lib.reconstruction import training
from anrot_lib.reconstruction.autoencoders import Vae
from anrot_lib.reconstruction.recipe import VaeRecipe


@torch.no_grad()
def refuse_collapsed(net: Vae, image_set: ImageSet, recipe: VaeRecipe, name: str) -> None:
    """NotFinite for a net that decodes one and the same picture whatever validation image it sees.

    Its training has exploded or died: where the divergence is bounded, the loss stays small enough not to be noticed.
    """
    rows = training.pick(image_set, "val", min(recipe.validation_images, training.IMAGES_PER_PASS), recipe.subset_seed)
    device = next(net.parameters()).device
    decoded = net.eval().decode(net.encode(image_set.batch(rows, device)).mean)
    if len(rows) > 1 and (decoded == decoded[:1]).all():
        raise NotFinite(
            f"the autoencoder {name} decodes the same picture whatever image it sees, so no distance of its pictures "
            "means anything; train it again, at a smaller --learning-rate or --beta"
        )


def refuse_alike(features: Tensor, extractor: str) -> Tensor:
    """Features (N, D) of different images. UserError if all are the same: every distance of theirs would be 0."""
    if (features == features[:1]).all():
        raise UserError(
            f"the extractor {extractor} gives all images the same features, so no distance of them means anything; "
            "give another by --extractor"
        )
    return features


def check_finite(measures: dict[str, Tensor], path: Path) -> None:
    """NotFinite for a NaN or an infinity among measures of reconstructed images; names the net's file."""
    if broken := [name for name, values in measures.items() if not values.isfinite().all()]:
        raise NotFinite(
            f"the autoencoder in {path} reconstructs images whose {broken[0]} is not finite, so no distance of them "
            "means anything; remove the file and train it again, at a smaller rate"
        )
