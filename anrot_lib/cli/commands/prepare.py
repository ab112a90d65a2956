"""The verb prepare."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anrot_lib.attacks import gradient, transfer
from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.options.prepare import PerturbOptions, PrepareOptions
from anrot_lib.cli.options.shared import RankOptions
from anrot_lib.core import checkpoints, devices, paths, randomness, ranks
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import bar, counting_bar
from anrot_lib.core.ranks import Ranks
from anrot_lib.core.torchrun import count_started
from anrot_lib.core.units import format_minutes
from anrot_lib.data import image_set as image_sets
from anrot_lib.data import noise
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.preparation import perturbed
from anrot_lib.data.preparation import prepare as preparing
from anrot_lib.fewshot import nets
from anrot_lib.records.describe import describe_threat

SUPPORT_OF_PERTURBATION = 5  # support images of each class when a whole set is attacked


def prepare(arguments: argparse.Namespace) -> int:
    """Check a folder and pack it, or a perturbed copy of a set; print what came out."""
    options, perturbation = read_options(PrepareOptions, arguments), read_options(PerturbOptions, arguments)
    several = read_options(RankOptions, arguments)
    if max(several.devices * several.nodes, count_started()) > 1 and (options.dry_run or perturbation.perturb):
        raise UserError("one process does that; several can share what --dry-run and --perturb leave out: the packing")
    if perturbation.perturb is not None:
        if options.dry_run:
            raise UserError("--dry-run does not go with --perturb, which looks for no faults; leave one of them out")
        return perturb(options, perturbation, perturbation.perturb)
    if options.source is None and options.download is None:
        raise UserError("give the folder of images to prepare, or --download cifar100 or omniglot")
    if options.download is not None and options.dry_run:
        raise UserError("--dry-run looks at images that are there, and downloads nothing")
    together, _ = ranks.start(several.devices, several.nodes, torch.device("cpu"))
    source = _find_source(options, together)
    if options.dry_run:
        return print_plan(source, options)
    with counting_bar("prepare") if together.is_first else nullcontext() as progress:
        image_set = preparing.prepare(
            source,
            name=options.name,
            layout=options.layout,
            size=options.size,
            split=options.split,
            seed=options.seed,
            on_bad=options.on_bad,
            on_duplicates=options.on_duplicates,
            progress=progress,
            rotations=options.rotations,
            replace_split=options.replace,
            ranks=together,
        )
    about = image_set.provenance
    print(f"{about['found']}; {about['split']['said']}")
    print(f"{len(image_set)} images of {image_set.images.shape[1]} px, {len(image_set.class_names)} classes: ", end="")
    print(", ".join(f"{split} {len(classes)}" for split, classes in image_set.splits.items()))
    if about.get("quarantine"):
        print(f"left out {len(about['quarantine'])} images, named in quarantine.csv beside the set")
    if note := about.get("note"):
        print(note)
    print(f"sha256 {image_set.sha256}\nsplit  {image_set.split_hash}")
    if (peak := devices.measure_peak_memory()) is not None:
        print(f"{peak:.2f} GiB of memory at most")
    print(f"use it with: --data {image_set.name} --size {image_set.images.shape[1]}")
    return 0


def _find_source(options: PrepareOptions, together: Ranks) -> Path | str:
    """The folder of images, which the first of several processes downloads if it was asked to."""
    if options.download is None:
        return options.source or ""
    from anrot_lib.data.readers.catalogue import download

    with together.first():
        return download(options.download)


def print_plan(source: Path | str, options: PrepareOptions) -> int:
    """Print what `prepare` would do, from a sample of the images."""
    size = options.size
    plan = preparing.plan(
        source,
        options.layout,
        size,
        options.split,
        options.seed,
        rotations=options.rotations,
        on_bad=options.on_bad,
        name=options.name,
        on_duplicates=options.on_duplicates,
        replace_split=options.replace,
    )
    print(f"{plan.source}; {plan.split}")
    print(
        f"{plan.images} images of {size} px: about {format_minutes(plan.seconds + plan.searching)}, of which "
        f"{format_minutes(plan.searching)} to look for copies; {plan.bytes / 2**30:.2f} GiB on disk"
    )
    return 0


def perturb(options: PrepareOptions, perturbation: PerturbOptions, kind: str) -> int:
    """The paper's steps 4 to 6: a noisy or adversarial copy of a whole set, with how it was made."""
    if not options.source:
        raise UserError("name the prepared set to perturb: anrot prepare NAME --perturb noise --sigma 0.1")
    image_set = image_sets.load(paths.packed_dir() / options.source)
    if kind == "noise" and perturbation.eps is not None:
        raise UserError("--perturb noise is of --sigma, and takes no --eps; leave it out")
    if kind == "noise":
        settings = _describe_noise(perturbation.sigma, options.seed)
    elif perturbation.eps is None:
        raise UserError(f"--perturb {kind} needs --eps, in units of the pixel range, such as 8/255")
    elif kind == "transfer":
        settings = _build_transfer_attack(image_set, perturbation.eps, options.seed)
    else:
        settings = _build_attack(image_set, perturbation.eps, perturbation.checkpoint)
    with counting_bar(f"perturb {image_set.name}") as progress:
        copy = perturbed.perturb(
            image_set, kind, seed=options.seed, eps=perturbation.eps, progress=progress, **settings
        )
    print(f"{len(copy)} images written as {copy.name!r}, sha256 {copy.sha256}")
    return 0


