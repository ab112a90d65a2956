"""The split of the release: what each net is tested on, that it is trained once, and that it is marked."""

from dataclasses import replace

import pytest
import torch

from anrot_lib.audit import published
from anrot_lib.core.configs import change
from anrot_lib.core.resumable import Paused
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.experiments import leaky_split
from anrot_lib.experiments.setting import Setting
from anrot_lib.fewshot import training
from anrot_lib.records import results
from anrot_lib.settings import Protocol, Recipe
from tests.helpers import silent


@pytest.fixture(scope="module")
def figures():
    return synthetic(n_classes=30, per_class=16, size=16)


@pytest.fixture
def setting(figures, small_budget, tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    budget = change(small_budget, episodes=2, clean_tasks=6, attacked_tasks=2, clean_query=3, validation_tasks=2)
    budget = change(budget, train_query=2)
    protocol = Protocol(way=3, shot=2)
    return Setting(figures, protocol, budget, torch.device("cpu"), "fp32", silent, tmp_path / "own")


def test_one_draw_leaks_nothing_and_the_test_classes_of_the_release_never_move(figures):
    names = {}
    for seed in range(5):
        own = leaky_split.draw_split(figures, seed)
        parts = [set(own.splits[split]) for split in ("train", "val", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 30
        released = leaky_split.draw_released_test(figures, seed)
        names[seed] = released.split_names["test"]
        assert set(names[seed]) == set(published.split_twice(figures.class_names, seed).test)
        assert own.sha256 == released.sha256 and own.split_hash != released.split_hash
    assert len(set(names.values())) == 1
    assert len({leaky_split.draw_split(figures, seed).split_hash for seed in range(5)}) == 5


def test_one_net_a_draw_has_two_records_and_the_second_is_marked(setting, tmp_path, monkeypatch):
    leaky_split.run_splits(setting, tmp_path / "released", Recipe(), (0, 3))
    own, released = ({r["row"]: r for r in results.read_all(tmp_path / name)} for name in ("own", "released"))
    assert own.keys() == released.keys() == {"split-0", "split-3"}
    for row, record in own.items():
        marked = released[row]
        seed = int(row.removeprefix("split-"))
        train = {*leaky_split.draw_split(setting.image_set, seed).split_names["train"]}
        test = {*leaky_split.draw_released_test(setting.image_set, seed).split_names["test"]}
        assert "seen" not in record and set(record["columns"]) == {"clean"}
        assert marked["seen"]["trained_classes"] == len(train & test) > 0
        assert marked["training"]["checkpoint"] == record["training"]["checkpoint"]
        assert marked["data"]["classes"] == {"test": len(test)}
    monkeypatch.setattr(training, "compute_episode_loss", None)
    leaky_split.run_splits(setting, tmp_path / "released", Recipe(), (0, 3))


def test_a_paused_study_goes_on(setting, tmp_path):
    asked = iter([False, True])
    paused = replace(setting, pause=lambda: next(asked, True))
    with pytest.raises(Paused):
        leaky_split.run_splits(paused, tmp_path / "released", Recipe(), (0,))
    leaky_split.run_splits(setting, tmp_path / "released", Recipe(), (0,))
    assert len(results.read_all(tmp_path / "released")) == 1
