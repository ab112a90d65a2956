"""The loss of a training step: its versions and their weights, what it costs, the training attack, Hesim."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from anrot_lib.attacks.ascent import frozen
from anrot_lib.core import randomness
from anrot_lib.data import augmentation, noise
from anrot_lib.data.episodes import EpisodeSampler
from anrot_lib.fewshot import episode_loss
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.settings import Recipe
from tests.helpers import same

MIXTURE = Recipe(clean=1.0, adversarial=1.0, noisy=1.0, sigma_low=0.05, sigma_high=0.2)


def draw(name):
    return randomness.make_generator(0, name)


def snapshot(net):
    """Everything about a net that a step of an attack could change by mistake."""
    return {
        "state": {k: v.clone() for k, v in net.state_dict().items()},
        "flags": [m.training for m in net.modules()],
        "wanted": [p.requires_grad for p in net.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
    }


@pytest.fixture
def task(small_set):
    """Two 3-way 2-shot episodes with 2 queries a class."""
    sampler = EpisodeSampler(small_set.labels, 3, 2, 2, 2, rows=small_set.rows("train"))
    return sampler.draw().to_episode(small_set)


def net_for(recipe, seed=0):
    return create_net("tiny", recipe.method, generator=randomness.make_generator(seed, "init")).train()


def loss_of(net, task, recipe, hesim=None):
    return episode_loss.compute_episode_loss(net, task, recipe, hesim, draw)


def count_passes(net, run):
    """(images encoded, passes): forward alone 1, to the pixels 2, to the weights too 3."""
    found = SimpleNamespace(images=0, passes=0)

    def hook(encoder, inputs):
        weights = next(encoder.parameters()).requires_grad
        found.images += len(inputs[0])
        found.passes += len(inputs[0]) * (3 if weights and torch.is_grad_enabled() else 1 + torch.is_grad_enabled())

    handle = net.backbone.register_forward_pre_hook(hook)
    run()
    handle.remove()
    return found


COSTS = {
    # recipe -> encoded images of an episode with S support images and Q queries
    "clean": (Recipe(), lambda s, q: s + q),
    "noisy only": (Recipe(clean=0.0, noisy=1.0), lambda s, q: s + q),
    "two views": (Recipe(two_views=True), lambda s, q: s + 2 * q),
    "adversarial only": (Recipe(clean=0.0, adversarial=1.0), lambda s, q: 2 * s + 2 * q),
    "mixture": (MIXTURE, lambda s, q: 2 * s + 4 * q),
    "mixture by TRADES": (replace(MIXTURE, trades=6.0), lambda s, q: 2 * s + 5 * q),
    "mixture, PGD-3": (replace(MIXTURE, attack_steps=3), lambda s, q: 2 * s + 6 * q),
}


@pytest.mark.parametrize("name", COSTS)
def test_a_step_encodes_what_the_cost_limit_counts(name, task):
    recipe, images = COSTS[name]
    net, support, query = net_for(recipe), 3 * 2, 3 * 2
    found = count_passes(net, lambda: loss_of(net, task, recipe).backward())
    episodes = len(task.labels)
    assert found.images == episodes * images(support, query)
    clean = 3 * episodes * (support + query)
    assert found.passes / clean == pytest.approx(episode_loss.compute_cost_limit(recipe, support, query))


def test_the_cost_limit_of_the_default_mixture():
    assert episode_loss.compute_cost_limit(Recipe(), 25, 50) == 1
    assert episode_loss.compute_cost_limit(MIXTURE, 25, 50) == pytest.approx((3 * (25 + 150) + 25 + 2 * 50) / 225)


def test_a_version_of_share_0_is_never_computed(task, monkeypatch):
    def never(*_, **__):
        raise AssertionError("computed for nothing")

    monkeypatch.setattr(noise, "add_gaussian", never)
    monkeypatch.setattr(episode_loss, "make_adversarial_queries", never)
    monkeypatch.setattr(augmentation, "two_views", never)
    recipe = Recipe(clean=2.0, adversarial=0.0, noisy=0.0)
    assert episode_loss.list_shares(recipe) == {"clean": 1.0}
    assert loss_of(net_for(recipe), task, recipe).isfinite()


def test_shares_weigh_the_versions_in_the_loss(task):
    """In eval mode the versions do not meet in batch norm, so a mixture's loss is the weighted sum."""
    alone = {
        "clean": Recipe(clean=1.0),
        "adversarial": Recipe(clean=0.0, adversarial=1.0),
        "noisy": Recipe(clean=0.0, noisy=1.0),
    }
    net = net_for(MIXTURE).eval()
    parts = {v: loss_of(net, task, replace(r, hesim=0.0)).item() for v, r in alone.items()}
    assert len({round(p, 4) for p in parts.values()}) == 3
    recipe = Recipe(clean=1.0, adversarial=2.0, noisy=5.0)
    expected = (parts["clean"] + 2 * parts["adversarial"] + 5 * parts["noisy"]) / 8
    assert loss_of(net, task, recipe).item() == pytest.approx(expected, rel=1e-5)


