"""Lists under attack agree with the numbers of the same attack, and show the images that were changed."""

import numpy as np
import pytest
import torch
from torch import nn

from anrot_lib.ranking.attacks import lists, names, suite
from anrot_lib.ranking.attacks.suite import Subject
from anrot_lib.ranking.distances import normalise
from anrot_lib.ranking.gallery import Gallery

ROWS = np.array([1, 7, 22])


@pytest.fixture(scope="module")
def subject():
    g = torch.Generator().manual_seed(0)
    images = torch.rand(40, 1, 4, 4, generator=g)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 6))
    net[1].weight.data = torch.randn(6, 16, generator=g)
    net.metric = "N"
    with torch.no_grad():
        rows = normalise(net(images), "N")
    return Subject(net.eval(), Gallery(rows, torch.arange(40) % 4, "N"), lambda n: images[torch.as_tensor(n)])


def attack(title, eps):
    (found,) = (a for a in names.make_profile("rob28", eps=eps, steps=4) if a.title == title)
    return found


@pytest.mark.parametrize("title", ["CA+", "CA-", "QA+", "QA-", "ES", "GTM", "GTT"])
def test_without_room_to_move_the_lists_are_the_gallerys(subject, title):
    found = lists.list_attacked(subject, attack(title, 0.0), ROWS, seed=0)
    table = torch.cdist(subject.gallery.embeddings, subject.gallery.embeddings).fill_diagonal_(torch.inf)
    assert torch.equal(found.changed, subject.batch(ROWS))
    assert torch.equal(found.nearest, table[found.query].argsort(1)[:, :5])
    for query, followed, place in zip(found.query, found.followed, found.place, strict=True):
        if query != followed:  # of a random draw, that may be the image itself
            assert table[query].argsort().tolist().index(followed) == place - 1


@pytest.mark.parametrize("title", ["QA+", "QA-", "CA+", "CA-"])
def test_the_place_is_the_number_of_the_same_attack(subject, title):
    """The reported rank counts rows that a list leaves out: the query's own, and for CA the candidate's benign one."""
    run = attack(title, 0.1)
    reported = suite.run_attack(subject, run, ROWS, seed=0).attacked[title] / 100 * len(subject.gallery)
    found = lists.list_attacked(subject, run, ROWS, seed=0)
    more = np.round(reported - (found.place.numpy() - 1), 6)
    assert set(more) <= ({0, 1, 2} if title[:2] == "CA" else {1})
    assert set((found.rows if title[:2] == "CA" else found.query).tolist()) == set(ROWS)


def test_partners_do_not_depend_on_eps(subject):
    small, large = (lists.list_attacked(subject, attack("QA-", eps), ROWS, seed=3) for eps in (0.0, 0.2))
    assert torch.equal(small.followed, large.followed)
    assert not torch.equal(small.place, large.place)


def test_changed_images_are_shown_where_they_stand(subject):
    for title in ("ES", "CA+"):
        found = lists.list_attacked(subject, attack(title, 0.2), ROWS, seed=0)
        assert (found.changed - subject.batch(ROWS)).abs().max() > 0.04
        line = found.images(subject, 1)
        assert line.shape == (7, 1, 4, 4)
        assert torch.equal(line[-1 if title == "CA+" else 0], found.changed[1])
        assert torch.equal(subject.batch(ROWS)[1], subject.batch(np.array([7]))[0])  # the stored image stays as it was
        labels = subject.gallery.labels
        assert found.relevant(subject, 1) == [bool(labels[n] == labels[found.query[1]]) for n in found.nearest[1]]
