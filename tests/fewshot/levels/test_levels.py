"""The levels: stated values, invariances, pairing by explicit loops, and the heads made of them."""

import functools

import pytest
import torch

from anrot_lib.attacks.ascent import frozen
from anrot_lib.audit.multilevel import build_four_layer_64f
from anrot_lib.core.errors import UserError
from anrot_lib.divergences.covariance import estimate_gaussian
from anrot_lib.divergences.gaussian import LowRankGaussian
from anrot_lib.divergences.measures import pairwise
from anrot_lib.fewshot import encoders
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.levels import head as levels
from anrot_lib.fewshot.levels.distribution import MEASURES, DistributionLevel
from anrot_lib.fewshot.levels.head import MultiLevelHead
from anrot_lib.fewshot.levels.matching import group_by_class
from anrot_lib.fewshot.levels.part import PartLevel, part_similarity
from anrot_lib.fewshot.levels.pixel import PixelLevel, find_pixel_matches, pixel_similarity
from anrot_lib.fewshot.methods import build_head
from tests.helpers import rng

F64 = torch.float64


def maps_of(*pixels):
    """One map (1, 1, C, 1, P) from its pixels."""
    return torch.tensor(pixels, dtype=F64).T[None, None, :, None]


def one_class(maps):
    return group_by_class(maps, torch.zeros(1, maps.shape[1], dtype=torch.long))


def random_maps(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=F64)


ALL = {
    "pixel": PixelLevel(),
    "part": PartLevel(),
    **{name: DistributionLevel(name, "trace", 0.1) for name in MEASURES},
}
every_level = pytest.mark.parametrize("name", ALL)


def divergence(name, query, pool):
    level = ALL[name]
    return level.divergence(pool, level.fit(pool), query)


# --- stated values ---


def test_map_sizes_at_84_pixels():
    images = torch.rand(1, 3, 84, 84, generator=rng())
    sizes = {"conv64f": (64, 21, 21), "conv4": (64, 5, 5), "resnet12": (640, 5, 5)}
    with torch.no_grad():
        for name, size in sizes.items():
            assert encoders.build(name).eval()(images).shape[1:] == size
        assert build_four_layer_64f().eval()(images).shape[1:] == (64, 19, 19)


@pytest.mark.parametrize(("k", "total", "mean"), [(1, 1.707107, 0.853553), (2, 2.414214, 0.603553)])
def test_pixel_values(k, total, mean):
    query, pool = maps_of((1, 0), (0, 1)), one_class(maps_of((1, 0), (1, 1)))
    assert pixel_similarity(query, pool, k, reduce="sum").item() == pytest.approx(total, abs=1e-6)
    assert pixel_similarity(query, pool, k).item() == pytest.approx(mean, abs=1e-6)


def test_part_value():
    query, pool = maps_of((3,), (4,)), one_class(maps_of((4,), (3,)))
    assert part_similarity(query, pool).item() == pytest.approx(0.96, abs=1e-9)


def test_a_query_that_is_the_only_shot():
    maps = random_maps(1, 1, 8, 5, 4).float().abs() + 0.1
    pool = one_class(maps)
    assert pixel_similarity(maps, pool, reduce="sum").item() == pytest.approx(20, abs=1e-4)
    assert part_similarity(maps, pool, reduce="sum").item() == pytest.approx(8, abs=1e-4)
    for name in ALL:
        assert divergence(name, maps, pool).abs().item() < 1e-5, name


def test_dead_channels_score_0():
    maps = random_maps(1, 1, 6, 3, 3)
    dead = maps.clone()
    dead[:, :, 2] = 0
    assert part_similarity(dead, one_class(maps), reduce="sum").item() == pytest.approx(5, abs=1e-9)
    gradient = dead.clone().requires_grad_()
    part_similarity(gradient, one_class(maps)).sum().backward()
    assert gradient.grad.isfinite().all()


# --- what changes and what does not ---

DISTRIBUTIONS = set(MEASURES)
SCALE = 3.0


def same(name, query, pool, other_query, other_pool):
    """Whether the divergences of two classes keep their values."""
    labels, both = torch.tensor([[0, 1]]), ((query, pool), (other_query, other_pool))
    before, after = (divergence(name, q, group_by_class(p, labels)) for q, p in both)
    return torch.allclose(before, after, rtol=1e-6, atol=1e-7)


