import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.attacks.transfer import (
    Quality,
    Surrogate,
    measure_surrogate,
    split_base,
    train_on_base,
    train_surrogate,
    transfer,
)
from anrot_lib.core.errors import UserError
from anrot_lib.core.randomness import make_generator
from tests.helpers import Killed

EPS = 0.1


@pytest.fixture(scope="module")
def data():
    """Six noisy patterns, 30 images each, with class numbers that are not consecutive."""
    g = make_generator(0, "patterns")
    patterns = nn.functional.interpolate(torch.rand(6, 3, 4, 4, generator=g), scale_factor=4) * 0.25 + 0.375
    labels = torch.arange(180) % 6
    images = patterns[labels] + 0.08 * torch.randn(180, 3, 16, 16, generator=g)
    return images.clamp(0, 1), labels * 10 + 3


@pytest.fixture(scope="module")
def surrogates(data):
    images, labels = data
    return {
        loss: train_surrogate(images, labels, make_generator(0, "surrogate"), loss, epochs=8, batch_size=20)
        for loss in ("mse", "cross_entropy")
    }


@pytest.fixture(scope="module")
def victim(data):
    """Another net for the same task, from other initial weights and batches."""
    return train_surrogate(*data, make_generator(9, "victim"), "cross_entropy", epochs=8, batch_size=20)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_a_surrogate_learns_its_classes(data, surrogates, loss):
    images, labels = data
    assert (surrogates[loss](images).argmax(1) == (labels - 3) // 10).float().mean() > 0.9
    assert not surrogates[loss].training


def test_same_generator_same_weights_and_uint8_or_a_provider_will_do(data):
    images, labels = data
    pixels = (images * 255).round().byte()
    options = {"epochs": 1, "batch_size": 60}
    states = []
    for provider in (pixels, pixels.float() / 255, lambda rows: pixels[rows].float() / 255):
        before = torch.get_rng_state()
        net = train_surrogate(provider, labels.numpy(), make_generator(3, "surrogate"), **options)
        assert torch.equal(before, torch.get_rng_state())
        states.append(net.state_dict())
    other = train_surrogate(pixels, labels, make_generator(4, "surrogate"), **options).state_dict()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])
        assert torch.equal(value, states[2][name])
    assert not torch.equal(states[0]["layers.0.weight"], other["layers.0.weight"])


