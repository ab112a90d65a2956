"""Every head keeps the one contract, and says what its formula says."""

import copy
import functools

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from anrot_lib.core.errors import UserError
from anrot_lib.core.trees import map_tree
from anrot_lib.divergences.gaussian import VARIANCE_FLOOR, DiagonalGaussian
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.heads.contract import Head
from anrot_lib.fewshot.heads.easyfsl import SELF_FITTING
from anrot_lib.fewshot.heads.easyfsl import list_builders as easyfsl_methods
from anrot_lib.fewshot.heads.gaussian import GaussianHead, VariationalHead
from anrot_lib.fewshot.heads.prototypes import Prototypes
from anrot_lib.fewshot.methods import build_head, list_heads
from tests.helpers import rng

E, WAY, SHOT, N, C = 2, 4, 3, 6, 16
EASYFSL = tuple(easyfsl_methods())
UNTRAINED = ("easyfsl:MatchingNetworks", "easyfsl:FEAT")  # layers still random
FINE_TUNING_STEPS = 10  # 200 would take a second a call
METHODS = [name for name in list_heads() if name != "mml-2022"]  # which takes images, not maps
NAMES = (*METHODS, *(f"easyfsl:{name}" for name in EASYFSL))


@functools.cache
def head_of(name) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = build_head(name, C).eval()
    if name.removeprefix("easyfsl:") in SELF_FITTING:
        head.method.fine_tuning_steps = FINE_TUNING_STEPS
    return head


@pytest.fixture
def head(request) -> Head:
    return head_of(request.param)


every_head = pytest.mark.parametrize("head", NAMES, indirect=True)


def maps(spread=0.3, seed=0):
    """Support maps, labels (shot by shot, so classes are interleaved), query maps, targets; positive, separable."""
    g = rng(seed)
    centres = 2 * torch.rand(E, WAY, C, 1, 1, generator=g)
    labels = torch.arange(WAY).repeat(SHOT).expand(E, -1)
    targets = torch.randint(WAY, (E, N), generator=g)
    rows = torch.arange(E)[:, None]
    support, query = (
        (centres[rows, of] + spread * torch.randn(*of.shape, C, 3, 3, generator=g)).relu() for of in (labels, targets)
    )
    return support, labels, query, targets


def patterns(labels, seed):
    """Maps whose classes differ in where a channel is strong, which is all that the part level looks at."""
    where = torch.rand(WAY, C, 3, 3, generator=rng())
    return (where[labels] + 0.05 * torch.randn(*labels.shape, C, 3, 3, generator=rng(seed))).relu()


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def parts(tree):
    found = []
    map_tree(found.append, tree)
    return found


@every_head
def test_shapes_are_those_of_the_contract(head):
    support, labels, query, _ = maps()
    model = head.fit(support, labels)
    assert all(len(tensor) == E for tensor in parts(model))
    scores = head.score(model, query)
    assert scores.logits.shape == (E, N, WAY)
    assert scores.logits.dtype == torch.float32
    assert scores.logits.isfinite().all()
    assert all(level.shape == scores.logits.shape for level in scores.levels.values())
    assert scores.penalty is None
    assert all(tensor.shape[:2] == (E, N) for tensor in parts(scores.embeddings))


# RelationNetworks is all random layers, and PTMAP takes for granted that all classes have as many queries.
@pytest.mark.parametrize("head", [n for n in NAMES if n[8:] not in ("RelationNetworks", "PTMAP")], indirect=True)
def test_separable_classes_are_told_apart(request, head):
    support, labels, query, targets = maps(spread=0.05)
    if request.node.callspec.params["head"] == "part":
        support, query = (patterns(of, seed) for seed, of in ((1, labels), (2, targets)))
    found = head.score(head.fit(support, labels), query).logits.argmax(-1)
    if isinstance(head, VariationalHead) or head in map(head_of, UNTRAINED):  # layers still random
        assert (found == targets).float().mean() > 0.5
    else:
        assert torch.equal(found, targets)


@every_head
def test_many_episodes_at_once_equal_one_by_one(head):
    support, labels, query, _ = maps()
    together = head.score(head.fit(support, labels), query).logits
    for e in range(E):
        one = slice(e, e + 1)
        close(together[one], head.score(head.fit(support[one], labels[one]), query[one]).logits)
    assert not torch.allclose(together[0], together[1])


