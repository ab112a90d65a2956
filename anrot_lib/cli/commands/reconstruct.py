"""The verb reconstruct: autoencoders with different divergences, tested by a named distance."""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from anrot_lib import settings
from anrot_lib.cli.commands.arguments import get_changes, read_images, read_options, read_pause, read_size
from anrot_lib.cli.options.reconstruct import OWN, ReconstructOptions, ReconstructTestOptions
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.core import devices, paths, randomness
from anrot_lib.core.configs import change
from anrot_lib.core.progress import bar, shorten
from anrot_lib.core.resumable import Paused
from anrot_lib.core.units import format_minutes
from anrot_lib.data.image_set import ImageSet
from anrot_lib.experiments import reconstruction
from anrot_lib.experiments import reconstruction_plan as plan
from anrot_lib.experiments.estimates import estimate_pretraining
from anrot_lib.experiments.reconstruction_plan import Experiment
from anrot_lib.experiments.reconstruction_time import estimate_reconstruction
from anrot_lib.fewshot import encoders, pretraining
from anrot_lib.reconstruction import extractors
from anrot_lib.reconstruction.extractors import Extractor
from anrot_lib.reconstruction.recipe import VaeRecipe
from anrot_lib.records.schema import ReconstructionRecord
from anrot_lib.reports import tables

EXTRACTOR_STEPS = {"smoke": 100, "laptop": 1500, "paper": 40_000}  # it measures distances, and is no robust net
EXTRACTOR_RECIPE, EXTRACTOR_FILE = settings.Recipe(method="prototypes", hesim=0.0, pretrain=True), "extractor.pt"


def build_recipes(arguments: argparse.Namespace, image_set: ImageSet, preset: str) -> list[VaeRecipe]:
    """The models to train, with the lengths of the preset cut to what the set holds."""
    options, lengths = read_options(ReconstructOptions, arguments), plan.LENGTHS[preset]
    base = VaeRecipe(
        model=lengths.model,
        beta=plan.BETA,
        train_images=min(lengths.train_images, len(image_set.rows("train"))),
        validation_images=min(lengths.validation_images, len(image_set.rows("val"))),
        epochs=lengths.epochs,
        batch=lengths.batch,
    )
    base = replace(base, **get_changes(VaeRecipe, arguments))
    betas = lengths.betas if options.betas is None else options.betas
    return plan.list_recipes(base, options.divergences or plan.DIVERGENCES, options.seeds, betas)


def build_extractor(
    options: ReconstructTestOptions,
    image_set: ImageSet,
    budget: settings.Budget,
    device: torch.device,
    work: Path,
    trains: bool = True,
) -> Extractor:
    """The extractor that is asked for; "own" is the encoder of the preset, trained to classify the base classes."""
    if options.extractor != OWN:
        return extractors.choose_extractor(
            options.extractor, options.extractor_sha256, options.extractor_size, options.download
        ).to(device)
    init = randomness.make_generator(0, "init")
    encoder = encoders.build(budget.encoder, image_set.images.shape[-1], generator=init)
    if trains:
        budget = replace(budget, pretrain_steps=EXTRACTOR_STEPS[budget.preset])
        with bar(f"train the extractor {budget.encoder}", budget.pretrain_steps) as progress:
            file = work / EXTRACTOR_FILE
            state = pretraining.pretrain(image_set, EXTRACTOR_RECIPE, budget, file, device, progress=progress).encoder
        encoder.load_state_dict(state)
    name = f"{budget.encoder}, trained on the {len(image_set.splits['train'])} base classes"
    return extractors.wrap_encoder(encoder, name).to(device)


def estimate_extractor(
    options: ReconstructTestOptions, image_set: ImageSet, budget: settings.Budget, device: torch.device, work: Path
) -> float:
    """Seconds that `build_extractor` trains; 0 for an extractor that is trained already."""
    if options.extractor != OWN or (work / EXTRACTOR_FILE).is_file():
        return 0.0
    budget = replace(budget, pretrain_steps=EXTRACTOR_STEPS[budget.preset])
    return estimate_pretraining(image_set, EXTRACTOR_RECIPE, budget, settings.Protocol(), device, "fp32")


