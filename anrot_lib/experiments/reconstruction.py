"""The experiment on reconstructions: train autoencoders that differ in divergence, beta and seed; test; record.

Every model is trained and tested on the same images. All of it can be killed or paused at any time: the same call goes
on, and what was finished is not done again.
"""

import itertools
import math
import time
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from anrot_lib.core import checkpoints, devices
from anrot_lib.core.configs import add_defaults, check_type, make_key, to_dict
from anrot_lib.core.progress import shorten
from anrot_lib.core.resumable import Paused
from anrot_lib.divergences.measures import to_standard
from anrot_lib.divergences.names import NAMES
from anrot_lib.experiments.former import describe_training, refuse_other
from anrot_lib.experiments.reconstruction_plan import DECODINGS, Experiment, name_row
from anrot_lib.reconstruction import autoencoders, frechet, training
from anrot_lib.reconstruction.autoencoders import Vae, compute_terms
from anrot_lib.reconstruction.extractors import quantise
from anrot_lib.reconstruction.recipe import VaeRecipe
from anrot_lib.reconstruction.refusals import check_finite, refuse_alike, refuse_collapsed
from anrot_lib.reconstruction.training import pick
from anrot_lib.records import results
from anrot_lib.records.describe import count_parameters, describe_data, describe_run
from anrot_lib.records.measures import (
    DecodedRecord,
    DistanceRecord,
    ExtractorRecord,
    FloorPointRecord,
    FloorRecord,
    IntervalRecord,
    VaeTrainingRecord,
)
from anrot_lib.records.schema import SCHEMA_VERSION, ReconstructionRecord
from anrot_lib.records.settings import VaeRecord

FLOOR_REPEATS = 5


def get_study_file(experiment: Experiment) -> Path:
    return experiment.folder / "study.json"


def run(experiment: Experiment) -> list[ReconstructionRecord]:
    """Train, test and record every model that has no record yet; the records of all models. Raises Paused."""
    check_former_models(experiment)
    finished = find_finished(experiment)
    for recipe in experiment.recipes:
        if name_row(recipe) not in finished:
            net, training_record = train_model(experiment, recipe)
            refuse_collapsed(net, experiment.image_set, recipe, name_row(recipe))
            record = make_record(experiment, recipe, net, training_record)
            results.write_row(get_study_file(experiment), record["row"], record)
            for decoding in DECODINGS:
                _name_tested_file(experiment, recipe, decoding).unlink(missing_ok=True)
    finished = find_finished(experiment)
    return [finished[name_row(recipe)] for recipe in experiment.recipes]


def check_former_models(experiment: Experiment) -> None:
    """UserError if a record of other images, another split or recipe lies under the name of a model."""
    study, file = results.read_rows(get_study_file(experiment)), get_study_file(experiment)
    for recipe in experiment.recipes:
        record = study.get(name_row(recipe))
        if record is not None and record["kind"] == "reconstruction":
            former = describe_training(record["data"], add_defaults(VaeRecipe, record["vae"]))
            asked = describe_training(describe_data(experiment.image_set), to_dict(recipe))
            refuse_other(f"{name_row(recipe)} in {shorten(file)}", former, asked)


def find_finished(experiment: Experiment) -> dict[str, ReconstructionRecord]:
    """Row -> its record, of the experiment's models that were tested on these images and by this extractor."""
    study = results.read_rows(get_study_file(experiment))
    return {
        row: record
        for row, recipe in ((name_row(recipe), recipe) for recipe in experiment.recipes)
        if (record := study.get(row)) is not None
        and record["kind"] == "reconstruction"
        and matches(record, experiment, recipe)
    }


def matches(record: ReconstructionRecord, experiment: Experiment, recipe: VaeRecipe) -> bool:
    """Whether a record is of this very model, on these images and by this extractor."""
    return (
        record["vae"] == to_dict(recipe)
        and record["data"]["sha256"] == experiment.image_set.sha256
        and record["data"]["split_hash"] == experiment.image_set.split_hash
        and record["extractor"] == experiment.extractor.about()
        and record["test"] == experiment.test_settings()
        and set(experiment.decodings) <= set(record["decoded"])
    )