@every_head
def test_unequal_shots_by_mask_equal_leaving_the_shots_out(head):
    support, labels, query, _ = maps()
    mask = torch.ones_like(labels, dtype=torch.bool)
    left_out = [1, 5, 2]  # classes 1, 1, 2: one, two and three shots in one episode
    mask[:, left_out] = False
    kept = [s for s in range(WAY * SHOT) if s not in left_out]
    by_mask = head.score(head.fit(support, labels, mask), query).logits
    close(by_mask, head.score(head.fit(support[:, kept], labels[:, kept]), query).logits)
    spoilt = support.clone()
    spoilt[:, left_out] = 100.0
    assert torch.equal(by_mask, head.score(head.fit(spoilt, labels, mask), query).logits)
    assert not torch.allclose(by_mask, head.score(head.fit(support, labels), query).logits, atol=1e-3)


@every_head
def test_the_mask_may_differ_from_episode_to_episode(head):
    support, labels, query, _ = maps()
    mask = torch.ones_like(labels, dtype=torch.bool)
    mask[1, [0, 4]] = False
    close(
        head.score(head.fit(support, labels, mask), query).logits[0],
        head.score(head.fit(support[:1], labels[:1]), query[:1]).logits[0],
    )


@pytest.mark.parametrize("head", [n for n in NAMES if n != "easyfsl:MatchingNetworks"], indirect=True)
def test_the_order_of_the_shots_does_not_matter(head):
    support, labels, query, _ = maps()
    order = torch.randperm(WAY * SHOT, generator=rng())
    a, b = head.fit(support, labels), head.fit(support[:, order], labels[:, order])
    loose = 1e-3 if head is head_of("easyfsl:PTMAP") else 1e-5  # probabilities after many passes of Sinkhorn's
    torch.testing.assert_close(head.score(a, query).logits, head.score(b, query).logits, rtol=1e-4, atol=loose)


def test_ptmap_tells_balanced_classes_apart():
    support, labels, *_ = maps(spread=0.05)
    head = head_of("easyfsl:PTMAP")
    found = head.score(head.fit(support, labels), support.flip(1)).logits.argmax(-1)
    assert torch.equal(found, labels.flip(1))


@every_head
def test_descriptions_can_be_kept_instead_of_maps(head):
    support, labels, query, _ = maps()
    description = head.describe(support[0])  # one set of images, as evaluation keeps them
    assert all(len(tensor) == WAY * SHOT for tensor in parts(description))
    model = head.fit_described(map_tree(lambda t: t[None], description), labels[:1])
    kept = head.score_described(model, head.describe(query[:1])).logits
    close(kept, head.score(head.fit(support[:1], labels[:1]), query[:1]).logits)


@pytest.mark.parametrize("head", NAMES, indirect=True)
def test_gradients_reach_support_queries_and_parameters(head):
    support, labels, query, targets = maps()
    head.zero_grad()
    support.requires_grad_(), query.requires_grad_()
    logits = head.score(head.fit(support, labels), query).logits
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    for tensor in (support, query, *head.parameters()):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.any()


# Not in the list: the variational head, whose two layers are the net's own and may run in bf16.
IN_FULL_PRECISION = ("published", "anrot", "hela-vfa", "joint-hellinger", "gaussian-kl", "gaussian-wasserstein2")


@pytest.mark.parametrize("head", IN_FULL_PRECISION, indirect=True)
def test_autocast_changes_nothing(head):
    """Aggregation and divergence are computed in fp32 whatever the autocast."""
    support, labels, query, _ = maps()
    plain = head.score(head.fit(support, labels), query).logits
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.score(head.fit(support, labels), query).logits, plain)


# --- what the formulas say ---


def positions(images):
    """(S, C, h, w) -> (S h w, C): every position of every map is a sample."""
    return images.permute(0, 2, 3, 1).reshape(-1, C)


def gaussian(samples):
    return samples.mean(0), samples.var(0, unbiased=False) + VARIANCE_FLOOR


def by_hand(divergence, support, labels, query):
    """(E, N, WAY) of divergence((m, v) of a query, (m, v) of a class), each loop written out."""
    out = torch.empty(E, N, WAY)
    for e in range(E):
        classes = [gaussian(positions(support[e][labels[e] == k])) for k in range(WAY)]
        for i in range(N):
            own = gaussian(positions(query[e, i][None]))
            out[e, i] = torch.stack([divergence(*own, *other) for other in classes])
    return out


def bhattacharyya(m, v, n, w):
    return ((m - n).square() / (4 * (v + w)) + 0.5 * ((v + w) / (2 * (v * w).sqrt())).log()).sum()


def hellinger_per_dimension(*moments):
    return (1 - torch.exp(-bhattacharyya(*moments) / C)).sqrt()


