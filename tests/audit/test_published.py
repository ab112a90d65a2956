"""The published distance, Hesim and head do what the released code does, defects included."""

import inspect
import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from anrot_lib.fewshot.heads.gaussian import GaussianHead
from anrot_lib.fewshot.heads.prototypes import Prototypes
from anrot_lib.fewshot.heads.published import PublishedHead, hellinger_distance, hesim
from tests.helpers import rng

CONSTANT = 126 * math.log(2)


def by_the_formula(x, y):
    """Expanded to (n, way, d) and in the order in which the formula is stated."""
    n, way = len(x), len(y)
    x, y = x[:, None].expand(n, way, -1), y[None].expand(n, way, -1)

    def density(v):
        m, s = v.mean(), v.std()
        return m + s * (2 * math.pi * s**2) ** -0.5 * torch.exp(-((v - m) ** 2) / (2 * s**2))

    return ((density(x).abs().sqrt() - density(y).abs().sqrt()) ** 2).sum(-1) / 2**0.5


@pytest.mark.parametrize(("n", "way", "d"), [(75, 5, 256), (3, 2, 4), (1, 5, 16)])
def test_distance_is_the_stated_formula(n, way, d):
    for shift in (0.0, 1.0, -2.0):  # a negative mean reaches the absolute value
        x, y = torch.randn(n, d, generator=rng()) + shift, torch.randn(way, d, generator=rng(1)) + shift
        torch.testing.assert_close(hellinger_distance(x, y), by_the_formula(x, y), rtol=1e-4, atol=1e-6)


def test_distance_and_gradient_are_those_of_the_release():
    """Numbers of a run of the released function in float64."""
    x = torch.linspace(-2, 3, 24, dtype=torch.float64).view(3, 8).sin().requires_grad_()
    y = torch.linspace(-1, 4, 16, dtype=torch.float64).view(2, 8).cos()
    distance = hellinger_distance(x, y)
    expected = [[0.009046793793, 0.051172880976], [0.161337725074, 0.127776072922], [0.070288058704, 0.131994751929]]
    torch.testing.assert_close(distance, torch.tensor(expected, dtype=torch.float64), atol=1e-11, rtol=0)
    (gradient,) = torch.autograd.grad(distance[:, 0].sum(), x)
    expected = [0.04888442958, 0.06840718277, 0.08615492791, 0.09693332302]
    torch.testing.assert_close(gradient[0, :4], torch.tensor(expected, dtype=torch.float64), atol=1e-10, rtol=0)


def test_episodes_have_their_own_mean_and_deviation():
    x, y = torch.rand(3, 7, 16, generator=rng()), torch.rand(3, 5, 16, generator=rng(1))
    x[1] *= 100
    together = hellinger_distance(x, y)
    for e in range(3):
        torch.testing.assert_close(together[e], hellinger_distance(x[e], y[e]))


def test_mirrored_features_have_distance_zero():
    """m + z and m - z: any classifier should tell them apart, this one cannot."""
    z = torch.randn(1, 64, generator=rng(), dtype=torch.float64)
    z -= z.mean()
    distance = hellinger_distance(2 + z, 2 - z)
    assert distance.item() < 1e-12 and (2 * z).norm() > 5


def test_cross_entropy_cannot_reach_zero():
    """Separable features, every prediction right, and yet a loss of about 0.7: too small a range, no temperature."""
    y = torch.randn(5, 256, generator=rng()).relu()
    targets = torch.arange(75) % 5
    x = (y[targets] + 0.1 * torch.randn(75, 256, generator=rng(1))).relu()
    logits = -hellinger_distance(x, y)
    assert (logits.argmax(-1) == targets).all()
    assert 0.5 < cross_entropy(logits, targets) < 1
    assert cross_entropy(-torch.cdist(x, y).square(), targets) < 1e-6


def test_distance_exceeds_one_so_it_is_no_hellinger_distance():
    x = torch.randn(75, 512, generator=rng()).relu()
    assert hellinger_distance(x, torch.randn(5, 512, generator=rng(1)).relu()).max() > 1


def test_hesim_is_a_constant_with_zero_gradient():
    labels = torch.arange(5).repeat_interleave(10)
    target = one_hot(labels, 5).float()
    inputs = {
        "random": -torch.rand(50, 5, generator=rng()),
        "uniform": -torch.ones(50, 5),
        "perfect": target - 1,
        "perfect, orthogonal": 10 * target,
        "wrong": -target,
    }
    for name, scores in inputs.items():
        scores.requires_grad_()
        loss = hesim(scores, labels)
        assert loss.item() == pytest.approx(CONSTANT, abs=1e-3) == pytest.approx(87.3365, abs=1e-3), name
        assert torch.equal(torch.autograd.grad(loss, scores)[0], torch.zeros(50, 5)), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_hesim_is_the_same_constant_in_other_precisions(dtype):
    scores, labels = torch.randn(20, 5, generator=rng(), dtype=dtype), torch.arange(20) % 5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert hesim(scores, labels).item() == pytest.approx(CONSTANT, abs=1e-3)


