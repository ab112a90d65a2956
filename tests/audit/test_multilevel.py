"""The published levels do what the released code does, defects included; the corrected ones do not."""

import pytest
import torch

from anrot_lib.audit import multilevel
from anrot_lib.core.errors import UserError
from anrot_lib.divergences.covariance import estimate_gaussian
from anrot_lib.divergences.gaussian import FullGaussian
from anrot_lib.divergences.measures import pairwise
from anrot_lib.fewshot.heads.trial import measure_batch_dependence
from anrot_lib.fewshot.levels.matching import group_by_class
from anrot_lib.fewshot.levels.part import part_similarity
from anrot_lib.fewshot.methods import build_head, list_heads
from tests.helpers import rng

F64 = torch.float64


def one(mean, cov):
    return FullGaussian(torch.tensor([mean], dtype=F64), cov=torch.tensor([cov], dtype=F64))


def maps_of(*values):
    """One map of one channel, (1, 1, 1, 1, P)."""
    return torch.tensor(values, dtype=F64).view(1, 1, 1, 1, -1)


# --- the part level ---


def test_the_published_part_level_is_no_cosine():
    query, pool = maps_of(3, 4), group_by_class(maps_of(4, 3), torch.tensor([[0]]))
    assert multilevel.part_similarity(query, pool).item() == pytest.approx(2.0)
    assert part_similarity(query, pool).item() == pytest.approx(0.96)


def test_the_published_part_level_by_its_formula():
    g = rng()
    support, query = (torch.randn(1, n, 5, 3, 3, generator=g, dtype=F64) for n in (4, 2))
    found = multilevel.part_similarity(query, group_by_class(support, torch.tensor([[0, 1, 0, 1]])))
    norm = lambda m: torch.nn.functional.normalize(m.flatten(1), dim=0)  # noqa: E731  each pixel over its channels
    for i in range(2):
        assert norm(query[0, i]).square().sum().item() == pytest.approx(9)  # the number of pixels, not of channels
        for c in range(2):
            rows = torch.cat([norm(support[0, c]), norm(support[0, c + 2])])
            expected = (norm(query[0, i]) @ rows.T).amax(1).sum()
            assert found[0, i, c].item() == pytest.approx(expected.item())


# --- Kullback-Leibler ---


def accuracy(divergence, labels):
    return (divergence[0].argmin(-1) == labels).float().mean().item()


@pytest.mark.parametrize(("way", "per_class"), [(5, 15), (4, 7), (3, 10)])
def test_published_kl_puts_terms_where_the_formula_says(way, per_class):
    q, s, labels = multilevel.draw_separated(0, way, per_class)
    n, true = len(labels), pairwise("kl", s, q)[0]  # (way, n)
    found = multilevel.kl(q, s)[0]
    logs = 0.5 * (q.cov.logdet()[0, :, None] - s.cov.logdet()[0])  # (n, way)
    for j in (0, 1, n // 2, n - 1):
        for i in range(way):
            at_class, at_query = divmod(way * j + i, n)
            expected = true[at_class, at_query] - logs[at_query, at_class] + logs[j, i]
            assert found[j, i].item() == pytest.approx(expected.item())


def test_published_kl_is_near_chance_where_the_true_one_is_right():
    right, wrong = [], []
    for seed in range(5):
        q, s, labels = multilevel.draw_separated(seed)
        right.append(accuracy(pairwise("kl", s, q).mT, labels))
        wrong.append(accuracy(multilevel.kl(q, s), labels))
    assert min(right) == 1.0
    assert sum(wrong) / 5 < 0.35


def test_published_kl_depends_on_the_other_queries():
    q, s, _ = multilevel.draw_separated(0)
    fewer = multilevel.kl(q.map(lambda t: t[:, :30]), s)
    assert not torch.allclose(fewer, multilevel.kl(q, s)[:, :30])
    single = multilevel.kl(q.map(lambda t: t[:, :1]), s)  # one query: nothing can be misplaced
    torch.testing.assert_close(single, pairwise("kl", s, q.map(lambda t: t[:, :1])).mT)


# --- Wasserstein ---


def test_published_wasserstein_values():
    assert multilevel.wasserstein(one([0.0], [[1.0]]), one([1.0], [[4.0]])).item() == pytest.approx(4)
    query = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2]], dtype=F64)
    other = torch.tensor([[0.0, 0], [4, 0], [0, 2], [4, 2]], dtype=F64)
    p, q = (estimate_gaussian(x[None], shrinkage="none") for x in (query, other))
    assert multilevel.wasserstein(p, q).item() == pytest.approx(1.5)
    assert pairwise("wasserstein2", p, q).item() == pytest.approx(7 / 3)


