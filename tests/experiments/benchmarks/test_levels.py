"""Memory and time of one 5-way 5-shot 15-query episode, against the dense way."""

import json
import time
from pathlib import Path

import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.experiments.benchmarks import levels
from anrot_lib.records import timing
from anrot_lib.reports import speed

LIMIT = 400  # MiB above the features, forward and backward

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")


@pytest.mark.slow
@linux
@pytest.mark.parametrize("size", levels.SIZES)
@pytest.mark.parametrize("level", ["pixel", "part", "pixel+part+kl-reverse", "pixel+part+wasserstein2"])
def test_peak_memory(level, size):
    peak = levels.measure_peak_memory(level, size)
    assert 0 < peak < LIMIT


@pytest.mark.slow
@linux
def test_the_measurement_sees_the_matrix_of_the_dense_way():
    """75 x 441 x 5 x 441 products in one-shot episodes are 278 MiB; the blocks are not."""
    size = "conv64f 64x21x21"
    assert levels.measure_peak_memory("pixel", size, dense=True, shot=1) > 278
    assert levels.measure_peak_memory("pixel", size, shot=1) < 100


def test_both_ways_give_the_same_gradients():
    for level in levels.VIEWS:
        gradients = []
        for dense in (False, True):
            support, labels, query = levels.draw_features(32, 4, shot=2)  # wide enough for no two cosines to be equal
            levels.step(level, dense, support, labels, query)
            gradients.append((support.grad, query.grad))
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    with pytest.raises(UserError, match="pixel and part"):
        levels.step("kl", True, *levels.draw_features(6, 4))


@linux
def test_the_record_says_what_was_measured(monkeypatch):
    monkeypatch.setattr(levels, "SIZES", {"small 6x4x4": (6, 4)})
    monkeypatch.setattr(levels, "measure_peak_memory", lambda level, size, dense: 1.0)
    (path,) = levels.measure(repeats=1, levels=("pixel", "pixel+kl"))
    record = json.loads(path.read_text())
    assert set(record["seconds"]) == {
        "pixel, by blocks",
        "pixel, dense",
        "pixel, products alone",
        "pixel+kl, by blocks",
    }
    ways = {"pixel, by blocks", "pixel, dense", "pixel+kl, by blocks"}
    assert record["settings"][timing.PEAK].keys() == ways
    rows = {row[0]: row for row in speed.make_table(record)[1]}
    dense, ours = (record["seconds"][f"pixel, {way}"]["median"] for way in ("dense", "by blocks"))
    assert rows["pixel, by blocks"][3] == f"{dense / ours:.2f}" and rows["pixel+kl, by blocks"][3] == "-"
    assert rows["pixel, products alone"][4] == "-"


def test_the_first_round_is_not_measured():
    seconds = timing.interleave({"slow at first": lambda repeat: time.sleep(0.2 * (repeat == 0))}, repeats=1)
    assert seconds["slow at first"]["high"] < 0.1
