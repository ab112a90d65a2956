"""The verb `prepare`, and the image set that --data names."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anrot_lib.attacks import gradient, transfer
from anrot_lib.core import checkpoints, devices, paths, randomness
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import bar, counting_bar
from anrot_lib.data import image_set as image_sets
from anrot_lib.data import noise
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.preparation import assemble, perturbed
from anrot_lib.data.preparation import prepare as preparing
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.fewshot import nets
from anrot_lib.records.describe import describe_threat
from anrot_lib.settings import Budget

SUPPORT_OF_PERTURBATION = 5  # images a class that a net's class models rest on when a whole set is attacked


def load_data(arguments: argparse.Namespace, budget: Budget) -> ImageSet:
    """The image set that --data names. UserError if it lacks training, validation or test classes."""
    image_set = _named(arguments, budget)
    for split in ("train", "val", "test"):
        if split not in image_set.splits:
            raise UserError(f"the set {image_set.name!r} has no {split} classes; prepare it with --split random")
    return image_set


def _named(arguments: argparse.Namespace, budget: Budget) -> ImageSet:
    """The image set that --data names: the embedded one, a prepared one, or a folder, prepared on the way."""
    name = arguments.data
    if name == "synthetic":
        return synthetic(budget.classes, budget.per_class, budget.size)
    if (paths.packed_dir() / name / "set.json").is_file():
        image_set = image_sets.load(paths.packed_dir() / name)
        if image_set.images.shape[1] != budget.size:
            raise UserError(
                f"the prepared set {name!r} holds images of {image_set.images.shape[1]} px, the run wants "
                f"{budget.size}; "
                f"add --size {image_set.images.shape[1]}, or prepare it again with --size {budget.size}"
            )
        return image_set
    folder = Path(name).expanduser()
    if not folder.is_dir():
        known = sorted(p.parent.name for p in paths.packed_dir().glob("*/set.json"))
        raise UserError(
            f"--data {name}: no such folder, and no prepared set of that name (there are: {known or 'none'})"
        )
    if arguments.dry_run:
        raise UserError(
            f"{folder} is not prepared yet, and --dry-run writes nothing; "
            f"first: anrot prepare {folder} --size {budget.size}"
        )
    set_name = f"{assemble.plain_set_name(folder.resolve().name)}-{budget.size}"
    if arguments.split not in ("auto", "folders", "random"):
        set_name = f"{arguments.split}-{budget.size}"
    with counting_bar(f"prepare {set_name}") as progress:
        return preparing.prepare(
            folder,
            name=set_name,
            size=budget.size,
            split=arguments.split,
            seed=arguments.seed,
            on_bad=arguments.on_bad,
            on_duplicates=arguments.on_duplicates,
            progress=progress,
        )


def prepare(arguments: argparse.Namespace) -> int:
    if arguments.perturb and arguments.dry_run:
        raise UserError("--dry-run does not go with --perturb, which looks for no faults; leave one of them out")
    if arguments.perturb:
        return perturb(arguments)
    source = arguments.source
    if arguments.download and arguments.dry_run:
        raise UserError("--dry-run looks at images that are there, and downloads nothing")
    if arguments.download:
        from anrot_lib.data.readers.catalogue import download

        source = download(arguments.download)
    if source is None:
        raise UserError("give the folder of images to prepare, or --download cifar100 or omniglot")
    if arguments.dry_run:
        return dry_run(arguments)
    with counting_bar("prepare") as progress:
        image_set = preparing.prepare(
            source,
            name=arguments.name,
            layout=arguments.layout,
            size=arguments.size,
            split=arguments.split,
            seed=arguments.seed,
            on_bad=arguments.on_bad,
            on_duplicates=arguments.on_duplicates,
            progress=progress,
            rotations=arguments.rotations,
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
    if (peak := devices.peak_memory()) is not None:
        print(f"{peak:.2f} GiB of memory at most")
    print(f"use it with: --data {image_set.name} --size {image_set.images.shape[1]}")
    return 0


def dry_run(arguments: argparse.Namespace) -> int:
    """What `prepare` would do, from a sample of the images."""
    size = arguments.size
    found = preparing.plan(
        *(arguments.source, arguments.layout, size, arguments.split, arguments.seed), rotations=arguments.rotations
    )
    print(f"{found.source}; {found.split}")
    print(
        f"{found.images} images of {size} px: about {found.seconds / 60:.1f} min to decode, and about as much again to "
        f"look for copies; {found.bytes / 2**30:.2f} GiB on disk"
    )
    return 0


def perturb(arguments: argparse.Namespace) -> int:
    """The paper's steps 4 to 6: a noisy or adversarial copy of a whole set, with how it was made."""
    if not arguments.source:
        raise UserError("name the prepared set to perturb: anrot prepare NAME --perturb noise --sigma 0.1")
    image_set = image_sets.load(paths.packed_dir() / arguments.source)
    kind, seed = arguments.perturb, arguments.seed
    if kind == "noise":
        if arguments.sigma is None:
            raise UserError("--perturb noise needs --sigma, in units of the pixel range, such as 0.1")
        generator = randomness.generator(seed, "noise")
        made: dict[str, Any] = {"parameters": {"sigma": arguments.sigma}, "eps": None}
        made["perturbation"] = lambda images: noise.gaussian(images, arguments.sigma, generator)
    else:
        if arguments.eps is None:
            raise UserError(f"--perturb {kind} needs --eps, in units of the pixel range, such as 8/255")
        made = _adversary(arguments, image_set)
    with counting_bar(f"perturb {image_set.name}") as progress:
        copy = perturbed.perturb(image_set, kind, seed=seed, progress=progress, **made)
    print(f"{len(copy)} images written as {copy.name!r}, sha256 {copy.sha256}")
    return 0


def _adversary(arguments: argparse.Namespace, image_set: ImageSet) -> dict[str, Any]:
    threat = gradient.fgsm(arguments.eps, target="query")
    parameters: dict[str, Any] = {"threat": describe_threat(threat)}
    if arguments.perturb == "transfer":
        generator = randomness.generator(arguments.seed, "surrogate")
        with bar("train surrogate", transfer.EPOCHS * len(image_set.rows("train"))) as progress:
            surrogate = transfer.train_on_base(image_set, generator, progress=progress)
        parameters["surrogate"] = "small CNN on the base classes, squared error, its own predictions as labels"
        return {
            "parameters": parameters,
            "eps": arguments.eps,
            "perturbation": lambda images: transfer.transfer(surrogate, images, threat),
        }
    if arguments.checkpoint is None:
        raise UserError("--perturb fgsm attacks a net: give it by --checkpoint, or use --perturb transfer")
    net, method, _ = nets.load_net(arguments.checkpoint)
    rows = [np.flatnonzero(image_set.labels == c)[:SUPPORT_OF_PERTURBATION] for c in range(len(image_set.class_names))]
    labels = torch.from_numpy(image_set.labels[np.concatenate(rows)])
    with torch.no_grad():
        bound = net.bind(image_set.batch(np.concatenate(rows)), labels)
    parameters["attacked"] = {"method": method, "checkpoint": checkpoints.sha256(arguments.checkpoint)}
    return {
        "parameters": parameters,
        "eps": arguments.eps,
        "with_labels": True,
        "perturbation": lambda images, labels: gradient.attack(bound, images, labels, threat).images,
    }
