"""Classical pre-training: resume to the byte, a state that the episodic training starts from, the stop at NaN."""

from dataclasses import replace

import pytest
import torch

from anrot_lib.core import checkpoints, errors
from anrot_lib.core.configs import change
from anrot_lib.core.resumable import run_resumable
from anrot_lib.fewshot import pretraining, training
from anrot_lib.fewshot.first_stage import choose_stage, make_stage_key, pretrain_encoder
from anrot_lib.fewshot.methods import get_method
from anrot_lib.fewshot.recipes import ABLATION, WHOLE
from anrot_lib.settings import Protocol, Recipe
from tests.helpers import Killed, kill_at

BASE = Recipe(method="prototypes", hesim=0.0, pretrain=True)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(pretraining, "SAVE_EVERY", 3)


def test_a_killed_pretraining_ends_in_the_same_bytes(small_set, small_budget, tmp_path):
    whole = pretraining.pretrain(small_set, BASE, small_budget).encoder
    path = tmp_path / "pre.pt"
    with pytest.raises(Killed):
        pretraining.pretrain(small_set, BASE, small_budget, path, progress=kill_at(5))
    assert checkpoints.load(path)["step"] == 3
    steps = []
    resumed = pretraining.pretrain(small_set, BASE, small_budget, path, progress=lambda done, _: steps.append(done))
    assert steps == [4, 5, 6, 7, 8] and equal(whole, resumed.encoder)
    again = pretraining.pretrain(small_set, BASE, small_budget, path, progress=kill_at(1))
    assert equal(whole, again.encoder), "finished: nothing is repeated"
    assert again.seconds == checkpoints.load(path)["seconds"] and again.steps == 8


def test_the_state_of_other_settings_is_not_taken_up(small_set, small_budget, tmp_path):
    path = tmp_path / "pre.pt"
    pretraining.pretrain(small_set, BASE, small_budget, path)
    other = Recipe(method="prototypes", hesim=0.0, pretrain=True, seed=1)
    trained = pretraining.pretrain(small_set, other, small_budget, path)
    assert equal(trained.encoder, pretraining.pretrain(small_set, other, small_budget).encoder)


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
    state = pretraining.pretrain(small_set, BASE, small_budget).encoder
    recipe, budget = Recipe(learning_rate=1e-12, pretrain=True), change(small_budget, episodes=1)
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


ROBUST = Recipe(method="cosine", hesim=0.0, pretrain=True, adversarial=3.0, noisy=2.0, clean=3.0, augment=("crop",))


def build(small_set, small_budget, recipe):
    return pretraining.BaseClassTraining(small_set, recipe, small_budget, torch.device("cpu"), "fp32")


def test_a_batch_is_divided_by_the_shares():
    assert pretraining.split_batch(10, {"clean": 0.4, "adversarial": 0.6}) == {"clean": 4, "adversarial": 6}
    sizes = pretraining.split_batch(128, {"clean": 1 / 3, "adversarial": 1 / 3, "noisy": 1 / 3})
    assert sum(sizes.values()) == 128 and max(sizes.values()) - min(sizes.values()) <= 1
    assert pretraining.split_batch(2, {"clean": 0.9, "noisy": 0.1}) == {"clean": 2}


def test_the_shares_are_parts_of_a_batch(small_set, small_budget, monkeypatch):
    seen = []
    some = build(small_set, small_budget, ROBUST)
    real = some.net.forward
    monkeypatch.setattr(some.net, "forward", lambda x: seen.append(x.detach().clone()) or real(x))
    images, _ = some.draw_batch()
    some.compute_loss()
    attacked, batch = seen  # one pass for the attack, one for the loss
    assert len(attacked) == 6 and len(batch) == 16
    changes = (batch - images).abs().amax((1, 2, 3))
    assert torch.all(changes[:6] == 0), "clean"
    assert torch.all((changes[6:12] > 0) & (changes[6:12] <= 8 / 255 + 1e-6)), "attacked within the ball"
    assert torch.all(changes[12:] > 0.1), "noisy"


def test_the_attack_of_pretraining_raises_the_loss_and_leaves_the_net(small_set, small_budget):
    recipe = Recipe(pretrain=True, clean=0.0, adversarial=1.0)
    some = build(small_set, small_budget, recipe)
    some.net.train()
    before = {k: v.clone() for k, v in some.net.state_dict().items()}
    images, targets = some.draw_batch()
    attacked = some.make_version("adversarial", images, targets)
    assert equal(before, some.net.state_dict()) and all(p.requires_grad for p in some.net.parameters())
    with torch.no_grad():
        losses = [some.compute_losses(some.classify(x), targets).mean() for x in (images, attacked)]
    assert losses[1] > losses[0] + 0.05


def test_trades_counts_attacked_images_by_their_divergence(small_set, small_budget):
    recipe = Recipe(pretrain=True, adversarial=1.0, trades=6.0)
    some = build(small_set, small_budget, recipe)
    loss = some.compute_loss()
    images, targets = some.draw_batch()
    attacked = some.make_version("adversarial", images[8:], targets[8:])
    with torch.no_grad():
        logits = some.classify(torch.cat([images[:8], attacked, images[8:]]))
    first, second, clean = logits.split(8)
    divergence = (clean.softmax(-1) * (clean.log_softmax(-1) - second.log_softmax(-1))).sum()
    expected = some.compute_losses(torch.cat([first, clean]), targets).sum() + 6 * divergence
    torch.testing.assert_close(loss.detach(), expected / 16, rtol=1e-4, atol=1e-5)