def test_a_killed_training_goes_on_with_the_next_epoch_to_the_same_weights(data):
    images, labels = data
    whole, kept, seen = [], [], []
    options = {"epochs": 3, "batch_size": 60}
    straight = train_surrogate(images, labels, make_generator(3, "s"), **options, progress=whole.append)
    assert whole == list(range(0, 3 * len(labels) + 1, 60))

    def keep(state):
        kept.append(copy.deepcopy(state))
        if len(kept) == 2:
            raise Killed

    with pytest.raises(Killed):
        train_surrogate(images, labels, make_generator(3, "s"), **options, keep=keep)
    other = make_generator(8, "another state, which the kept one replaces")
    again = train_surrogate(images, labels, other, **options, state=kept[-1], progress=seen.append)
    assert seen[0] == 2 * len(labels) and seen[-1] == 3 * len(labels)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_it_learns_in_bf16_too_and_keeps_float32_weights(data):
    images, labels = data
    net = train_surrogate(images, labels, make_generator(0, "s"), epochs=8, batch_size=20, precision="bf16")
    assert (net(images).argmax(1) == (labels - 3) // 10).float().mean() > 0.9
    assert {tensor.dtype for tensor in net.state_dict().values()} == {torch.float32}


def test_it_is_trained_on_base_classes_only(small_set):
    seen = []

    class Watched:
        labels, name = small_set.labels, small_set.name
        rows = small_set.rows

        def batch(self, rows):
            seen.extend(rows.tolist())
            return small_set.batch(rows)

    net = train_on_base(Watched(), make_generator(0, "surrogate"), epochs=1)
    rows, held_out = (set(part.tolist()) for part in split_base(small_set))
    assert set(seen) == rows and rows | held_out == set(small_set.rows("train").tolist()) and not rows & held_out
    for label in np.unique(small_set.labels[list(rows)]):
        of_class = np.flatnonzero(small_set.labels == label)
        assert len(held_out & set(of_class.tolist())) == max(1, len(of_class) // 10)
    assert net.layers[-1].out_features == len(small_set.splits["train"])
    bare = dataclasses.replace(small_set, splits={"train": (), "val": (), "test": ()})
    with pytest.raises(UserError, match="training classes"):
        train_on_base(bare, make_generator(0, "surrogate"))


def test_a_surrogate_is_measured_on_the_images_it_was_not_trained_on(small_set):
    rows, held_out = split_base(small_set)
    classes = np.unique(small_set.labels[rows])

    class Knows(nn.Module):
        """Says what it is told for each batch in turn."""

        def __init__(self, answers):
            super().__init__()
            self.answers, self.place = answers, nn.Parameter(torch.zeros(1))

        def forward(self, images):
            said, self.answers = self.answers[: len(images)], self.answers[len(images) :]
            return nn.functional.one_hot(torch.as_tensor(said), len(classes)).float()

    right = np.searchsorted(classes, small_set.labels[held_out])
    some = np.where(np.arange(len(right)) % 2, right, (right + 1) % len(classes))
    assert measure_surrogate(Knows(right), small_set, 7) == Quality(1.0, len(held_out), len(classes))
    assert measure_surrogate(Knows(some), small_set, 7).accuracy == pytest.approx(len(right) // 2 / len(right))


@pytest.mark.parametrize(("accuracy", "useful"), [(0.05, False), (0.109, False), (0.15, True), (0.9, True)])
def test_a_surrogate_near_chance_is_of_no_use(accuracy, useful):
    quality = Quality(accuracy, 240, 20)
    assert quality.is_useful == useful
    words = f"names {100 * accuracy:.1f} % of 240 held-out images of its own 20 classes right, chance 5.0 %"
    assert str(quality) == words


def check_transfer(attack, victim, images, labels):
    """A transferred attack stays in its ball and hurts a net it never asked, more than random signs do."""
    points = attack(images)
    assert (points - images).abs().max() <= EPS + 1e-7
    assert points.min() >= 0
    assert points.max() <= 1
    signs = torch.randn(images.shape, generator=make_generator(1, "signs")).sign()
    with torch.no_grad():
        loss = [
            nn.functional.cross_entropy(victim(x), labels).item()
            for x in (images, (images + EPS * signs).clamp(0, 1), points)
        ]
    assert loss[2] > 1.5 * max(loss[:2]), "the attack does not transfer"


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("threat", [fgsm(EPS, "query"), pgd(EPS, 5, EPS / 3, 1, "query")])
def test_the_attack_transfers_to_another_net_and_a_no_op_does_not_pass(data, surrogates, victim, loss, threat):
    images, targets = data[0], (data[1] - 3) // 10
    g = make_generator(0, "attack")
    check_transfer(lambda x: transfer(surrogates[loss], x, threat, g, loss=loss), victim, images, targets)
    with pytest.raises(AssertionError, match="does not transfer"):
        check_transfer(lambda x: x, victim, images, targets)


def test_the_label_is_the_surrogates_own_prediction(data, surrogates):
    images = data[0][:10]
    net = surrogates["cross_entropy"]
    leaf = images.clone().requires_grad_()
    logits = net(leaf)
    nn.functional.cross_entropy(logits, logits.argmax(1), reduction="sum").backward()
    expected = (images + EPS * leaf.grad.sign()).clamp(0, 1)
    found = transfer(net, images, fgsm(EPS, "query"), loss="cross_entropy", max_images=4)
    assert ((found - expected).abs() > 1e-6).float().mean() < 1e-3
    nested = transfer(net, images.view(2, 5, 3, 16, 16), fgsm(EPS, "query"), loss="cross_entropy")
    assert ((nested.view_as(images) - found).abs() > 1e-6).float().mean() < 1e-3
    assert all(p.grad is None or p.requires_grad for p in net.parameters())


def test_mistakes_are_named(data):
    images, labels = data
    with pytest.raises(UserError, match="loss"):
        train_surrogate(images, labels, make_generator(0, "s"), loss="hinge")
    with pytest.raises(UserError, match="2 classes"):
        train_surrogate(images, torch.zeros(180), make_generator(0, "s"))
    with pytest.raises(FloatingPointError, match="learning rate"):
        train_surrogate(images, labels, make_generator(0, "s"), "cross_entropy", epochs=20, learning_rate=1e30)


def test_any_image_size_has_the_same_parameters():
    net = Surrogate(4, 1, make_generator(0, "s"))
    assert net(torch.rand(2, 1, 32, 32)).shape == net(torch.rand(2, 1, 84, 84)).shape == (2, 4)
