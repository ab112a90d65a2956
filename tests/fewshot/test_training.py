"""Training: resume to the byte, the stop at NaN, selection, alarms, schedule, and what it refuses."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from pytorch_metric_learning.losses import ContrastiveLoss, ProxyNCALoss

from anrot_lib.core import checkpoints, errors, randomness
from anrot_lib.core.configs import change
from anrot_lib.core.errors import UserError
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.fewshot import episode_loss as mixture
from anrot_lib.fewshot import training
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.hesim import Hesim
from anrot_lib.fewshot.nets import load_net, save_net
from anrot_lib.fewshot.optimization import compute_rate_factor
from anrot_lib.fewshot.recipes import CONSTANT_HESIM
from anrot_lib.settings import Protocol, Recipe
from tests.helpers import Killed, kill_at, same

PROTOCOL = Protocol(way=5, shot=1)
MIXTURE = Recipe(clean=1.0, adversarial=1.0, noisy=1.0, sigma_low=0.05, sigma_high=0.2)
RECIPES = {
    "clean": Recipe(),
    "mixture": MIXTURE,
    "everything": replace(
        MIXTURE, method="variational", augment=("flip", "color_jitter"), two_views=True, mix="cutmix", attack_steps=2
    ),
}


# Resume


@pytest.mark.parametrize("name", ["clean", "mixture", pytest.param("everything", marks=pytest.mark.slow)])
def test_a_killed_training_ends_in_the_same_bytes(name, small_set, small_budget, tmp_path):
    arguments = (small_set, RECIPES[name], small_budget, PROTOCOL)
    whole = training.train(*arguments, tmp_path / "whole.pt")
    with pytest.raises(Killed):
        training.train(*arguments, tmp_path / "killed.pt", progress=kill_at(5))
    halfway = checkpoints.load(tmp_path / "killed.pt")
    assert halfway["step"] == 3, "the state of the last validation before the kill"
    steps = []
    resumed = training.train(*arguments, tmp_path / "killed.pt", progress=lambda done, *_: steps.append(done))
    assert steps == [4, 5, 6, 7, 8], "steps that were saved are not repeated"
    first, second = (checkpoints.load(tmp_path / f) for f in ("whole.pt", "killed.pt"))
    assert not same(halfway["weights"], second["weights"]), "the last steps changed nothing"
    for part in ("weights", "state", "optimizer", "history", "best", "step"):
        assert same(first[part], second[part]), part
    assert same(dict(whole.net.state_dict()), dict(resumed.net.state_dict()))
    assert whole.best_step == resumed.best_step


def test_a_finished_training_is_not_repeated(small_set, small_budget, tmp_path, monkeypatch):
    arguments = (small_set, Recipe(), small_budget, PROTOCOL, tmp_path / "a.pt")
    first = training.train(*arguments)
    monkeypatch.setattr(training, "compute_episode_loss", None)
    again = training.train(*arguments)
    assert same(dict(first.net.state_dict()), dict(again.net.state_dict()))
    assert (again.best_step, again.seconds, again.history) == (first.best_step, first.seconds, first.history)


OTHER = {
    "learning_rate": lambda s: s | {"recipe": Recipe(learning_rate=2e-3)},
    "adversarial": lambda s: s | {"recipe": Recipe(adversarial=0.5)},
    "seed": lambda s: s | {"recipe": Recipe(seed=1)},
    "way": lambda s: s | {"protocol": Protocol(way=4, shot=1)},
    "shot": lambda s: s | {"protocol": Protocol(way=5, shot=2)},
    "steps": lambda s: s | {"budget": change(s["budget"], episodes=9)},
    "encoder": lambda s: s | {"budget": change(s["budget"], encoder="conv4")},
    "query": lambda s: s | {"budget": change(s["budget"], train_query=3)},
    "data": lambda s: s | {"image_set": synthetic(n_classes=25, per_class=24, size=16, seed=1)},
    "precision": lambda s: s | {"precision": "bf16"},
}


@pytest.fixture(scope="module")
def one_checkpoint(small_set, small_budget, tmp_path_factory):
    settings = {"image_set": small_set, "recipe": Recipe(), "budget": small_budget, "protocol": PROTOCOL}
    path = tmp_path_factory.mktemp("training") / "net.pt"
    with pytest.raises(Killed):
        training.train(**settings, checkpoint=path, progress=kill_at(4))
    return settings, path


@pytest.mark.parametrize("what", OTHER)
def test_a_checkpoint_of_other_settings_is_refused_by_name(what, one_checkpoint):
    settings, path = one_checkpoint
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"another training \(different [a-z_, ]*\b{what}\b[a-z_, ]*\)") as caught:
        training.train(**OTHER[what](settings), checkpoint=path)
    assert path.name in str(caught.value) and path.read_bytes() == before


def test_a_bare_net_is_not_taken_for_a_training(small_set, small_budget, tmp_path):
    save_net(tmp_path / "net.pt", create_net("tiny", "anrot"), "anrot")
    with pytest.raises(UserError, match="another training"):
        training.train(small_set, Recipe(), small_budget, PROTOCOL, tmp_path / "net.pt")


def test_equal_trainings_give_equal_checkpoint_files(tmp_path):
    content = {"weights": {"a": torch.arange(3.0)}, "history": [{"clean": 0.5}]}
    for name in ("one.pt", "two.pt"):
        checkpoints.save(tmp_path / name, content)
    assert checkpoints.sha256(tmp_path / "one.pt") == checkpoints.sha256(tmp_path / "two.pt")


# A loss of one's own


def spread(embeddings, labels):
    """Pull the embeddings of a class together: small, differentiable, and not Hesim."""
    centres = torch.stack([embeddings[labels == c].mean(0) for c in labels.unique()])
    return (embeddings - centres[labels.unique(return_inverse=True)[1]]).square().mean()


def test_hesim_given_by_hand_is_the_default(small_set, small_budget):
    by_hand = Hesim(temperature=Recipe().temperature)
    nets = [
        training.train(small_set, MIXTURE, small_budget, PROTOCOL, metric_loss=loss).net for loss in (None, by_hand)
    ]
    assert same(*(dict(net.state_dict()) for net in nets))


@pytest.mark.parametrize("loss", [spread, ContrastiveLoss()], ids=["function", "pytorch-metric-learning"])
def test_a_loss_of_ones_own_trains_in_hesims_place(loss, small_set, small_budget):
    seen = []

    def watched(embeddings, labels):
        seen.append((embeddings.shape, labels.shape, len(labels.unique()), embeddings.requires_grad))
        return loss(embeddings, labels)

    budget = change(small_budget, episodes=2)
    hesim, own, heavier = (
        training.train(small_set, recipe, budget, PROTOCOL, metric_loss=chosen).net
        for recipe, chosen in ((MIXTURE, None), (MIXTURE, watched), (replace(MIXTURE, hesim=5.0), loss))
    )
    n, channels = 3 * 5 * budget.train_query, own.backbone.out_channels
    assert seen == 2 * [((n, 2 * channels), (n,), 5, True)], "three versions of the queries, [mean, var] rows"
    states = [dict(net.state_dict()) for net in (hesim, own, heavier)]
    assert not same(states[0], states[1]) and not same(states[1], states[2]), "it, and its weight, must matter"


def test_a_head_of_vectors_gives_its_loss_vectors(small_set, small_budget):
    seen = []
    training.train(
        *(small_set, Recipe(method="prototypes"), change(small_budget, episodes=1), PROTOCOL),
        metric_loss=lambda embeddings, labels: seen.append(embeddings.shape) or spread(embeddings, labels),
    )
    assert len(seen[0]) == 2 and seen[0][0] == 5 * small_budget.train_query


def test_a_checkpoint_of_another_loss_is_refused_by_name(small_set, small_budget, tmp_path):
    arguments = (small_set, Recipe(), small_budget, PROTOCOL)
    training.train(*arguments, tmp_path / "hesim.pt")
    assert "metric_loss" not in checkpoints.load(tmp_path / "hesim.pt")["settings"]
    with pytest.raises(Killed):
        training.train(*arguments, tmp_path / "own.pt", progress=kill_at(4), metric_loss=spread)
    assert checkpoints.load(tmp_path / "own.pt")["settings"]["metric_loss"] == "spread"
    for name, loss in (("hesim", spread), ("own", None), ("own", ContrastiveLoss())):
        with pytest.raises(UserError, match=r"another training \(different metric_loss\)"):
            training.train(*arguments, tmp_path / f"{name}.pt", metric_loss=loss)
    resumed = training.train(*arguments, tmp_path / "own.pt", metric_loss=spread)
    whole = training.train(*arguments, metric_loss=spread)
    assert same(dict(resumed.net.state_dict()), dict(whole.net.state_dict()))


def test_a_loss_without_effect_or_with_weights_of_its_own_is_refused(small_set, small_budget):
    with pytest.raises(UserError, match="the weight of spread is the recipe's hesim, which is 0"):
        training.train(small_set, Recipe(hesim=0.0), small_budget, PROTOCOL, metric_loss=spread)
    with pytest.raises(UserError, match="ProxyNCALoss has weights of its own, which training would not move"):
        training.train(small_set, Recipe(), small_budget, PROTOCOL, metric_loss=ProxyNCALoss(5, 64))


# Not finite


def poisoned(monkeypatch, at_call, poison):
    """From the `at_call`-th step on, `poison(loss, net)` replaces the loss. Returns the net and its weights then."""
    real, seen = mixture.compute_episode_loss, SimpleNamespace(calls=0)

    def episode_loss(net, *rest):
        seen.calls += 1
        loss = real(net, *rest)
        if seen.calls < at_call:
            return loss
        seen.net, seen.before = net, [p.detach().clone() for p in net.parameters()]
        return poison(loss, net)

    monkeypatch.setattr(training, "compute_episode_loss", episode_loss)
    return seen


@pytest.mark.parametrize(
    "poison",
    [
        lambda loss, net: loss * math.nan,
        lambda loss, net: loss + math.inf,
        lambda loss, net: loss + (0 * next(net.parameters()).sum()).sqrt(),  # finite, but its gradient is not
    ],
    ids=["nan", "inf", "gradient"],
)
def test_a_loss_that_is_not_finite_stops_and_the_best_net_is_kept(
    poison, small_set, small_budget, tmp_path, monkeypatch
):
    path = tmp_path / "a.pt"
    with pytest.raises(Killed):
        training.train(small_set, Recipe(), small_budget, PROTOCOL, path, progress=kill_at(4))
    good = checkpoints.load(path)
    seen = poisoned(monkeypatch, 2, poison)
    with pytest.raises(errors.NotFinite, match=r"at step 5 of 8; the best net so far, of step 3, is in the") as caught:
        training.train(small_set, Recipe(), small_budget, PROTOCOL, path)
    assert isinstance(caught.value, UserError), "the command line shows it in one sentence"
    assert all(torch.equal(a, b) for a, b in zip(seen.net.parameters(), seen.before, strict=True))
    assert same(checkpoints.load(path), good)
    net, method, _ = load_net(path)
    assert method == "anrot" and same(dict(net.state_dict()), good["state"])
    assert all(v.isfinite().all() for v in net.state_dict().values())


@pytest.mark.parametrize("recipe", [Recipe(), MIXTURE], ids=["clean", "mixture"])
def test_a_learning_rate_beyond_reason_ends_in_the_same_sentence(recipe, small_set, small_budget):
    recipe = replace(recipe, learning_rate=1e30, schedule="constant")
    with pytest.raises(errors.NotFinite, match=r"has exploded; no net was selected before; try a smaller"):
        training.train(small_set, recipe, small_budget, PROTOCOL)


def test_a_nan_that_validation_meets_first_is_the_same_stop(small_set, small_budget, monkeypatch):
    def validate(*_):
        raise FloatingPointError("the attacked loss is NaN")

    monkeypatch.setattr(training, "validate", validate)
    with pytest.raises(errors.NotFinite):
        training.train(small_set, Recipe(), small_budget, PROTOCOL)


def test_augmentation_reaches_support_and_queries(small_set, small_budget, monkeypatch):
    seen = []
    real = mixture.compute_episode_loss
    monkeypatch.setattr(training, "compute_episode_loss", lambda net, e, *rest: seen.append(e) or real(net, e, *rest))
    for augment in ((), ("flip", "rotate90")):
        training.train(small_set, Recipe(augment=augment), change(small_budget, episodes=1), PROTOCOL)
    plain, augmented = seen
    assert torch.equal(plain.support_rows, augmented.support_rows)
    assert not torch.equal(plain.support, augmented.support) and not torch.equal(plain.query, augmented.query)
    assert torch.equal(plain.query.flatten(2).sort().values, augmented.query.flatten(2).sort().values)


# The loop


def test_a_step_sees_its_own_episodes_of_the_training_classes(small_set, small_budget, monkeypatch):
    seen = []
    real = mixture.compute_episode_loss
    monkeypatch.setattr(training, "compute_episode_loss", lambda net, e, *rest: seen.append(e) or real(net, e, *rest))
    training.train(small_set, Recipe(), change(small_budget, episodes_per_step=2), PROTOCOL)
    rows = torch.cat([e.query_rows for e in seen])
    assert len(seen) == 4 and len(rows) == 8
    assert len({tuple(r.tolist()) for r in rows}) == 8, "an episode came twice"
    assert set(torch.cat([e.class_ids for e in seen]).flatten().tolist()) <= set(small_set.splits["train"])


def test_training_learns(small_training, small_set):
    first = training.train(
        small_set, Recipe(learning_rate=1e-12), change(small_training_budget(), episodes=1), Protocol(way=5, shot=5)
    )
    assert small_training.history[-1]["clean"] > first.history[-1]["clean"] + 0.05
    assert small_training.cost == 1 and small_training.alarms == []


def small_training_budget():
    from anrot_lib.settings import SMOKE

    return change(SMOKE, size=16, validation_tasks=20)


def test_the_best_validation_is_returned_and_not_the_last(small_set, small_budget, monkeypatch):
    scores, states = iter([0.4, 0.8, 0.6]), []

    def validate(net, *_):
        states.append({k: v.clone() for k, v in net.state_dict().items()})
        return {"clean": 0.5, "adversarial": next(scores), "fgsm": 0.0}

    monkeypatch.setattr(training, "validate", validate)
    found = training.train(small_set, Recipe(clean=1.0, adversarial=1.0), small_budget, PROTOCOL)
    assert [h["step"] for h in found.history] == [3, 6, 8] and found.best_step == 6
    assert same(dict(found.net.state_dict()), states[1]) and not same(states[1], states[2])
    assert not found.net.training


def test_the_share_of_each_level_is_kept_and_shown_at_every_validation(small_set, small_budget, tmp_path):
    shown = []
    arguments = (small_set, Recipe(method="levels:pixel+part", hesim=0.0), small_budget, PROTOCOL, tmp_path / "a.pt")
    found = training.train(*arguments, progress=lambda done, total, numbers: shown.append(numbers))
    shares = [point["shares"] for point in found.history]
    assert [list(s) for s in shares] == [["pixel", "part"]] * 3
    assert all(sum(s.values()) == pytest.approx(1) for s in shares) and shares[0] != shares[1]
    assert (shown[-1]["share of pixel"], shown[-1]["share of part"]) == tuple(shares[-1].values())
    assert checkpoints.load(tmp_path / "a.pt")["history"] == found.history
    plain = training.train(small_set, Recipe(method="dn4", hesim=0.0), small_budget, PROTOCOL)
    assert all("shares" not in point for point in plain.history), "one level has no shares"


def test_an_alarm_is_logged_and_kept(small_set, small_budget, monkeypatch, caplog, tmp_path):
    made = iter([(0.3, 0.3), (0.5, 0.1), (0.6, 0.1)])

    def validate(*_):
        fgsm, pgd = next(made)
        return {"clean": 0.5, "fgsm": fgsm, "adversarial": pgd}

    monkeypatch.setattr(training, "validate", validate)
    arguments = (small_set, Recipe(adversarial=1.0), small_budget, PROTOCOL, tmp_path / "a.pt")
    found = training.train(*arguments)
    assert len(found.alarms) == 2 and found.alarms[0].startswith("step 6: training overfits to FGSM")
    assert found.alarms[0] in caplog.text
    assert training.train(*arguments).alarms == found.alarms


def test_the_optimiser_uses_the_schedule(small_set, small_budget, monkeypatch):
    rates = []
    real = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a: rates.append(self.param_groups[0]["lr"]) or real(self, *a)
    )
    training.train(small_set, Recipe(learning_rate=0.01), change(small_budget, episodes=4), PROTOCOL)
    assert rates == pytest.approx([0.01 * compute_rate_factor("cosine", k, 4) for k in range(4)])


def test_gradients_are_clipped(small_set, small_budget, monkeypatch):
    norms = []
    real = torch.optim.AdamW.step

    def step(self, *rest):
        gradients = [p.grad.flatten() for g in self.param_groups for p in g["params"] if p.grad is not None]
        norms.append(torch.cat(gradients).norm().item())
        return real(self, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    for clip in (1e9, 1e-3):
        training.train(small_set, Recipe(clip=clip), change(small_budget, episodes=1), PROTOCOL)
    assert norms[0] > 0.1 and norms[1] <= 1e-3 * (1 + 1e-4)


def test_too_small_a_set_is_refused_before_any_step(small_set, small_budget):
    with pytest.raises(UserError, match="classes"):
        training.train(small_set, Recipe(), small_budget, Protocol(way=16, shot=1))
    with pytest.raises(UserError, match="24 images, but 23 shots and 2 queries need 25"):
        training.train(small_set, Recipe(), small_budget, Protocol(way=5, shot=23))


def test_the_net_is_selected_on_the_validation_classes(small_set, small_budget, monkeypatch):
    manifests = []

    def validate(net, image_set, manifest, *_):
        manifests.append(manifest)
        return {"clean": 0.5}

    monkeypatch.setattr(training, "validate", validate)
    training.train(small_set, Recipe(), small_budget, PROTOCOL)
    assert {manifest.split for manifest in manifests} == {"val"}
    seen = {c for manifest in manifests for c in manifest.rows.classes.ravel()}
    assert seen <= set(small_set.splits["val"]) and not seen & set(small_set.splits["test"])


def test_a_trained_encoder_is_a_candidate_before_its_first_episode(small_set, small_budget, monkeypatch):
    encoder = create_net("tiny", "anrot", generator=randomness.make_generator(7, "other")).backbone.state_dict()
    scores = iter([0.9, 0.1, 0.2, 0.3])
    monkeypatch.setattr(training, "validate", lambda *_: {"clean": next(scores)})
    trained = training.train(small_set, Recipe(), small_budget, PROTOCOL, encoder_state=encoder)
    assert (trained.best_step, [point["step"] for point in trained.history]) == (0, [0, 3, 6, 8])
    assert same(dict(trained.net.backbone.state_dict()), encoder)


def test_a_recipe_without_episodes_returns_the_encoder_as_it_came(small_set, small_budget, tmp_path):
    encoder = create_net("tiny", "anrot", generator=randomness.make_generator(7, "other")).backbone.state_dict()
    recipe = Recipe(method="cosine", hesim=0.0, pretrain=True, episodic=0.0)
    arguments = (small_set, recipe, small_budget, PROTOCOL, tmp_path / "net.pt")
    trained = training.train(*arguments, encoder_state=encoder)
    assert same(dict(trained.net.backbone.state_dict()), encoder)
    assert (trained.best_step, trained.seconds_per_step, len(trained.history)) == (0, 0.0, 1)
    assert training.train(*arguments, encoder_state=encoder).history == trained.history
    other = create_net("tiny", "anrot", generator=randomness.make_generator(8, "other")).backbone.state_dict()
    with pytest.raises(UserError, match="pre-trained encoder"):  # it never answers for another encoder
        training.train(*arguments, encoder_state=other)


def test_episodes_can_be_a_part_of_the_budget(small_set, small_budget):
    recipe = Recipe(pretrain=True, episodic=0.5)
    steps = []
    training.train(small_set, recipe, small_budget, PROTOCOL, progress=lambda done, *_: steps.append(done))
    assert steps == [1, 2, 3, 4]


def test_the_averaged_weights_are_tested_and_returned(small_set, small_budget, monkeypatch):
    weights, tested = [], []
    real = training.FewShotTraining.finish_update
    name = "stages.0.0.weight"

    def finish(self, loss):
        weights.append(dict(self.net.backbone.named_parameters())[name].detach().clone())
        real(self, loss)

    monkeypatch.setattr(training.FewShotTraining, "finish_update", finish)
    monkeypatch.setattr(
        training, "validate", lambda net, *_: tested.append(net.backbone.state_dict()[name].clone()) or {"clean": 0.5}
    )
    recipe = Recipe(averaging=0.5)
    trained = training.train(small_set, recipe, change(small_budget, episodes=3), PROTOCOL)
    average = weights[0]  # the first update copies the weights
    for n, latest in enumerate(weights[1:], 1):
        kept = min(0.5, (n + 1) / (n + 10))
        average = kept * average + (1 - kept) * latest
    torch.testing.assert_close(tested[-1], average)
    torch.testing.assert_close(trained.net.backbone.state_dict()[name], average)
    assert not torch.equal(weights[-1], average)


def test_a_killed_training_with_averaged_weights_ends_in_the_same_bytes(small_set, small_budget, tmp_path):
    recipe = Recipe(averaging=0.9, optimizer="sgd", schedule="one-cycle", weight_decay=1e-3)
    whole = training.train(small_set, recipe, small_budget, PROTOCOL)
    with pytest.raises(Killed):
        training.train(small_set, recipe, small_budget, PROTOCOL, tmp_path / "net.pt", progress=kill_at(5))
    resumed = training.train(small_set, recipe, small_budget, PROTOCOL, tmp_path / "net.pt")
    assert same(dict(whole.net.state_dict()), dict(resumed.net.state_dict())) and whole.history == resumed.history


def test_the_head_that_validates_best_is_chosen(small_set, small_budget, monkeypatch):
    by_head = {"GaussianHead": 0.4, "Prototypes": 0.6}
    monkeypatch.setattr(training, "validate", lambda net, *_: {"clean": by_head[type(net.head).__name__]})
    trained = training.train(small_set, Recipe(heads=("cosine",)), small_budget, PROTOCOL)
    assert (trained.method, trained.heads) == ("cosine", {"anrot": 0.4, "cosine": 0.6})
    assert type(trained.net.head).__name__ == "Prototypes" and not trained.net.training
    by_head["GaussianHead"] = 0.6
    assert training.train(small_set, Recipe(heads=("cosine",)), small_budget, PROTOCOL).method == "anrot"


def test_the_released_hesim_trains_the_very_net_that_is_trained_without_one(small_set, small_budget):
    """Its value is a constant and its gradient 0; the corrected one trains another net."""
    nets = {
        (method, hesim): training.train(small_set, Recipe(method=method, hesim=hesim), small_budget, PROTOCOL)
        for method, hesim in (("anrot", 0.0), (CONSTANT_HESIM, 0.5), ("anrot", 0.5))
    }
    without, constant, corrected = (dict(trained.net.state_dict()) for trained in nets.values())
    assert same(without, constant) and not same(without, corrected)
