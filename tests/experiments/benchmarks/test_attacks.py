"""What the benchmark calls the limit: so many passes of all queries. No query leaves an attack that is timed."""

import time

import pytest
import torch

from anrot_lib.experiments.benchmarks import attacks
from anrot_lib.records import results


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """The number of images of each pass of the encoder, and whether it had to give a gradient."""
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    passes, draw = [], attacks.draw_unbeaten

    def draw_watched(*arguments):
        net, episode = draw(*arguments)
        encode = net.encode
        net.encode = lambda images: passes.append((len(images), images.requires_grad)) or encode(images)
        return net, episode

    monkeypatch.setattr(attacks, "draw_unbeaten", draw_watched)
    return passes


def test_every_attack_takes_all_its_steps_on_all_queries(seen, monkeypatch):
    taken = {}

    def interleave(variants, repeats, clock):
        assert clock is time.process_time, "on a CPU"
        for name, once in variants.items():
            seen.clear()
            once(0)
            taken[name] = seen.copy()
        return {name: {"low": 1.0, "median": 2.0, "high": 3.0} for name in variants}

    monkeypatch.setattr(attacks, "interleave", interleave)
    record = results.read(attacks.time_attacks(16, 1, tasks=2, queries=1, encoder="tiny"), "timing")
    assert taken.pop("forward") == [(10, False)] and taken.pop("forward and backward") == [(10, True)]
    limits = record["settings"]["limits"]
    assert set(limits) == set(taken) == {"PGD-20", "APGD-CE-20", "APGD-DLR-20", "Square-300"}
    assert limits["APGD-DLR-20"] == ["forward and backward", 80] and limits["Square-300"] == ["forward", 300]
    for name, passes in taken.items():
        other, steps = limits[name]
        whole = [backward for n, backward in passes if n == 10]
        assert (sum(whole) if other != "forward" else len(whole)) >= steps, name
        assert sum(n for n, _ in passes) <= 10 * (1.2 * steps + 2) + 50, name


def test_a_pass_goes_down_to_the_pixels_and_leaves_the_weights_alone(seen):
    net, episode = attacks.draw_unbeaten("tiny", 16, 1, 1, torch.device("cpu"))
    before = [p.requires_grad for p in net.parameters()]
    attacks.run_passes(net, episode.query.flatten(0, 1), backward=True)
    assert seen == [(5, True)]
    assert all(p.grad is None for p in net.parameters()) and [p.requires_grad for p in net.parameters()] == before
