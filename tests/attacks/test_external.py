import sys

import pytest
import torch
from torch import nn

from anrot_lib.attacks.external import run_external_attack, wrap_art_classifier
from anrot_lib.attacks.gradient import pgd
from anrot_lib.core.errors import UserError


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
