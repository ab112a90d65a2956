"""How long the study of autoencoders takes on this machine, from small parts of it. Nothing is written."""

from dataclasses import dataclass, replace
from functools import partial

import torch

from anrot_lib.experiments.reconstruction import compare_features, measure_block, measure_floors
from anrot_lib.experiments.reconstruction_plan import Experiment
from anrot_lib.experiments.stopwatch import time_work
from anrot_lib.reconstruction import extractors
from anrot_lib.reconstruction.training import pick, train

TRIAL_IMAGES, FEW_RESAMPLES = 64, 2


@dataclass(frozen=True)
class ReconstructionEstimate:
    """Images a second of training and of the extractor; seconds of training and testing one model, and of what all
    models share: the features of the originals, and their floor."""

    training_speed: float
    feature_speed: float
    training: float
    test: float
    shared: float


def estimate_reconstruction(experiment: Experiment) -> ReconstructionEstimate:
    """From a few training steps, a block of test images, and distances between random features of the same shape."""
    recipe, device = experiment.recipes[0], experiment.device
    for split, count in (("train", recipe.train_images), ("val", recipe.validation_images)):
        pick(experiment.image_set, split, count, recipe.subset_seed)  # it refuses too few images, as the training does
    trial = replace(recipe, train_images=min(recipe.train_images, 4 * recipe.batch), validation_images=2, epochs=1)
    trained = train(experiment.image_set, trial, device=device, precision=experiment.precision)
    rows = torch.as_tensor(experiment.image_set.rows("test")[:TRIAL_IMAGES])
    block = measure_block(experiment, trained.net.eval(), experiment.decodings[0], 0, rows)
    measuring = time_work(lambda: measure_block(experiment, trained.net, experiment.decodings[0], 0, rows), device)
    pixels = extractors.quantise(experiment.image_set.batch(rows, device))
    with torch.no_grad():
        extracting = time_work(lambda: experiment.extractor(pixels), device)
    n, held = experiment.test_images, min(2 * experiment.test_images, len(experiment.image_set.rows("test")))
    features = torch.randn(held, block["features"].shape[1], generator=experiment.draw("trial"))
    few, more = (
        time_work(partial(compare_features, replace(experiment, resamples=k), features[:n], features[-n:]), device)
        for k in (FEW_RESAMPLES, 2 * FEW_RESAMPLES)
    )
    comparing = few + max(0.0, more - few) / FEW_RESAMPLES * (experiment.resamples - FEW_RESAMPLES)
    floors = time_work(lambda: measure_floors(experiment, features), device)
    validating = recipe.validation_images * recipe.epochs / (3 * trained.images_per_second)
    return ReconstructionEstimate(
        training_speed=trained.images_per_second,
        feature_speed=len(rows) / extracting,
        training=recipe.train_images * recipe.epochs / trained.images_per_second + validating,
        test=len(experiment.decodings) * (n * measuring / len(rows) + comparing),
        shared=held * extracting / len(rows) + floors,
    )