def joint_hellinger(*moments):
    return (1 - torch.exp(-bhattacharyya(*moments))).sqrt()


def kl(m, v, n, w):
    return kl_divergence(Normal(m, v.sqrt()), Normal(n, w.sqrt())).sum() / C


def wasserstein2(m, v, n, w):
    return ((m - n).square() + (v.sqrt() - w.sqrt()).square()).sum() / C


@pytest.mark.parametrize(
    ("name", "scale", "divergence"),
    [
        ("anrot", C, lambda *moments: bhattacharyya(*moments) / C),
        ("hela-vfa", 20, hellinger_per_dimension),
        ("joint-hellinger", 10, joint_hellinger),
        ("gaussian-kl", C, kl),
        ("gaussian-wasserstein2", C, wasserstein2),
    ],
)
def test_gaussian_heads_are_the_stated_divergence_of_pooled_positions(name, scale, divergence):
    support, labels, query, _ = maps()
    head = head_of(name)
    assert head.log_scale.exp().item() == pytest.approx(scale)
    logits = head.score(head.fit(support, labels), query).logits
    torch.testing.assert_close(logits, -scale * by_hand(divergence, support, labels, query), rtol=1e-3, atol=1e-4)


def test_the_joint_distance_saturates_where_the_one_per_dimension_does_not():
    """Far apart in each of 64 dimensions: H rounds to 1 for all classes and its gradient dies."""
    g = rng()
    centres = 3 * torch.randn(1, 4, 64, 1, 1, generator=g)
    support = centres + torch.randn(1, 4, 64, 3, 3, generator=g)
    query = (centres + torch.randn(1, 4, 64, 3, 3, generator=g) + 2.0).requires_grad_()
    labels, sizes = torch.arange(4)[None], {}
    for name in ("joint-hellinger", "hellinger"):
        head = GaussianHead(64, name, scale=1.0)
        logits = head.score(head.fit(support, labels), query).logits
        (gradient,) = torch.autograd.grad(logits.diagonal(dim1=1, dim2=2).sum(), query)
        sizes[name] = gradient.abs().mean()
    assert sizes["joint-hellinger"] < 1e-3 * sizes["hellinger"]


@pytest.mark.parametrize("metric", ["euclid", "cosine"])
def test_prototypes_are_class_means_under_the_metric(metric):
    support, labels, query, _ = maps()
    head = Prototypes(C, metric)
    logits = head.score(head.fit(support, labels), query).logits
    scale = {"euclid": 1.0, "cosine": 10.0}[metric]
    for e in range(E):
        features, x = support[e].mean((-2, -1)), query[e].mean((-2, -1))
        means = torch.stack([features[labels[e] == k].mean(0) for k in range(WAY)])
        if metric == "euclid":
            expected = -(x[:, None] - means).square().sum(-1)
        else:
            expected = scale * (torch.nn.functional.cosine_similarity(x[:, None], means, dim=-1) - 1)
        close(logits[e], expected)


def test_the_scale_is_learnt_and_positive():
    support, labels, query, _ = maps()
    head = Prototypes(C)
    before = head.score(head.fit(support, labels), query).logits
    with torch.no_grad():
        head.log_scale -= 5.0
    close(head.score(head.fit(support, labels), query).logits, before * torch.tensor(-5.0).exp())


def test_a_query_equal_to_a_class_has_the_largest_possible_logit():
    support, labels, _, _ = maps()
    for name in ("anrot", "hela-vfa", "gaussian-kl", "gaussian-wasserstein2", "joint-hellinger"):
        head = head_of(name)
        logits = head.score(head.fit(support[:, :WAY], labels[:, :WAY]), support[:, :WAY]).logits
        assert logits.diagonal(dim1=1, dim2=2).abs().max() < 1e-3, name
        assert (logits < 1e-3).all(), name


# --- the variational head ---


def test_the_variational_head_samples_only_with_a_generator():
    support, labels, query, _ = maps()
    head = head_of("variational")
    model = head.fit(support, labels)
    plain = [head.score(model, query) for _ in range(2)]
    assert torch.equal(plain[0].logits, plain[1].logits)
    sampled = [head.score(model, query, rng(s)) for s in (1, 1, 2)]
    assert torch.equal(sampled[0].logits, sampled[1].logits)
    assert not torch.equal(sampled[0].logits, sampled[2].logits)
    assert sampled[0].penalty.ndim == 0
    assert sampled[0].penalty > 0
    moved = (sampled[0].embeddings.mean - plain[0].embeddings.mean) / plain[0].embeddings.var.sqrt()
    close(moved, torch.randn(moved.shape, generator=rng(1)))


