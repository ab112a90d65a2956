"""An encoder of the kit that learns by hardness manipulation before a few-shot head is put on it."""

from dataclasses import replace

import pytest
import torch

from anrot_lib.core import checkpoints
from anrot_lib.core.configs import change
from anrot_lib.core.errors import UserError
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot import evaluation, pretraining
from anrot_lib.fewshot import first_stage as few_shot
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.encoders import Encoder
from anrot_lib.fewshot.methods import get_method
from anrot_lib.ranking.training.destinations import Constant
from anrot_lib.ranking.training.first_stage import HardnessTraining, choose_training, make_ranking_recipe
from anrot_lib.settings import Protocol
from tests.helpers import Killed, kill_at, rng, same

HARDNESS = replace(get_method("defence-hardness").recipe, attack_steps=2)
PROTOCOL = Protocol(way=5, shot=1)


def build(small_set, budget, recipe=HARDNESS):
    return HardnessTraining(small_set, recipe, budget, torch.device("cpu"), "fp32")


def pretrain_encoder(image_set, recipe, *how, **options):
    return few_shot.pretrain_encoder(image_set, recipe, *how, kind=choose_training(recipe), **options)


def test_triplets_of_a_whole_batch_are_not_cut_into_groups(small_set, small_budget):
    budget = change(small_budget, groups=2, episodes_per_step=2)
    with pytest.raises(UserError, match="of a whole batch, not of --groups 2"):
        pretrain_encoder(small_set, HARDNESS, budget, PROTOCOL)


def test_a_killed_stage_ends_in_the_same_bytes(small_set, small_budget, tmp_path, monkeypatch):
    """The gradual destination follows the loss of the step before, so it must be in the checkpoint, too."""
    monkeypatch.setattr(pretraining, "SAVE_EVERY", 3)
    whole = pretrain_encoder(small_set, HARDNESS, small_budget, PROTOCOL)
    path = tmp_path / "stage.pt"
    with pytest.raises(Killed):
        pretrain_encoder(small_set, HARDNESS, small_budget, PROTOCOL, path, progress=kill_at(5))
    state = checkpoints.load(path)
    assert state["step"] == 3 and state["defense"]["destination.last_loss"] < 2
    again = pretrain_encoder(small_set, HARDNESS, small_budget, PROTOCOL, path)
    assert same(whole.encoder, again.encoder) and again.steps == 8


def test_pairs_are_of_one_class_each_and_of_the_training_classes(small_set, small_budget, monkeypatch):
    seen, batch = set(), type(small_set).batch
    monkeypatch.setattr(
        type(small_set), "batch", lambda self, rows, *rest: seen.update(rows.tolist()) or batch(self, rows, *rest)
    )
    training = build(small_set, small_budget)
    for training.step in range(8):
        images, labels = training.draw_batch()
        assert images.shape == (16, 3, 16, 16) and torch.equal(labels[0::2], labels[1::2])
        assert len(labels.unique()) > 1
    assert seen <= set(small_set.rows("train").tolist())


def test_triplets_become_harder_within_the_ball_and_their_loss_trains(small_set, small_budget, monkeypatch):
    training = build(small_set, small_budget, replace(HARDNESS, eps=0.03, attack_steps=4))
    training.defense.destination = Constant(2.0)
    (clean, _), passes = training.draw_batch(), []
    forward = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, x: passes.append(x.detach()) or forward(self, x))
    loss = training.compute_loss()
    moved = passes[-1]
    assert torch.equal(passes[0], clean) and len(moved) == 24, "eight triplets of eight pairs"
    nearest = torch.stack([(clean - one).abs().flatten(1).amax(1).amin() for one in moved])
    assert 0.01 < nearest.max() <= 0.03 + 1e-6
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in training.encoder.parameters())
    training.defense.destination = Constant(-2.0)  # every triplet is that hard already
    assert training.compute_loss() < loss


def test_the_cost_is_that_of_passes_counted(small_set, small_budget, monkeypatch):
    """A forward pass counts 1, one that is followed back to the pixels 2, one that trains 3."""
    training = build(small_set, small_budget)
    training.defense.destination = Constant(2.0)  # out of reach: no triplet leaves the attack
    forward, counted = Encoder.forward, []

    def count(self, x):
        trains = next(self.parameters()).requires_grad
        counted.append(len(x) * (1 if not torch.is_grad_enabled() else 3 if trains else 2))
        return forward(self, x)

    monkeypatch.setattr(Encoder, "forward", count)
    training.compute_loss()
    assert sum(counted) == 16 * pretraining.count_passes(HARDNESS) == 16 * (1 + 1.5 * (2 * 2 + 3))


def test_the_encoder_learns_to_tell_unseen_classes_apart(small_set, small_budget):
    net = create_net(small_budget.encoder, "cosine", 3, None, rng()).eval()
    rows = EpisodeManifest.make(small_set, "test", 5, 1, 4, 20, 0).rows
    before = evaluation.count_clean(net, small_set, rows, "cpu").mean()
    budget = change(small_budget, pretrain_steps=60, pretrain_batch=32)
    net.backbone.load_state_dict(pretrain_encoder(small_set, HARDNESS, budget, PROTOCOL).encoder)
    after = evaluation.count_clean(net.eval(), small_set, rows, "cpu").mean()
    assert after > before + 2, f"of 20 queries: {before}, {after}"


def test_the_attack_is_that_of_the_recipe():
    ranking = make_ranking_recipe(replace(HARDNESS, eps=0.2, attack_steps=7, seed=3))
    assert (ranking.eps, ranking.eta, ranking.seed) == (0.2, 7, 3) and ranking.step == pytest.approx(2.5 * 0.2 / 7)
    assert ranking.title == "HM[S,LGA]"
    for name, message in (
        ("prototypes", "names no ranking model"),
        ("ranking:p:ptripletN", "manipulates no hardness"),
        ("ranking:ghmetsm:ttripletN", "needs batches of two images a class"),
        ("ranking:ghmetsm", "is not dataset:model:loss"),
    ):
        with pytest.raises(UserError, match=message):
            make_ranking_recipe(replace(HARDNESS, pretrain_as=name))


def test_no_other_stage_is_taken_for_it(small_set, small_budget):
    stages = {few_shot.make_stage_key(get_method(name).recipe) for name in ("clean-classes", "robust-classes")}
    assert few_shot.make_stage_key(HARDNESS) not in stages
    other = replace(HARDNESS, pretrain_as="ranking:ghmetsmi:ptripletN")
    assert few_shot.make_stage_key(HARDNESS) != few_shot.make_stage_key(other)
    with pytest.raises(UserError, match="trains a ranking model, not a classifier"):
        few_shot.pretrain_encoder(small_set, HARDNESS, small_budget, PROTOCOL)
    classes = get_method("clean-classes").recipe
    expected = few_shot.pretrain_encoder(small_set, classes, small_budget, PROTOCOL).encoder
    assert same(pretrain_encoder(small_set, classes, small_budget, PROTOCOL).encoder, expected)
