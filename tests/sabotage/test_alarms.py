"""What is said of a net at chance, of 0 of n, of a training that explodes; what killed runs left is swept away."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import CrossBatchMemory, SelfSupervisedLoss

from anrot_lib.core import paths
from anrot_lib.core.errors import NotFinite
from anrot_lib.core.statistics import describe_bound
from anrot_lib.experiments import ranking
from anrot_lib.fewshot.hesim import Hesim
from anrot_lib.fewshot.training import train
from anrot_lib.fewshot.validation import describe_chance
from anrot_lib.settings import Protocol, Recipe


def test_a_net_at_chance_is_said_to_be_and_one_above_is_not():
    rng = np.random.default_rng(0)
    assert describe_chance(rng.normal(0.2, 0.05, 50), 5).startswith("the net is not above chance")
    assert describe_chance(rng.normal(0.5, 0.05, 50), 5) is None
    assert "on 50 episodes of test classes, where" in describe_chance(rng.normal(0.2, 0.05, 50), 5, "test classes")


@pytest.mark.parametrize(("part_of_chance", "said"), [(0.0, True), (1.0, True), (1.1, False)])
def test_a_ranking_net_at_chance_is_said_to_be(part_of_chance, said):
    labels = torch.tensor([0, 0, 0, 1, 1, 2])  # the last has no other of its class, and is no query
    chance = 100 * (3 * 2 / 5 + 2 * 1 / 5) / 5
    text = ranking.describe_chance(part_of_chance * chance, labels)
    assert bool(text) == said and (not said or f"guessing has {chance:.1f}" in text)


def test_a_learning_rate_of_a_thousand_stops_or_alarms(small_set, small_budget):
    recipe = Recipe(learning_rate=1000.0, schedule="constant")
    with pytest.raises(NotFinite, match="the training has exploded"):
        train(small_set, recipe, replace(small_budget, episodes=40), Protocol())


@pytest.mark.parametrize(("hits", "n", "text"), [(0, 500, "< 0.6"), (1000, 1000, "> 99.7"), (5, 10, None)])
def test_0_and_n_of_n_are_bounds(hits, n, text):
    assert describe_bound(hits, n) == text
    if hits == 0:
        assert (1 - float(text[2:]) / 100) ** n <= 0.05


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path):
    dead, fresh, other = (tmp_path / name for name in (".a.json.abcd1234.tmp", ".a.json.efgh5678.tmp", "notes.tmp"))
    for path in (dead, fresh, other):
        path.write_text("half")
    os.utime(dead, (1, 1))
    with paths.write_atomically(tmp_path / "b.json") as living:
        os.utime(living, (1, 1))
        paths.write_json(tmp_path / "c.json", {})
        assert living.exists() and fresh.exists() and other.exists() and not dead.exists()
    assert (tmp_path / "b.json").exists()


def test_hesim_works_under_the_wrappers_of_its_library_by_the_name_of_its_kind():
    class NTXentLoss(Hesim):
        pass

    rows = torch.rand(8, 6, generator=torch.Generator().manual_seed(0)) + 0.1
    assert CrossBatchMemory(NTXentLoss(), 6, memory_size=16)(rows, torch.arange(8) % 4).isfinite()
    assert SelfSupervisedLoss(NTXentLoss())(rows, rows + 0.05).isfinite()