def test_two_views_halve_the_clean_share():
    shares = episode_loss.list_shares(Recipe(clean=2.0, noisy=2.0, two_views=True))
    assert shares == {"clean": 0.25, "view": 0.25, "noisy": 0.5}


@pytest.mark.parametrize("steps", [1, 4])
def test_adversarial_queries_keep_the_ball_raise_the_loss_and_leave_the_net(steps, task):
    net = net_for(MIXTURE)
    loss_of(net, task, Recipe()).backward()  # gradients that the attack must not touch
    net.backbone.stages[0].eval()  # an odd mixture of flags, to be found again
    before = snapshot(net)
    recipe = Recipe(adversarial=1.0, attack_steps=steps)
    threat = episode_loss.make_threat(recipe)
    found = episode_loss.make_adversarial_queries(net, task, recipe, draw("attack"))
    assert same(snapshot(net), before)
    assert found.shape == task.query.shape and not found.requires_grad
    assert (found - task.query).abs().max() <= threat.eps + 1e-6
    assert found.min() >= 0 and found.max() <= 1

    def loss(queries):
        with frozen(net), torch.no_grad():
            model = net.fit(task.support.flatten(1, 2), task.support_labels)
            logits = net.head.score(model, net.encode(queries)).logits
        return nn.functional.cross_entropy(logits.flatten(0, 1), task.labels.flatten()).item()

    at_random = threat.random_start(task.query, draw("attack"))
    assert loss(found) > max(loss(task.query), loss(at_random)) + 0.05
    nothing = episode_loss.make_adversarial_queries(net, task, replace(recipe, eps=0.0), draw("attack"))
    assert torch.equal(nothing, task.query)


def test_the_training_attack_is_fgsm_with_a_random_start_or_pgd():
    one, many = (episode_loss.make_threat(Recipe(eps=0.1, attack_steps=k)) for k in (1, 5))
    assert (one.name, one.start, one.step, one.target) == ("FGSM-RS 0.1 query", "random", pytest.approx(0.125), "query")
    assert (many.steps, many.step) == (5, pytest.approx(0.05))


def test_hesim_reaches_the_encoder_and_sees_class_numbers(task):
    recipe, seen = MIXTURE, {}

    class Spy(nn.Module):
        def forward(self, embeddings, labels):
            seen.update(embeddings=embeddings, labels=labels)
            return episode_loss.build_hesim(recipe, net.head)(embeddings, labels)

    net = net_for(recipe)
    gradients = []
    for hesim in (None, Spy()):
        net.zero_grad()
        loss_of(net, task, recipe, hesim).backward()
        gradients.append([p.grad.clone() for p in net.backbone.parameters()])
    plain, with_hesim = gradients
    moved = [(a - b).norm() / a.norm() for a, b in zip(plain, with_hesim, strict=True) if a.norm() > 0]
    assert all(g.isfinite().all() for g in with_hesim) and min(moved) > 1e-3
    one_version = task.class_ids.gather(1, task.labels)
    assert torch.equal(seen["labels"], torch.cat([one_version] * 3, 1).flatten())
    assert seen["embeddings"].shape == (len(seen["labels"]), 2 * net.head.channels)


@pytest.mark.parametrize("method", ["prototypes", "anrot", "variational"])
def test_hesim_is_weighed_and_has_a_kind_for_every_head(method, task):
    net = net_for(Recipe(method=method))
    losses = {}
    for weight in (0.0, 0.5, 1.0):
        recipe = Recipe(method=method, hesim=weight)
        losses[weight] = loss_of(net.eval(), task, recipe, episode_loss.build_hesim(recipe, net.head)).item()
    assert episode_loss.build_hesim(Recipe(hesim=0.0), net.head) is None
    assert losses[1.0] - losses[0.5] == pytest.approx(losses[0.5] - losses[0.0], rel=1e-3)
    assert losses[0.5] > losses[0.0] + 0.1