def _describe_noise(sigma: float | None, seed: int) -> dict[str, Any]:
    if sigma is None:
        raise UserError("--perturb noise needs --sigma, in units of the pixel range, such as 0.1")
    if not 0 <= sigma <= 1:
        raise UserError(f"sigma is in units of the pixel range [0, 1], got {sigma:g}")
    generator = randomness.make_generator(seed, "noise")
    return {"parameters": {"sigma": sigma}, "perturbation": lambda images: noise.add_gaussian(images, sigma, generator)}


def _build_transfer_attack(image_set: ImageSet, eps: float, seed: int) -> dict[str, Any]:
    threat = gradient.fgsm(eps, target="query")
    with bar("train surrogate", transfer.EPOCHS * len(transfer.split_base(image_set)[0])) as progress:
        surrogate = transfer.train_on_base(image_set, randomness.make_generator(seed, "surrogate"), progress=progress)
    quality = transfer.measure_surrogate(surrogate, image_set)
    text = f"small CNN on the base classes, squared error, its own predictions as labels; it {quality}"
    if not quality.is_useful:
        print(f"note: the surrogate {quality}; its attack will be little more than random signs")
    return {
        "parameters": {"threat": describe_threat(threat), "surrogate": text},
        "perturbation": lambda images: transfer.transfer(surrogate, images, threat),
    }


def _build_attack(image_set: ImageSet, eps: float, checkpoint: Path | None) -> dict[str, Any]:
    threat = gradient.fgsm(eps, target="query")
    if checkpoint is None:
        raise UserError("--perturb fgsm attacks a net: give it by --checkpoint, or use --perturb transfer")
    net, method, _ = nets.load_net(checkpoint)
    classes = range(len(image_set.class_names))
    rows = np.concatenate([np.flatnonzero(image_set.labels == c)[:SUPPORT_OF_PERTURBATION] for c in classes])
    with torch.no_grad():
        bound = net.bind(image_set.batch(rows), torch.from_numpy(image_set.labels[rows]))
    attacked = {"method": method, "checkpoint": checkpoints.sha256(checkpoint)}
    return {
        "parameters": {"threat": describe_threat(threat), "attacked": attacked},
        "with_labels": True,
        "perturbation": lambda images, labels: gradient.attack(bound, images, labels, threat).images,
    }
