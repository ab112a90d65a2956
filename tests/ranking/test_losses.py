"""Triplet and structure losses against closed forms; the other losses against their formulas and the release."""

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
from anrot_lib.ranking.training.losses import AllPairsLoss, RankingDistance, structure_loss, triplet_loss
from anrot_lib.ranking.training.miners import Triplets

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


# Value, and sum of the absolute gradient, of the released losses on the rows and triplets below, in float64.
RELEASED = {
    "pcontrastN": (1.46291133511, 2.15128090039),
    "pcontrastC": (1.15505399275, 3.16083298733),
    "pcontrastE": (1.62362415004, 3.79514470841),
    "pmarginN": (1.06291131126, 2.15128090039),
    "pmarginC": (1.10881556336, 5.13214848453),
    "pmarginE": (1.22362412620, 3.79514470841),
    "pgliftN": (3.19897412825, 2.04147946474),
    "pgliftC": (3.33239298219, 2.30804520497),
    "pgliftE": (3.87780165418, 3.06369715393),
    "pnpairN": (2.48451582814, 2.94844997723),
    "pnpairC": (2.48451582814, 2.94844997723),
    "pnpairE": (2.44236810038, 3.68885619693),
    "pmsN": (1.46799822359, 1.53088600155),
    "pmsC": (1.46799822359, 1.53088600155),
    "psnrN": (0.92439151893, 11.01927539214),
    "psnrC": (0.92439151893, 11.01927539214),
    "psnrE": (0.37993183654, 12.14785706489),
    "ptripletN": (0.28802940801, 2.74811757048),
    "ptripletC": (0.34569618347, 3.67943225911),
    "ptripletE": (0.78196315381, 4.34340412970),
    "ptripletBTN": (0.28810114737, 2.74830548754),
}


def rows_of(labels):
    """Embeddings (n, 5) without chance, some way apart by class."""
    places = torch.arange(len(labels) * 5, dtype=torch.float64).view(-1, 5)
    apart = torch.tensor([1, -0.5, 0.3, 0, 0.2], dtype=torch.float64)
    return 0.6 * torch.sin(1.7 * places + 0.3 * labels.double()[:, None]) + 0.5 * labels.double()[:, None] * apart


@pytest.mark.parametrize("name", RELEASED)
def test_value_and_gradient_are_those_of_the_release(name):
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 0, 0, 3, 3, 0, 0])
    triplets = Triplets(torch.arange(0, 12, 2), torch.arange(1, 12, 2), torch.tensor([2, 6, 8, 4, 1, 9]))
    rows, module = rows_of(labels).requires_grad_(), loss_of(name).double()
    if isinstance(module, AllPairsLoss):
        value = module(rows, labels, generator())
    else:
        value = module.score_triplets(normalise(rows, module.metric), triplets, labels, generator())
    (gradient,) = torch.autograd.grad(value, rows)
    assert (value.item(), gradient.abs().sum().item()) == pytest.approx(RELEASED[name], abs=1e-10)


@pytest.mark.parametrize(("metric", "value"), [("N", 1.3492467968), ("C", 1.4612421302), ("E", 2.4918832952)])
def test_the_quadruplet_loss_by_parity_takes_a_place_among_negatives_for_a_row(metric, value):
    labels = torch.tensor([0, 0, 2, 2, 0, 0])
    rows = rows_of(labels)
    rows[2] = rows[0]  # the middle anchor may choose either; the others have one choice
    triplets = Triplets(torch.tensor([0, 2, 4]), torch.tensor([1, 3, 5]), torch.tensor([2, 5, 3]))
    losses_by_parity = [
        loss_of(f"pquad{metric}", parity=parity).score_triplets(normalise(rows, metric), triplets, labels, generator())
        for parity in ("robrank", "fixed")
    ]
    assert losses_by_parity[0].item() == pytest.approx(value, abs=1e-9)
    assert losses_by_parity[1].item() != pytest.approx(value, abs=0.01)


def test_all_pairs_without_negatives_take_a_row_by_chance():
    labels = torch.zeros(6, dtype=torch.int64)
    for name in ("pgliftE", "pnpairN", "pmsC"):
        embeddings = rows_of(labels).requires_grad_()
        values = {loss_of(name)(embeddings, labels, torch.Generator().manual_seed(k)).item() for k in range(8)}
        assert len(values) > 1 and all(torch.isfinite(torch.tensor(v)) for v in values)


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
    expected = hinge.sum() / (hinge > 0).sum() + 5e-3 * a.sum(1).abs().mean()
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


def test_barlow_twins_is_a_sum_over_classes_of_three_anchors_or_more():
    g = generator()
    first, second = torch.randn(2, 9, 4, generator=g, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 0, 2, 1, 1, 2])
    wanted = sum(losses.barlow_twins(first[labels == k], second[labels == k]) for k in (0, 1))
    assert losses.barlow_twins_by_class(first, second, labels) == pytest.approx(wanted)
    first[labels == 1, 2] = 0.5  # a constant dimension has no correlation
    wanted = losses.barlow_twins(first[labels == 0], second[labels == 0])
    assert losses.barlow_twins_by_class(first, second, labels) == pytest.approx(wanted)
    assert losses.barlow_twins_by_class(first[:2], second[:2], labels[:2]) == 0


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
