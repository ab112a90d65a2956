"""A large set from images in folders to its episodes: what each stage takes at N, N/4 and N/16 images.

The images are drawn, 500 of each class, and written as PNG files, a folder a class. In the first image of every
training class lies a changed copy of a test image, for the guard to find. Every stage has a process of its own.
"""

import contextlib
import io
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from anrot_lib.core import devices, paths, randomness
from anrot_lib.core.errors import UserError
from anrot_lib.data import image_set as image_sets
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.preparation import prepare as preparing
from anrot_lib.data.synthetic.figures import split
from anrot_lib.data.synthetic.painting import draw
from anrot_lib.experiments.benchmarks.stages import Stage, run_stage
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.passes import IMAGES_PER_PASS
from anrot_lib.records.growth import make_row, write_growth
from anrot_lib.records.parts import GrowthAboutRecord, GrowthRowRecord, PlantedRecord

PARTS = (16, 4, 1)  # the set is made at N / 16, N / 4 and N images
PER_CLASS, SIZE = 500, 32
EPISODES = 10_000
IMAGE_GIB = 8e-6  # of the disk: a PNG file with its place in a folder, and what is packed of it
log = logging.getLogger(__name__)


def _shift(image: np.ndarray) -> np.ndarray:
    return np.pad(image[2:, :-2], ((0, 2), (2, 0), (0, 0)), mode="edge")


def _recompress(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda image: image[:, ::-1],
    "shifted": _shift,
    "recompressed": _recompress,
    "brighter": lambda image: np.clip(image * 1.1 + 8, 0, 255).astype(np.uint8),
}


def measure(
    images: int, folder: Path | None = None, per_class: int = PER_CLASS, encoder: str = "resnet12_anrot"
) -> Path:
    """Measure all stages at three sizes; write data/runs/bench/large-IMAGES.json. What was drawn is deleted.

    folder  where to work, data/large if None; it needs 8 kB an image.
    UserError for a number of images that is no multiple, for too few classes, and for a disk that is too small.
    """
    work = folder or paths.root() / "large"
    if images % (PARTS[0] * per_class) or images // PARTS[0] < 20 * per_class:
        least = 20 * PARTS[0] * per_class
        raise UserError(f"--images is a multiple of {PARTS[0] * per_class}, and at least {least}; got {images}")
    work.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(work).free / 2**30) < images * IMAGE_GIB:
        raise UserError(f"{images} images need {images * IMAGE_GIB:.1f} GiB in {work}, where {free:.1f} are free")
    measured: dict[str, list[tuple[Stage, float]]] = {}
    copies: dict[str, dict[str, PlantedRecord]] = {}
    hashes: dict[str, str] = {}
    sizes = [images // part for part in PARTS]
    for n in sizes:
        try:
            stages = run_stages(work / f"{n}", n // per_class, per_class, encoder)
            hashes[str(n)], copies[str(n)] = stages["look for copies, hash"][0].result
        finally:
            shutil.rmtree(work / f"{n}", ignore_errors=True)
        for name, stage in stages.items():
            measured.setdefault(name, []).append(stage)
            log.info("%d images, %s: %.1f minutes, %.2f GiB", n, name, stage[0].minutes, stage[0].peak_gib)
    rows = {name: _make_row(sizes, stages) for name, stages in measured.items()}
    about: GrowthAboutRecord = {
        "size": SIZE,
        "encoder": encoder,
        "episodes": EPISODES,
        "copies": copies,
        "sha256": hashes,
    }
    return write_growth(f"large-{images}", f"{images:,} images of {SIZE} px", about, rows)


def _make_row(sizes: list[int], stages: list[tuple[Stage, float]]) -> GrowthRowRecord:
    row = make_row("images", sizes, [stage.seconds for stage, _ in stages])
    row["minutes"] = [stage.minutes for stage, _ in stages]
    row["peak_gib"] = [stage.peak_gib for stage, _ in stages]
    row["disk_gib"] = [disk for _, disk in stages]
    return row


def run_stages(work: Path, classes: int, per_class: int, encoder: str) -> dict[str, tuple[Stage, float]]:
    """All stages at one size, each with the GiB that it leaves on the disk, in a folder that is to be deleted."""
    shutil.rmtree(work, ignore_errors=True)
    source, packed = work / "images", work / "packed"
    stages: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Path]] = {
        "draw the files": (draw_files, (source, classes, per_class), source),
        "list and decode": (decode, (source, packed), work / ".packed.packing"),
        "look for copies, hash": (finish, (source, packed, classes), packed),
        "open, check, draw episodes": (draw_episodes, (packed,), work / "none"),
        "encode all images": (encode, (packed, encoder), work / "none"),
    }
    return {name: (run_stage(do, *given), _measure_disk(left)) for name, (do, given, left) in stages.items()}