def train_model(experiment: Experiment, recipe: VaeRecipe) -> tuple[Vae, VaeTrainingRecord]:
    """The trained net of a recipe and what its record stores; kept beside the checkpoints, as ROW.pt."""
    image_set, row = experiment.image_set, name_row(recipe)
    path, checkpoint = experiment.work / f"{row}.pt", experiment.work / f"{row}-training.pt"
    asked = {"vae": to_dict(recipe), "data": image_set.sha256, "split": image_set.split_hash}
    if path.is_file():
        net, about = autoencoders.load(path)
        if about.get("asked") == asked and "training" in about:
            stored: VaeTrainingRecord = check_type(about["training"], VaeTrainingRecord, f"the training in {path}")
            return net.to(experiment.device), stored
    total = recipe.epochs * math.ceil(recipe.train_images / recipe.batch)
    with experiment.progress(f"train {row}", total) as bar:
        trained = training.train(
            image_set, recipe, checkpoint, experiment.device, experiment.precision, bar, experiment.pause
        )
    record: VaeTrainingRecord = {
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "seconds": round(trained.seconds, 2),
        "images_per_second": round(trained.images_per_second, 1),
        "precision": experiment.precision,
        "history": [
            {"loss": round(p["loss"], 4), "error": round(p["error"], 4), "divergence": round(p["divergence"], 4)}
            for p in trained.history
        ],
    }
    autoencoders.save(path, trained.net, asked=asked, training=record)
    checkpoint.unlink(missing_ok=True)
    return trained.net, record


def _check_time(experiment: Experiment) -> None:
    if experiment.pause():
        raise Paused


def load_real_features(experiment: Experiment) -> tuple[Tensor, list[FloorPointRecord]]:
    """Features of the test images, then of further test images for the floor, and the floors; computed once."""
    image_set, extractor = experiment.image_set, experiment.extractor
    count = min(2 * experiment.test_images, len(image_set.rows("test")))
    key = make_key(extractor.about(), image_set.sha256, image_set.split_hash, count, experiment.seed)
    path = experiment.work / f"real-{key}.pt"
    if path.is_file():
        content = checkpoints.load(path)
        return refuse_alike(content["features"], extractor.name), content["floors"]
    rows = pick(image_set, "test", count, experiment.seed)
    with experiment.progress("features of the originals", count) as bar:
        done = itertools.count(training.IMAGES_PER_PASS, training.IMAGES_PER_PASS)
        batches = (quantise(image_set.batch(r, experiment.device)) for r in torch.split(rows, training.IMAGES_PER_PASS))
        features = frechet.extract_features(extractor, batches, lambda n: bar(min(next(done), count)))
    floors = measure_floors(experiment, refuse_alike(features, extractor.name))
    checkpoints.save(path, {"features": features, "floors": floors})
    return features, floors


def measure_floors(experiment: Experiment, features: Tensor) -> list[FloorPointRecord]:
    """Distances between disjoint parts of the originals, from their features (N, D)."""
    floors: list[FloorPointRecord] = []
    for each in _halve(len(features)):
        floor = frechet.measure_floor(features, each, experiment.draw(f"floor/{each}"), FLOOR_REPEATS)
        floors.append({"images": each, "value": floor.value, "half_width": floor.half_width})
    return floors


