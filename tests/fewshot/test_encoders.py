"""The five encoders: sizes, maps, gates as a switch, and that an image's map does not depend on its batch."""

import itertools

import pytest
import torch
from torch import nn

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot import encoders
from anrot_lib.fewshot.attention import Attention
from anrot_lib.records.describe import count_parameters
from tests.helpers import rng

NAMES = tuple(encoders.BUILDERS)
SMALL = tuple(name for name in NAMES if name != "resnet12")  # whose 12 million numbers take a second to draw


def empty(name, **options):
    """An encoder without numbers, for counting."""
    with torch.device("meta"):
        return encoders.build(name, **options)


def count_without_gates(encoder):
    gates = [p for m in encoder.modules() if isinstance(m, Attention) for p in m.parameters()]
    return count_parameters(encoder) - sum(p.numel() for p in gates)


def test_the_published_encoder_has_1547498_parameters():
    encoder = encoders.build("resnet12_anrot")
    assert count_parameters(encoder) == 1_547_498
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in encoder.modules()) == 11


def test_the_other_encoders_have_the_sizes_of_their_sources():
    conv = 3 * 64 * 9 + 3 * 64 * 64 * 9 + 4 * 2 * 64
    widths = (3, 64, 160, 320, 640)
    wide = sum(
        9 * a * b + 2 * 9 * b * b + a * b + 4 * 2 * b  # three 3x3, one 1x1, four batch norms
        for a, b in itertools.pairwise(widths)
    )
    counts = {name: count_parameters(empty(name)) for name in ("conv4", "conv64f", "resnet12")}
    assert counts == {"conv4": conv, "conv64f": conv, "resnet12": wide}
    assert wide == pytest.approx(12.4e6, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_switching_attention_off_removes_exactly_the_gates(name):
    on, off = (empty(name, attention=a) for a in (True, False))
    assert not any(isinstance(m, Attention) for m in off.modules())
    assert count_parameters(off) == count_without_gates(on) < count_parameters(on)
    shapes = [sorted(tuple(p.shape) for k, p in e.named_parameters() if ".channel." not in k) for e in (on, off)]
    for gate in [m for m in on.modules() if isinstance(m, Attention)]:
        shapes[0].remove(tuple(gate.spatial.conv.weight.shape))
    assert shapes[0] == shapes[1]


def test_the_published_gates_have_the_stated_sizes():
    on, off = (count_parameters(empty("resnet12_anrot", attention=a)) for a in (True, False))
    assert on - off == sum(2 * c * (c // 16) + 2 * 49 for c in (32, 64, 128, 128, 256))


def test_attention_is_on_by_default_where_its_authors_have_it():
    names = ("resnet12_anrot", "conv4", "tiny")
    assert [encoders.build(name).attention for name in names] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("resnet12_anrot", 84, (256, 11, 11)),
        ("resnet12_anrot", 32, (256, 4, 4)),
        ("resnet12", 84, (640, 5, 5)),
        ("conv4", 84, (64, 5, 5)),
        ("conv64f", 84, (64, 21, 21)),
        ("tiny", 32, (64, 4, 4)),
    ],
)
def test_maps_have_the_stated_shape(name, size, shape):
    encoder = encoders.build(name).eval()
    with torch.no_grad():
        maps = encoder(torch.rand(1, 3, size, size, generator=rng()))
    assert maps.shape == (1, *shape)
    assert maps.shape[1] == encoder.out_channels


def test_the_published_encoder_costs_1_33_gflop_at_84_px():
    encoder, flop = encoders.build("resnet12_anrot").eval(), []
    for conv in (m for m in encoder.modules() if isinstance(m, nn.Conv2d)):
        conv.register_forward_hook(lambda m, _, out: flop.append(2 * m.weight[0].numel() * out.numel() / len(out)))
    with torch.no_grad():
        encoder(torch.rand(1, 3, 84, 84))
    assert sum(flop) == pytest.approx(1.33e9, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_does_not_depend_on_the_batch_in_eval_mode(name):
    encoder = encoders.build(name, attention=True, generator=rng())
    images = torch.rand(4, 3, 16, 16, generator=rng(1))
    with torch.no_grad():
        encoder(images)  # in train mode, for running statistics that are not 0 and 1
        encoder.eval()
        together, alone = encoder(images), torch.cat([encoder(image[None]) for image in images])
    assert (together - alone).abs().max() / together.abs().max() < 1e-5


def test_the_input_is_normalised_inside():
    encoder, seen = encoders.build("tiny").eval(), []
    encoder.stages.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    grey = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 3, 8, 8)
    encoder(grey)
    assert seen[0][:, 0, 0, 0].tolist() == [-2.0, 0.0, 2.0]


def test_the_block_is_the_stated_formula():
    encoder = encoders.build("resnet12_anrot", generator=rng()).eval()
    block = encoder.stages[2][0]  # 32 -> 64, stride 2: with a shortcut
    x = torch.randn(2, 32, 8, 8, generator=rng(1))
    for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(generator=rng(2))
    conv = torch.nn.functional.conv2d
    inner = block.bn1(conv(x, block.conv1.weight, stride=2, padding=1)).relu()
    inner = block.bn2(conv(inner, block.conv2.weight, padding=1))
    inner = block.attention.channel(inner) * inner
    inner = block.attention.spatial(inner) * inner
    identity = block.shortcut[1](conv(x, block.shortcut[0].weight, stride=2))
    torch.testing.assert_close(block(x), (inner + identity).relu())
    same = encoder.stages[3][1]  # 128 -> 128: plain identity
    assert isinstance(same.shortcut, nn.Identity)


def test_weights_come_from_the_generator_alone():
    def weights(seed, global_seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            return torch.nn.utils.parameters_to_vector(
                encoders.build("resnet12_anrot", generator=rng(seed)).parameters()
            )

    first = weights(0, 1)
    assert torch.equal(first, weights(0, 2))
    assert not torch.equal(first, weights(1, 1))


def test_the_initialisation_is_kaiming_normal_fan_out():
    encoder = encoders.build("resnet12_anrot", generator=rng())
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
        elif isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


@pytest.mark.parametrize("name", SMALL)
def test_one_channel_works_and_another_number_is_named(name):
    encoder = encoders.build(name, in_channels=1).eval()
    with torch.no_grad():
        assert encoder(torch.rand(1, 1, 16, 16)).isfinite().all()
    with pytest.raises(UserError, match=rf"{name} .*1-channel.*3 channels"):
        encoder(torch.rand(1, 3, 16, 16))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown encoder 'resnet11'.*" + ".*".join(NAMES)):
        encoders.build("resnet11")


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter_and_every_image(name):
    encoder = encoders.build(name, attention=True, generator=rng())
    images = torch.rand(2, 3, 16, 16, generator=rng(1), requires_grad=True)
    encoder(images).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in encoder.parameters())
    assert images.grad.flatten(1).any(1).all()


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("name", list(encoders.BUILDERS))
def test_folded_is_the_same_function_without_batch_norm(name, attention):
    g = torch.Generator().manual_seed(0)
    encoder = encoders.build(name, attention=attention, generator=g)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: no statistic at its initial value
            for values, low in ((module.running_mean, -0.5), (module.running_var, 0.5), (module.weight, 0.5)):
                values.data.copy_(low + torch.rand(values.shape, generator=g))
    encoder.eval()
    images = torch.rand(3, 3, 32, 32, generator=g, requires_grad=True)
    folded = encoders.fold(encoder)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    before, after = encoder(images), folded(images)
    scale = before.abs().max().item()
    assert (before - after).abs().max() < 2e-5 * scale
    slopes = [torch.autograd.grad(maps.square().mean(), images, retain_graph=True)[0] for maps in (before, after)]
    assert torch.allclose(*slopes, rtol=1e-3, atol=1e-4 * slopes[0].abs().max().item())
    assert any(isinstance(m, nn.BatchNorm2d) for m in encoder.modules()), "the original is left alone"
