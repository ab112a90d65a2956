"""The two gates, and the fused mean-and-maximum under them, against plain formulas and finite differences."""

import pytest
import torch

from anrot_lib.fewshot.attention import Attention, ChannelAttention, MeanAndMax, SpatialAttention
from tests.helpers import rng


@pytest.mark.parametrize("layout", ["channels last", "channels first"])
@pytest.mark.parametrize("dim", [1, 2])
def test_mean_and_max_are_the_plain_ones_with_the_plain_gradients(dim, layout):
    if layout == "channels last":
        base = torch.randn(3, 7, 5, generator=rng(), dtype=torch.float64)
    else:
        base = torch.randn(3, 5, 7, generator=rng(), dtype=torch.float64).transpose(1, 2)
    x, y = (base.detach().requires_grad_() for _ in range(2))
    mean, maximum = MeanAndMax.apply(x, dim)
    assert torch.equal(mean, y.mean(dim, keepdim=True))
    assert torch.equal(maximum, y.amax(dim, keepdim=True))
    a, b = (torch.randn(mean.shape, generator=rng(s), dtype=torch.float64) for s in (1, 2))
    (a * mean + b * maximum).sum().backward()
    (a * y.mean(dim, keepdim=True) + b * y.amax(dim, keepdim=True)).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize("dim", [1, 2])
def test_gradcheck(dim):
    x = torch.randn(2, 4, 3, generator=rng(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: MeanAndMax.apply(t, dim), x)
    assert torch.autograd.gradcheck(lambda t: torch.cat(MeanAndMax.apply(t, dim), dim).sin(), x)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("part", [0, 1])
def test_one_of_the_two_alone_can_be_used(dim, part):
    x = torch.randn(2, 4, 3, generator=rng(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: MeanAndMax.apply(t, dim)[part], x)


@pytest.mark.parametrize("dim", [1, 2])
def test_ties_give_the_whole_gradient_to_one_maximal_entry(dim):
    x = torch.zeros(2, 4, 3, requires_grad=True)
    MeanAndMax.apply(x, dim)[1].sum().backward()
    assert (x.grad.sum(dim) == 1).all()
    assert ((x.grad == 0) | (x.grad == 1)).all()


def test_it_works_in_bf16_and_refuses_second_derivatives():
    x = torch.randn(2, 4, 3, generator=rng()).bfloat16().requires_grad_()
    mean, maximum = MeanAndMax.apply(x, 1)
    (mean.sum() + maximum.sum()).backward()
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.sum().item() == pytest.approx(2 * 2 * 3, abs=0.1)
    y = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(MeanAndMax.apply(y, 1)[1].square().sum(), y, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def channel_formula(gate, x):
    def mlp(v):
        return gate.expand.weight[:, :, 0, 0] @ (gate.squeeze.weight[:, :, 0, 0] @ v).relu()

    rows = [torch.sigmoid(mlp(image.mean((1, 2))) + mlp(image.amax((1, 2)))) for image in x]
    return torch.stack(rows)[:, :, None, None]


def spatial_formula(gate, x):
    pooled = torch.stack([x.mean(1), x.amax(1)], 1)
    return torch.sigmoid(torch.nn.functional.conv2d(pooled, gate.conv.weight, padding=3))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_gates_are_the_stated_formulas(memory_format):
    x = torch.randn(2, 32, 6, 5, generator=rng()).contiguous(memory_format=memory_format)
    both = Attention(32)
    torch.testing.assert_close(both.channel(x), channel_formula(both.channel, x))
    torch.testing.assert_close(both.spatial(x), spatial_formula(both.spatial, x))
    once = x * channel_formula(both.channel, x)
    torch.testing.assert_close(both(x), once * spatial_formula(both.spatial, once))  # channels first, then space


def test_shapes_ranges_and_sizes():
    x = 10 * torch.randn(2, 64, 5, 7, generator=rng())
    channel, spatial = ChannelAttention(64), SpatialAttention()
    assert channel(x).shape == (2, 64, 1, 1)
    assert spatial(x).shape == (2, 1, 5, 7)
    assert all(((g > 0) & (g < 1)).all() for g in (channel(x / 10), spatial(x / 10)))
    assert channel.squeeze.weight.shape == (4, 64, 1, 1)
    assert spatial.conv.weight.shape == (1, 2, 7, 7)
    assert not any(name.endswith("bias") for name, _ in Attention(64).named_parameters())
    assert ChannelAttention(8).squeeze.weight.shape == (1, 8, 1, 1)  # at least one hidden channel
