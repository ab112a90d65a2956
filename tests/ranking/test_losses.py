"""Triplet and structure losses against closed forms; the library's losses against their formulas and the grammar."""

import itertools

import pytest
import torch
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from torch.nn import functional as F

from anrot_lib.core.errors import UserError
from anrot_lib.ranking.distances import cdist, normalise
from anrot_lib.ranking.names import KINDS, MARGINS, parse_loss
from anrot_lib.ranking.recipe import build_recipe
from anrot_lib.ranking.training import losses
from anrot_lib.ranking.training.losses import RankingDistance, structure_loss, triplet_loss

E1, E2 = torch.eye(2, dtype=torch.float64).unsqueeze(1)  # rows (1, 2)


def registered():
    """Every loss that the grammar knows."""
    for batch, miner, kind, barlow, metric in itertools.product("pct", ("", *"msdhD"), KINDS, ("", "BT"), "NECH"):
        text = f"{batch}{miner}{kind}{barlow}{metric}"
        try:
            yield str(parse_loss(text))
        except UserError:
            continue


def batch(width=2, seed=0, d=8):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(5).repeat_interleave(width)
    return torch.randn(len(labels), d, generator=generator).requires_grad_(), labels


def loss_of(name, **changes):
    return losses.build(build_recipe(f"cub:rres18:{name}", **changes))


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("triplet", "expected"), [((E1, E2, -E1), 0.0), ((E1, -E1, E1), 2.2)])
def test_triplet_loss_of_known_triplets(triplet, expected):
    assert triplet_loss(*triplet, "N", 0.2).item() == pytest.approx(expected, abs=1e-4)


def test_triplet_loss_is_that_of_torch():
    a, p, n = (normalise(torch.randn(9, 16, generator=torch.Generator().manual_seed(k)), "N") for k in range(3))
    torch.testing.assert_close(triplet_loss(a, p, n, "N", 0.2), F.triplet_margin_loss(a, p, n, margin=0.2))


@pytest.mark.parametrize(
    ("anchor", "attacked", "positive", "expected"),
    [(E1, E1, E2, 0.0), (E1, E2, -E1, 0.0), (E1, -E1, E2, 2 - 2**0.5)],
)
def test_structure_loss_of_known_rows(anchor, attacked, positive, expected):
    assert structure_loss(anchor, attacked, positive).item() == pytest.approx(expected, abs=1e-4)


def test_structure_loss_moves_all_three():
    rows = [row.clone().requires_grad_() for row in (E1, -E1, E2)]
    loss = 0.5 * structure_loss(*rows)
    assert loss.item() == pytest.approx(0.2929, abs=1e-4)
    loss.backward()
    assert all(row.grad.abs().max() > 0 for row in rows)


@pytest.mark.parametrize("name", sorted(set(registered())))
def test_every_registered_loss_is_finite_and_moves_the_embeddings(name):
    embeddings, labels = batch({"p": 2, "c": 3, "t": 3}[name[0]])
    loss = loss_of(name)(embeddings, labels, generator())
    assert loss.ndim == 0
    assert torch.isfinite(loss)
    loss.backward()
    assert torch.isfinite(embeddings.grad).all()
    assert loss == 0 or embeddings.grad.abs().max() > 0


def test_contrastive_loss_is_its_formula():
    embeddings, labels = batch()
    module = loss_of("pcontrastN")
    a, p, n = module.mine(normalise(embeddings, "N").detach(), labels, generator())
    v = normalise(embeddings, "N")
    pull, push = (v[a] - v[p]).norm(dim=1), (1 - (v[a] - v[n]).norm(dim=1)).relu()
    expected = pull.mean() + (push[push > 0].mean() if (push > 0).any() else 0)
    torch.testing.assert_close(module(embeddings, labels, generator()), expected, atol=1e-5, rtol=1e-5)


def test_signal_to_noise_loss_is_its_formula():
    embeddings, labels = batch()
    module = loss_of("psnrE")
    a, p, n = (embeddings[i] for i in module.mine(embeddings.detach(), labels, generator()))
    ratio = [(a - x).var(1) / a.var(1) for x in (p, n)]
    hinge = (ratio[0] - ratio[1] + 0.2).relu()
    expected = hinge.sum() / (hinge > 0).sum() + 5e-3 * embeddings.sum(1).abs().mean()
    torch.testing.assert_close(module(embeddings, labels, generator()), expected, atol=1e-5, rtol=1e-5)


def test_beta_of_the_margin_loss_is_learnt():
    embeddings, labels = batch()
    module = loss_of("pmarginN", beta=0.6)
    (beta,) = module.parameters()
    assert beta.item() == pytest.approx(0.6)
    module(embeddings, labels, generator()).backward()
    assert beta.grad is not None


def test_the_miner_of_the_name_is_used():
    embeddings, labels = batch(seed=3)
    values = {name: loss_of(name)(embeddings, labels, generator()).item() for name in ("ptripletN", "phtripletN")}
    assert values["phtripletN"] > values["ptripletN"]


def test_barlow_twins_of_equal_and_independent_views():
    view = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0))
    other = torch.randn(4000, 6, generator=torch.Generator().manual_seed(1))
    assert losses.barlow_twins(view, view).item() < 0.02
    assert losses.barlow_twins(view, other).item() == pytest.approx(6, abs=0.3)


def test_a_triplet_loss_by_h_trains():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat(8)
    points = torch.randn(4, 10, generator=generator)[labels] + 0.5 * torch.randn(32, 10, generator=generator)
    net = torch.nn.Linear(10, 8)
    torch.nn.init.normal_(net.weight, std=0.05, generator=generator)
    loss = TripletMarginLoss(margin=MARGINS["H"], distance=RankingDistance("H"))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    miner = TripletMarginMiner(margin=0.1, distance=RankingDistance("H"))
    values = []
    for _ in range(60):
        embeddings = net(points)
        value = loss(embeddings, labels, miner(embeddings, labels))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.5 * values[0]
    distances = cdist(net(points), net(points), "H").detach().fill_diagonal_(torch.inf)
    assert (labels[distances.argmin(1)] == labels).float().mean() > 0.9
