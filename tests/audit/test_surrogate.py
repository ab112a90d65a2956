"""The published surrogate and its step do what the released code does; numbers are from a run of it in Keras."""

import pytest
import torch
from torch.nn import functional as F

from anrot_lib.attacks.gradient import fgsm
from anrot_lib.attacks.transfer import transfer
from anrot_lib.audit.surrogate import PublishedSurrogate, published_step, train_published_surrogate
from tests.helpers import rng


def filled(size):
    """A net with 3 classes whose weights and statistics are a sine, in eval mode."""
    net = PublishedSurrogate(3, size, 3, rng())
    with torch.no_grad():
        for k, values in enumerate(net.state_dict().values()):
            places = torch.arange(values.numel(), dtype=torch.float64)
            if values.is_floating_point():
                values.copy_(0.3 * torch.sin(0.7 * places + k).view(values.shape))
        for norm in (net.norm1, net.norm2, net.norm3):
            norm.running_var.abs_().add_(0.5)
    return net.eval()


def waves(size):
    places = torch.arange(2 * 3 * size * size, dtype=torch.float64)
    return (0.5 + 0.5 * torch.sin(0.37 * places)).float().view(2, 3, size, size)


RELEASED = {
    8: [[0.98362583, 0.01636651, 7.66604e-06], [0.98365188, 0.01634050, 7.63705e-06]],
    7: [[0.98359805, 0.01639420, 7.70416e-06], [0.98362064, 0.01637175, 7.67583e-06]],
}


@pytest.mark.parametrize("size", RELEASED)
def test_probabilities_are_those_of_the_release(size):
    """An even side is padded behind the image only, an odd one on both sides."""
    found = filled(size)(waves(size)).softmax(1)
    torch.testing.assert_close(found, torch.tensor(RELEASED[size]), atol=2e-7, rtol=2e-5)


def test_the_step_is_that_of_the_release_and_leaves_the_range_of_pixels():
    images, labels = waves(8), torch.tensor([0, 2])
    points = published_step(filled(8), images, labels, eps=0.3)
    torch.testing.assert_close((points - images).abs(), torch.full_like(images, 0.3))
    raised = (points > images).sum((1, 2, 3))
    assert (raised - torch.tensor([101, 106])).abs().max() <= 2  # of 192; the smallest gradients are near rounding
    assert (points > images)[0, 0, 0].tolist() == [False, False, True, True, True, True, False, False]
    assert ((points < 0) | (points > 1)).float().mean().item() == pytest.approx(0.359, abs=0.01)


def test_its_size_is_that_of_the_release():
    net = PublishedSurrogate(60, 84, 3, rng())
    assert sum(p.numel() for p in net.parameters()) == 3_640_380
    assert not any(isinstance(m, (torch.nn.MaxPool2d, torch.nn.AvgPool2d)) for m in net.modules())


@pytest.fixture(scope="module")
def patterns():
    """Four noisy patterns, 40 images each, and their classes."""
    coarse = F.interpolate(torch.rand(4, 3, 4, 4, generator=rng()), scale_factor=4) * 0.25 + 0.375
    labels = torch.arange(160) % 4
    return (coarse[labels] + 0.08 * torch.randn(160, 3, 16, 16, generator=rng(1))).clamp(0, 1), labels


@pytest.fixture(scope="module")
def trained(patterns):
    return train_published_surrogate(*patterns, rng(3))


def test_it_learns_its_classes(patterns, trained):
    images, labels = patterns
    assert (trained(images).argmax(1) == labels).float().mean() > 0.9 and not trained.training


def test_the_same_generator_gives_the_same_weights(patterns):
    seen, before = [], torch.get_rng_state()
    nets = [train_published_surrogate(*patterns, rng(3), epochs=2, progress=seen.append) for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    assert seen == [64, 128, 160, 224, 288, 320] * 2
    for one, other in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_dropout_halves_the_features_in_training_only(patterns):
    net = PublishedSurrogate(4, 16, 3, rng())
    first, second = net(patterns[0][:8]), net(patterns[0][:8])
    assert not torch.equal(first, second)
    inputs = []
    handle = net.dense2.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    net(patterns[0])
    handle.remove()
    assert (inputs[0] == 0).double().mean().item() == pytest.approx(0.5, abs=0.03), "of some 20,000 features"
    net.eval()
    assert torch.equal(net(patterns[0][:8]), net(patterns[0][:8]))


def test_the_true_label_makes_another_step_than_the_surrogates_own_word(patterns, trained):
    """Where the net is right both agree; where it is wrong the published step leads *towards* its wrong class."""
    images, net = patterns[0], trained
    own = net(images).argmax(1)
    ours = transfer(net, images, fgsm(0.2, "query"))
    right = published_step(net, images, own, 0.2).clamp(0, 1)
    assert ((ours - right).abs() > 1e-6).float().mean() < 1e-3
    wrong = published_step(net, images, (own + 1) % 4, 0.2).clamp(0, 1)
    assert ((ours - wrong).abs() > 1e-6).float().mean() > 0.3


def test_its_running_statistics_move_by_a_hundredth():
    net = PublishedSurrogate(5, 16, 3, rng())
    assert {net.norm1.momentum, net.norm2.momentum, net.norm3.momentum} == {0.01}
