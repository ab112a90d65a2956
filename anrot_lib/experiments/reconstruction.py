"""The experiment on reconstructions: train autoencoders that differ in divergence, beta and seed; test; record.

Every model is trained and tested on the same images. All of it can be killed or paused at any time: the same call goes
on, and what was finished is not done again.
"""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anrot_lib.core import checkpoints, devices, paths, randomness
from anrot_lib.core.configs import make_key, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import Progress
from anrot_lib.core.resumable import Paused
from anrot_lib.data.image_set import ImageSet
from anrot_lib.divergences.measures import to_standard
from anrot_lib.divergences.names import NAMES
from anrot_lib.reconstruction import autoencoders, frechet, training
from anrot_lib.reconstruction.autoencoders import Vae, terms
from anrot_lib.reconstruction.extractors import Extractor, as_pixels
from anrot_lib.reconstruction.recipe import VaeRecipe
from anrot_lib.reconstruction.training import pick
from anrot_lib.records import results, schema
from anrot_lib.records.describe import describe_data, describe_run, parameter_count

DIVERGENCES = ("kl", "wasserstein2", "hellinger2")  # the three of the paper
BETA, BETAS = 0.1, (3 / 128, 0.1, 0.3, 1.0)  # 3 / 128: what the published weighing comes to
DECODINGS = ("sample", "mean")
FLOOR_REPEATS = 5


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


def recipes_of(
    base: VaeRecipe, divergences: Sequence[str], seeds: Sequence[int], betas: Sequence[float]
) -> list[VaeRecipe]:
    """All seeds at the base's beta for every divergence, then the first seed at the other betas."""
    models = [replace(base, divergence=d, seed=s) for s, d in itertools.product(seeds, divergences)]
    others = [beta for beta in betas if beta != base.beta]
    return models + [
        replace(base, divergence=d, seed=seeds[0], beta=b) for b, d in itertools.product(others, divergences)
    ]


def row_of(recipe: VaeRecipe) -> str:
    return f"{recipe.divergence}-beta-{recipe.beta:.3g}-seed-{recipe.seed}"


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
        if self.test_images < 2 * frechet.LEAST_IMAGES:
            raise UserError(f"test images must be at least {2 * frechet.LEAST_IMAGES}, got {self.test_images}")
        if unknown := set(self.decodings) - set(DECODINGS):
            raise UserError(f"unknown decoding {sorted(unknown)[0]!r}; choose from {', '.join(DECODINGS)}")
        if self.resamples < 2:
            raise UserError(f"a bootstrap interval needs at least 2 resamples, got {self.resamples}")
        pick(self.image_set, "test", self.test_images, self.seed)  # says what is missing
        if (held := len(self.image_set.rows("test"))) < 4 * frechet.LEAST_IMAGES:
            raise UserError(f"{held} test images are too few for a floor; it takes at least {4 * frechet.LEAST_IMAGES}")

    @property
    def work(self) -> Path:
        return paths.checkpoints_dir() / self.folder.name

    @property
    def seed(self) -> int:
        return self.recipes[0].subset_seed

    def test_settings(self) -> dict[str, Any]:
        return {
            "images": self.test_images,
            "subset_seed": self.seed,
            "resamples": self.resamples,
            "torchmetrics": version("torchmetrics"),
        }

    def draw(self, name: str) -> torch.Generator:
        return randomness.generator(self.seed, f"reconstruction/{name}")


def folder_of(image_set: ImageSet, preset: str, tag: str = "", reference: bool = False) -> Path:
    """data/runs/<set>-<size>px-reconstruction-<preset>[-tag]; below data/results for a reference."""
    name = f"{image_set.name}-{image_set.images.shape[1]}px-reconstruction-{preset}"
    return paths.records_dir(reference) / (f"{name}-{tag}" if tag else name)


def run(experiment: Experiment) -> list[Path]:
    """Train, test and record every model that has no record yet; the paths of all records. Raises Paused."""
    files = []
    for recipe in experiment.recipes:
        path = experiment.folder / f"{row_of(recipe)}.json"
        if not is_finished(path, experiment, recipe):
            net, about = trained(experiment, recipe)
            results.write(path, make_record(experiment, recipe, net, about))
            for decoding in DECODINGS:
                _tested_file(experiment, recipe, decoding).unlink(missing_ok=True)
        files.append(path)
    return files


