"""Hesim: against a loop, against the library's NT-Xent, at the edges, and its published failing."""

import math

import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.losses import NTXentLoss
from pytorch_metric_learning.miners import BatchHardMiner, MultiSimilarityMiner, PairMarginMiner, TripletMarginMiner
from pytorch_metric_learning.reducers import (
    AvgNonZeroReducer,
    ClassWeightedReducer,
    DoNothingReducer,
    MeanReducer,
    PerAnchorReducer,
    ThresholdReducer,
)
from torch.nn.functional import normalize

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import DiagonalGaussian, FullGaussian
from anrot_lib.fewshot.hesim import BhattacharyyaCoefficient, Hesim, flatten_gaussians
from tests.helpers import rng

LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 0, 2])


def gaussians(n=10, c=8, seed=0, spread=1.0, dtype=torch.float32):
    mean = spread * torch.randn(n, c, generator=rng(seed), dtype=dtype)
    return flatten_gaussians(DiagonalGaussian(mean, 0.05 + torch.rand(n, c, generator=rng(seed + 1), dtype=dtype)))


def vectors(n=10, c=8, seed=0, dtype=torch.float32):
    return torch.randn(n, c, generator=rng(seed), dtype=dtype)


def coefficient(x, y, kind):
    """One coefficient by its definition, in plain floats."""
    if kind == "simplex":
        return sum(math.sqrt(a * b) for a, b in zip(x.softmax(0).tolist(), y.softmax(0).tolist(), strict=True))
    (m, a), (n, b) = ([half.tolist() for half in row.chunk(2)] for row in (x, y))
    logs = [
        0.5 * math.log(2 * math.sqrt(u * v) / (u + v)) - (i - j) ** 2 / (4 * (u + v))
        for i, j, u, v in zip(m, n, a, b, strict=True)
    ]
    return math.exp(sum(logs) / len(logs))


def triple_loop(embeddings, labels, temperature, kind):
    """Over anchors, positives and negatives, as the formula is written."""
    losses, n = [], len(labels)
    for i in range(n):
        negatives = 0.0
        for j in range(n):
            if labels[j] != labels[i]:
                negatives += math.exp(coefficient(embeddings[i], embeddings[j], kind) / temperature)
        for p in range(n):
            if p != i and labels[p] == labels[i]:
                e = math.exp(coefficient(embeddings[i], embeddings[p], kind) / temperature)
                losses.append(-math.log(e / (e + negatives)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("kind", ["gaussian", "simplex"])
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_is_the_formula(kind, temperature):
    embeddings = (gaussians if kind == "gaussian" else vectors)(dtype=torch.float64)
    expected = triple_loop(embeddings, LABELS.tolist(), temperature, kind)
    assert Hesim(temperature, kind)(embeddings, LABELS).item() == pytest.approx(expected, rel=1e-9)
    assert Hesim(temperature, kind)(embeddings.float(), LABELS).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.07])
def test_with_cosine_similarity_it_is_the_library_ntxent(temperature):
    x = vectors(40, 16)
    labels = torch.randint(0, 6, (40,), generator=rng(3))
    ours, theirs = Hesim(temperature, distance=CosineSimilarity()), NTXentLoss(temperature)
    assert ours(x, labels).item() == pytest.approx(theirs(x, labels).item(), abs=1e-6)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours(a, labels).backward(), theirs(b, labels).backward()
    torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-4)


def test_on_the_simplex_it_is_ntxent_of_the_unit_vectors_of_roots():
    x = vectors(12, 16)
    labels = torch.arange(12) // 3
    roots = (0.5 * x.log_softmax(-1)).exp()
    torch.testing.assert_close(roots.norm(dim=-1), torch.ones(12))
    expected = NTXentLoss(0.1)(roots, labels).item()
    assert Hesim(0.1, "simplex")(x, labels).item() == pytest.approx(expected, abs=1e-6)


MINERS = [
    BatchHardMiner(distance=BhattacharyyaCoefficient()),
    MultiSimilarityMiner(distance=BhattacharyyaCoefficient()),
    PairMarginMiner(pos_margin=0.9, neg_margin=0.3, distance=BhattacharyyaCoefficient()),
    TripletMarginMiner(margin=0.2, distance=BhattacharyyaCoefficient()),
]