def permuted(maps, axis):
    order = torch.randperm(maps.shape[axis], generator=rng(5))
    return maps.index_select(axis, order)


@every_level
def test_invariances(name):
    query, pool = random_maps(1, 3, 6, 1, 16).abs() + 0.05, random_maps(1, 2, 6, 1, 16, seed=1).abs() + 0.05
    distribution = name in DISTRIBUTIONS
    assert same(name, permuted(query, -1), pool, query, pool) == (name != "part")
    assert same(name, permuted(query, 2), pool, query, pool) == (name == "part")
    turn = torch.linalg.qr(torch.randn(6, 6, generator=rng(3), dtype=F64))[0]
    turned = [torch.einsum("dc,enchw->endhw", turn, t) for t in (query, pool)]
    assert same(name, query, pool, *turned) == (name != "part")
    assert same(name, query, pool, query + 0.7, pool + 0.7) == distribution
    scale_free = name in ("pixel", "part", "kl", "kl-reverse", "symmetric-kl", "bhattacharyya", "hellinger")
    if name != "wasserstein2-frobenius":
        before, after = (
            divergence(name, a * query, group_by_class(a * pool, torch.tensor([[0, 1]]))) for a in (1.0, SCALE)
        )
        torch.testing.assert_close(
            after, before * (1 if scale_free else SCALE**2), rtol=1e-4, atol=1e-5
        )  # FLOOR does not scale


def test_copies_of_a_shot_change_nothing_but_the_unbiased_covariance():
    query, shot = random_maps(1, 3, 6, 4, 4), random_maps(1, 1, 6, 4, 4, seed=1)
    for function in (pixel_similarity, part_similarity):
        single = function(query, one_class(shot), reduce="sum")
        for copies in (3, 5):
            pool = one_class(shot.expand(1, copies, 6, 4, 4))
            torch.testing.assert_close(function(query, pool, reduce="sum"), single)
            torch.testing.assert_close(function(query, pool, 3, reduce="sum"), 3 * single)


# --- pairing ---

E, WAY, SHOT, N, C, SIDE = 2, 3, 2, 7, 6, 3


def by_hand(name, query, shots):
    """Divergence of one query map (C, P) and one class's shots (M, C, P), in loops."""
    c = len(query)
    if name in ("pixel", "part"):
        own = query.T if name == "pixel" else query
        others = [v for shot in shots for v in (shot.T if name == "pixel" else shot)]
        best = [max((v @ x / (v.norm() * x.norm())).item() for v in others) for x in own]
        return 1 - sum(best) / len(best)
    samples = (query.T, torch.cat([shot.T for shot in shots]))
    q, s = (estimate_gaussian(x[None], shrinkage="trace", amount=0.1, form="full") for x in samples)
    if name == "hellinger":
        return (1 - torch.exp(-pairwise("bhattacharyya", q, s) / c)).sqrt().item()
    if name == "kl-reverse":
        return pairwise("kl", s, q).item() / c
    return pairwise(name, q, s).item() / c


@every_level
def test_every_pair_is_in_its_place(name):
    """Odd sizes and interleaved labels: entry (e, i, c) is of query i and class c, by an explicit double loop."""
    support, query = random_maps(E, WAY * SHOT, C, SIDE, SIDE), random_maps(E, N, C, SIDE, SIDE, seed=1)
    labels = torch.stack([torch.tensor([2, 0, 1, 1, 0, 2]), torch.tensor([0, 1, 2, 0, 1, 2])])
    pool = group_by_class(support, labels)
    found = divergence(name, query, pool)
    assert found.shape == (E, N, WAY)
    for e in range(E):
        for i in range(N):
            for c in range(WAY):
                shots = support[e, labels[e] == c].flatten(2)
                assert found[e, i, c].item() == pytest.approx(by_hand(name, query[e, i].flatten(1), shots), abs=1e-6)
    order = torch.randperm(N, generator=rng(9))
    torch.testing.assert_close(divergence(name, query[:, order], pool), found[:, order])