def is_finished(path: Path, experiment: Experiment, recipe: VaeRecipe) -> bool:
    """Whether a record of this very model, on these images and by this extractor, exists."""
    if not path.is_file():
        return False
    record = results.read(path)
    return (
        record["vae"] == to_dict(recipe)
        and record["data"]["sha256"] == experiment.image_set.sha256
        and record["data"]["split_hash"] == experiment.image_set.split_hash
        and record["extractor"] == experiment.extractor.about()
        and record["test"] == experiment.test_settings()
        and set(experiment.decodings) <= set(record["decoded"])
    )


def trained(experiment: Experiment, recipe: VaeRecipe) -> tuple[Vae, dict[str, Any]]:
    """The trained net of a recipe and what its record stores; kept beside the checkpoints, as ROW.pt."""
    image_set, row = experiment.image_set, row_of(recipe)
    path, checkpoint = experiment.work / f"{row}.pt", experiment.work / f"{row}-training.pt"
    asked = {"vae": to_dict(recipe), "data": image_set.sha256, "split": image_set.split_hash}
    if path.is_file():
        net, about = autoencoders.load(path)
        if about["asked"] == asked:
            return net.to(experiment.device), about["training"]
    total = recipe.epochs * math.ceil(recipe.train_images / recipe.batch)
    with experiment.progress(f"train {row}", total) as bar:
        found = training.train(
            *(image_set, recipe, checkpoint, experiment.device, experiment.precision, bar, experiment.pause)
        )
    about = {
        "epochs": len(found.history),
        "best_epoch": found.best_epoch,
        "seconds": round(found.seconds, 2),
        "images_per_second": round(found.images_per_second, 1),
        "precision": experiment.precision,
        "history": [{k: round(v, 4) for k, v in point.items()} for point in found.history],
    }
    autoencoders.save(path, found.net, asked=asked, training=about)
    checkpoint.unlink(missing_ok=True)
    return found.net, about


def _check_time(experiment: Experiment) -> None:
    if experiment.pause():
        raise Paused


def real_features(experiment: Experiment) -> tuple[Tensor, list[dict[str, float]]]:
    """Features of the test images, then of further test images for the floor, and the floors; computed once."""
    image_set, extractor = experiment.image_set, experiment.extractor
    count = min(2 * experiment.test_images, len(image_set.rows("test")))
    key = make_key(extractor.about(), image_set.sha256, image_set.split_hash, count, experiment.seed)
    path = experiment.work / f"real-{key}.pt"
    if path.is_file():
        content = checkpoints.load(path)
        return content["features"], content["floors"]
    rows = pick(image_set, "test", count, experiment.seed)
    with experiment.progress("features of the originals", count) as bar:
        done = itertools.count(training.IMAGES_PER_PASS, training.IMAGES_PER_PASS)
        batches = (as_pixels(image_set.batch(r, experiment.device)) for r in rows.split(training.IMAGES_PER_PASS))
        features = frechet.features_of(extractor, batches, lambda n: bar(min(next(done), count)))
    floors = []
    for each in _numbers(count):
        found = frechet.floor(features, each, experiment.draw(f"floor/{each}"), FLOOR_REPEATS)
        floors.append({"images": each, **found._asdict()})
    checkpoints.save(path, {"features": features, "floors": floors})
    return features, floors


