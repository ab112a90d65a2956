"""Miners on embeddings made by hand, against pytorch-metric-learning where it says the same, and their fallbacks."""

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.miners import TripletMarginMiner

from anrot_lib.core.errors import UserError
from anrot_lib.ranking.distances import cdist, normalise
from anrot_lib.ranking.training.miners import MINERS, mine
from tests.helpers import rng


def on_a_line(*places):
    """1-D embeddings under E: distances are differences."""
    return torch.tensor(places, dtype=torch.float64).unsqueeze(1)


def draws(miner, embeddings, labels, metric="E", margin=0.2, n=200, parity="fixed"):
    """What was drawn for the first anchor: sets of positives and negatives."""
    found = [mine(miner, embeddings, labels, metric, margin, rng(k), parity) for k in range(n)]
    return {t.positive[0].item() for t in found}, {t.negative[0].item() for t in found}


def random_batch(seed, pairs=20, classes=6, d=16):
    labels = torch.randint(classes, (pairs,), generator=rng(seed)).repeat_interleave(2)
    return normalise(torch.randn(2 * pairs, d, generator=rng(seed + 1)), "N"), labels


@pytest.mark.parametrize("miner", [*MINERS, "D"])
def test_anchors_are_the_even_rows_and_classes_are_right(miner):
    embeddings, labels = random_batch(0)
    for seed in range(20):
        a, p, n = mine(miner, embeddings, labels, "N", 0.2, rng(seed))
        assert a.tolist() == list(range(0, 40, 2))
        assert (labels[a] == labels[p]).all()
        spectral = miner == "D" and torch.equal(a, p)
        assert (labels[a] == labels[n]).all() if spectral else (labels[a] != labels[n]).all()


def test_semihard_takes_the_open_band_only():
    # anchor 0, positive at 0.5; at 0.5 and 0.7 lie the ends of the band
    line = on_a_line(0, 0.5, 0.5, 0.7, 0.6, 0.69, 0.3, 5)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    assert draws("m", line, labels)[1] == {4, 5}


def test_semihard_falls_back_to_all_negatives_and_then_to_the_batch():
    assert draws("m", on_a_line(0, 0.5, 2, 3), torch.tensor([0, 0, 1, 1]))[1] == {2, 3}
    assert draws("m", on_a_line(0, 0.5, 2, 3), torch.zeros(4, dtype=torch.int64))[1] == {0, 1, 2, 3}


def test_semihard_is_a_choice_from_that_of_pytorch_metric_learning():
    embeddings, labels = random_batch(3)
    judge = TripletMarginMiner(margin=0.2, type_of_triplets="semihard", distance=LpDistance())
    allowed = set(zip(*(i.tolist() for i in judge(embeddings, labels)), strict=True))
    some = 0
    for seed in range(10):
        for triplet in zip(*(i.tolist() for i in mine("m", embeddings, labels, "N", 0.2, rng(seed))), strict=True):
            has_band = any(t[:2] == triplet[:2] for t in allowed)
            assert not has_band or triplet in allowed
            some += has_band
    assert some > 50


def test_softhard_takes_hard_ones_on_both_sides():
    # positives at 0.2 and 0.9, negatives at 0.5 and 2: only 0.9 is farther than a negative, only 0.5 nearer than 0.9
    line = on_a_line(0, 0.2, 0.9, 0.9, 0.5, 2)
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    assert draws("s", line, labels) == ({2, 3}, {4})


def test_softhard_of_separated_classes_may_take_the_anchor_in_parity_mode_only():
    line, labels = on_a_line(0, 0.1, 5, 6), torch.tensor([0, 0, 1, 1])
    assert draws("s", line, labels) == ({1}, {2, 3})
    assert draws("s", line, labels, parity="robrank") == ({0, 1}, {2, 3})


def test_softhard_without_negatives_takes_the_partner():
    line, labels = on_a_line(0, 0.1, 5, 6), torch.zeros(4, dtype=torch.int64)
    assert draws("s", line, labels) == ({1}, {0, 1, 2, 3})


def test_hardest_takes_the_nearest_negative_and_skips_copies():
    line, labels = on_a_line(0, 0.1, 0, 0.4, 0.3, 1), torch.tensor([0, 0, 1, 1, 2, 2])
    assert draws("h", line, labels)[1] == {4}
    with pytest.raises(ValueError, match="original"):
        draws("h", line, torch.zeros(6, dtype=torch.int64), parity="robrank", n=1)


