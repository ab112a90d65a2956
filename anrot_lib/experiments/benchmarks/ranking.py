"""What a training step and the attacks of the score cost, against the passes of the net that they cannot do without.

The images are noise: only their number and size matter here.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core import devices
from anrot_lib.core.progress import bar
from anrot_lib.ranking.attacks import names, suite
from anrot_lib.ranking.data.sets import Part, RankingSet
from anrot_lib.ranking.embedders import Embedder
from anrot_lib.ranking.recipe import RankingRecipe, build_recipe
from anrot_lib.ranking.score import testing
from anrot_lib.ranking.training.loop import RankingTraining
from anrot_lib.ranking.training.perturbation import embed
from anrot_lib.records.parts import TimingSettingsRecord
from anrot_lib.records.timing import interleave, write_timing

# What is timed, and a destination in place of the name's. At hardness 2 no triplet ever arrives, so none is left out;
# with LGA a step costs between that and an undefended one, as far as the triplets have arrived.
STEPS = {
    "undefended": ("fashion:rc2f2:ptripletN", None),
    "HM[S,2]": ("fashion:rc2f2hmetsm:ptripletN", "2"),
    "HM[S,2]+ICS": ("fashion:rc2f2hmetsmi:ptripletN", "2"),
}


def draw_noise(images: int, classes: int = 10) -> RankingSet:
    """Random pixels, 28 x 28, the same for training and test, labelled in turn."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, 28, 28, 1), dtype=np.uint8)
    part = Part(pixels, np.arange(images), torch.arange(images) % classes, classes, 28)
    return RankingSet("noise", part, part)


def begin_training(data: RankingSet, recipe: RankingRecipe, precision: str) -> RankingTraining:
    """A training that has made no step yet."""
    training = RankingTraining(data, recipe, torch.device("cpu"), precision)
    training.begin()
    return training


def advance(training: RankingTraining, repeat: int) -> None:
    training.advance()


def run_passes(net: Embedder, images: Tensor, times: int, train: bool, precision: str = "fp32") -> None:
    """`times` forward and backward passes, down to the weights if `train`, else down to the pixels."""
    for _ in range(times):
        net.zero_grad(set_to_none=True)
        pixels = images.detach().requires_grad_(not train)
        with devices.autocast(images.device, precision):
            rows = embed(net.train(train).requires_grad_(train), pixels)
        torch.autograd.backward(rows.float().square().mul(torch.arange(rows.shape[1])).sum())
    net.requires_grad_()


def time_training_steps(repeats: int = 8, eta: int = 8, images: int = 2_000) -> Path:
    """Time steps of the defenses on rc2f2, 128 pairs; write data/results/bench/ranking-steps.json.

    The limit of a step of HM is eta passes over its 3 x 128 images down to the pixels, and one down to the weights.
    """
    data, device = draw_noise(images), torch.device("cpu")
    precision = devices.resolve_precision("auto", device)
    variants: dict[str, Callable[[int], None]] = {}
    for title, (name, destination) in STEPS.items():
        recipe: RankingRecipe = build_recipe(name, eta=eta, destination=destination)
        run = begin_training(data, recipe, precision)
        variants[title] = partial(advance, run)
    net, batch = run.net, data.train.batch(np.arange(3 * recipe.batch))

    def limit(k: int) -> None:
        run_passes(net, batch, eta, train=False, precision=recipe.attack_precision)
        run_passes(net, batch, 1, train=True, precision=precision)

    title = f"{eta} + 1 passes"
    settings: TimingSettingsRecord = {
        "reference": title,
        "repeats": repeats,
        "eta": eta,
        "pairs": recipe.batch,
        "precision": precision,
    }
    what = f"ranking: a training step of rc2f2, 28 px, {recipe.batch} pairs"
    seconds = interleave({title: limit, **variants}, repeats)
    return write_timing("ranking-steps", what, settings, seconds, device)


def time_attacks(repeats: int = 2, queries: int = 64, images: int = 10_000) -> Path:
    """Time the nine attacks of rob28 on rc2f2 in a gallery of 10,000; write data/results/bench/ranking-attacks.json.

    Their limit is 32 passes of each, forward and backward down to the pixels. GTM runs once, not under both parities.
    """
    data, device = draw_noise(images), torch.device("cpu")
    run = begin_training(data, build_recipe(STEPS["undefended"][0]), "fp32")
    subject = testing.build_subject(run.net, run.net.metric, data.test, device, bar)
    protocol = testing.ScoreProtocol(names.make_profile("rob28"), queries)
    rows = suite.choose_queries(subject.gallery, queries, 0)
    batch, steps = data.test.batch(rows), sum(attack.steps for attack in protocol.attacks)
    seconds = interleave(
        {
            f"{steps} passes": lambda k: run_passes(run.net, batch, steps, train=False),
            "nine attacks": lambda k: [suite.run_attack(subject, attack, rows, 0) for attack in protocol.attacks],
        },
        repeats,
    )
    settings: TimingSettingsRecord = {
        "reference": f"{steps} passes",
        "repeats": repeats,
        "queries": queries,
        "gallery": images,
    }
    what = f"ranking: the attacks of rob28 on {queries} queries, rc2f2, 28 px"
    return write_timing("ranking-attacks", what, settings, seconds, device)


def measure(repeats: int | None = None) -> list[Path]:
    return [time_training_steps(repeats or 8), time_attacks(repeats or 2)]
