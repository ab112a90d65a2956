"""Every image is an anchor once an epoch; partners are of the class; epochs can be drawn again."""

import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.ranking.data.batches import Sampler

LABELS = torch.tensor([3, 1, 1, 0, 3, 3, 0, 1, 0, 2])


def rows(sampler, epoch=0):
    width = {"p": 2, "c": 1, "t": 3}[sampler.kind]
    return torch.cat(sampler.draw_epoch(epoch)).view(-1, width)


@pytest.mark.parametrize("kind", ["p", "c", "t"])
@pytest.mark.parametrize("parity", ["fixed", "robrank"])
def test_every_image_is_an_anchor_once(kind, parity):
    sampler = Sampler(LABELS, 4, kind, seed=0, parity=parity)
    assert sorted(rows(sampler)[:, 0].tolist()) == list(range(10))
    width = {"p": 2, "c": 1, "t": 3}[kind]
    assert [len(batch) // width for batch in sampler.draw_epoch(0)] == [4, 4, 2]
    assert sampler.steps == 3


def test_partners_are_of_the_class_and_another_image_if_there_is_one():
    partners: dict[int, set[int]] = {}
    for epoch in range(60):
        for anchor, partner in rows(Sampler(LABELS, 4, "p", seed=0), epoch).tolist():
            partners.setdefault(anchor, set()).add(partner)
    for anchor, found in partners.items():
        own = set(torch.nonzero(LABELS[anchor] == LABELS).flatten().tolist())
        assert found == (own - {anchor} or own)


def test_in_the_original_the_partner_may_be_the_anchor():
    found = {p for e in range(60) for a, p in rows(Sampler(LABELS, 4, "p", 0, "robrank"), e).tolist() if a == 0}
    assert found == {0, 4, 5}


def test_the_third_of_a_triple_is_of_another_class():
    sampler = Sampler(LABELS, 4, "t", seed=0)
    thirds = {n for epoch in range(60) for a, _, n in rows(sampler, epoch).tolist() if a == 1}
    assert thirds == {0, 3, 4, 5, 6, 8, 9}


def test_an_epoch_can_be_drawn_again_and_differs_from_the_next():
    first, again = (rows(Sampler(LABELS, 4, "p", seed=1), 2) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, rows(Sampler(LABELS, 4, "p", seed=1), 3))


def test_cub_has_105_steps():
    assert Sampler(torch.arange(5864) % 100, 56, "p", seed=0).steps == 105


def test_classes_of_one_image_are_refused():
    with pytest.raises(UserError, match="two images"):
        Sampler(torch.arange(5), 2, "p", seed=0)