def _halve(n_images: int) -> list[int]:
    """A half, a quarter and an eighth of the images, as far as a distance of so many says anything."""
    return [n for n in (n_images // 2, n_images // 4, n_images // 8) if n >= frechet.LEAST_IMAGES]


def _name_tested_file(experiment: Experiment, recipe: VaeRecipe, decoding: str) -> Path:
    return experiment.work / f"{name_row(recipe)}-{decoding}-tested.pt"


@torch.no_grad()
def measure_reconstructions(experiment: Experiment, recipe: VaeRecipe, net: Vae, decoding: str) -> dict[str, Tensor]:
    """Of every test image: features of its reconstruction, squared error, PSNR, SSIM and all divergences."""
    path = _name_tested_file(experiment, recipe, decoding)
    asked = {"vae": to_dict(recipe), "extractor": experiment.extractor.about(), "images": experiment.test_images}
    if path.is_file() and (content := checkpoints.load(path))["asked"] == asked:
        return cast(dict[str, Tensor], content["measures"])
    rows = pick(experiment.image_set, "test", experiment.test_images, experiment.seed)
    parts: list[dict[str, Tensor]] = []
    with experiment.progress(f"test {name_row(recipe)}, {decoding}", len(rows)) as bar:
        for k, block in enumerate(torch.split(rows, training.IMAGES_PER_PASS)):
            parts.append(measure_block(experiment, net, decoding, k, block))
            check_finite(parts[-1], experiment.work / f"{name_row(recipe)}.pt")
            bar(sum(len(p["psnr"]) for p in parts))
            _check_time(experiment)
    measures = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    checkpoints.save(path, {"asked": asked, "measures": measures})
    return measures


@torch.no_grad()
def measure_block(experiment: Experiment, net: Vae, decoding: str, number: int, rows: Tensor) -> dict[str, Tensor]:
    """The same of some rows, the block of that number."""
    images = experiment.image_set.batch(rows, experiment.device)
    posterior = net.encode(images)
    z = posterior.mean if decoding == "mean" else posterior.sample(experiment.draw(f"test/{number}"))
    decoded = net.decode(z)
    psnr, ssim = frechet.compute_psnr_ssim(decoded, images)
    part = {"squared_error": compute_terms(images, decoded, posterior, "kl").error, "psnr": psnr, "ssim": ssim}
    part |= {name: to_standard(name, *posterior).sum(1) for name in NAMES}
    part["features"] = experiment.extractor(quantise(decoded))
    return {name: tensor.float().cpu() for name, tensor in part.items()}


def compare_features(
    experiment: Experiment, real: Tensor, features: Tensor
) -> tuple[frechet.Bootstrap, frechet.Estimate, list[DistanceRecord]]:
    """Frechet distance with its resamples, kernel distance, and the Frechet distances over the number of images."""
    distance = frechet.bootstrap_distance(real, features, experiment.draw("bootstrap"), experiment.resamples)
    kernel = frechet.kernel_distance(real, features, experiment.draw("kernel"))
    bias = frechet.measure_bias(real, features, _halve(len(real)), experiment.draw("numbers"))
    return distance, kernel, cast(list[DistanceRecord], bias)


def test(
    experiment: Experiment, recipe: VaeRecipe, net: Vae
) -> tuple[dict[str, DecodedRecord], dict[str, float], FloorRecord]:
    """(measures of each way of decoding, means of all divergences to the prior, the floor) of a trained net."""
    real, floors = load_real_features(experiment)
    real = real[: experiment.test_images]
    _check_time(experiment)
    decoded: dict[str, DecodedRecord] = {}
    divergences: dict[str, float] = {}
    for decoding in experiment.decodings:
        started = time.perf_counter()
        measures = measure_reconstructions(experiment, recipe, net, decoding)
        _check_time(experiment)
        distance, kernel, over_images = compare_features(experiment, real, measures["features"])
        decoded[decoding] = {
            "squared_error": _describe_interval(frechet.compute_mean_interval(measures["squared_error"])),
            "psnr": _describe_interval(frechet.compute_mean_interval(measures["psnr"])),
            "ssim": _describe_interval(frechet.compute_mean_interval(measures["ssim"])),
            "frechet": {**_describe_interval(distance), "resampled": [_round(value) for value in distance.resampled]},
            "kernel": _describe_interval(kernel),
            "over_images": over_images,
            "seconds": round(time.perf_counter() - started, 2),
        }
        divergences = {name: round(float(measures[name].mean()), 5) for name in NAMES}
    return decoded, divergences, _find_floor(experiment.test_images, floors)


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _describe_interval(interval: frechet.Estimate | frechet.Bootstrap) -> IntervalRecord:
    return {"value": _round(interval.value), "half_width": _round(interval.half_width)}


def _find_floor(images: int, floors: list[FloorPointRecord]) -> FloorRecord:
    """The floor at the number of test images: measured if the split holds twice as many, else by the line over 1/n."""
    numbers, values = [point["images"] for point in floors], [point["value"] for point in floors]
    measured = images in numbers
    value = values[numbers.index(images)] if measured else frechet.extrapolate(numbers, values, images)
    return {"images": images, "value": value, "measured": measured, "points": floors}


def make_record(
    experiment: Experiment, recipe: VaeRecipe, net: Vae, training_record: VaeTrainingRecord
) -> ReconstructionRecord:
    decoded, divergences, floor = test(experiment, recipe, net.eval())
    return {
        "schema": SCHEMA_VERSION,
        "kind": "reconstruction",
        "row": name_row(recipe),
        "run": describe_run(devices.describe_device(experiment.device)),
        "data": describe_data(experiment.image_set),
        "vae": cast(VaeRecord, to_dict(recipe)),
        "test": experiment.test_settings(),
        "parameters": count_parameters(net),
        "training": training_record,
        "extractor": cast(ExtractorRecord, experiment.extractor.about()),
        "decoded": decoded,
        "divergences": divergences,
        "floor": floor,
    }