def test_the_penalty_is_the_divergence_to_the_prior():
    head = head_of("variational")
    mean, var = torch.randn(1, N, C, generator=rng()), torch.rand(1, N, C, generator=rng(1)) + 0.5
    model = DiagonalGaussian(torch.zeros(1, WAY, C), torch.ones(1, WAY, C))
    found = head.score_described(model, DiagonalGaussian(mean, var), rng()).penalty
    squared = 1 - (2 * var.sqrt() / (var + 1)).sqrt() * torch.exp(-mean.square() / (4 * (var + 1)))
    assert found.item() == pytest.approx(VariationalHead.PENALTY_WEIGHT * (squared.sum(-1) / C).mean().item(), rel=1e-4)
    at_prior = DiagonalGaussian(torch.zeros(1, N, C), torch.ones(1, N, C))
    assert head.score_described(model, at_prior, rng()).penalty.item() == pytest.approx(0, abs=1e-7)


def test_variances_of_the_variational_head_are_bounded():
    head = copy.deepcopy(head_of("variational"))
    with torch.no_grad():
        head.to_log_var.weight.mul_(1e4)
    var = head.describe(torch.rand(5, C, 3, 3, generator=rng())).var
    assert var.min() >= torch.tensor(-4.0).exp() * 0.999
    assert var.max() <= torch.tensor(4.0).exp() * 1.001
    assert var.max() / var.min() > 100


# --- easyfsl's methods ---


@pytest.mark.parametrize("name", EASYFSL)
def test_easyfsl_heads_agree_with_that_library_run_by_hand(name):
    support, labels, query, _ = maps()
    head = head_of(f"easyfsl:{name}")
    logits = head.score(head.fit(support, labels), query).logits
    own = easyfsl_methods()[name](C).eval()  # backbone: the identity
    own.load_state_dict(head.method.state_dict())
    if name in SELF_FITTING:
        own.fine_tuning_steps = FINE_TUNING_STEPS
    features = (lambda maps: maps) if name == "RelationNetworks" else (lambda maps: maps.mean((-2, -1)))
    for e in range(E):
        own.process_support_set(features(support[e]), labels[e])
        close(logits[e], own(features(query[e])).detach())


@pytest.mark.parametrize("name", SELF_FITTING)
def test_methods_that_fit_themselves_get_the_gradient_of_cosine_prototypes(name):
    support, labels, query, targets = maps()
    head, cosine = head_of(f"easyfsl:{name}"), build_head("cosine", C)
    found = []
    for one in (head, cosine):
        x = query.clone().requires_grad_()
        logits = one.score(one.fit(support, labels), x).logits
        chosen = torch.nn.functional.one_hot(targets, WAY).float() - 0.3
        found.append(torch.autograd.grad((logits * chosen).sum(), x)[0])
    close(*found)
    with torch.no_grad():
        plain = head.score(head.fit(support, labels), query).logits
    torch.testing.assert_close(head.score(head.fit(support, labels), query).logits, plain)


def test_easyfsl_heads_say_whether_they_are_transductive():
    flags = {name: build_head(f"easyfsl:{name}", C).batch_dependent for name in easyfsl_methods()}
    transductive = {"BDCSPN", "LaplacianShot", "PTMAP", "TIM", "TransductiveFinetuning"}
    assert {name for name, flag in flags.items() if flag} == transductive
    assert set(flags) > transductive


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UserError, match=r"no method 'ProtoNet'.*BDCSPN.*PrototypicalNetworks"):
        build_head("easyfsl:ProtoNet", C)
    with pytest.raises(UserError, match=r"unknown method 'euclid'.*prototypes.*anrot.*easyfsl:NAME"):
        build_head("euclid", C)


@pytest.mark.parametrize("method", ["cosine-mirror", "median-cosine-mirror"])
def test_mirrored_features_do_not_change_in_a_mirror_and_are_means_of_both(method):
    net = create_net("tiny", method, 1, generator=rng(0)).eval()
    images = torch.rand(3, 1, 16, 16, generator=rng(1))
    with torch.no_grad():
        described = net.head.describe(net.encode(images))
        mirrored = net.head.describe(net.encode(images.flip(-1)))
        plain = net.backbone(images).mean((-2, -1)), net.backbone(images.flip(-1)).mean((-2, -1))
    assert torch.allclose(described, mirrored, atol=1e-6)
    assert torch.allclose(described, (plain[0] + plain[1]) / 2, atol=1e-6)
    assert not torch.allclose(plain[0], plain[1], atol=1e-3), "the encoder itself tells mirror images apart"
