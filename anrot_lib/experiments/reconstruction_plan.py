"""The plan of an experiment on reconstructions: which autoencoders, on which images, with which lengths."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from anrot_lib.core import paths, randomness
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import Progress
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.leakage.seen import check_unseen, get_origin
from anrot_lib.reconstruction import frechet
from anrot_lib.reconstruction.extractors import Extractor
from anrot_lib.reconstruction.recipe import VaeRecipe
from anrot_lib.reconstruction.training import pick
from anrot_lib.records.measures import VaeTestRecord

DIVERGENCES = ("kl", "wasserstein2", "hellinger2")  # the three of the paper
BETA, BETAS = 0.1, (3 / 128, 0.1, 0.3, 1.0)  # 3 / 128: what the published weighing comes to
DECODINGS = ("sample", "mean")


@dataclass(frozen=True)
class Lengths:
    """Sizes of a preset; numbers of images are at most what the split holds."""

    model: str
    train_images: int
    validation_images: int
    test_images: int
    epochs: int
    batch: int
    betas: tuple[float, ...]


LENGTHS = {
    "smoke": Lengths("small", 960, 200, 600, 10, 32, (BETA, 1.0)),
    "laptop": Lengths("published", 12_800, 1_000, 10_000, 40, 128, BETAS),
    "paper": Lengths("published", 38_400, 4_800, 10_000, 500, 128, BETAS),
}


def list_recipes(
    base: VaeRecipe, divergences: Sequence[str], seeds: Sequence[int], betas: Sequence[float]
) -> list[VaeRecipe]:
    """All seeds at the base's beta for every divergence, then the first seed at the other betas."""
    models = [replace(base, divergence=d, seed=s) for s, d in itertools.product(seeds, divergences)]
    others = [beta for beta in betas if beta != base.beta]
    return models + [
        replace(base, divergence=d, seed=seeds[0], beta=b) for b, d in itertools.product(others, divergences)
    ]


def name_row(recipe: VaeRecipe) -> str:
    return f"{recipe.divergence}-beta-{recipe.beta:.3g}-seed-{recipe.seed}"


def check_plan(
    image_set: ImageSet, recipes: Sequence[VaeRecipe], test_images: int, decodings: Sequence[str], resamples: int
) -> None:
    """UserError for what an experiment cannot be made of, before anything is trained, the extractor too."""
    if test_images < 2 * frechet.LEAST_IMAGES:
        raise UserError(f"test images must be at least {2 * frechet.LEAST_IMAGES}, got {test_images}")
    if unknown := set(decodings) - set(DECODINGS):
        raise UserError(f"unknown decoding {sorted(unknown)[0]!r}; choose from {', '.join(DECODINGS)}")
    if resamples < 2:
        raise UserError(f"a bootstrap interval needs at least 2 resamples, got {resamples}")
    first, rows = recipes[0], [name_row(recipe) for recipe in recipes]
    if repeated := [row for row in rows if rows.count(row) > 1]:
        raise UserError(f"two models would be called {repeated[0]}; give each beta, to three digits, and seed once")
    for split, count in (
        ("train", first.train_images),
        ("val", first.validation_images),
        ("test", test_images),
    ):
        pick(image_set, split, count, first.subset_seed)  # says what is missing
    if (held := len(image_set.rows("test"))) < 4 * frechet.LEAST_IMAGES:
        raise UserError(f"{held} test images are too few for a floor; it takes at least {4 * frechet.LEAST_IMAGES}")


@dataclass(frozen=True)
class Experiment:
    """What all models share. `pause` is asked often; once True, `Paused` is raised after saving."""

    image_set: ImageSet
    recipes: list[VaeRecipe]
    extractor: Extractor
    test_images: int
    folder: Path  # records go here
    progress: Progress
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    precision: str = "fp32"
    decodings: tuple[str, ...] = DECODINGS
    resamples: int = frechet.RESAMPLES
    pause: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        check_plan(self.image_set, self.recipes, self.test_images, self.decodings, self.resamples)
        check_unseen(get_origin(self.extractor.net), self.image_set, "the extractor", allow_seen=None)

    @property
    def work(self) -> Path:
        return paths.checkpoints_dir() / self.folder.name

    @property
    def seed(self) -> int:
        return self.recipes[0].subset_seed

    def test_settings(self) -> VaeTestRecord:
        return {
            "images": self.test_images,
            "subset_seed": self.seed,
            "resamples": self.resamples,
            "torchmetrics": version("torchmetrics"),
        }

    def draw(self, name: str) -> torch.Generator:
        return randomness.make_generator(self.seed, f"reconstruction/{name}")


def name_folder(image_set: ImageSet, preset: str, tag: str = "", reference: bool = False) -> Path:
    """data/runs/<set>-<size>px-reconstruction-<preset>[-tag]; below data/results for a reference."""
    name = f"{image_set.name}-{image_set.images.shape[1]}px-reconstruction-{preset}"
    return paths.records_dir(reference) / (f"{name}-{tag}" if tag else name)