def test_mixed_images_have_soft_targets(small_set, small_budget):
    _, targets = build(small_set, small_budget, Recipe(pretrain=True, mix="cutmix")).draw_batch()
    torch.testing.assert_close(targets.sum(1), torch.ones(16))
    assert ((targets > 0).sum(1) == 2).any()


def test_an_epoch_shows_an_image_at_most_once(small_set, small_budget, monkeypatch):
    some = build(small_set, small_budget, BASE)
    rows = []
    monkeypatch.setattr(
        some.image_set.__class__, "batch", lambda self, r, *rest: rows.extend(r) or torch.zeros(16, 3, 16, 16)
    )
    per_epoch = len(small_set.rows("train")) // 16
    for step in range(2 * per_epoch):
        some.step = step
        some.draw_batch()
    first, second = rows[: 16 * per_epoch], rows[16 * per_epoch :]
    assert len(set(first)) == len(first) and len(set(second)) == len(second) and first != second


def test_the_averaged_encoder_is_returned(small_set, small_budget):
    plain = pretraining.pretrain(small_set, BASE, small_budget).encoder
    averaged = pretraining.pretrain(small_set, replace(BASE, averaging=0.9), small_budget).encoder
    assert not equal(plain, averaged)
    last = build(small_set, small_budget, replace(BASE, averaging=0.9))
    run_resumable(last)
    assert equal(last.average.module[0].state_dict(), averaged) and not equal(plain, averaged)
    torch.testing.assert_close(plain["stages.0.0.weight"], last.encoder.state_dict()["stages.0.0.weight"])


def test_a_killed_robust_pretraining_ends_in_the_same_bytes(small_set, small_budget, tmp_path):
    recipe = replace(ROBUST, attack="n-fgsm", averaging=0.9, optimizer="sgd", schedule="one-cycle", pretrain_rate=0.05)
    whole = pretraining.pretrain(small_set, recipe, small_budget).encoder
    with pytest.raises(Killed):
        pretraining.pretrain(small_set, recipe, small_budget, tmp_path / "pre.pt", progress=kill_at(5))
    assert equal(whole, pretraining.pretrain(small_set, recipe, small_budget, tmp_path / "pre.pt").encoder)


def test_recipes_that_differ_in_their_episodes_alone_share_their_pretraining():
    same = replace(ROBUST, method="anrot", hesim=0.5, episodic=0.2, heads=("cosine",), temperature=0.2)
    assert pretraining.reduce_recipe(ROBUST) == pretraining.reduce_recipe(same)
    for change_of in ({"eps": 0.1}, {"seed": 1}, {"attack": "n-fgsm"}, {"pretrain_rate": 0.1}, {"averaging": 0.5}):
        assert pretraining.reduce_recipe(replace(ROBUST, **change_of)) != pretraining.reduce_recipe(ROBUST)


def test_passes_of_a_step_are_counted():
    assert pretraining.count_passes(BASE) == 3
    assert pretraining.count_passes(Recipe(pretrain=True, clean=0.4, adversarial=0.6)) == pytest.approx(3 + 0.6 * 2)
    assert pretraining.count_passes(Recipe(pretrain=True, adversarial=1.0, trades=1.0)) == pytest.approx(3 + 1 + 2)


def test_variants_of_the_ablation_start_from_one_encoder():
    """Only other gates make another one: the shares, the head and the augmentation of episodes do not."""
    stages = {v.name: choose_stage(v.recipe) for v in ABLATION}
    whole = stages.pop(WHOLE)
    assert {name for name, recipe in stages.items() if recipe != whole} == {"ablation-no-attention"}
    assert (whole.method, whole.adversarial, whole.noisy, whole.attention) == ("prototypes", 0.0, 0.0, True)
    assert choose_stage(replace(ABLATION[0].recipe, seed=1)) == replace(whole, seed=1)
    with pytest.raises(errors.UserError, match="the method 'ablation-whole' has two stages"):
        choose_stage(Recipe(pretrain=True, pretrain_as="ablation-whole"))


def test_a_first_stage_is_that_of_the_named_method(small_set, small_budget):
    budget, protocol = change(small_budget, pretrain_steps=6), Protocol(way=5, shot=1)
    first = pretrain_encoder(small_set, Recipe(pretrain=True, pretrain_as="prototypes", seed=3), budget, protocol)
    alone = training.train(
        small_set, Recipe(method="prototypes", hesim=0.0, seed=3), change(budget, episodes=6), protocol
    )
    assert equal(first.encoder, dict(alone.net.backbone.state_dict())) and first.steps == 6
    classes = pretrain_encoder(small_set, Recipe(pretrain=True, pretrain_as="clean-classes"), budget, protocol)
    recipe = replace(get_method("clean-classes").recipe, eps=Recipe.eps)
    assert equal(classes.encoder, pretraining.pretrain(small_set, recipe, budget).encoder)


@pytest.mark.parametrize(("method", "key"), [("robust-classes", "647ec9f9440c"), ("clean-classes", "5e82cdeb7954")])
def test_an_encoder_is_found_by_the_name_that_former_releases_gave_it(method, key):
    """A longer name of the first stage would train for most of an hour what lies there already."""
    assert make_stage_key(get_method(method).recipe) == key