def reconstruct(arguments: argparse.Namespace) -> int:
    """Train, test, record, print the table and draw the figures; or continue what an earlier call began."""
    run, options = read_options(RunOptions, arguments), read_options(ReconstructTestOptions, arguments)
    changes = get_changes(settings.Budget, arguments, "size", "precision") | read_size(arguments)
    budget = change(settings.preset(run.preset), **changes)
    device = devices.resolve_device(run.device)
    image_set = read_images(arguments, budget)
    folder = plan.name_folder(image_set, budget.preset, run.tag, run.reference)
    recipes = build_recipes(arguments, image_set, budget.preset)
    count = options.test_images
    if count is None:
        count = min(plan.LENGTHS[budget.preset].test_images, len(image_set.rows("test")))
    plan.check_plan(image_set, recipes, count, options.decode, options.resamples)
    work = paths.checkpoints_dir() / folder.name
    experiment = Experiment(
        image_set,
        recipes,
        build_extractor(options, image_set, budget, device, work, trains=not run.dry_run),
        count,
        folder,
        bar,
        device,
        precision=devices.resolve_precision(budget.precision, device),
        decodings=options.decode,
        resamples=options.resamples,
        pause=read_pause(arguments),
    )
    print(
        f"{image_set.name}: {len(recipes)} models of {recipes[0].train_images} images of {budget.size} px; "
        f"distance by {experiment.extractor.name} on {count} images; {devices.describe_device(device)}"
    )
    if run.dry_run:
        return print_plan(experiment, estimate_extractor(options, image_set, budget, device, work))
    try:
        records = reconstruction.run(experiment)
    except Paused:
        finished = len(reconstruction.find_finished(experiment))
        raise Paused(f"{finished} of {len(recipes)} models are finished") from None
    show(experiment, records)
    return 0


def show(experiment: Experiment, records: list[ReconstructionRecord]) -> None:
    """Print the tables, draw the figures, say where everything is."""
    from anrot_lib.reports import figures as drawing  # they load matplotlib, which only this needs
    from anrot_lib.reports import reconstruction as report
    from anrot_lib.reports import reconstruction_figures

    for decoding in experiment.decodings:
        print(f"\n{tables.format_text(*report.make_table(records, decoding))}")
        print(f"\n{report.write_caption(records[0], decoding)}; {report.MARKS}")
        headings, rows = report.compute_differences(records, decoding)
        if rows:
            print(f"\n{tables.format_text(headings, rows)}")
    first = "mean" if "mean" in experiment.decodings else experiment.decodings[0]  # as README and notebook do
    figures = {
        "reconstructions.png": reconstruction_figures.draw_pictures(experiment, decoding=first),
        "beta.png": reconstruction_figures.draw_betas(records, first),
    }
    for name, figure in figures.items():
        print(f"figure: {shorten(drawing.save(figure, experiment.folder / name))}")
    print(f"records: {shorten(experiment.folder)}   checkpoints: {shorten(experiment.work)}")


def print_plan(experiment: Experiment, extractor: float) -> int:
    """Print how long a run takes. extractor: seconds that its training takes first."""
    estimate, n = estimate_reconstruction(experiment), len(experiment.recipes)
    total = extractor + estimate.shared + n * (estimate.training + estimate.test)
    first = f"training the extractor {format_minutes(extractor)}\n" if extractor else ""
    print(
        f"{first}training {estimate.training_speed:.0f} images/s: {format_minutes(estimate.training)} a model; "
        f"features {estimate.feature_speed:.0f} images/s, testing {format_minutes(estimate.test)} a model\n"
        f"{n} models: about {format_minutes(total)}; records would go to {shorten(experiment.folder)}"
    )
    return 0
