"""What the benchmark calls the limit: as many passes as it says, of as many images, down to where it says."""

import pytest
import torch

from anrot_lib.experiments.benchmarks import ranking
from anrot_lib.ranking import embedders


@pytest.mark.parametrize("train", [True, False])
def test_a_pass_goes_down_to_the_weights_or_to_the_pixels(train):
    net, seen = embedders.build("rc2f2", generator=torch.Generator()), []
    net.register_forward_pre_hook(lambda module, inputs: seen.append((module.training, inputs[0].requires_grad)))
    ranking.run_passes(net, torch.rand(4, 1, 28, 28), 3, train)
    assert seen == [(train, not train)] * 3
    assert all((p.grad is not None) == train and p.requires_grad for p in net.parameters())


def test_the_limit_of_a_step_is_eta_passes_and_one(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    monkeypatch.setattr(ranking, "STEPS", {"undefended": ranking.STEPS["undefended"]})
    calls = []
    monkeypatch.setattr(
        ranking, "run_passes", lambda net, x, times, train, precision: calls.append((len(x), times, train))
    )
    ranking.time_training_steps(repeats=1, eta=2, images=400)
    assert calls == 2 * [(384, 2, False), (384, 1, True)]  # a round that is not measured, and one that is
