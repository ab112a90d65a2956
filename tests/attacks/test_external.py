import functools
import importlib.util
import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from anrot_lib.attacks import external
from anrot_lib.attacks.external import run_external_attack, wrap_art_classifier
from anrot_lib.attacks.gradient import attack, fgsm, pgd
from anrot_lib.core.errors import UserError
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot.classifier import create_net


@pytest.fixture
def net():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3)).train()


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch, net):
    monkeypatch.setitem(sys.modules, "art.estimators.classification", None)
    with pytest.raises(UserError, match="pip install adversarial-robustness-toolbox"):
        wrap_art_classifier(net, torch.rand(2, 1, 6, 6))


def test_any_attack_of_the_library_stays_in_our_threat_model(net):
    pytest.importorskip("art", reason="adversarial-robustness-toolbox is not installed")
    from art.attacks.evasion import ProjectedGradientDescent

    x, labels = torch.rand(5, 1, 6, 6), torch.tensor([0, 1, 2, 0, 1])
    before = {k: v.clone() for k, v in net.state_dict().items()}
    threat = pgd(0.05, 5, 0.02, 1, "query")
    points = run_external_attack(
        lambda c: ProjectedGradientDescent(c, eps=0.2, eps_step=0.05, max_iter=5, verbose=False), net, x, labels, threat
    )
    assert points.dtype == x.dtype
    assert 0 < (points - x).abs().max() <= 0.05 + 1e-7
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    loss = nn.CrossEntropyLoss()
    net.eval()
    assert loss(net(points), labels) > loss(net(x), labels)


@pytest.mark.parametrize("method", ["anrot", "mml", "easyfsl:PrototypicalNetworks"])
@pytest.mark.parametrize("steps", [1, 5])
def test_the_library_attacks_a_bound_net_in_several_steps_and_batches_as_we_do(method, steps, small_set):
    """Its FGSM and PGD from the clean image, in batches of 4, end in the points of ours, in one batch."""
    pytest.importorskip("art", reason="adversarial-robustness-toolbox is not installed")
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent

    net = create_net("tiny", method).eval()
    rows = EpisodeManifest.make(small_set, "test", 5, 2, 2, 1, seed=0).rows
    episode = rows.to_episode(small_set)
    bound = net.bind(episode.support[0].flatten(0, 1), episode.support_labels[0])
    images, labels = episode.query[0], episode.labels[0]
    if steps == 1:
        threat = fgsm(8 / 255, "query")
        make = functools.partial(FastGradientMethod, eps=8 / 255, batch_size=4)
    else:
        threat = pgd(8 / 255, steps, 2 / 255, 1, "query", random_start=False)
        make = functools.partial(
            ProjectedGradientDescent, eps=8 / 255, eps_step=2 / 255, max_iter=steps, batch_size=4, verbose=False
        )
    theirs = run_external_attack(make, bound, images, labels, threat)
    ours = attack(bound, images, labels, threat, keep="last").images
    same = (theirs - ours).abs() < 1e-5  # but for pixels whose gradient is 0 up to rounding
    assert same.float().mean() > 0.99 and (ours - images).abs().max() > 7.9 / 255


# adv-lib


def test_adv_lib_is_named_with_the_command_that_installs_it(monkeypatch, net):
    monkeypatch.setitem(sys.modules, "adv_lib.attacks", None)
    with pytest.raises(UserError, match="pip install --no-deps adv-lib"):
        external.run_adv_lib_attack(
            "apgd", net, torch.rand(2, 1, 6, 6), torch.tensor([0, 1]), pgd(0.1, 1, 0.1, 1, "query")
        )


def test_adv_lib_is_loaded_without_the_server_that_draws_its_plots(monkeypatch):
    pytest.importorskip("adv_lib", reason="adv-lib is not installed")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("adv_lib", "visdom")]:
        monkeypatch.delitem(sys.modules, name)
    had = importlib.util.find_spec("visdom") is not None
    assert callable(external.load_adv_lib().apgd_targeted)
    assert ("visdom" in sys.modules) == had, "the module that stood in for it is gone"


def test_an_attack_of_adv_lib_stays_in_our_threat_model(net):
    pytest.importorskip("adv_lib", reason="adv-lib is not installed")
    x, labels = torch.rand(5, 1, 6, 6), torch.tensor([0, 1, 2, 0, 1])
    before = {k: v.clone() for k, v in net.state_dict().items()}
    threat = pgd(0.05, 5, 0.02, 1, "query")
    options = {"eps": 0.2, "norm": float("inf"), "n_iter": 5, "loss_function": "ce", "best_loss": True}
    points = external.run_adv_lib_attack("apgd", net, x, labels, threat, **options)
    assert points.dtype == x.dtype and not points.requires_grad
    assert 0 < (points - x).abs().max() <= 0.05 + 1e-7
    assert net.training and all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_forked_generators_repeat_inside_and_are_put_back():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    with external.fork_generators(3):
        first = draw()
    with pytest.raises(KeyError), external.fork_generators(3):
        assert draw() == first
        raise KeyError
    with external.fork_generators(4):
        assert all(a != b for a, b in zip(draw(), first, strict=True))
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[2])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
