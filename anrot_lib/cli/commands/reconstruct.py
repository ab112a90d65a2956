"""The verb `reconstruct`: autoencoders with different divergences, tested by a named distance."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from anrot_lib import settings
from anrot_lib.cli import main
from anrot_lib.cli.commands.prepare import load_data
from anrot_lib.core import configs, devices, paths, randomness
from anrot_lib.core.progress import bar, shown
from anrot_lib.core.resumable import Paused
from anrot_lib.data.image_set import ImageSet
from anrot_lib.experiments import reconstruction
from anrot_lib.experiments import reconstruction_plan as plan
from anrot_lib.experiments.reconstruction_plan import Experiment
from anrot_lib.fewshot import encoders, pretraining
from anrot_lib.reconstruction import extractors
from anrot_lib.reconstruction.extractors import Extractor
from anrot_lib.reconstruction.recipe import VaeRecipe
from anrot_lib.reconstruction.training import train
from anrot_lib.records.schema import ReconstructionRecord
from anrot_lib.reports import tables

PAUSED = 3  # exit code: the time is over, the same command goes on


def recipes_of(arguments: argparse.Namespace, image_set: ImageSet, preset: str) -> list[VaeRecipe]:
    """The models to train, with the preset's lengths cut to what the set holds."""
    lengths = plan.LENGTHS[preset]
    held = {split: len(image_set.rows(split)) for split in ("train", "val")}
    base = VaeRecipe(
        model=arguments.model or lengths.model,
        beta=plan.BETA if arguments.beta is None else arguments.beta,
        train_images=arguments.train_images or min(lengths.train_images, held["train"]),
        validation_images=min(lengths.validation_images, held["val"]),
        epochs=arguments.epochs or lengths.epochs,
        batch=lengths.batch,
    )
    base = configs.change(base, learning_rate=arguments.learning_rate)
    divergences = arguments.divergences or plan.DIVERGENCES
    betas = lengths.betas if arguments.betas is None else arguments.betas
    return plan.list_recipes(base, divergences, arguments.seeds, betas)


def extractor_of(
    arguments: argparse.Namespace,
    image_set: ImageSet,
    budget: settings.Budget,
    device: torch.device,
    work: Path,
    untrained: bool = False,
) -> Extractor:
    """The extractor that is asked for; "own" is the preset's encoder, trained as a classifier of the base classes."""
    if arguments.extractor != "own":
        named = (arguments.extractor, arguments.extractor_sha256, arguments.extractor_size, arguments.download)
        return extractors.from_words(*named).to(device)
    init = randomness.generator(0, "init")
    encoder = encoders.build(budget.encoder, image_set.images.shape[-1], generator=init)
    if not untrained:
        recipe = settings.Recipe(method="prototypes", hesim=0.0, pretrain=True)
        with bar(f"train the extractor {budget.encoder}", budget.pretrain_steps) as progress:
            state, _ = pretraining.pretrain(image_set, recipe, budget, work / "extractor.pt", device, progress=progress)
        encoder.load_state_dict(state)
    name = f"{budget.encoder}, trained on the {len(image_set.splits['train'])} base classes"
    return extractors.of_encoder(encoder, name).to(device)


def reconstruct_verb(arguments: argparse.Namespace) -> int:
    """Train, test, record, print the table and draw the figures; or go on with what an earlier call began."""
    started = time.monotonic()
    budget = configs.change(settings.preset(arguments.preset), size=arguments.size, precision=arguments.compute)
    device = devices.resolve_device(arguments.device)
    image_set = load_data(arguments, budget)
    folder = plan.name_folder(image_set, budget.preset, arguments.tag, arguments.reference)
    recipes = recipes_of(arguments, image_set, budget.preset)
    count = arguments.test_images or min(plan.LENGTHS[budget.preset].test_images, len(image_set.rows("test")))
    work = paths.checkpoints_dir() / folder.name
    experiment = Experiment(
        *(image_set, recipes),
        extractor_of(arguments, image_set, budget, device, work, untrained=arguments.dry_run),
        *(count, folder, bar, device),
        precision=devices.resolve_precision(budget.precision, device),
        decodings=tuple(arguments.decode),
        resamples=arguments.resamples,
    )
    print(
        f"{image_set.name}: {len(recipes)} models of {recipes[0].train_images} images of {budget.size} px; "
        f"distance by {experiment.extractor.name} on {count} images; {devices.device_kind(device)}"
    )
    if arguments.dry_run:
        return dry_run(experiment)
    if arguments.minutes is not None:
        end = started + 60 * arguments.minutes
        experiment = replace(experiment, pause=lambda: time.monotonic() > end)
    try:
        records = reconstruction.run(experiment)
    except Paused:
        done = len(reconstruction.find_finished(experiment))
        print(
            f"paused after {arguments.minutes:g} min with {done} of {len(recipes)} models finished; "
            "the same command goes on"
        )
        return PAUSED
    show(experiment, records)
    return 0


def show(experiment: Experiment, records: list[ReconstructionRecord]) -> None:
    from anrot_lib.reports import figures as viz  # they load matplotlib, which only this needs
    from anrot_lib.reports import reconstruction as reconstruct_report

    for decoding in experiment.decodings:
        print(f"\n{tables.as_text(*reconstruct_report.table(records, decoding))}")
        print(f"\n{reconstruct_report.caption(records[0], decoding)}; {reconstruct_report.MARKS}")
        headings, rows = reconstruct_report.differences(records, decoding)
        if rows:
            print(f"\n{tables.as_text(headings, rows)}")
    first = "mean" if "mean" in experiment.decodings else experiment.decodings[0]  # as README and notebook do
    figures = {
        "reconstructions.png": reconstruct_report.picture_figure(experiment, decoding=first),
        "beta.png": reconstruct_report.beta_figure(records, first),
    }
    for name, figure in figures.items():
        print(f"figure: {shown(viz.save(figure, experiment.folder / name))}")
    print(f"records: {shown(experiment.folder)}   checkpoints: {shown(experiment.work)}")


def dry_run(experiment: Experiment) -> int:
    """What a run would take, from a few training steps and one batch of the extractor on this machine."""
    recipe = experiment.recipes[0]
    trial = replace(recipe, train_images=min(recipe.train_images, 4 * recipe.batch), validation_images=2, epochs=1)
    speed = train(experiment.image_set, trial, None, experiment.device, experiment.precision).images_per_second
    images = experiment.image_set.batch(experiment.image_set.rows("test")[:64], experiment.device)
    pixels = extractors.as_pixels(images)
    started = time.perf_counter()
    with torch.no_grad():
        experiment.extractor(pixels)
    rate = len(pixels) / (time.perf_counter() - started)
    training = recipe.train_images * recipe.epochs / speed / 60
    testing = experiment.test_images * len(experiment.decodings) / rate / 60
    n = len(experiment.recipes)
    print(
        f"training {speed:.0f} images/s: {training:.1f} min a model; features {rate:.0f} images/s: {testing:.1f} min\n"
        f"{n} models: about {n * (training + testing):.0f} min; "
        f"records would go to {shown(experiment.folder)}"
    )
    return 0


def after_run(arguments: argparse.Namespace) -> int:
    """`run --reconstruct`: the same with the options that both verbs share, and this verb's defaults for the rest."""
    own = vars(main.build_parser().parse_args(["reconstruct"]))
    shared = {name: value for name, value in vars(arguments).items() if name in own and name != "verb"}
    return reconstruct_verb(argparse.Namespace(**own | shared))


VERBS = {"reconstruct": reconstruct_verb}
