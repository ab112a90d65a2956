"""Classical pre-training: resume to the byte, a state that the episodic training starts from, the stop at NaN."""

import pytest
import torch

from anrot_lib.core import checkpoints, errors
from anrot_lib.core.configs import change
from anrot_lib.fewshot import pretraining, training
from anrot_lib.settings import Protocol, Recipe
from tests.helpers import Killed, kill_at

BASE = Recipe(method="prototypes", hesim=0.0, pretrain=True)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(pretraining, "SAVE_EVERY", 3)
    monkeypatch.setattr(pretraining, "BATCH", 16)


def test_a_killed_pretraining_ends_in_the_same_bytes(small_set, small_budget, tmp_path):
    whole, _ = pretraining.pretrain(small_set, BASE, small_budget)
    path = tmp_path / "pre.pt"
    with pytest.raises(Killed):
        pretraining.pretrain(small_set, BASE, small_budget, path, progress=kill_at(5))
    assert checkpoints.load(path)["step"] == 3
    steps = []
    resumed, _ = pretraining.pretrain(small_set, BASE, small_budget, path, progress=lambda done, _: steps.append(done))
    assert steps == [4, 5, 6, 7, 8] and equal(whole, resumed)
    again, seconds = pretraining.pretrain(small_set, BASE, small_budget, path, progress=kill_at(1))
    assert equal(whole, again) and seconds == checkpoints.load(path)["seconds"], "finished: nothing is repeated"


def test_the_state_of_other_settings_is_not_taken_up(small_set, small_budget, tmp_path):
    path = tmp_path / "pre.pt"
    pretraining.pretrain(small_set, BASE, small_budget, path)
    other = Recipe(method="prototypes", hesim=0.0, pretrain=True, seed=1)
    found, _ = pretraining.pretrain(small_set, other, small_budget, path)
    assert equal(found, pretraining.pretrain(small_set, other, small_budget)[0])


def test_it_learns_the_base_classes_and_nothing_else(small_set, small_budget, monkeypatch):
    rows, losses = set(), []
    batch = type(small_set).batch
    monkeypatch.setattr(
        type(small_set), "batch", lambda self, r, *rest: rows.update(r.tolist()) or batch(self, r, *rest)
    )
    budget = change(small_budget, pretrain_steps=40)
    pretraining.pretrain(small_set, BASE, budget, progress=lambda _, numbers: losses.append(numbers["loss"]))
    assert rows <= set(small_set.rows("train").tolist())
    assert sum(losses[-5:]) / 5 < losses[0] - 0.3
    rate = torch.log(torch.tensor(len(small_set.splits["train"]) * 1.0)).item()
    assert losses[0] == pytest.approx(rate, abs=2.0), "starts at the loss of guessing"


def test_training_starts_from_the_pretrained_encoder(small_set, small_budget):
    state, _ = pretraining.pretrain(small_set, BASE, small_budget)
    recipe, budget = Recipe(learning_rate=0.0, pretrain=True), change(small_budget, episodes=1)
    plain, started = (
        training.train(small_set, recipe, budget, Protocol(way=5, shot=1), encoder_state=s).net for s in (None, state)
    )
    names = [name for name, _ in started.backbone.named_parameters()]
    found, fresh = dict(started.backbone.named_parameters()), dict(plain.backbone.named_parameters())
    assert all(torch.equal(found[n], state[n]) for n in names)
    assert not any(torch.equal(fresh[n], state[n]) for n in names if n.endswith("0.weight"))


def test_a_loss_that_is_not_finite_stops(small_set, small_budget, tmp_path):
    path = tmp_path / "pre.pt"
    recipe = Recipe(method="prototypes", hesim=0.0, pretrain=True, learning_rate=1e30)
    with pytest.raises(
        errors.NotFinite, match=r"a weight of pre-training is 1e\+30 at step 1 of 8: the training has exploded"
    ):
        pretraining.pretrain(small_set, recipe, small_budget, path)
    assert not path.exists() or all(t.isfinite().all() for t in checkpoints.load(path)["weights"].values())
