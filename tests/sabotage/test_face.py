"""What a program may hand to the public face: images and labels of every wrong kind, numbers out of range."""

import math

import numpy as np
import pytest
import torch

import anrot_lib as anrot
from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.core.errors import UserError
from anrot_lib.data.image_set import build_image_set
from anrot_lib.settings import SMOKE

from .conftest import silent, time_limit

LABELS = torch.tensor([0, 0, 1, 1])


def images(n=4, channels=3, size=16):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


IMAGES = {
    "uint8": (images() * 255).to(torch.uint8),
    "int64": (images() * 2).long(),
    "bool": images() > 0.5,
    "complex": images().to(torch.complex64),
    "0 to 255": images() * 255,
    "-1 to 1": images() * 2 - 1,
    "normalised": (images() - 0.45) / 0.22,
    "nan": images().fill_(math.nan),
    "one nan": images().index_fill(0, torch.tensor(1), math.nan),
    "inf": images() + math.inf,
    "a channel too few": images(channels=2),
    "a channel too many": images(channels=4),
    "grey": images(channels=1),
    "channels last": images().permute(0, 2, 3, 1),
    "one image": images()[0],
    "flat": images().flatten(1),
    "a number": torch.tensor(0.5),
    "no pixels": images(size=16)[..., :0],
    "no images": images()[:0],
    "an array": images().numpy(),
    "a list": images().tolist(),
    "nothing": None,
    "text": "photo.jpg",
}
LABEL_TENSORS = {
    "one to way": torch.tensor([1, 1, 2, 2]),
    "negative": torch.tensor([-1, -1, 0, 0]),
    "gap": torch.tensor([0, 0, 2, 2]),
    "float": torch.tensor([0.0, 0.0, 1.0, 1.0]),
    "bool": torch.tensor([False, False, True, True]),
    "complex": torch.tensor([0, 0, 1, 1]).to(torch.complex64),
    "one-hot": torch.eye(4),
    "too few": torch.tensor([0, 1]),
    "too many": torch.tensor([0, 0, 1, 1, 1]),
    "empty": torch.tensor([], dtype=torch.long),
    "a number": torch.tensor(1),
    "list": [0, 0, 1, 1],
    "array": np.array([0, 0, 1, 1]),
    "names": ["cat", "cat", "dog", "dog"],
    "nothing": None,
}


def refuse(call, *arguments, **options):
    with time_limit(), pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value) and str(caught.value)


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_another_kind(name, small_net, small_set):
    bad = IMAGES[name]
    refuse(small_net.process_support_set, bad, LABELS)
    refuse(small_net.bind, bad, LABELS)
    bound = small_net.bind(images(), LABELS)
    small_net.process_support_set(images(), LABELS)
    if name != "no images":
        refuse(small_net, bad)
        refuse(bound, bad)
        refuse(anrot.attack, bound, bad, LABELS, pgd(8 / 255, 2, 2 / 255, 1, "query"), torch.Generator())


@pytest.mark.parametrize("name", LABEL_TENSORS)
def test_labels_of_another_kind(name, small_net):
    refuse(small_net.process_support_set, images(), LABEL_TENSORS[name])
    refuse(small_net.bind, images(), LABEL_TENSORS[name])
    if name not in ("one to way", "gap"):
        bound = small_net.bind(images(), LABELS)
        refuse(anrot.attack, bound, images(), LABEL_TENSORS[name], fgsm(8 / 255, "query"))


NUMBERS = {"nan": math.nan, "inf": math.inf, "-1": -1, "text": "8/255", "none": None, "1e9": 1e9}
THREAT = {"norm": "linf", "eps": 0.03, "step": 0.01, "steps": 2, "restarts": 1, "start": "random", "target": "query"}


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("field", THREAT)
def test_threat_models(field, value):
    if field == "step" and value == 1e9:
        return  # as long as one likes: the point is brought back into the ball
    refuse(anrot.ThreatModel, **{**THREAT, field: value})


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("field", ["way", "shot", "eps", "step", "steps", "sigma"])
def test_protocols(field, value):
    if (field, value) in (("step", 1e9),):
        return
    refuse(anrot.Protocol, **{field: value})


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize(
    "field",
    [
        "clean",
        "adversarial",
        "noisy",
        "eps",
        "attack_steps",
        "sigma_low",
        "sigma_high",
        "hesim",
        "temperature",
        "clip",
        "learning_rate",
    ],
)
def test_recipes(field, value):
    if value == 1e9 and field in ("learning_rate", "clip", "temperature"):
        return  # a training that explodes says so itself
    refuse(anrot.Recipe, **{field: value})


@pytest.mark.parametrize(
    "arguments",
    [
        ("vgg", "anrot"), ("tiny", "anrto"), (None, "anrot"), ("tiny", None), ("tiny", "anrot", 2),
        ("tiny", "anrot", -1),
        ("tiny", "anrot", "rgb"), ("tiny", 7), ("tiny", ""), ("tiny", "levels:"), ("tiny", "easyfsl:"),
    ],
    ids=str,
)  # fmt: skip
def test_nets(arguments):
    refuse(anrot.create_net, *arguments)


def test_grey_images_and_a_net_of_colours(small_net, small_budget):
    grey = build_image_set(
        "grey",
        np.random.default_rng(0).integers(0, 256, (100, 16, 16, 1), np.uint8),
        np.arange(100) % 5,
        list("abcde"),
        {"test": range(5)},
    )
    refuse(anrot.evaluate, small_net, grey, budget=small_budget, device="cpu", progress=silent)


@pytest.mark.parametrize("name", ["", "huge", 7, None.__class__])
def test_presets(name):
    if name != "":
        refuse(anrot.preset, name)
    refuse(anrot.preset, "smoke", size="big")
    refuse(anrot.preset, "smoke", speed=3)


def test_a_net_of_broken_weights_names_nothing(small_net, small_set, small_budget, tmp_path):
    with torch.no_grad():
        next(small_net.parameters())[0] = math.nan
    small_net.process_support_set(images(), LABELS)
    refuse(small_net, images())
    refuse(anrot.evaluate, small_net, small_set, budget=small_budget, device="cpu", progress=silent)


def test_sets_and_trainings(small_set, small_budget):
    pixels, labels = np.zeros((4, 8, 8, 3), np.uint8), [0, 0, 1, 1]
    for arguments in (
        (pixels.astype(float), labels, ["a", "b"]),
        (pixels[0], labels, ["a", "b"]),
        (pixels[..., :2], labels, ["a", "b"]),
        (pixels, [0, 0, 1, 2], ["a", "b"]),
        (pixels, [-1, 0, 1, 1], ["a", "b"]),
        (pixels, [0, 1], ["a", "b"]),
        (pixels, labels, ["a", "a"]),
        (pixels, labels, ["a", "b"], {"train": [0], "test": [0]}),
        (pixels, labels, ["a", "b"], {"exam": [0]}),
        (pixels, labels, ["a", "b"], {"train": [7]}),
    ):
        refuse(build_image_set, "x", *arguments)
    for options in ({"method": "anrto"}, {"device": "tpu"}, {"protocol": anrot.Protocol(way=99)}):
        refuse(anrot.train, small_set, budget=SMOKE, progress=silent, **options)
