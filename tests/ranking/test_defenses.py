"""What the attacks of the defenses must do and must leave alone; the losses of the training steps."""

import copy

import pytest
import torch
from torch import nn

from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.ranking.distances import distance, hardness
from anrot_lib.ranking.names import MARGINS
from anrot_lib.ranking.recipe import build_recipe
from anrot_lib.ranking.training import defenses
from anrot_lib.ranking.training.destinations import Constant, Custom, Mined
from anrot_lib.ranking.training.losses import triplet_loss
from anrot_lib.ranking.training.miners import mine
from anrot_lib.ranking.training.perturbation import (
    embed,
    manipulate,
    maximise,
    measure_alignment,
    pull_together,
    push_away,
)

EPS = 0.05


class SmoothNet(nn.Module):
    """Images (N, 1, 6, 6) to 8 numbers, with a batch norm, so that what an attack leaves behind shows."""

    metric = "N"

    def __init__(self, metric="N", seed=0):
        super().__init__()
        self.metric = metric
        layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Softplus(), nn.Flatten(), nn.Linear(64, 8))
        self.layers = nn.Sequential(*layers)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)

    def forward(self, images):
        return self.layers(images)


@pytest.fixture
def smooth_net():
    return SmoothNet().double().eval()


@pytest.fixture
def pairs():
    """12 images of 6 pairs in 4 classes, float64 in [0.2, 0.8], and their labels."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([0, 1, 2, 3, 0, 1]).repeat_interleave(2)
    coarse = torch.rand(4, 1, 6, 6, generator=generator, dtype=torch.float64)[labels]
    noise = torch.rand(12, 1, 6, 6, generator=generator, dtype=torch.float64)
    return 0.2 + 0.6 * (0.5 * coarse + 0.5 * noise), labels


def draw(name):
    return torch.Generator().manual_seed(sum(name.encode()))


def threat(eps=EPS, step=0.01, steps=10):
    return ThreatModel(norm="linf", eps=eps, step=step, steps=steps, restarts=1, start="clean", target="query")


def triplets_of(images, labels, net, miner="r"):
    with torch.no_grad():
        chosen = mine(miner, embed(net, images), labels, net.metric, MARGINS[net.metric], draw("source"))
    return images[torch.stack(tuple(chosen), 1)]


@torch.no_grad()
def hardness_of(net, triplets):
    return hardness(*embed(net, triplets.flatten(0, 1)).unflatten(0, (-1, 3)).unbind(1), net.metric)


def defense_of(suffix, destination=None, metric="N", **changes):
    changes = {"eps": EPS, "step": 0.01, "eta": 6} | changes
    return defenses.build(build_recipe(f"own:rres18{suffix}:ptriplet{metric}", **changes), destination)


def test_the_objective_of_known_hardness():
    reached = torch.tensor([-0.3, -0.05], requires_grad=True)
    values = measure_alignment(reached, torch.tensor(-0.1), "et")
    assert values.tolist() == pytest.approx([0.04, 0.0])
    values.sum().backward()
    assert reached.grad[1] == 0
    assert reached.grad[0] < 0  # minimising it raises the hardness


def test_the_kl_objective_has_the_gradient_of_torch():
    reached, aim = torch.tensor([0.3, 0.5]), torch.tensor([0.2, 0.6])
    first, second = reached.clone().requires_grad_(), reached.clone().requires_grad_()
    measure_alignment(first, aim, "kl").backward()
    parts = nn.functional.normalize(second, p=1, dim=0), nn.functional.normalize(aim, p=1, dim=0)
    (nn.functional.kl_div(*parts, reduction="sum") / 2).backward()
    torch.testing.assert_close(first.grad, second.grad)


@pytest.mark.parametrize("value", [-2.0, "lowest"])
def test_a_destination_that_is_reached_already_moves_nothing(smooth_net, pairs, value):
    triplets = triplets_of(*pairs, smooth_net)
    before = hardness_of(smooth_net, triplets)
    aim = torch.full_like(before, before.min() if value == "lowest" else value)
    moved = manipulate(smooth_net, triplets, aim, threat())
    assert torch.equal(moved, triplets)


def test_equal_miners_give_the_loss_of_regular_training(smooth_net, pairs):
    images, labels = pairs
    defense = defense_of("hmetrr")
    a, p, n = mine("r", embed(smooth_net, images).detach(), labels, "N", 0.2, draw("source"))
    rows = embed(smooth_net, images)
    expected = triplet_loss(rows[a], rows[p], rows[n], "N", 0.2)
    torch.testing.assert_close(defense(smooth_net, images, labels, draw), expected)


def test_aiming_at_2_is_min_max_training(smooth_net, pairs):
    triplets = triplets_of(*pairs, smooth_net)
    aim = torch.full((len(triplets),), 2.0, dtype=torch.float64)
    moved = manipulate(smooth_net, triplets, aim, threat())
    assert torch.equal(moved, maximise(smooth_net, triplets, threat()))
    assert (hardness_of(smooth_net, moved) > hardness_of(smooth_net, triplets)).all()


def test_hardness_rises_to_the_destination_and_stays(smooth_net, pairs):
    triplets = triplets_of(*pairs, smooth_net)
    before = hardness_of(smooth_net, triplets)
    best = hardness_of(smooth_net, maximise(smooth_net, triplets, threat(step=0.001, steps=60)))
    aim = before + 0.5 * (best - before)
    reached = hardness_of(smooth_net, manipulate(smooth_net, triplets, aim, threat(step=1e-4, steps=600)))
    assert (reached >= aim - 1e-9).all()
    assert (reached <= aim + 0.01 * (best - before) + 1e-4).all()


def test_a_triplet_is_attacked_as_if_it_were_alone(smooth_net, pairs):
    triplets = triplets_of(*pairs, smooth_net)
    before = hardness_of(smooth_net, triplets)
    aim = before + torch.linspace(-0.1, 0.3, len(before), dtype=torch.float64)
    whole = manipulate(smooth_net, triplets, aim, threat())
    for i in range(len(triplets)):
        alone = manipulate(smooth_net, triplets[i : i + 1], aim[i : i + 1], threat())
        torch.testing.assert_close(whole[i : i + 1], alone, atol=1e-9, rtol=0)
    reached = hardness_of(smooth_net, whole)
    assert (reached >= before - 1e-9).all()


ATTACKS = {
    "manipulate": lambda net, x, t: manipulate(net, x, torch.full((len(x),), 0.5, dtype=x.dtype), t),
    "manipulate l2": lambda net, x, t: manipulate(net, x, torch.full((len(x),), 0.5, dtype=x.dtype), t, "l2"),
    "manipulate kl": lambda net, x, t: manipulate(net, x, torch.linspace(0.1, 1, len(x), dtype=x.dtype), t, "kl"),
    "maximise": maximise,
    "away": lambda net, x, t: push_away(net, x.flatten(0, 1), t, draw("attack")).view_as(x),
    "together": lambda net, x, t: torch.stack([x[:, 0], *pull_together(net, x[:, 1], x[:, 2], t)], 1),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("steps", [1, 6])
def test_attacks_stay_inside_and_leave_the_net_alone(smooth_net, pairs, name, steps):
    smooth_net.train()
    next(smooth_net.parameters()).grad = torch.ones_like(next(smooth_net.parameters()))
    before = copy.deepcopy(smooth_net)
    triplets = triplets_of(*pairs, copy.deepcopy(smooth_net).eval()) * 1.2
    triplets = triplets.clamp(0, 1)
    moved = ATTACKS[name](smooth_net, triplets, threat(step=EPS if steps == 1 else 0.02, steps=steps))
    change = (moved - triplets).abs()
    assert 0 < change.max() <= EPS + 1e-7
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert not moved.requires_grad
    assert smooth_net.training
    assert all(module.training for module in smooth_net.modules())
    for (key, old), new in zip(before.state_dict().items(), smooth_net.state_dict().values(), strict=True):
        assert torch.equal(old, new), key
    gradients = [p.grad for p in smooth_net.parameters()]
    assert (gradients[0] == 1).all()
    assert all(g is None for g in gradients[1:])
    assert all(p.requires_grad for p in smooth_net.parameters())


def test_act_brings_positive_and_negative_together_and_keeps_the_anchor(smooth_net, pairs):
    triplets = triplets_of(*pairs, smooth_net)
    _, p, n = triplets.unbind(1)
    moved = pull_together(smooth_net, p, n, threat())
    assert not torch.equal(moved[0], p)
    assert not torch.equal(moved[1], n)
    with torch.no_grad():
        before = distance(embed(smooth_net, p), embed(smooth_net, n), "N").mean()
        after = distance(*(embed(smooth_net, x) for x in moved), "N").mean()
    assert after < before


@pytest.mark.parametrize("metric", ["N", "C", "E"])
def test_est_moves_every_embedding_away(smooth_net, pairs, metric):
    smooth_net.metric = metric
    images, _ = pairs
    moved = push_away(smooth_net, images, threat(), draw("attack"))
    with torch.no_grad():
        shift = distance(embed(smooth_net, moved), embed(smooth_net, images), metric)
    assert (shift > (5e-4 if metric == "C" else 1e-2)).all()  # 1 - cos is half the square of the distance


def test_a_fixed_anchor_keeps_its_pixels(smooth_net, pairs):
    seen = []

    class Watching(nn.Module):
        metric = "N"

        def forward(self, images):
            seen.append(images.detach())
            return smooth_net(images)

    images, labels = pairs
    defense_of("rhetrm", Constant(2.0))(Watching(), images, labels, draw)
    triplets = triplets_of(images, labels, smooth_net)
    last = seen[-1].unflatten(0, (-1, 3))
    assert torch.equal(last[:, 0], triplets[:, 0])
    assert not torch.equal(last[:, 1], triplets[:, 1])
    assert len(seen[1]) == 2 * len(triplets)  # positives and negatives alone are attacked


@pytest.mark.parametrize(
    "suffix", ["", "d", "p", "e", "m", "r", "hmetrm", "ghmetsm", "ghmetsmi", "rhetsm", "hml2rm", "hmklrm"]
)
def test_every_defense_trains(smooth_net, pairs, suffix):
    defense = defense_of(suffix)
    loss = defense(smooth_net, *pairs, draw)
    loss.backward()
    defense.finish_step()
    assert torch.isfinite(loss)
    assert max(p.grad.abs().max() for p in smooth_net.parameters()) > 0


def test_the_gradual_destination_begins_weak_and_learns_the_loss_without_structure(smooth_net, pairs):
    defense = defense_of("ghmetsmi")
    loss = defense(smooth_net, *pairs, draw)
    assert defense.numbers["destination"] == pytest.approx(-0.2)
    defense.finish_step()
    told = defense.destination.last_loss.item()
    weight = defense.recipe.structure_weight
    assert told == pytest.approx(loss.item() - weight * defense.numbers["structure"], abs=1e-5)
    assert "destination.last_loss" in defense.state_dict()


def test_structure_is_added_with_its_weight(smooth_net, pairs):
    images, labels = pairs
    without, with_it = (
        defense_of(s, Constant(2.0), structure_weight=0.3, eps=0.4, step=0.1) for s in ("hmetsm", "hmetsmi")
    )
    plain, both = without(smooth_net, images, labels, draw), with_it(smooth_net, images, labels, draw)
    assert both.item() == pytest.approx(plain.item() + 0.3 * with_it.numbers["structure"], abs=1e-6)
    assert with_it.numbers["structure"] > 0


@pytest.mark.parametrize("metric", "NH")
def test_only_triplets_that_are_not_there_yet_are_attacked(pairs, metric):
    (images, labels), smooth_net = pairs, SmoothNet(metric).double().eval()
    before = hardness_of(smooth_net, triplets_of(images, labels, smooth_net, "s"))
    level = before.median().item() + 1e-6
    sizes = []
    hook = smooth_net.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    defense = defense_of("hmetsm", Constant(level), metric, eta=3)
    defense(smooth_net, images, labels, draw)
    hook.remove()
    attacked = 3 * int((before < level).sum())
    assert sizes[1] == attacked < 18
    assert sizes[-1] == 18
    assert defense.numbers["attacked"] == pytest.approx(attacked / 18)
    assert defense.numbers["source"] == pytest.approx(before.mean().item())


def test_structure_costs_a_pass_of_two_images_a_triplet(smooth_net, pairs):
    sizes = []
    hook = smooth_net.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    defense_of("hmetsmi", Constant(2.0), eta=3)(smooth_net, *pairs, draw)
    hook.remove()
    assert sizes == [12, 18, 18, 18, 12, 18]  # mining, three steps of the attack, benign pairs, attacked triplets


def test_destinations_of_ones_own(smooth_net, pairs):
    images, labels = pairs
    mined, custom = Mined("m"), Custom(lambda h: h, miner="m")
    losses = [defense_of("hmetsd", d)(smooth_net, images, labels, draw).item() for d in (mined, custom)]
    assert losses[0] == losses[1]
    with pytest.raises(ValueError, match="no destination"):
        defense_of("d", mined)


def test_the_same_streams_give_the_same_loss(smooth_net, pairs):
    for suffix in ("d", "ghmetsmi"):
        first, second = (defense_of(suffix)(smooth_net, *pairs, draw).item() for _ in range(2))
        assert first == second


class WaveNet(nn.Module):
    """Images (N, 1, 28, 28) to 6 numbers, without chance."""

    def __init__(self, metric):
        super().__init__()
        self.metric = metric
        weights = torch.arange(784 * 6, dtype=torch.float64)
        self.weight = nn.Parameter(0.2 * torch.sin(0.7 * weights).view(6, 784))
        self.bias = nn.Parameter(0.1 * torch.arange(6, dtype=torch.float64))

    def forward(self, images):
        return nn.functional.linear(images.flatten(1), self.weight, self.bias)


@pytest.mark.parametrize(
    ("metric", "parity", "shift"),
    [
        *(("N", "robrank", 1.64890934897), ("C", "robrank", 1.25640903682), ("E", "robrank", 1.27881123374)),
        *(("N", "fixed", 1.64890934897), ("C", "fixed", 1.25640903682), ("E", "fixed", 45.0049720820)),
    ],
)
def test_the_shift_of_ses_by_parity_is_that_of_the_release(metric, parity, shift):
    """From a run of the released step with the same first noise; under E it normalises the attacked side only."""
    images = 0.5 + 0.4 * torch.sin(0.37 * torch.arange(8 * 784, dtype=torch.float64)).view(8, 1, 28, 28)
    recipe = build_recipe(f"fashion:rc2f2e:ptriplet{metric}", parity=parity, eps=0.3, step=0.1, eta=3)
    defense = defenses.build(recipe)
    labels = torch.arange(4).repeat_interleave(2)
    defense(WaveNet(metric), images, labels, lambda name: torch.Generator().manual_seed(0))
    assert defense.numbers["shift"] == pytest.approx(shift, abs=1e-9)


@pytest.mark.parametrize(("metric", "margin"), [("N", 1.0), ("E", 1.0), ("C", 0.2), ("H", 0.1)])
def test_act_by_parity_mines_with_the_margin_of_the_release(metric, margin):
    """1.0 for N and E, although N trains with 0.2; C keeps its 0.2. The release knows no H."""
    defense = defenses.build(build_recipe(f"fashion:rc2f2p:pmtriplet{metric}", parity="robrank"))
    asked = []
    defense.loss.mine = lambda rows, labels, generator, given=None: asked.append(given or defense.margin)
    images, labels = torch.zeros(4, 1, 28, 28, dtype=torch.float64), torch.tensor([0, 0, 1, 1])
    defense.mine(WaveNet(metric), images, labels, draw)
    assert asked == [margin]