@pytest.mark.parametrize("miner", MINERS, ids=lambda m: type(m).__name__)
def test_every_miner_gives_the_library_ntxent(miner):
    """On the same similarities, whatever pairs or triplets the miner lists."""
    x = gaussians(20, 4)
    labels = torch.arange(20) % 4
    found = miner(x, labels)
    assert len(found[0]) > 0
    ours = Hesim(0.1)(x, labels, found)
    theirs = NTXentLoss(0.1, distance=BhattacharyyaCoefficient())(x, labels, found)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert ours.item() != pytest.approx(Hesim(0.1)(x, labels).item(), abs=1e-3), "the miner had no effect"


REDUCERS = [
    MeanReducer(),
    AvgNonZeroReducer(),
    PerAnchorReducer(),
    ThresholdReducer(low=0.5),
    ClassWeightedReducer(torch.tensor([1.0, 2.0, 0.5, 1.0])),
]


@pytest.mark.parametrize("reducer", REDUCERS, ids=lambda r: type(r).__name__)
def test_every_reducer_works(reducer):
    x = gaussians()
    theirs = NTXentLoss(0.1, distance=BhattacharyyaCoefficient(), reducer=reducer)(x, LABELS)
    assert Hesim(0.1, reducer=reducer)(x, LABELS).item() == pytest.approx(theirs.item(), abs=1e-5)


def test_losses_come_pair_by_pair():
    found = Hesim(reducer=DoNothingReducer())(gaussians(), LABELS)["loss"]
    anchor, positive = found["indices"]
    assert found["reduction_type"] == "pos_pair"
    assert len(found["losses"]) == len(anchor) == sum(n * (n - 1) for n in (3, 3, 2, 2))
    assert (LABELS[anchor] == LABELS[positive]).all() and (found["losses"] >= 0).all()


def test_reference_embeddings():
    """Anchors from the batch, positives and negatives from the reference set, no self pairs to leave out."""
    x, ref = gaussians(6, 5), gaussians(9, 5, seed=7)
    labels, ref_labels = torch.tensor([0, 0, 1, 1, 2, 2]), torch.arange(9) % 3
    ours = Hesim(0.1)(x, labels, ref_emb=ref, ref_labels=ref_labels)
    theirs = NTXentLoss(0.1, distance=BhattacharyyaCoefficient())(x, labels, ref_emb=ref, ref_labels=ref_labels)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_distances_that_grow_are_turned():
    x = vectors()
    theirs = NTXentLoss(1.0, distance=LpDistance())(x, LABELS)
    assert Hesim(1.0, distance=LpDistance())(x, LABELS).item() == pytest.approx(theirs.item(), abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("kind", ["gaussian", "simplex"])
@pytest.mark.parametrize("case", ["random", "equal", "far", "flat"])
def test_finite_in_float32_and_bfloat16(temperature, kind, case):
    spread = {"random": 1.0, "equal": 0.0, "far": 1e3, "flat": 1e-8}[case]
    x = gaussians(20, 64, spread=spread) if kind == "gaussian" else spread * vectors(20, 64)
    labels = torch.arange(20) % 4
    for dtype in (torch.float32, torch.bfloat16):
        leaf = x.to(dtype, copy=True).requires_grad_()
        loss = Hesim(temperature, kind)(leaf, labels)
        loss.backward()
        assert loss.dtype == torch.float32 and loss.isfinite() and leaf.grad.isfinite().all()


def test_autocast_changes_nothing():
    for kind, x in (("gaussian", gaussians()), ("simplex", vectors())):
        for loss in (Hesim(0.1, kind), Hesim(0.1, distance=CosineSimilarity())):
            expected = loss(x, LABELS)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert torch.equal(loss(x, LABELS), expected)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0, 0]], ids=["no positives", "no negatives"])