def test_published_loss_starts_at_45():
    """ln 5 + 0.5 x 87.3366 = 45.278, the value that the published training loop remarks on."""
    labels = torch.arange(5).repeat_interleave(10)
    scores = torch.full((50, 5), -0.1)
    assert (cross_entropy(scores, labels) + 0.5 * hesim(scores, labels)).item() == pytest.approx(45.278, abs=1e-3)


def test_hesim_has_the_released_temperature():
    assert inspect.signature(hesim).parameters["temperature"].default == 0.01


def test_hesim_without_pairs_is_zero():
    scores = torch.rand(4, 5, requires_grad=True)
    for labels in ([0, 1, 2, 3], [0, 0, 0, 0]):
        loss = hesim(scores, torch.tensor(labels))
        assert loss.item() == 0 and not torch.autograd.grad(loss, scores)[0].any()


def episode(n_episodes=2, way=5, shot=3, n=75, c=32, noise=1.0, seed=0):
    """Feature maps (E, S, C, 3, 3) and (E, n, C, 3, 3) of classes with random centres, positive as after a ReLU."""
    g = rng(seed)
    centres = torch.randn(n_episodes, way, c, 1, 1, generator=g)
    labels, targets = torch.arange(way).repeat(shot), torch.arange(n) % way
    maps = [
        (centres[:, of] + noise * torch.randn(n_episodes, len(of), c, 3, 3, generator=g)).relu()
        for of in (labels, targets)
    ]
    return maps[0], labels.expand(n_episodes, -1), maps[1], targets.expand(n_episodes, -1)


def test_head_is_mean_prototypes_under_the_published_distance():
    support, labels, queries, targets = episode()
    head = PublishedHead(32)
    scores = head.score(head.fit(support, labels), queries)
    assert scores.logits.shape == (2, 75, 5) and scores.embeddings.shape == (2, 75, 32)
    for e in range(2):
        features = support[e].mean((-2, -1))
        prototypes = torch.stack([features[labels[e] == c].mean(0) for c in range(5)])
        expected = -by_the_formula(queries[e].mean((-2, -1)), prototypes)
        torch.testing.assert_close(scores.logits[e], expected, rtol=1e-3, atol=1e-6)
    assert (scores.logits.argmax(-1) == targets).float().mean() > 0.5
    assert not list(head.parameters())


def test_masked_shots_do_not_count():
    support, labels, queries, _ = episode(shot=3)
    mask = torch.ones_like(labels, dtype=torch.bool)
    mask[0, 5:10] = False
    head = PublishedHead(32)
    changed = support.clone()
    changed[0, 5:10] = 1e3
    a, b = (head.score(head.fit(x, labels, mask), queries).logits for x in (support, changed))
    assert torch.equal(a, b)
    assert not torch.equal(a[0], head.score(head.fit(support, labels), queries).logits[0])


def alone_and_together(head, seed=0):
    """Each query on its own against all 75 at once: largest difference in logit spreads, share of flips."""
    support, labels, queries, _ = episode(noise=3.0, seed=seed)
    head.eval()
    with torch.no_grad():
        model = head.fit(support, labels)
        together = head.score(model, queries).logits
        alone = torch.cat([head.score(model, queries[:, i : i + 1]).logits for i in range(75)], 1)
    spread = together.amax(-1) - together.amin(-1)
    difference = (together - alone).abs().amax(-1) / spread.mean()
    return difference.max().item(), (together.argmax(-1) != alone.argmax(-1)).float().mean().item()


def test_scores_depend_on_the_neighbours_and_flip_predictions():
    """The probe that every other head passes: as published it fails, and some predictions change."""
    assert PublishedHead.batch_dependent
    results = [alone_and_together(PublishedHead(32), seed) for seed in range(5)]
    assert all(difference > 0.01 for difference, _ in results)
    assert 0.005 < sum(flips for _, flips in results) / 5 < 0.5


@pytest.mark.parametrize("head", [Prototypes(32), Prototypes(32, "cosine"), GaussianHead(32)])
def test_the_corrected_heads_pass_the_same_probe(head):
    difference, flips = alone_and_together(head)
    assert difference < 1e-5 and flips == 0


def test_gradients_reach_features_and_prototypes():
    support, labels, queries, targets = episode(n_episodes=1, n=10)
    support.requires_grad_(), queries.requires_grad_()
    head = PublishedHead(32)
    logits = head.score(head.fit(support, labels), queries).logits
    gradients = torch.autograd.grad(cross_entropy(logits.flatten(0, 1), targets.flatten()), (support, queries))
    assert all(g.isfinite().all() and g.any() for g in gradients)
