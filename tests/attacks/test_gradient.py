"""FGSM and PGD on a classifier, against an independent library and on many episodes by index."""

import pytest
import torch
from torch import nn

from anrot_lib.attacks.gradient import attack, cross_entropy, fgsm, margin_loss, pgd
from tests.helpers import rng


@pytest.fixture(scope="module")
def classifier():
    """A small conv net in fp32 that has learnt to tell four noisy patterns apart."""
    patterns = torch.rand(4, 3, 8, 8, generator=rng()) * 0.2 + 0.4
    labels = torch.arange(40) % 4
    x = (patterns[labels] + 0.05 * torch.randn(40, 3, 8, 8, generator=rng(1))).clamp(0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(288, 4))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()
    net.eval()
    assert (net(x).argmax(1) == labels).float().mean() > 0.95
    return net, x, labels


def accuracy(net, x, labels):
    with torch.no_grad():
        return (net(x).argmax(1) == labels).float().mean().item()


def test_margin_loss_in_any_leading_shape_and_at_least_fp32():
    logits = torch.randn(2, 5, 3, generator=rng()).bfloat16()
    labels = torch.zeros(2, 5, dtype=torch.long)
    loss, wrong = margin_loss(logits, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, -logits.float().log_softmax(-1)[..., 0])
    assert torch.equal(wrong, logits.argmax(-1) != 0)


def test_attacks_order_as_their_strength(classifier):
    net, x, labels = classifier
    rows = [
        accuracy(net, attack(net, x, labels, threat, rng()).images, labels)
        for threat in (fgsm(0, "query"), fgsm(0.06, "query"), pgd(0.06, 10, 0.015, 2, "query"))
    ]
    assert rows[0] > 0.95
    assert rows[1] < rows[0] - 0.2
    assert rows[2] <= rows[1]


def test_without_stop_the_loss_decides_and_with_it_the_verdict(classifier):
    net, x, labels = classifier
    threat = pgd(0.03, 10, 0.008, 1, "query")
    strongest, first = (attack(net, x, labels, threat, rng(), stop=stop) for stop in (None, "beaten"))
    assert strongest.beaten is None
    fast = attack(net, x, labels, fgsm(0.03, "query")).images
    objective = cross_entropy(net, labels)
    assert (strongest.loss >= objective(fast, None)[0] - 1e-6).all()
    assert torch.equal(first.beaten, objective(first.images, None)[1])
    assert (first.beaten | ~objective(fast, None)[1]).all()  # what FGSM beats, PGD beats


def test_index_names_the_episode_of_each_image():
    prototypes = torch.randn(3, 2, 12, generator=rng())

    class Bound(nn.Module):
        def forward(self, images, index=None):
            chosen = prototypes[:1].expand(len(images), -1, -1) if index is None else prototypes[index]
            return torch.einsum("bd,bwd->bw", images.flatten(1), chosen)

    x, index = torch.rand(9, 3, 2, 2, generator=rng()), torch.arange(9) % 3
    labels = torch.arange(9) % 2
    threat = pgd(0.02, 4, 0.01, 1, "query")
    together = attack(Bound(), x, labels, threat, rng(), index=index, stop="beaten")
    weights = prototypes[index, 1 - labels] - prototypes[index, labels]  # a linear margin: its sign is the attack
    expected = (x + 0.02 * weights.sign().view_as(x)).clamp(0, 1)
    stayed = ~together.beaten
    assert 0 < stayed.sum() < 9
    torch.testing.assert_close(together.images[stayed], expected[stayed])
    first, same = (attack(Bound(), x, labels, threat, rng(), index=i).images for i in (None, 0 * index))
    assert torch.equal(first, same)


@pytest.fixture(scope="module")
def art(classifier):
    pytest.importorskip("art", reason="adversarial-robustness-toolbox is not installed")
    from art.attacks import evasion

    from anrot_lib.attacks.external import wrap_art_classifier

    net, x, labels = classifier
    return evasion, wrap_art_classifier(net, x), x.numpy(), labels.numpy()


def test_fgsm_is_the_point_of_an_independent_library(classifier, art):
    net, x, labels = classifier
    evasion, estimator, x_numpy, y = art
    theirs = torch.from_numpy(evasion.FastGradientMethod(estimator, eps=0.03, batch_size=40).generate(x_numpy, y))
    ours = attack(net, x, labels, fgsm(0.03, "query")).images
    differing = (ours - theirs).abs().flatten() > 1e-6
    assert differing.float().mean() < 1e-3, "more than ties of the sign of a zero gradient"


def test_pgd_reaches_the_loss_of_an_independent_library(classifier, art):
    net, x, labels = classifier
    evasion, estimator, x_numpy, y = art
    options = {"eps": 0.03, "eps_step": 0.006, "max_iter": 20, "batch_size": 40, "verbose": False}
    theirs = torch.from_numpy(evasion.ProjectedGradientDescent(estimator, **options).generate(x_numpy, y))
    ours = attack(net, x, labels, pgd(0.03, 20, 0.006, 1, "query", random_start=False))
    loss = cross_entropy(net, labels)(theirs, None)[0].mean()
    assert ours.loss.mean().item() == pytest.approx(loss.item(), rel=0.02)
    assert ours.loss.mean() >= loss - 1e-4
    last = attack(net, x, labels, pgd(0.03, 20, 0.006, 1, "query", random_start=False), keep="last").images
    assert ((last - theirs).abs() > 1e-5).float().mean() < 0.01  # the same path, up to ties