def test_distance_weights_are_those_of_the_sphere():
    embeddings, labels = random_batch(5, pairs=4, classes=4, d=4)
    labels = torch.arange(4).repeat_interleave(2)
    d = cdist(embeddings, embeddings, "N")[0, 2:].double()
    weight = d ** (2 - 4) * (1 - d.square() / 4) ** (-(4 - 3) / 2)
    drawn = torch.zeros(6)
    for seed in range(3000):
        drawn[mine("d", embeddings, labels, "N", 0.2, rng(seed)).negative[0] - 2] += 1
    torch.testing.assert_close(drawn.double() / 3000, weight / weight.sum(), atol=0.03, rtol=0)


@pytest.mark.parametrize("metric", "CE")
def test_distance_weights_under_other_metrics_are_those_of_the_unit_vectors(metric):
    embeddings, labels = 3 * random_batch(5, pairs=4, classes=4, d=6)[0], torch.arange(4).repeat_interleave(2)
    rows = normalise(embeddings, metric)
    for seed in range(20):
        assert torch.equal(
            mine("d", rows, labels, metric, 0.2, rng(seed)).negative,
            mine("d", normalise(embeddings, "N"), labels, "N", 0.2, rng(seed)).negative,
        )


def test_distance_weights_by_parity_are_those_of_the_metric():
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    # under E one distance above 2 has a weight that is no number, and then any row of the batch is drawn
    line = on_a_line(0, 0.1, 0.5, 0.6, 1.2, 9)
    assert draws("d", line, labels, parity="robrank") == ({1}, {0, 1, 2, 3, 4, 5})
    # under C the weight is that of 1 - cos in the place of a length: here ln w = 510 ln(1 / d) is largest for row 2
    angles = torch.tensor([0, 0.1, 0.6, 1.0, 1.2, 1.5])
    embeddings = torch.zeros(6, 512)
    embeddings[:, 0], embeddings[:, 1] = angles.cos(), angles.sin()
    assert draws("d", embeddings, labels, metric="C", parity="robrank")[1] == {2}


def test_in_512_dimensions_the_nearest_negative_is_drawn():
    angles = torch.tensor([0, 0.1, 0.6, 1.0, 1.2, 1.5])
    embeddings = torch.zeros(6, 512)
    embeddings[:, 0], embeddings[:, 1] = angles.cos(), angles.sin()
    assert draws("d", embeddings, torch.tensor([0, 0, 1, 1, 2, 2]), metric="N")[1] == {2}


@pytest.mark.parametrize("miner", [*MINERS, "D"])
def test_one_class_never_fails_in_fixed_mode_and_negatives_come_from_the_whole_batch(miner):
    embeddings, labels = random_batch(7, pairs=3, classes=1)
    assert draws(miner, embeddings, labels, metric="N")[1] <= set(range(6))


def test_equal_embeddings_give_triplets_of_numbers():
    embeddings = normalise(torch.ones(8, 16), "N")
    for miner in MINERS:
        assert (mine(miner, embeddings, torch.arange(4).repeat_interleave(2), "N", 0.2, rng()).negative >= 2)[0]


def test_a_negative_equal_to_the_anchor():
    embeddings, labels = torch.eye(512)[[0, 1, 0, 2]], torch.tensor([0, 0, 1, 1])
    assert draws("d", embeddings, labels, metric="N")[1] == {2}
    # its weight is infinity over infinity in the original, which then draws from the whole batch
    assert draws("d", embeddings, labels, metric="N", parity="robrank")[1] == {0, 1, 2, 3}


def test_triplets_follow_the_seed():
    embeddings, labels = random_batch(9)
    for miner in MINERS:
        first, second, other = (mine(miner, embeddings, labels, "N", 0.2, rng(seed)) for seed in (1, 1, 2))
        assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
        assert miner == "h" or not torch.equal(first.negative, other.negative)


def test_an_odd_batch_is_refused():
    with pytest.raises(UserError, match="two rows a pair"):
        mine("r", torch.zeros(3, 2), torch.zeros(3), "N", 0.2, rng())
