"""The optimizer, the course of its rate, and the averaged weights."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from anrot_lib.fewshot.optimization import build_average, build_optimizer, compute_rate_factor
from anrot_lib.settings import Recipe


def test_the_rate_follows_its_schedule():
    assert [compute_rate_factor("cosine", k, 4) for k in (0, 2, 4)] == pytest.approx([1.0, 0.5, 0.0])
    assert {compute_rate_factor("constant", k, 4) for k in range(5)} == {1.0}
    rates = [compute_rate_factor("one-cycle", k, 20) for k in range(20)]
    assert rates[:2] == [0.5, 1.0] and rates[2] == pytest.approx(18 / 19) and rates[-1] == pytest.approx(1 / 19)
    falls = [a - b for a, b in pairwise(rates[2:])]
    assert falls == pytest.approx([1 / 19] * 17)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_one_cycle_of_few_steps_stays_in_range(n):
    rates = [compute_rate_factor("one-cycle", k, n) for k in range(n)]
    assert all(0 < rate <= 1 for rate in rates) and rates[0] == 1


# Nesterov's first step is 1.9 times the gradient, which is here the decay alone
@pytest.mark.parametrize(("name", "left"), [("sgd", 1 - 1.9 * 0.05), ("adamw", 1 - 0.05)])
def test_weight_decay_leaves_biases_and_scales_alone(name, left):
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    for p in net.parameters():
        nn.init.ones_(p)
        p.grad = torch.zeros_like(p)
    build_optimizer(Recipe(optimizer=name, weight_decay=0.5), net, 0.1).step()
    matrix, *vectors = net.parameters()
    torch.testing.assert_close(matrix.detach(), torch.full((3, 3), left))
    assert all(torch.equal(v.detach(), torch.ones(3)) for v in vectors)


def test_sgd_has_momentum_and_steps_at_the_rate():
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    optimizer = build_optimizer(Recipe(optimizer="sgd"), net, 0.1)
    for _ in range(2):
        net.weight.grad = torch.ones(1, 1)
        optimizer.step()
    # Nesterov: steps of g + 0.9 v with v = 1, then v = 1.9
    assert net.weight.item() == pytest.approx(-0.1 * (1.9 + 1 + 0.9 * 1.9))


def test_the_average_remembers_statistics_too():
    net = nn.BatchNorm1d(2)
    average = build_average(net, 0.75)
    values = []
    for k in range(40):
        net.running_mean.fill_(float(k))
        average.update_parameters(net)
        values.append(average.module.running_mean[0].item())
    expected = 0.0
    for k in range(1, 40):
        kept = min(0.75, (k + 1) / (k + 10))
        expected = kept * expected + (1 - kept) * k
    assert values[0] == 0 and values[-1] == pytest.approx(expected)
    assert build_average(net, 0.0) is None