def _measure_disk(path: Path) -> float:
    """GiB of a file, or of the files in a folder, in blocks of the disk."""
    files = path.rglob("*") if path.is_dir() else [path] if path.exists() else []
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file()) / 2**30


def draw_files(folder: Path, classes: int, per_class: int) -> None:
    """Write the images of every class, as files, in folders for train, val and test; plant the copies."""
    parts, changes = split(classes), list(CHANGES.values())
    for part, members in parts.items():
        for place, c in enumerate(members):
            images = draw(c, np.arange(per_class), SIZE, 0)
            if part == "train":
                images[0] = changes[place % len(changes)](draw(_choose_test(classes, place), np.array([1]), SIZE, 0)[0])
            home = folder / part / f"{c:05}"
            home.mkdir(parents=True)
            for k, image in enumerate(images):
                Image.fromarray(image).save(home / f"{k:05}.png", compress_level=1)


def _choose_test(classes: int, place: int) -> int:
    """The test class whose image number 1 is copied into the training class at this place; several may share it."""
    tests = split(classes)["test"]
    return tests[place % len(tests)]


class Decoded(Exception):
    """Ends a preparation where its images are decoded; the next one goes on from there."""


def decode(source: Path, packed: Path) -> None:
    """The first half of a preparation: list the files, decode them."""

    def stop(done: int, total: int, left: float) -> None:
        if done == total:
            raise Decoded

    with contextlib.suppress(Decoded):
        preparing.prepare(source, out=packed, size=SIZE, name="large", on_duplicates="report", progress=stop)


def finish(source: Path, packed: Path, classes: int) -> tuple[str, dict[str, PlantedRecord]]:
    """The second half: look for copies, hash, publish. The set's hash, and how many planted copies were found."""
    made = preparing.prepare(source, out=packed, size=SIZE, name="large", on_duplicates="report")
    pairs = {tuple(sorted(pair["files"])) for pair in made.provenance["duplicates"]["pairs"] if pair["across_splits"]}
    counts: dict[str, PlantedRecord] = {kind: {"planted": 0, "detected": 0} for kind in CHANGES}
    for place, c in enumerate(split(classes)["train"]):
        copy, original = f"train/{c:05}/00000.png", f"test/{_choose_test(classes, place):05}/00001.png"
        count = counts[list(CHANGES)[place % len(CHANGES)]]
        count["planted"] += 1
        count["detected"] += (original, copy) in pairs
    return made.sha256, counts


def draw_episodes(packed: Path) -> str:
    """Open the set, hash all its pixels, draw 10,000 5-way 5-shot episodes of its test classes; the hash of these."""
    return EpisodeManifest.make(image_sets.load(packed, verify=True), "test", 5, 5, 15, EPISODES, 0).hash


@torch.no_grad()
def encode(packed: Path, encoder: str) -> float:
    """Encode every image of the set, once; the mean of all numbers, so that none is left out."""
    devices.keep_memory()  # as every command does that encodes
    images = image_sets.load(packed, verify=False)
    net = create_net(encoder, "prototypes", generator=randomness.make_generator(0, "init")).eval()
    total = 0.0
    for at in range(0, len(images), IMAGES_PER_PASS):
        rows = np.arange(at, min(at + IMAGES_PER_PASS, len(images)))
        total += float(evaluation.describe(net, images, rows).values.double().mean())
    return total