def _numbers(n_images: int) -> list[int]:
    """A half, a quarter and an eighth of the images, as far as a distance of so many says anything."""
    return [n for n in (n_images // 2, n_images // 4, n_images // 8) if n >= frechet.LEAST_IMAGES]


def _tested_file(experiment: Experiment, recipe: VaeRecipe, decoding: str) -> Path:
    return experiment.work / f"{row_of(recipe)}-{decoding}-tested.pt"


@torch.no_grad()
def reconstructions(experiment: Experiment, recipe: VaeRecipe, net: Vae, decoding: str) -> dict[str, Tensor]:
    """Of every test image: features of its reconstruction, squared error, PSNR, SSIM and all divergences."""
    path = _tested_file(experiment, recipe, decoding)
    asked = {"vae": to_dict(recipe), "extractor": experiment.extractor.about(), "images": experiment.test_images}
    if path.is_file() and (content := checkpoints.load(path))["asked"] == asked:
        return content["found"]
    rows = pick(experiment.image_set, "test", experiment.test_images, experiment.seed)
    parts: list[dict[str, Tensor]] = []
    with experiment.progress(f"test {row_of(recipe)}, {decoding}", len(rows)) as bar:
        for k, block in enumerate(rows.split(training.IMAGES_PER_PASS)):
            images = experiment.image_set.batch(block, experiment.device)
            posterior = net.encode(images)
            z = posterior.mean if decoding == "mean" else posterior.sample(experiment.draw(f"test/{k}"))
            decoded = net.decode(z)
            psnr, ssim = frechet.psnr_ssim(decoded, images)
            part = {"squared_error": terms(images, decoded, posterior, "kl").error, "psnr": psnr, "ssim": ssim}
            part |= {name: to_standard(name, *posterior).sum(1) for name in NAMES}
            part["features"] = experiment.extractor(as_pixels(decoded))
            parts.append({name: tensor.float().cpu() for name, tensor in part.items()})
            bar(sum(len(p["psnr"]) for p in parts))
            _check_time(experiment)
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    checkpoints.save(path, {"asked": asked, "found": found})
    return found


def test(experiment: Experiment, recipe: VaeRecipe, net: Vae) -> dict[str, Any]:
    """The parts of a record that testing gives: decoded, divergences, floor."""
    real, floors = real_features(experiment)
    real = real[: experiment.test_images]
    _check_time(experiment)
    decoded = {}
    for decoding in experiment.decodings:
        started = time.perf_counter()
        found = reconstructions(experiment, recipe, net, decoding)
        _check_time(experiment)
        decoded[decoding] = {
            name: _rounded(frechet.mean_interval(found[name])) for name in ("squared_error", "psnr", "ssim")
        } | {
            "frechet": _rounded(
                frechet.with_interval(real, found["features"], experiment.draw("bootstrap"), experiment.resamples)
            ),
            "kernel": _rounded(frechet.kernel_distance(real, found["features"], experiment.draw("kernel"))),
            "over_images": frechet.over_numbers(
                real, found["features"], _numbers(len(real)), experiment.draw("numbers")
            ),
            "seconds": round(time.perf_counter() - started, 2),
        }
    divergences = {name: round(float(found[name].mean()), 5) for name in NAMES}
    return {"decoded": decoded, "divergences": divergences, "floor": _floor_at(experiment.test_images, floors)}


def _rounded(found: frechet.Interval | frechet.Bootstrap) -> dict[str, Any]:
    def short(value: Any) -> Any:
        return [short(v) for v in value] if isinstance(value, list) else float(f"{value:.6g}")

    return {name: short(value) for name, value in found._asdict().items()}


def _floor_at(images: int, floors: list[dict[str, float]]) -> dict[str, Any]:
    """The floor at the number of test images: measured if the split holds twice as many, else by the line over 1/n."""
    measured = {point["images"]: point["value"] for point in floors}
    value = measured.get(images)
    if value is None:
        value = frechet.extrapolate(list(measured), list(measured.values()), images)
    return {"images": images, "value": value, "measured": images in measured, "points": floors}


def make_record(experiment: Experiment, recipe: VaeRecipe, net: Vae, about: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": schema.SCHEMA_VERSION,
        "kind": "reconstruction",
        "row": row_of(recipe),
        "run": describe_run(devices.device_kind(experiment.device)),
        "data": describe_data(experiment.image_set),
        "vae": to_dict(recipe),
        "test": experiment.test_settings(),
        "parameters": parameter_count(net),
        "training": about,
        "extractor": experiment.extractor.about(),
        **test(experiment, recipe, net.eval()),
    }