# --- the head ---


def episode(way=5, n=12, c=6):
    g = rng()
    centres = torch.randn(1, way, c, 3, 3, generator=g)
    labels = torch.arange(way).repeat(2)[None]
    targets = torch.randint(way, (1, n), generator=g)
    support, query = (centres[0][of] + 0.2 * torch.randn(*of.shape, c, 3, 3, generator=g) for of in (labels, targets))
    return support, labels, query, targets


@pytest.mark.parametrize("measure", ["kl", "wasserstein"])
def test_the_published_head(measure):
    head = multilevel.build_published_mml(6, measure=measure).eval()
    support, labels, query, targets = episode()
    model = head.fit(support, labels)
    found = head.score(model, query)
    assert list(found.levels) == ["distribution", "pixel", "part"]
    difference, _ = measure_batch_dependence(head, model, query)
    assert head.batch_dependent == (measure == "kl") == (difference > 1e-3)
    if measure == "wasserstein":
        assert torch.equal(found.logits.argmax(-1), targets)


# Logits of queries 0, 20 and 74 from a run of the released classifiers on the same maps, in float64.
RELEASED_LOGITS = {
    ("wasserstein", False): [
        [5.3135096055, 5.2791880759, 5.8050881483, 5.8003469910, 6.4204646415],
        [4.8029024706, 5.8815665763, 5.9593392225, 5.9320031779, 6.5765460198],
        [5.1780792667, 5.3327919481, 5.9362475230, 5.8996684055, 7.0557846969],
    ],
    ("wasserstein", True): [
        [0.4540516683, -0.6556620318, -0.0514403595, -1.7873180071, -0.2911023567],
        [-1.4421365209, 1.1014971161, 0.8672484495, -1.6731661744, 0.1823316391],
        [-0.2461568058, -0.8161842979, 0.6513013579, -1.7867300712, 2.3299842476],
    ],
    ("kl", True): [
        [0.6944101646, -0.1864549070, 0.0126366921, -1.1581497260, 1.0136016957],
        [-1.0607616513, 1.0118796592, 1.0483070538, -0.9588514520, 0.4869018587],
        [0.3540511159, -0.3625315901, 0.9395508887, -0.5167999680, 2.3891680829],
    ],
}


@pytest.mark.parametrize(("measure", "training"), RELEASED_LOGITS)
def test_its_logits_are_those_of_the_release(measure, training):
    """75 queries in the order of their classes, 5 ways, 2 shots, 64 channels, 4 x 4 positions."""
    g = rng()
    centres = torch.randn(5, 64, 4, 4, generator=g)
    query = centres.repeat_interleave(15, 0) + 2 * torch.randn(75, 64, 4, 4, generator=g)
    support = centres.repeat_interleave(2, 0) + 2 * torch.randn(10, 64, 4, 4, generator=g)
    head = multilevel.build_published_mml(64, measure=measure).double().train(training)
    norm = head.fusion.norm
    with torch.no_grad():
        head.fusion.free.copy_(torch.tensor([0.5, 1.0, 0.25]))
        for values, ends in (
            *((norm.weight, (0.5, 1.5)), (norm.bias, (-1, 1))),
            *((norm.running_mean, (-0.5, 0.5)), (norm.running_var, (1, 2))),
        ):
            values.copy_(torch.linspace(*ends, 15))
        model = head.fit(support[None].double(), torch.arange(5).repeat_interleave(2)[None])
        logits = head.score(model, query[None].double()).logits[0, [0, 20, 74]]
    expected = torch.tensor(RELEASED_LOGITS[measure, training], dtype=F64)
    # The images are drawn in fp32, whose last digit hangs on the processor; a wrong fusion is off by 0.01 and more.
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_it_is_built_for_one_number_of_classes_and_is_no_method():
    head = multilevel.build_published_mml(6, way=5)
    support, labels, query, _ = episode(way=3)
    with pytest.raises(UserError, match="built for 5 classes, got 3"):
        head.score(head.fit(support, labels), query)
    with pytest.raises(UserError, match="choose kl or wasserstein"):
        multilevel.build_published_mml(6, measure="hellinger")
    for method in list_heads():
        modules = {type(m).__module__ for m in build_head(method, 6).modules()}
        levels = getattr(build_head(method, 6), "levels", {})
        modules |= {type(level).__module__ for level in levels.values()}
        assert multilevel.__name__ not in modules