@pytest.mark.parametrize("name", MEASURES)
def test_low_rank_and_full_agree_in_a_level(name):
    """20 channels, maps of 2 x 2, two shots: (2 + 1) 4 < 20, so the level works with Gram matrices."""
    support, query = random_maps(1, 6, 20, 2, 2), random_maps(1, 4, 20, 2, 2, seed=1)
    pool = group_by_class(support, torch.arange(3).repeat(2)[None])
    assert isinstance(ALL[name].fit(pool), LowRankGaussian)
    found = divergence(name, query, pool)
    for i in range(4):
        for c in range(3):
            expected = by_hand(name, query[0, i].flatten(1), support[0, [c, c + 3]].flatten(2))
            assert found[0, i, c].item() == pytest.approx(expected, abs=1e-6)


def test_matches_name_the_shot_and_the_position():
    support, query = random_maps(1, 6, 5, 3, 4), random_maps(1, 2, 5, 3, 4, seed=1)
    support[0, 4, :, 2, 1] = 2 * query[0, 1, :, 0, 3]  # the second shot of class 1
    pool = group_by_class(support, torch.arange(3).repeat(2)[None])
    cosine, shot, position = find_pixel_matches(query, pool)
    assert cosine.shape == shot.shape == position.shape == (1, 2, 3, 4, 3)
    assert cosine[0, 1, 0, 3, 1].item() == pytest.approx(1, abs=1e-6)
    assert (shot[0, 1, 0, 3, 1], position[0, 1, 0, 3, 1]) == (1, 2 * 4 + 1)


# --- chunks and gradients ---


@pytest.mark.parametrize("function", [pixel_similarity, part_similarity])
@pytest.mark.parametrize("k", [1, 3])
def test_blocks_change_neither_values_nor_gradients(function, k):
    support, query = random_maps(1, 6, 6, 3, 3).requires_grad_(), random_maps(1, 7, 6, 3, 3, seed=1).requires_grad_()
    labels = torch.arange(3).repeat(2)[None]
    weight = torch.rand(1, 7, 3, generator=rng(2), dtype=F64)
    runs = []
    per_query = 9 * 3 * 18 if function is pixel_similarity else 6 * 3 * 12
    for queries in (1, 7, 75):
        found = function(query, group_by_class(support, labels), k, buffer=queries * per_query)
        runs.append((found, *torch.autograd.grad((found * weight).sum(), (support, query))))
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@every_level
def test_gradcheck_of_levels(name):
    support, query = random_maps(1, 4, 4, 3, 3).requires_grad_(), random_maps(1, 2, 4, 3, 3, seed=1).requires_grad_()
    labels = torch.tensor([[0, 1, 0, 1]])
    assert torch.autograd.gradcheck(lambda s, q: divergence(name, q, group_by_class(s, labels)), (support, query))


@every_level
def test_autocast_and_half_precision_maps(name):
    support, query = random_maps(2, 6, 8, 3, 3).float(), random_maps(2, 4, 8, 3, 3, seed=1).float()
    labels = torch.arange(3).repeat(2)[None].expand(2, -1)
    head = build_head(f"levels:{name}", 8)
    plain = head.score(head.fit(support, labels), query).logits
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.score(head.fit(support, labels), query).logits, plain)
        rounded = head.score(head.fit(support.bfloat16(), labels), query.bfloat16()).logits
    expected = head.score(head.fit(support.bfloat16().float(), labels), query.bfloat16().float()).logits
    assert torch.equal(rounded, expected) and rounded.dtype == torch.float32


# --- heads ---


@functools.cache
def head_of(method):
    return build_head(method, 8).eval()


def episode(way, shot, n, seed=0, spread=0.4, e=2):
    g = rng(seed)
    centres = torch.randn(e, way, 8, 3, 3, generator=g)
    labels = torch.arange(way).repeat(shot).expand(e, -1)
    targets = torch.randint(way, (e, n), generator=g)
    rows = torch.arange(e)[:, None]
    support, query = (
        centres[rows, of] + spread * torch.randn(*of.shape, 8, 3, 3, generator=g) for of in (labels, targets)
    )
    return support, labels, query, targets


@pytest.mark.parametrize(("way", "shot", "n"), [(2, 1, 1), (3, 1, 4), (5, 5, 15), (20, 2, 3)])
@pytest.mark.parametrize("method", ["mml", "mml-wasserstein2", "mml-hellinger", "adm", "dn4", "part"])
def test_any_ways_shots_and_queries(method, way, shot, n):
    head = head_of(method)
    support, labels, query, targets = episode(way, shot, n)
    found = head.score(head.fit(support, labels), query)
    assert found.logits.shape == (2, n, way)
    if n > 3 and shot > 1:
        assert (found.logits.argmax(-1) == targets).float().mean() > 0.9