def test_the_variational_head_samples_and_pays_a_penalty(task):
    recipe = Recipe(method="variational", hesim=0.0)
    net = net_for(recipe).eval()
    loss = loss_of(net, task, recipe)
    assert torch.equal(loss, loss_of(net, task, recipe)), "the sample is drawn from the step's own stream"
    net.head.PENALTY_WEIGHT *= 3
    extra = loss_of(net, task, recipe) - loss
    assert extra > 1e-4
    net.zero_grad()
    extra.backward()
    assert net.head.to_log_var.weight.grad.abs().max() > 0 and net.backbone.stages[0][0].weight.grad.abs().max() > 0


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixing_changes_images_and_targets_of_the_clean_version(mix, task):
    recipe = Recipe(mix=mix, hesim=0.0)
    net = net_for(recipe).eval()
    mixed = episode_loss.MIXES[mix](task.query, task.labels, draw("mix"))
    logits = net.scores(replace(task, query=mixed.images)).logits
    assert loss_of(net, task, recipe).item() == pytest.approx(mixed.cross_entropy(logits).item(), rel=1e-5)
    assert loss_of(net, task, recipe).item() != pytest.approx(loss_of(net, task, Recipe()).item(), rel=1e-3)


def test_noisy_queries_have_sigmas_in_the_range_of_the_recipe(task):
    recipe = Recipe(clean=0.0, noisy=1.0, sigma_low=0.05, sigma_high=0.4)
    noisy = episode_loss.make_query_versions(net_for(recipe), task, recipe, draw)["noisy"]
    generator = draw("noise")
    sigma = 0.05 + 0.35 * torch.rand(task.query.shape[:2], generator=generator)
    torch.testing.assert_close(noisy, noise.add_gaussian(task.query, sigma, generator))


def test_hesim_has_the_temperature_of_the_recipe(task):
    assert episode_loss.build_hesim(Recipe(temperature=0.37), net_for(MIXTURE).head).temperature == 0.37


def test_the_training_attack_runs_on_the_statistics_of_its_batch(task):
    net, modes = net_for(MIXTURE), []
    net.backbone.register_forward_pre_hook(lambda encoder, _: modes.append(encoder.training))
    episode_loss.make_adversarial_queries(net, task, MIXTURE, draw("attack"))
    assert modes and all(modes)
    modes.clear()
    episode_loss.make_adversarial_queries(net, task, replace(MIXTURE, attack_eval=True), draw("attack"))
    assert modes and not any(modes) and net.backbone.training, "with attack_eval on the running ones"


def test_n_fgsm_steps_by_eps_from_noise_of_twice_eps(task):
    recipe = replace(MIXTURE, attack="n-fgsm", eps=0.05)
    net = net_for(recipe)
    changed = (episode_loss.make_adversarial_queries(net, task, recipe, draw("attack")) - task.query).abs()
    assert 0.14 < changed.max() <= 0.15 + 1e-6, "it may leave the ball, up to 3 eps"
    noisy = noise.add_uniform(task.query, 0.1, draw("attack"))
    step = episode_loss.make_adversarial_queries(net, task, recipe, draw("attack")) - noisy
    inside = (noisy > 0.05) & (noisy < 0.95)
    moved = step[inside].abs()
    assert ((moved - 0.05).abs() < 1e-6).float().mean() > 0.99, "all pixels but those of gradient 0"
    other = replace(recipe, attack_steps=3)  # of several steps it is PGD, within the ball
    assert (episode_loss.make_adversarial_queries(net, task, other, draw("attack")) - task.query).abs().max() <= 0.0501


def test_trades_holds_attacked_predictions_to_the_clean_ones(task):
    plain, recipe = Recipe(hesim=0.0), Recipe(adversarial=1.0, hesim=0.0, trades=6.0)
    net = net_for(recipe).eval()
    clean = loss_of(net, task, plain).item()
    attacked = episode_loss.make_adversarial_queries(net, task, recipe, draw("attack"))
    with torch.no_grad():
        model = net.fit(task.support.flatten(1, 2), task.support_labels)
        before, after = (net.head.score(model, net.encode(x)).logits.double() for x in (task.query, attacked))
    divergence = (before.softmax(-1) * (before.log_softmax(-1) - after.log_softmax(-1))).sum(-1).mean().item()
    assert divergence > 1e-3
    assert loss_of(net, task, recipe).item() == pytest.approx(0.5 * clean + 0.5 * 6 * divergence, rel=1e-4)


def test_label_smoothing_spreads_a_part_of_the_target(task):
    net = net_for(MIXTURE).eval()
    sharp, smooth = (loss_of(net, task, Recipe(hesim=0.0, label_smoothing=s)).item() for s in (0.0, 0.3))
    with torch.no_grad():
        model = net.fit(task.support.flatten(1, 2), task.support_labels)
        uniform = -net.head.score(model, net.encode(task.query)).logits.log_softmax(-1).mean().item()
    assert smooth == pytest.approx(0.7 * sharp + 0.3 * uniform, rel=1e-5)
