"""The verb reconstruct, and its options."""

import argparse
from dataclasses import dataclass
from typing import Annotated

from anrot_lib.cli.options.fields import add_options, describe_value
from anrot_lib.cli.options.shared import add_data_options, add_run_options
from anrot_lib.cli.options.verbs import Verb
from anrot_lib.core.configs import check_at_least, check_at_most
from anrot_lib.core.options import Option
from anrot_lib.reconstruction.recipe import VaeRecipe

DECODINGS = ("sample", "mean")
OWN = "own"  # the extractor that the command trains itself


@dataclass(frozen=True)
class ReconstructOptions:
    divergences: Annotated[
        tuple[str, ...],
        Option("some of: kl wasserstein2 hellinger2 bhattacharyya hellinger (default: the first three)"),
    ] = ()
    betas: Annotated[
        tuple[float, ...] | None,
        Option("further weights of the divergence, for the first seed (default: that of the preset)", count="*"),
    ] = None
    seeds: Annotated[tuple[int, ...], Option("seeds of the autoencoders")] = (0,)


@dataclass(frozen=True)
class ReconstructTestOptions:
    test_images: Annotated[int | None, Option("number of test images (default: that of the preset)")] = None
    extractor: Annotated[
        str,
        Option(
            "own (the encoder of the preset, trained on the base classes), inception, or a file: .pth (Inception), "
            ".npz (MobileNet v1), .pt2 (torch.export), .pt (a net of anrot train)"
        ),
    ] = OWN
    extractor_size: Annotated[int | None, Option("side to which images are resized for the extractor")] = None
    extractor_sha256: Annotated[str | None, Option("hash of Inception weights that are not the published ones")] = None
    download: Annotated[bool, Option("fetch the Inception weights if they are not there")] = False
    decode: Annotated[tuple[str, ...], Option("decode a sample of the posterior, its mean, or both")] = DECODINGS
    resamples: Annotated[int, Option("resamples of the bootstrap")] = 50

    def __post_init__(self) -> None:
        check_at_most(self, resamples=100_000)
        if self.extractor_size is not None:
            check_at_least(self, extractor_size=1)
            check_at_most(self, extractor_size=4096)


def _add_reconstruct(parser: argparse.ArgumentParser) -> None:
    add_data_options(parser)
    group = parser.add_argument_group("models")
    add_options(group, ReconstructOptions, "divergences", "betas", "seeds")
    names = ("beta", "learning_rate", "model", "train_images", "epochs")
    from_class = {"beta": describe_value(VaeRecipe.beta), "learning_rate": describe_value(VaeRecipe.learning_rate)}
    add_options(group, VaeRecipe, *names, defaults=lambda name: from_class.get(name, "that of the preset"))
    add_options(parser.add_argument_group("testing"), ReconstructTestOptions)
    add_run_options(parser)


RECONSTRUCT = Verb(
    "reconstruct",
    "train autoencoders that differ in their divergence, and measure what they reconstruct",
    "anrot reconstruct --divergences kl hellinger2 --seeds 0 1 2",
    "reconstruct.reconstruct",
    _add_reconstruct,
)