def test_contributions_add_up_to_the_logits():
    head = head_of("mml")
    support, labels, query, _ = episode(4, 3, 6)
    found = head.score(head.fit(support, labels), query)
    assert list(found.levels) == ["pixel", "part", "kl-reverse"]
    torch.testing.assert_close(sum(found.levels.values()), found.logits)


def test_episodes_in_turn_change_nothing(monkeypatch):
    head = head_of("mml")
    support, labels, query, _ = episode(4, 3, 6, e=3)
    together = head.score(head.fit(support, labels), query).logits
    monkeypatch.setattr(levels, "NUMBERS_AT_ONCE", 1)
    torch.testing.assert_close(head.score(head.fit(support, labels), query).logits, together)


def test_the_model_holds_the_support_maps_once():
    head = head_of("mml")
    support, labels, _, _ = episode(4, 3, 6)
    model = head.fit(support, labels)
    assert set(model) == {"pool", "kl-reverse"}
    assert model["pool"].maps.numel() == support.numel()


def test_training_a_net_with_every_level_improves_it():
    """Ten steps of a tiny net on one episode: the loss falls, every level has a share, and shares add up to 1."""
    net = create_net("tiny", "mml", generator=rng())
    images = torch.rand(1, 10, 3, 32, 32, generator=rng())
    labels = torch.arange(5).repeat(2)[None]
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    losses = []
    for _ in range(10):
        maps = net.encode((images + 0.1 * torch.rand(images.shape, generator=rng(len(losses)))).clamp(0, 1))
        logits = net.head.score(net.head.fit(maps[:, :5], labels[:, :5]), maps[:, 5:]).logits
        loss = torch.nn.functional.cross_entropy(logits[0], labels[0, 5:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    shares = net.head.shares()
    assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) > 0.01
    with frozen(net), torch.no_grad():  # as an attack in training does it
        net.train().head.score(net.head.fit(maps[:, :5], labels[:, :5]), maps[:, 5:])
    assert net.head.shares() == shares


def test_combinations_by_name():
    head = build_head("levels:pixel+wasserstein2@zscore", 8)
    assert isinstance(head, MultiLevelHead)
    assert list(head.levels) == ["pixel", "wasserstein2"] and head.fusion.mode == "zscore"
    for bad, message in (
        ("levels:pixel+colour", "unknown level 'colour'"),
        ("levels:pixel+pixel", "only once"),
        ("levels:pixel+part@slot_bn", "unknown fusion 'slot_bn'"),
        ("mml2", "unknown method 'mml2'"),
    ):
        with pytest.raises(UserError, match=message):
            build_head(bad, 8)


def test_errors():
    with pytest.raises(UserError, match="unknown measure 'kld'"):
        DistributionLevel("kld")
    with pytest.raises(UserError, match="unknown covariance"):
        DistributionLevel("kl", covariance="isotropic")
    with pytest.raises(UserError, match="maps of one size, got 3x3 and 4x4"):
        part_similarity(random_maps(1, 1, 2, 3, 3), one_class(random_maps(1, 1, 2, 4, 4)))
    with pytest.raises(UserError, match="3 nearest vectors were asked for, but a class has only 1"):
        head = build_head("dn4", 8)
        head.score(head.fit(random_maps(1, 2, 8, 1, 1), torch.tensor([[0, 1]])), random_maps(1, 1, 8, 1, 1))


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("shrinkage", ["ridge", "lw", "oas"])
def test_other_estimates_in_a_level(normalise, shrinkage):
    support, labels, query, targets = episode(3, 2, 6)
    level = DistributionLevel("kl", shrinkage, normalise=normalise)
    pool = group_by_class(support, labels)
    found = level.divergence(pool, level.fit(pool), query)
    assert found.isfinite().all() and found.dtype == torch.float32
    assert (found.argmin(-1) == targets).float().mean() > 0.6


def test_diagonal_covariances_are_those_of_the_gaussian_head():
    support, labels, query, _ = episode(3, 2, 6)
    level, head = DistributionLevel("bhattacharyya", covariance="diagonal"), build_head("anrot", 8)
    pool = group_by_class(support, labels)
    found = level.divergence(pool, level.fit(pool), query)
    torch.testing.assert_close(found, -head.score(head.fit(support, labels), query).logits / 8, rtol=1e-4, atol=1e-5)


# What must not pass in silence


@pytest.mark.parametrize("method", ["dn4", "part", "mml", "levels:kl", "levels:hellinger"])
def test_nan_maps_give_nan_scores(method):
    """So that an attack on a broken net stops, and does not find it unharmed."""
    head = build_head(method, 8).eval()
    maps = random_maps(1, 10, 8, 4, 4).float()
    labels = torch.arange(5).repeat_interleave(2)[None]
    broken = torch.full_like(maps, torch.nan)
    assert head.score(head.fit(maps, labels), maps).logits.isfinite().all()
    assert head.score(head.fit(broken, labels), broken).logits.isnan().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_maps_are_compared_in_float32(dtype):
    query, support = random_maps(1, 3, 6, 4, 4).to(dtype), random_maps(1, 4, 6, 4, 4, seed=1).to(dtype)
    labels = torch.tensor([[0, 0, 1, 1]])
    for similarity in (pixel_similarity, part_similarity):
        found = similarity(query, group_by_class(support, labels))
        whole = similarity(query.float(), group_by_class(support.float(), labels))
        assert found.dtype == torch.float32 and torch.equal(found, whole)
    mixed = pixel_similarity(query.float(), group_by_class(support.double(), labels))
    assert mixed.dtype == F64


def test_a_class_without_a_support_image_is_named():
    with pytest.raises(UserError, match="a class has no support image that counts"):
        group_by_class(random_maps(1, 3, 4, 2, 2), torch.tensor([[0, 1, 3]]))
    with pytest.raises(UserError, match="no support image"):
        group_by_class(random_maps(1, 2, 4, 2, 2), torch.tensor([[0, 1]]), torch.tensor([[True, False]]))


@pytest.mark.parametrize("level", [PartLevel(), *(DistributionLevel(m) for m in MEASURES)], ids=str)
def test_maps_of_one_place_are_refused_where_they_say_nothing(level):
    pool = group_by_class(random_maps(1, 4, 8, 1, 1), torch.tensor([[0, 0, 1, 1]]))
    with pytest.raises(UserError, match="these maps have 1 place; take larger images"):
        level.fit(pool)
    level.fit(group_by_class(random_maps(1, 4, 8, 1, 2), torch.tensor([[0, 0, 1, 1]])))


def test_asking_for_too_many_or_no_neighbours_says_what_to_change():
    maps = random_maps(1, 2, 4, 1, 2)
    pool = group_by_class(maps, torch.tensor([[0, 1]]))
    with pytest.raises(UserError, match="a class has only 2; take larger images"):
        PixelLevel(k=3).divergence(pool, None, maps)
    with pytest.raises(UserError, match="at least 1 nearest vector"):
        PixelLevel(k=0).divergence(pool, None, maps)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"measure": "wasserstein2", "amount": 0.5}, "'none' takes no amount"),
        ({"shrinkage": "lw", "amount": 0.5}, "'lw' takes no amount"),
        ({"shrinkage": "foo"}, "unknown shrinkage"),
        ({"shrinkage": "trace", "amount": 7.0}, "at most 1 for trace"),
        ({"shrinkage": "ridge", "covariance": "diagonal"}, "a diagonal covariance is not shrunk"),
        ({"measure": "wasserstein2-roots", "covariance": "diagonal"}, "is for full covariances"),
    ],
    ids=str,
)
def test_options_without_an_effect_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        DistributionLevel(**options)


@pytest.mark.parametrize("measure", [m for m in MEASURES if m not in ("wasserstein2-roots", "wasserstein2-frobenius")])
def test_diagonal_covariances_serve_every_other_measure(measure):
    level, maps = DistributionLevel(measure, covariance="diagonal"), random_maps(1, 4, 6, 3, 3)
    pool = group_by_class(maps, torch.tensor([[0, 0, 1, 1]]))
    assert level.divergence(pool, level.fit(pool), maps).isfinite().all()


def test_one_level_has_nothing_to_fuse():
    with pytest.raises(UserError, match="one level has nothing to fuse"):
        build_head("levels:pixel@zscore", 8)
