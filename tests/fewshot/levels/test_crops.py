"""The variant of 2022: crops, the graph over parts, and the head in a whole net."""

import pytest
import torch

from anrot_lib.attacks.gradient import fgsm
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.heads.trial import measure_batch_dependence
from anrot_lib.fewshot.levels.crops import N_PARTS, PartGraph, cut_crops, list_boxes
from anrot_lib.fewshot.methods import build_head
from tests.helpers import rng


def test_thirteen_boxes_in_the_image():
    found = list_boxes()
    assert found.shape == (N_PARTS, 4) and N_PARTS == 13
    assert found.min() == 0 and found.max() == 1
    torch.testing.assert_close(found[0], torch.tensor([0, 0.5, 0, 0.5]))  # a corner cell, doubled and clipped
    torch.testing.assert_close(found[4], torch.tensor([1 / 6, 5 / 6, 1 / 6, 5 / 6]))  # the middle one
    torch.testing.assert_close(found[9], torch.tensor([0, 0.75, 0, 0.75]))


def test_crops_show_their_part_of_the_image():
    rows = torch.linspace(0, 1, 33).diff().cumsum(0) - 1 / 64  # pixel centres
    image = torch.stack([rows[:, None].expand(32, 32), rows[None].expand(32, 32), torch.zeros(32, 32)])[None]
    found = cut_crops(image)
    assert found.shape == (1, 13, 3, 32, 32)
    for crop, (top, bottom, left, right) in zip(found[0], list_boxes(), strict=True):
        middle = crop[:, 12:20, 12:20].mean((1, 2))
        torch.testing.assert_close(middle[:2], torch.stack([(top + bottom) / 2, (left + right) / 2]), atol=2e-3, rtol=0)
        assert crop[0].max() <= bottom + 1e-3 and crop[0].min() >= top - 1e-3
    image = torch.rand(2, 3, 8, 8, generator=rng(), requires_grad=True)
    cut_crops(image).sum().backward()
    assert image.grad.ne(0).all()


def test_the_graph_hears_the_whole_class_or_only_itself():
    graph = PartGraph(4)
    parts, valid = torch.randn(1, 2, 3, 13, 4, generator=rng()), torch.ones(1, 2, 3, dtype=torch.bool)
    valid[0, 1, 2] = False
    moved = parts.clone()
    moved[0, 0, 1, 5] += 1
    moved[0, 1, 2] += 100  # a shot that does not count
    heard = (graph(moved, valid) - moved - (graph(parts, valid) - parts)).abs().amax(-1)
    assert (heard[0, 0] > 0).all() and heard[0, 1].max() < 1e-5
    alone = PartGraph(4, "self")
    heard = (alone(moved, valid) - moved - (alone(parts, valid) - parts)).abs().amax(-1)
    assert heard[0, 0, 1, 5] > 0 and heard[0, 0].count_nonzero() == 1
    with pytest.raises(UserError, match="unknown adjacency"):
        PartGraph(4, "all")


@pytest.fixture(scope="module")
def net():
    net = create_net("tiny", "mml-2022", generator=rng())
    with torch.no_grad():
        net.encode(torch.rand(20, 3, 32, 32, generator=rng()))
    return net.eval()


def test_a_whole_net(net):
    g = rng(1)
    centres = torch.rand(3, 3, 8, 8, generator=g)
    big = torch.nn.functional.interpolate(centres, size=32)
    support = (big[[0, 1, 2, 0, 1, 2]] + 0.1 * torch.rand(6, 3, 32, 32, generator=g)).clamp(0, 1)
    query = (big[[1, 0, 2, 2]] + 0.1 * torch.rand(4, 3, 32, 32, generator=g)).clamp(0, 1)
    maps = net.encode(query[None])
    assert maps.shape == (1, 4, 64, 1, 16 + 13)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    net.process_support_set(support, labels)
    with torch.no_grad():
        found = net(query)
        scores = net.head.score(net.model, maps)
    assert found.argmax(-1).tolist() == [1, 0, 2, 2]
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(4))  # the mixture of probabilities
    expected = sum(w * scores.levels[k].softmax(-1) for k, w in (("part", 0.5), ("pixel", 0.25), ("global", 0.25)))
    torch.testing.assert_close(found.exp(), expected[0])
    model = net.fit(support[None], labels[None])
    difference, changed = measure_batch_dependence(net.head, model, maps)
    assert difference < 1e-5 and changed == 0


def test_masked_shots_do_not_count(net):
    images, labels = torch.rand(1, 6, 3, 32, 32, generator=rng()), torch.tensor([[0, 1, 2, 0, 1, 2]])
    mask = torch.tensor([[True, True, True, True, False, True]])
    with torch.no_grad():
        maps, query = net.encode(images), net.encode(torch.rand(1, 3, 3, 32, 32, generator=rng(1)))
        kept = [0, 1, 2, 3, 5]
        by_mask = net.head.score(net.head.fit(maps, labels, mask), query).logits
        left_out = net.head.score(net.head.fit(maps[:, kept], labels[:, kept]), query).logits
    torch.testing.assert_close(by_mask, left_out, rtol=1e-4, atol=1e-5)


def test_gradients_reach_pixels_and_every_parameter(net):
    from anrot_lib.attacks.episode import attack_queries

    images, labels = torch.rand(1, 4, 3, 32, 32, generator=rng()), torch.tensor([[0, 1, 0, 1]])
    query = torch.rand(1, 3, 3, 32, 32, generator=rng(1)).requires_grad_()
    net.zero_grad()
    logits = net.head.score(net.fit(images, labels), net.encode(query)).logits
    torch.nn.functional.cross_entropy(logits[0], torch.tensor([0, 1, 0])).backward()
    assert query.grad.flatten(2).any(-1).all()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in net.head.parameters())
    with torch.no_grad():
        model = net.fit(images, labels)
    found = attack_queries(net, model, query.detach(), torch.tensor([[0, 1, 0]]), fgsm(8 / 255, "query"))
    assert (found.images - query).abs().max() <= 8 / 255 + 1e-6 and not torch.equal(found.images, query)


def test_maps_without_crops_are_refused():
    head = build_head("mml-2022", 8)
    with pytest.raises(UserError, match="13 crops behind their positions"):
        head.describe(torch.zeros(2, 8, 4, 4))
