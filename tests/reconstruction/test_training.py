"""Autoencoders: shapes, the bound, its divergences against quadrature, training, stopping, exact resume."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from anrot_lib.core import checkpoints
from anrot_lib.core.errors import UserError
from anrot_lib.core.resumable import Paused
from anrot_lib.divergences.measures import to_standard
from anrot_lib.reconstruction import autoencoders, training
from anrot_lib.reconstruction.autoencoders import Posterior, Terms, Vae, compute_terms
from anrot_lib.reconstruction.recipe import VaeRecipe
from anrot_lib.reconstruction.training import compute_rate, measure_progress, pick, train
from anrot_lib.records.describe import count_parameters
from tests.helpers import rng

RECIPE = VaeRecipe(model="small", batch=32, train_images=96, validation_images=24, epochs=4, learning_rate=3e-3)
POINTS = [(3.0, 0.0), (0.0, 2 * math.log(2)), (-1.3, -2.0), (0.4, 1.0)]


# The nets


@pytest.mark.parametrize("stride", [1, 2])
def test_a_transposed_convolution_is_pytorchs(stride):
    ours = autoencoders.TransposedConv(4, 5, 3, stride, 1, output_padding=stride - 1)
    usual = torch.nn.ConvTranspose2d(4, 5, 3, stride, 1, output_padding=stride - 1)
    usual.load_state_dict(ours.state_dict())
    x = torch.rand(2, 4, 6, 6, generator=rng())
    gradients = []
    for layer in (ours, usual):
        y = layer(x)
        gradients.append([y, *torch.autograd.grad((y * y.cos()).sum(), list(layer.parameters()))])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_the_published_architecture():
    net = Vae("published", 32)
    convolutions = [m for m in net.encoder if isinstance(m, torch.nn.Conv2d)]
    assert [(c.out_channels, c.stride) for c in convolutions] == [(w, (2, 2)) for w in (32, 64, 128, 256)]
    dense = {"encoder": 1024 * 512 + 512, "heads": 2 * (512 * 1024 + 1024), "decoder": 1024 * 2048 + 2048}
    kernels = [(3, 32), (32, 64), (64, 128), (128, 256), (32, 128), (128, 64)]
    expected = sum(dense.values()) + sum(9 * a * b + b for a, b in kernels) + 9 * 64 * 3 + 3
    assert count_parameters(net) == expected
    decoded, posterior = net(torch.rand(2, 3, 32, 32), rng())
    assert decoded.shape == (2, 3, 32, 32) and posterior.mean.shape == posterior.log_var.shape == (2, 1024)
    assert decoded.min() >= 0 and decoded.max() <= 1


@pytest.mark.parametrize(("name", "size", "channels"), [("published", 84, 3), ("small", 16, 3), ("small", 28, 1)])
def test_other_sizes(name, size, channels):
    net = Vae(name, size, channels, rng())
    assert net(torch.rand(2, channels, size, size), rng())[0].shape == (2, channels, size, size)
    with pytest.raises(UserError, match=f"takes images of {channels} x {size} x {size}"):
        net.encode(torch.rand(1, channels, size + 4, size + 4))


@pytest.mark.slow
def test_the_net_for_84_px_learns_and_goes_on_after_a_stop(tmp_path):
    from anrot_lib.data.synthetic.figures import synthetic

    images = synthetic(n_classes=20, per_class=6, size=84)
    recipe = VaeRecipe(model="published", batch=16, train_images=48, validation_images=8, epochs=3)
    whole = train(images, recipe)
    losses = [point["loss"] for point in whole.history]
    assert losses[-1] < losses[0] and len(losses) == 3
    stops = iter([False, False, False, False, False, True])
    with pytest.raises(Paused):
        train(images, recipe, tmp_path / "net.pt", pause=lambda: next(stops))
    again = train(images, recipe, tmp_path / "net.pt")
    assert [point["loss"] for point in again.history] == losses


@pytest.mark.parametrize(("name", "size", "said"), [("big", 32, "unknown autoencoder 'big'"), ("small", 30, "got 30")])
def test_what_cannot_be_built(name, size, said):
    with pytest.raises(UserError, match=said):
        Vae(name, size)


def test_the_encoder_sees_centred_pixels():
    net, seen = Vae("small", 16), []
    net.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net.encode(torch.tensor([0.45, 0.7]).view(2, 1, 1, 1).expand(-1, 3, 16, 16))
    torch.testing.assert_close(seen[0].mean((1, 2, 3)), torch.tensor([0.0, 1.0]))


def test_the_weights_come_from_the_generator_alone():
    one, two, other = (Vae("small", 16, 3, rng(s)).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["mean.weight"], other["mean.weight"])


# The bound


def test_the_sample_is_reparameterised():
    mean, log_var = torch.full((20_000, 1), 2.0, requires_grad=True), torch.full((20_000, 1), math.log(9.0))
    log_var.requires_grad_()
    sample = Posterior(mean, log_var).sample(rng())
    assert sample.mean().item() == pytest.approx(2, abs=0.08) and sample.std().item() == pytest.approx(3, rel=0.02)
    sample.square().sum().backward()
    # d/dmean E z^2 = 2 mean; d/dlog_var E z^2 = sigma^2
    assert mean.grad.mean().item() == pytest.approx(4, abs=0.15)
    assert log_var.grad.mean().item() == pytest.approx(9, rel=0.05)


def density(mean, log_var):
    return norm(mean, math.exp(log_var / 2)).pdf


def by_quadrature(name, mean, log_var):
    p, q = density(mean, log_var), norm(0, 1).pdf
    if name == "kl":
        posterior = norm(mean, math.exp(log_var / 2))
        return quad(lambda x: p(x) * (posterior.logpdf(x) - norm(0, 1).logpdf(x)), -40, 40, points=[mean, 0])[0]
    if name == "wasserstein2":  # between quantile functions
        inverse = norm(mean, math.exp(log_var / 2)).ppf
        return quad(lambda u: (inverse(u) - norm.ppf(u)) ** 2, 0, 1, limit=200)[0]
    hellinger2 = 0.5 * quad(lambda x: (p(x) ** 0.5 - q(x) ** 0.5) ** 2, -40, 40, points=[mean, 0])[0]
    return hellinger2 if name == "hellinger2" else -math.log1p(-hellinger2)


@pytest.mark.parametrize("name", ["kl", "wasserstein2", "hellinger2", "bhattacharyya"])
@pytest.mark.parametrize(("mean", "log_var"), POINTS)
def test_the_divergences_are_their_integrals(name, mean, log_var):
    posterior = Posterior(torch.tensor([[mean]], dtype=torch.float64), torch.tensor([[log_var]], dtype=torch.float64))
    found = compute_terms(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), posterior, name).divergence.item()
    assert found == pytest.approx(by_quadrature(name, mean, log_var), abs=1e-6)


def test_kl_is_that_of_torch_distributions():
    mean, log_var = torch.randn(2, 7, 5, generator=rng(), dtype=torch.float64)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, (0.5 * log_var).exp()), normal(0.0, 1.0)).sum(1)
    images = torch.rand(7, 3, 4, 4, generator=rng())
    found = compute_terms(images, images, Posterior(mean, log_var), "kl")
    torch.testing.assert_close(found.divergence, expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(found.error, torch.zeros(7))


def test_hellinger_is_summed_over_dimensions_and_does_not_saturate():
    posterior = Posterior(torch.full((1, 100), 3.0), torch.zeros(1, 100))
    images = torch.zeros(1, 3, 2, 2)
    assert compute_terms(images, images, posterior, "hellinger2").divergence.item() == pytest.approx(67.5348, abs=1e-3)


def test_the_bound_is_one_number_an_image():
    images, decoded = torch.rand(2, 6, 3, 4, 4, generator=rng()).unbind(0)
    posterior = Posterior(*torch.randn(2, 6, 5, generator=rng()).unbind(0))
    found = compute_terms(images, decoded, posterior, "wasserstein2")
    for k in range(6):
        alone = compute_terms(
            images[k : k + 1], decoded[k : k + 1], Posterior(*(p[k : k + 1] for p in posterior)), "wasserstein2"
        )
        assert alone.loss(0.3).item() == pytest.approx(found.loss(0.3)[k].item(), rel=1e-6)
    error = ((images[0] - decoded[0]) ** 2).sum().item()
    divergence = to_standard("wasserstein2", posterior.mean[0], posterior.log_var[0]).sum().item()
    assert found.loss(0.3)[0].item() == pytest.approx(error + 0.3 * divergence, rel=1e-5)


# Stopping


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        ([100.0 * 0.9**k for k in range(20)], 1 - 0.9**4),
        ([100.0 * 0.9**k for k in range(10)] + [34.5] * 4, 0),  # of 14 epochs the last three
        ([100.0], math.inf),  # nothing to compare with
        ([100.0] * 2, 0),
        ([50.0] * 10 + [60.0, 70.0, 80.0], 0),  # overfits: the best so far no longer moves
        ([100.0] * 8 + [98.0, 97.0], 0.03),
    ],
)
def test_how_far_the_bound_still_moved(losses, share):
    assert measure_progress(losses) == pytest.approx(share)


def test_training_says_how_far_it_still_moved(small_set):
    assert train(small_set, replace(RECIPE, epochs=3, learning_rate=0.0)).moved == 0
    found = train(small_set, replace(RECIPE, epochs=2))
    assert found.moved == measure_progress([point["loss"] for point in found.history]) > 0.001


def test_the_rate_falls_to_nothing_along_half_a_cosine(small_set):
    assert [compute_rate(RECIPE, p) for p in (0, 0.025, 0.5, 1)] == pytest.approx([0, 1.4977e-3, 1.5e-3, 0], abs=1e-7)
    run = training.VaeTraining(small_set, RECIPE, torch.device("cpu"), "fp32")
    seen = []
    while run.step < run.n_steps:
        run.advance()
        seen.append(run.optimizer.param_groups[0]["lr"])
    assert seen[0] < max(seen) < 3e-3 and seen[1:] == sorted(seen[1:], reverse=True) and 0 < seen[-1] < 0.1 * 3e-3


# Training


@pytest.fixture(scope="module")
def undisturbed(small_set):
    return train(small_set, RECIPE)


def weights(net):
    return net.state_dict()


def equal(one, two):
    return all(torch.equal(one[k], two[k]) for k in one)


def test_it_learns(small_set):
    found = train(small_set, replace(RECIPE, epochs=25))
    losses = [point["loss"] for point in found.history]
    assert losses[-1] < 0.8 * losses[0] and found.history[-1]["divergence"] > 1
    assert found.best_epoch == 1 + int(np.argmin(losses)) and found.images_per_second > 0


def test_the_net_is_the_best_epochs(small_set, undisturbed):
    rows = pick(small_set, "val", 24, 0)
    found = training.measure(undisturbed.net, small_set, rows, RECIPE, "cpu")
    assert found.loss(RECIPE.beta).mean().item() == pytest.approx(min(p["loss"] for p in undisturbed.history), rel=1e-6)


def test_every_divergence_sees_the_same_images_and_starts_alike(small_set, monkeypatch):
    seen = {}
    for name in ("kl", "hellinger2"):
        batches = []
        monkeypatch.setattr(
            training,
            "compute_terms",
            lambda images, *rest, b=batches: b.append(images.clone()) or compute_terms(images, *rest),
        )
        train(small_set, replace(RECIPE, divergence=name, epochs=1))
        seen[name] = batches
    monkeypatch.undo()
    assert len(seen["kl"]) == 4 and all(map(torch.equal, seen["kl"], seen["hellinger2"]))
    frozen = [
        train(small_set, replace(RECIPE, divergence=n, epochs=1, learning_rate=0.0)) for n in ("kl", "hellinger2")
    ]
    assert equal(weights(frozen[0].net), weights(frozen[1].net))


@pytest.mark.parametrize("after", [1, 3, 5])
def test_pause_and_resume_give_the_same_bits(small_set, undisturbed, tmp_path, after):
    """A pause within an epoch, and at its end, where the checkpoint of the epoch is already there."""
    steps = []
    with pytest.raises(Paused):
        train(small_set, RECIPE, tmp_path / "vae.pt", pause=lambda: steps.append(1) or len(steps) == after)
    assert checkpoints.load(tmp_path / "vae.pt")["step"] == after
    again = train(small_set, RECIPE, tmp_path / "vae.pt")
    assert equal(weights(again.net), weights(undisturbed.net))
    assert again.history == undisturbed.history and again.best_epoch == undisturbed.best_epoch


def test_a_finished_training_is_not_done_again(small_set, undisturbed, tmp_path):
    train(small_set, RECIPE, tmp_path / "vae.pt")
    before = (tmp_path / "vae.pt").read_bytes()
    again = train(small_set, RECIPE, tmp_path / "vae.pt", pause=lambda: pytest.fail("a step was made"))
    assert equal(weights(again.net), weights(undisturbed.net)) and (tmp_path / "vae.pt").read_bytes() == before


def test_a_checkpoint_of_other_settings_is_refused(small_set, tmp_path):
    train(small_set, replace(RECIPE, epochs=1), tmp_path / "vae.pt")
    with pytest.raises(UserError, match=r"another training \(different beta, epochs\)"):
        train(small_set, replace(RECIPE, beta=0.5), tmp_path / "vae.pt")


def test_a_loss_that_is_not_finite_stops_it(small_set):
    with pytest.raises(UserError, match="the training has exploded"):
        train(small_set, replace(RECIPE, learning_rate=1e30, epochs=4))


def test_subsets_of_images_are_nested_and_from_their_split(small_set):
    few, many = pick(small_set, "train", 10, 0), pick(small_set, "train", 100, 0)
    assert torch.equal(few, many[:10]) and len(many.unique()) == 100
    assert not torch.equal(many, many.sort().values) and not torch.equal(few, pick(small_set, "train", 10, 1))
    assert np.isin(small_set.labels[many], small_set.splits["train"]).all()
    with pytest.raises(UserError, match="9999 images of 'val' are asked for"):
        pick(small_set, "val", 9999, 0)


@pytest.mark.parametrize(
    ("change", "said"), [({"divergence": "js"}, "unknown divergence 'js'"), ({"beta": -1.0}, "beta must be at least 0")]
)
def test_recipes_that_make_no_sense(change, said):
    with pytest.raises(UserError, match=said):
        replace(RECIPE, **change)


def test_saved_and_loaded(undisturbed, tmp_path):
    autoencoders.save(tmp_path / "net.pt", undisturbed.net, beta=0.1)
    net, about = autoencoders.load(tmp_path / "net.pt")
    assert about == {"beta": 0.1} and not net.training and equal(weights(net), weights(undisturbed.net))
    checkpoints.save(tmp_path / "other.pt", {"net": 1})
    with pytest.raises(UserError, match="holds no autoencoder"):
        autoencoders.load(tmp_path / "other.pt")


def test_the_loss_weighs_by_beta():
    assert torch.equal(Terms(torch.ones(2), torch.full((2,), 4.0)).loss(0.5), torch.full((2,), 3.0))
