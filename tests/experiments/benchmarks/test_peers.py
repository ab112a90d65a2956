"""This kit beside its peers: each does the same work, and the limits are those of the encoder."""

import pytest
import torch
from torch import nn

from anrot_lib.core import randomness
from anrot_lib.experiments.benchmarks import limits, peers
from anrot_lib.fewshot import encoders
from anrot_lib.records import results
from anrot_lib.reports import speed


def read(path):
    record = results.read(path, "timing")
    assert all(0 < s["low"] <= s["median"] <= s["high"] for s in record["seconds"].values())
    return record, speed.make_table(record)


@pytest.mark.slow
def test_steps_episodes_and_attacks_are_timed_beside_their_limits(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    step, (headings, _) = read(peers.time_steps(size=16, repeats=1))
    assert {"easyfsl, its resnet12, fp32", "easyfsl, this encoder, fp32", "ANROT, bf16"} < set(step["seconds"])
    assert "times its limit" in headings and step["settings"]["peers"]["easyfsl"]
    episodes, _ = read(peers.time_episodes(size=16, per_class=25, episodes=100, repeats=1, timed=50))
    assert episodes["settings"]["episodes timed"] == {"easyfsl on images": 2, "easyfsl on cached features": 50}
    attacks, _ = read(peers.time_attacks(size=16, episodes=2, queries=1, repeats=1))
    assert "this kit" in attacks["seconds"] and "20 passes of 10 queries" in attacks["seconds"]


def test_reading_and_imports_are_timed(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    reading, _ = read(peers.time_reading(size=16, images=100, repeats=1))
    assert set(reading["seconds"]) == {"torchvision's ImageFolder", "this kit, packed"}
    imports, _ = read(peers.time_imports(repeats=1))
    assert imports["seconds"]["nothing"]["median"] < imports["seconds"]["torch"]["median"]


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.BatchNorm2d])
def test_a_limit_counts_every_layer_of_a_kind_once_forward_and_backward(kind):
    calls = []
    encoder = encoders.build("tiny", generator=randomness.make_generator(0, "init")).eval()
    layers = [module for module in encoder.modules() if isinstance(module, kind)]
    once = limits.prepare_layers(encoder, 3, 16, "fp32", kind)
    hooks = [layer.register_forward_hook(lambda m, x, y: calls.append((m, x[0]))) for layer in layers]
    once(0)
    assert [module for module, _ in calls] == layers and {len(x) for _, x in calls} == {3} and len(hooks)
    assert all(layer.weight.grad is not None and torch.isfinite(layer.weight.grad).all() for layer in layers)
    assert all(layer.training for layer in layers), "a batch norm of a training step reads its batch"
    assert [x.grad is None for _, x in calls] == [x.shape[1] == 3 for _, x in calls], "images need no gradient"