def test_nothing_to_contrast_is_zero_with_a_gradient(labels):
    x = gaussians(4).requires_grad_()
    loss = Hesim()(x, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0 and torch.equal(x.grad, torch.zeros_like(x))


def test_an_anchor_without_negatives_has_zero_loss():
    pairs = (torch.tensor([0, 2]), torch.tensor([1, 3]), torch.tensor([0, 0]), torch.tensor([2, 3]))
    x = gaussians(4).requires_grad_()
    losses = Hesim(reducer=DoNothingReducer())(x, None, pairs)["loss"]["losses"]
    losses.sum().backward()
    assert losses[0] > 0 and losses[1] == 0 and x.grad.isfinite().all()


def test_perfect_is_below_random_is_below_wrong():
    labels = torch.arange(20) % 4
    wrong = torch.arange(20) // 5

    def clusters(of):
        return flatten_gaussians(DiagonalGaussian(5 * torch.eye(4)[of], torch.full((20, 4), 0.1)))

    for temperature in (1.0, 0.1, 0.01):
        loss = Hesim(temperature)
        perfect, random, bad = (loss(x, labels) for x in (clusters(labels), gaussians(20, 4), clusters(wrong)))
        assert perfect < random < bad


def test_descending_it_separates_classes():
    x = vectors(20, 16).requires_grad_()
    labels = torch.arange(20) % 4
    loss, optimizer = Hesim(), torch.optim.Adam([x], 0.1)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        rows = flatten_gaussians(DiagonalGaussian(x, torch.full_like(x, 0.1)))
        values.append(loss(rows, labels))
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.1 * values[0]


def test_joint_coefficient_over_many_dimensions_is_blind():
    """20 negatives, 256 dimensions: ln 21 = 3.0445 and no gradient; the mean over dimensions sees and pulls."""
    labels = torch.cat([torch.zeros(2, dtype=torch.long), torch.arange(1, 21)])  # one pair, 20 others
    x = gaussians(22, 256).requires_grad_()
    joint = Hesim(0.1, distance=BhattacharyyaCoefficient(per_dimension=False))(x, labels)
    assert joint.item() == pytest.approx(math.log(21), abs=1e-6) == pytest.approx(3.0445, abs=1e-4)
    assert not torch.autograd.grad(joint, x)[0].any()
    loss = Hesim(0.1)(x, labels)
    assert abs(loss.item() - math.log(21)) > 0.01
    assert torch.autograd.grad(loss, x)[0].abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["gaussian", "simplex"])
def test_coefficient_is_a_similarity(kind):
    x = gaussians() if kind == "gaussian" else vectors()
    distance = BhattacharyyaCoefficient(kind)
    mat = distance(x)
    expected = torch.tensor([[coefficient(a, b, kind) for b in x] for a in x])
    torch.testing.assert_close(mat, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mat.diagonal(), torch.ones(10), atol=1e-6, rtol=0)
    torch.testing.assert_close(distance.pairwise_distance(x, x.flip(0)), mat.flip(1).diagonal())
    assert distance.is_inverted and mat.min() >= 0 and mat.max() <= 1 + 1e-6


@pytest.mark.parametrize("loss", [Hesim(0.1), Hesim(0.1, "simplex")], ids=["gaussian", "simplex"])
def test_gradcheck(loss):
    x = gaussians(6, 3, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 0])
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), x)


def test_gaussian_embeddings_keep_leading_dims():
    g = DiagonalGaussian(torch.zeros(2, 5, 3), torch.ones(2, 5, 3))
    rows = flatten_gaussians(g)
    assert rows.shape == (2, 5, 6) and torch.equal(rows[..., :3], g.mean) and torch.equal(rows[..., 3:], g.var)


def test_errors_say_what_to_do():
    labels = torch.tensor([0, 0, 1])
    with pytest.raises(UserError, match="even number of columns, got 5"):
        Hesim()(torch.ones(3, 5), labels)
    with pytest.raises(UserError, match="are variances and must be positive"):
        Hesim()(normalize(-torch.ones(3, 6)), labels)
    with pytest.raises(UserError, match="temperature of Hesim must be positive, got 0"):
        Hesim(0)
    with pytest.raises(UserError, match="kind must be 'gaussian' or 'simplex', got 'cosine'"):
        Hesim(kind="cosine")
    with pytest.raises(UserError, match="got a full one"):
        flatten_gaussians(FullGaussian(torch.zeros(2, 3), cov=torch.zeros(2, 3, 3)))
    with pytest.raises(ValueError, match="cannot both be None"):
        Hesim()(gaussians())
