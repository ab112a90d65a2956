"""How long a ranking model trains on this machine, from a few steps and one test. Nothing is written."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from anrot_lib.experiments.ranking import evaluate
from anrot_lib.experiments.stopwatch import time_work
from anrot_lib.ranking.data.sets import RankingSet
from anrot_lib.ranking.embedders import DOWNLOAD, Embedder
from anrot_lib.ranking.recipe import RankingRecipe
from anrot_lib.ranking.training.loop import train

TRIAL_STEPS = 5


@dataclass(frozen=True)
class RankingEstimate:
    """Seconds of a step, of one test, and of the classifier that stands in for weights; how many steps and tests."""

    step: float
    steps: int
    test: float
    tests: int
    classifier: float

    @property
    def total(self) -> float:
        return self.classifier + self.step * self.steps + self.test * self.tests


def estimate_ranking(
    recipe: RankingRecipe,
    data: RankingSet,
    device: torch.device,
    precision: str,
    weights: str | None,
    evaluate_every: int,
) -> RankingEstimate:
    """How long a ranking model trains, from a few steps and one test. It fetches no weights.

    weights         a file, embedders.DOWNLOAD, or None.
    evaluate_every  epochs between two tests.
    """
    file = None if weights == DOWNLOAD else weights
    begins_as_classifier = weights is None and recipe.freeze_bn and recipe.pretrain_epochs > 0
    if weights == DOWNLOAD or (weights is None and recipe.pretrain_epochs > 0):  # in place of weights or a classifier
        recipe_of_trial = replace(recipe, pretrain_epochs=0, freeze_bn=False)
    else:
        recipe_of_trial = recipe
    trained = train(data, recipe_of_trial, None, device, precision, file, steps=TRIAL_STEPS)
    steps_of_an_epoch = -(-len(data.train) // recipe.batch)
    seconds = time_work(lambda: evaluate(trained.net, data), device)
    return RankingEstimate(
        step=trained.seconds_per_step,
        steps=recipe.epochs * steps_of_an_epoch,
        test=seconds,
        tests=count_tests(recipe.epochs, evaluate_every),
        classifier=_estimate_classifier(recipe, data, trained.net, device) if begins_as_classifier else 0.0,
    )


def count_tests(epochs: int, every: int) -> int:
    """How often a ranking model is tested: at the beginning, every so many epochs, and after the last."""
    return 1 + -(-epochs // every)


def _estimate_classifier(recipe: RankingRecipe, data: RankingSet, net: Embedder, device: torch.device) -> float:
    """Seconds of the classifier, whose steps have two batches of images each."""
    images = data.train.batch(np.arange(min(2 * recipe.batch, len(data.train))), device)
    net.train()

    def step() -> None:
        torch.autograd.backward(net(images).sum())

    step()  # the first is slow
    return time_work(step, device) * recipe.pretrain_epochs * -(-len(data.train) // len(images))
