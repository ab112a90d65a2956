"""The ranking attacks: their losses and gradients against plain formulas, their numbers, partners, parity, seeds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anrot_lib.attacks.ascent import ascend
from anrot_lib.core.errors import UserError
from anrot_lib.ranking.attacks import goals, suite
from anrot_lib.ranking.attacks.goals import build_goal
from anrot_lib.ranking.attacks.names import make_profile, parse
from anrot_lib.ranking.attacks.partners import draw_chance, draw_different, find_mismatch
from anrot_lib.ranking.distances import normalise
from anrot_lib.ranking.gallery import Gallery
from anrot_lib.ranking.retrieval import retrieve
from anrot_lib.ranking.shards import cut

NINE = make_profile("rob28")


def named(title, **changes):
    (attack,) = (a for a in NINE if a.title == title)
    return replace(attack, **changes)


# Names


@pytest.mark.parametrize(
    "text",
    [
        "CA:pm=+:W=1:eps=0.03:alpha=0.01:pgditer=32",
        "QA:pm=-:M=5:eps=77/255:alpha=3/255:pgditer=7",
        "ES:eps=0.0:alpha=1/255:pgditer=1",
        "GTM:eps=0.301961:alpha=0.011764:pgditer=32",
    ],
)
def test_names_are_read_and_written(text):
    attack = parse(text)
    assert parse(str(attack)) == attack
    if "0.0:" not in text:
        assert str(attack) == text


@given(
    st.sampled_from(NINE),
    st.floats(0, 1),
    st.floats(1e-6, 1),
    st.integers(1, 1000),
    st.integers(1, 20),
)
def test_any_attack_survives_its_name(attack, eps, alpha, steps, count):
    attack = replace(attack, eps=eps, alpha=alpha, steps=steps, count=count if attack.pm else 0)
    assert parse(str(attack)) == attack


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("XX:eps=1:alpha=1:pgditer=1", "unknown ranking attack"),
        ("ES:eps=0.1:alpha=0.1", "pgditer"),
        ("CA:W=1:eps=0.1:alpha=0.1:pgditer=1", "pm"),
        ("CA:pm=+:M=1:eps=0.1:alpha=0.1:pgditer=1", "M=1"),
        ("CA:pm=*:W=1:eps=0.1:alpha=0.1:pgditer=1", "pm=\\+ or pm=-"),
        ("ES:pm=+:eps=0.1:alpha=0.1:pgditer=1", "neither pm"),
        ("ES:eps=0.1:eps=0.2:alpha=0.1:pgditer=1", "twice"),
        ("ES:eps=one:alpha=0.1:pgditer=1", "numbers"),
        ("ES:eps=0.1:alpha=0.1:pgditer=0", "at least 1"),
        ("ES:eps=0.1:alpha=0.1:steps", "not a setting"),
        ("SPQA:pm=+:M=1:eps=0.1:alpha=0.1:pgditer=1", "not offered"),
    ],
)
def test_a_bad_name_is_a_sentence(text, words):
    with pytest.raises(UserError, match=words):
        parse(text)


def test_profiles():
    assert [a.title for a in NINE] == ["CA+", "CA-", "QA+", "QA-", "TMA", "ES", "LTM", "GTM", "GTT"]
    assert make_profile("cvpr") == make_profile("rob224")
    assert {(a.eps, a.alpha, a.steps) for a in NINE} == {(77 / 255, 3 / 255, 32)}
    assert {(a.eps, a.steps) for a in make_profile("rob224", eps=0.0, steps=5)} == {(0.0, 5)}
    with pytest.raises(UserError, match="rob28, rob224, cvpr"):
        make_profile("rob32")


def test_a_single_step_is_as_long_as_eps():
    assert named("ES", steps=1).threat().step == 77 / 255 and named("ES").threat().step == 3 / 255


# Losses, against formulas written out


def plain_loss(goal, e):
    """What the adversary raises, term by term."""
    gallery, case, metric = goal.gallery, goal.case, goal.gallery.metric
    x, attack = gallery.embeddings, goal.attack

    def d(u, v):
        if metric == "C":
            return 1 - (u * v).sum(-1)
        if metric == "H":
            (m, s), (n, t) = ((z[..., :3], (4 * torch.tanh(z[..., 3:] / 4)).exp()) for z in (u, v))
            overlap = (2 * (s * t).sqrt() / (s + t)).sqrt() * torch.exp(-((m - n) ** 2) / (4 * (s + t)))
            return (1 - overlap.prod(-1) ** (1 / 3)).clamp_min(1e-12).sqrt()
        return (u - v).norm(dim=-1)

    partners = x[case.partners]
    if attack.kind == "CA":
        hinge = d(partners, e[:, None])[..., None] - d(partners[:, :, None], x)  # (B, W, N)
    elif attack.kind in ("QA", "GTT"):
        hinge = d(partners, e[:, None])[..., None] - d(e[:, None], x)[:, None]
    if attack.kind in ("CA", "QA", "GTT"):
        return -(hinge if attack.pm == "+" else -hinge).relu().mean((1, 2))
    if attack.kind == "TMA" and metric == "H":
        return 1 - d(e, partners[:, 0]) ** 2
    if attack.kind == "TMA":
        return torch.cosine_similarity(e, partners[:, 0])
    if attack.kind == "ES":
        return d(e, case.benign + 0.01) if metric == "H" else (e - case.benign).norm(dim=1)
    if attack.kind == "GTM":
        return -d(e, partners[:, 0])
    distances = d(e[:, None], x)
    same = gallery.labels == gallery.labels[case.rows, None]
    mates = same.clone()
    mates[torch.arange(len(e)), case.rows] = goal.parity
    far = distances.masked_fill(same, -torch.inf).amax(1)
    return -(far - distances.masked_fill(~mates, torch.inf).amin(1)).relu()


@pytest.mark.parametrize("metric", "NCEH")
@pytest.mark.parametrize("attack", [*NINE, named("CA+", count=3), named("QA-", count=3)], ids=str)
def test_losses_and_gradients_are_those_of_the_formulas(attack, metric):
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(4, (400,), generator=generator)
    x = normalise(torch.randn(400, 6, generator=generator).double() + 0.3, metric)
    gallery, rows = Gallery(x, labels, metric), torch.arange(0, 60, 5)
    goal = build_goal(attack, gallery, rows, x[rows], draw_chance(attack, len(rows), generator))
    raw = (x[rows] + 0.2 * torch.randn(len(rows), 6, generator=generator)).requires_grad_()
    gradients = []
    for loss in (goal.loss, lambda e: plain_loss(goal, e)):
        value = loss(normalise(raw, metric))
        assert value.shape == (len(rows),)
        gradients.append((value.detach(), torch.autograd.grad(value.sum(), raw)[0]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_numbers_are_those_of_the_formulas(toy):
    gallery = toy.subject().gallery
    generator = torch.Generator().manual_seed(2)
    rows = torch.randperm(600, generator=generator)[:40]
    moved = normalise(gallery.embeddings[rows] + 0.2 * torch.randn(40, 12, generator=generator).double(), "N")
    x, n = gallery.embeddings, 600
    for attack in (*NINE, named("CA+", count=3), named("QA+", count=3)):
        goal = build_goal(attack, gallery, rows, x[rows], draw_chance(attack, 40, generator))
        values = goal.values(moved)
        for b, row in enumerate(rows.tolist()):
            partners = goal.case.partners[b]
            to_x = (x - moved[b]).norm(dim=1)
            if attack.kind == "CA":
                own = [(x[p] - moved[b]).norm() for p in partners]
                ranks = [((x - x[p]).norm(dim=1) < d).sum() / n for p, d in zip(partners, own, strict=True)]
                wanted = {attack.title: 100 * sum(ranks) / len(ranks)}
            elif attack.kind == "QA":
                wanted = {attack.title: 100 * sum((to_x < to_x[p]).sum() / n for p in partners) / len(partners)}
            elif attack.kind == "TMA":
                wanted = {"TMA": x[partners[0]] @ moved[b]}
            elif attack.kind == "GTT":
                to_x[row] = torch.inf
                wanted = {"GTT": 100.0 * (partners[0] in to_x.topk(4, largest=False).indices)}
            else:
                to_x[row] = torch.inf
                hit = 100.0 * (toy.labels[to_x.argmin()] == toy.labels[row])
                wanted = (
                    {"ES:D": (moved[b] - x[row]).norm(), "ES:R": hit} if attack.kind == "ES" else {attack.title: hit}
                )
            for name, value in wanted.items():
                assert float(values[name][b]) == pytest.approx(float(value), abs=1e-4), (attack, name)


def test_under_hellinger_the_numbers_keep_their_ranges(toy):
    gallery = toy.subject("H").gallery
    rows = torch.arange(20)
    far = 50 * torch.randn(20, 12, generator=torch.Generator().manual_seed(0)).double()
    numbers = {}
    for title in ("TMA", "ES"):
        attack = named(title)
        goal = build_goal(attack, gallery, rows, gallery.embeddings[rows], draw_chance(attack, 20, torch.Generator()))
        still, moved = goal.values(gallery.embeddings[rows]), goal.values(far)
        numbers |= {name: (still[name], moved[name]) for name in moved}
    assert (numbers["ES:D"][0] == 0).all() and (numbers["ES:D"][1] > 1.5).all() and (numbers["ES:D"][1] <= 2).all()
    assert all(((values >= 0) & (values <= 1)).all() for values in numbers["TMA"])
    assert numbers["TMA"][0].mean() > numbers["TMA"][1].mean()


def test_top_one_is_the_r_at_1_of_retrieval(toy):
    subject = toy.subject("C")
    rows = torch.arange(50)
    goal = build_goal(named("LTM"), subject.gallery, rows, subject.gallery.embeddings[rows], torch.zeros(50, 0))
    moved = normalise(subject.gallery.embeddings[rows] + 0.3, "C")
    np.testing.assert_array_equal(goal.values(moved)["LTM"] / 100, retrieve(subject.gallery, rows, moved).hits())


# Partners


def test_partners_are_where_they_should_be(toy):
    gallery = toy.subject().gallery
    rows = torch.arange(0, 600, 4)
    benign = gallery.embeddings[rows]
    generator = torch.Generator().manual_seed(0)

    def partners(attack):
        return build_goal(attack, gallery, rows, benign, draw_chance(attack, len(rows), generator)).case.partners

    order = gallery.distances(benign).scatter(1, rows[:, None], torch.inf).argsort(1)
    for title in ("CA-", "QA-"):
        found = partners(named(title, count=4))
        place = (order[:, None] == found[..., None]).float().argmax(-1)
        assert place.max() == 5 and place.min() == 0  # the nearest 1 % of 600, without the image itself
        distinct = (place.sort(1).values.diff(dim=1) > 0).all()
        assert distinct if title == "QA-" else not distinct
    assert torch.equal(partners(named("GTT"))[:, 0], order[:, 0])
    assert partners(named("CA+")).unique().numel() > 100
    with pytest.raises(UserError, match="nearest 6"):
        partners(named("QA-", count=7))


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(0, 5))
def test_drawing_without_putting_back(seed, count, more):
    n = count + more
    places = draw_different(torch.rand(200, count, generator=torch.Generator().manual_seed(seed)).double(), n)
    assert places.min() >= 0 and places.max() < n
    assert (places.sort(1).values.diff(dim=1) > 0).all()


def test_drawing_without_putting_back_is_uniform():
    places = draw_different(torch.rand(30_000, 3, generator=torch.Generator().manual_seed(0)).double(), 4)
    for column in places.T:
        np.testing.assert_allclose(column.bincount(minlength=4) / 30_000, 0.25, atol=0.01)


def test_gtm_takes_the_nearest_row_of_another_class(toy):
    gallery = toy.subject().gallery
    rows = torch.arange(600)
    distances = gallery.distances(gallery.embeddings).fill_diagonal_(torch.inf)
    u = find_mismatch(distances, toy.labels, toy.labels)
    assert (toy.labels[u] != toy.labels).all()
    nearest = distances.masked_fill(toy.labels == toy.labels[:, None], torch.inf).amin(1)
    assert torch.equal(distances[rows, u], nearest)


def test_gtm_by_parity_mistakes_a_place_among_other_classes_for_a_row():
    distances = torch.tensor([[9, 1, 5, 0.5, 7, 2, 0.7]])
    for labels, true, mistaken in (([0, 0, 1, 1, 1, 0, 1], 1, 1), ([1, 1, 0, 1, 1, 0, 0], 6, 2)):
        labels = torch.tensor(labels)
        label_of_top_one = labels[3:4]
        assert find_mismatch(distances, labels, label_of_top_one).item() == true
        assert find_mismatch(distances, labels, label_of_top_one, parity=True).item() == mistaken


def test_gtm_by_parity_asks_for_another_class_than_the_nearest_rows():
    distances = torch.tensor([[1.0, 2.0, 3.0]])
    labels = torch.tensor([1, 0, 1])
    assert find_mismatch(distances, labels, torch.tensor([0])).item() == 0
    assert find_mismatch(distances, labels, torch.tensor([0]), parity=True).item() == 0  # row 1, the first of its kind


# Runs


def test_without_room_to_move_nothing_changes(toy):
    subject = toy.subject()
    rows = suite.choose_queries(subject.gallery, None, 0)
    r1 = 100 * retrieve(subject.gallery).hits().mean()
    found = {}
    for attack in make_profile("rob28", eps=0.0):
        run = suite.run_attack(subject, attack, rows, seed=0)
        for name, values in run.attacked.items():
            found[name] = values.mean()
            np.testing.assert_allclose(values, run.benign[name], atol=1e-6)
    assert found["ES:D"] < 1e-3 and found["GTT"] == 100 and found["CA-"] < 3 and found["QA-"] < 1
    assert found["ES:R"] == found["LTM"] == found["GTM"] == pytest.approx(r1)
    assert abs(found["CA+"] - 50) < 5 and abs(found["QA+"] - 50) < 5
    assert found["TMA"] == pytest.approx(cut(subject.gallery).mean_cosine(), abs=0.05)


@pytest.mark.parametrize("metric", "NCH")
def test_attacks_reach_what_they_are_after(toy, metric):
    subject = toy.subject(metric)
    rows = suite.choose_queries(subject.gallery, 60, 0)
    better = {
        "CA+": -1,
        "CA-": 1,
        "QA+": -1,
        "QA-": 1,
        "TMA": 1,
        "ES:D": 1,
        "ES:R": -1,
        "LTM": -1,
        "GTM": -1,
        "GTT": -1,
    }
    for attack in make_profile("rob28", eps=0.15, steps=10):
        run = suite.run_attack(subject, attack, rows, seed=0)
        for name, values in run.attacked.items():
            assert better[name] * (values.mean() - run.benign[name].mean()) > 0, name


def test_images_stay_in_the_ball_and_the_net_as_it_was(toy):
    subject, seen = toy.subject(), []
    before = {k: v.clone() for k, v in subject.net.state_dict().items()}
    attack = named("QA-", eps=0.1, steps=4)

    def spy(subject, goal, images, first):
        moved = suite.pgd(attack, 0)(subject, goal, images, first)
        seen.append((moved - images).abs().max().item())
        assert moved.min() >= 0 and moved.max() <= 1 and not moved.requires_grad
        return moved

    subject.net.train()
    suite.run_attack(subject, attack, np.arange(40), 0, adversary=spy)
    assert 0.03 < max(seen) <= 0.1 + 1e-7
    assert subject.net.training and all(p.requires_grad and p.grad is None for p in subject.net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in subject.net.state_dict().items())
    subject.net.eval()


def test_same_seed_same_numbers_whatever_the_batch(toy):
    subject = toy.subject()
    for title in ("CA+", "QA-", "TMA"):
        attack = named(title, eps=0.05, steps=3)
        runs = [
            suite.run_attack(subject, attack, np.arange(30), s, batch=b).attacked[title] for s, b in ((0, 128), (0, 7))
        ]
        np.testing.assert_allclose(*runs, atol=1e-9)
        assert not np.allclose(runs[0], suite.run_attack(subject, attack, np.arange(30), 1).attacked[title])


def test_restarts_are_never_worse_by_the_goals_loss(toy):
    subject, rows = toy.subject(), torch.arange(20)
    attack = named("QA+", eps=0.1, alpha=0.05, steps=3)
    goal = build_goal(
        attack, subject.gallery, rows, subject.gallery.embeddings[rows], draw_chance(attack, 20, torch.Generator())
    )
    images = toy.images[:20]
    losses = []
    for restarts in (1, 4):
        moved = suite.pgd(attack, 0, restarts)(subject, goal, images, 0)
        losses.append(goal.loss(subject.embed(moved)).detach())
    assert (losses[1] >= losses[0] - 1e-12).all() and losses[1].sum() > losses[0].sum()


def test_es_by_parity_is_measured_before_the_last_step(toy):
    subject = toy.subject()
    found = [
        suite.run_attack(subject, named("ES", eps=0.2, steps=steps), np.arange(50), 0, parity).attacked["ES:D"].mean()
        for steps, parity in ((4, True), (3, False), (4, False))
    ]
    assert found[0] == pytest.approx(found[1], rel=0.05) and found[0] < found[2]


def test_ltm_by_parity_keeps_the_image_among_its_class(toy):
    subject = toy.subject()
    rows = torch.arange(30)
    losses = [
        build_goal(named("LTM"), subject.gallery, rows, subject.gallery.embeddings[rows], torch.zeros(30, 0), parity)
        for parity in (False, True)
    ]
    at_start = [goal.loss(subject.gallery.embeddings[rows]) for goal in losses]
    assert (at_start[1] < at_start[0]).all()  # the nearest of its class is itself, at distance 0


def on_a_gallery(title, metric):
    """The goal of the first 6 of 24 rows by parity, without chance, and those rows moved a little."""
    places, labels = torch.arange(24 * 5, dtype=torch.float64).view(24, 5), torch.arange(24) % 4
    x = normalise(torch.sin(1.7 * places) + 0.4 * labels.double()[:, None], metric)
    goal = build_goal(named(title), Gallery(x, labels, metric), torch.arange(6), x[:6], torch.zeros(6, 0), parity=True)
    return goal, x[:6], x[:6] + 0.1 * torch.cos(torch.arange(30, dtype=torch.float64).view(6, 5))


# Sum of the loss and of the absolute gradient in a run of the released code, in float64: for ES at the first and at the
# second step, for LTM at the moved rows, and at the rows themselves, where a row's own distance is 0.
RELEASED = {
    ("ES", "N"): ((0.854567088110, 11.668702979521), (0.854566970268, 11.668702136997)),
    ("ES", "C"): ((0.063246218101, 1.684465206703), (0.063246212489, 1.684464998057)),
    ("ES", "E"): ((0.959463565751, 12.220938915206), (0.959463534802, 12.220939716388)),
    ("LTM", "N"): ((-10.260559125065, 11.760067972201),),  # after another division by its length a row is not itself
    ("LTM", "C"): ((-10.235123791516, 7.426157078304), (-10.292800732421, 7.480850007953)),
    ("LTM", "E"): ((-22.682333067448, 14.660969773100), (-23.554211270463, 11.650313751186)),
}


@pytest.mark.parametrize(("kind", "metric"), RELEASED)
def test_es_and_ltm_by_parity_are_those_of_the_release(kind, metric):
    goal, benign, moved = on_a_gallery(kind, metric)
    for points, expected in zip((moved, benign if kind == "LTM" else moved), RELEASED[kind, metric], strict=False):
        raw = points.clone().requires_grad_()
        value = goal.loss(normalise(raw, metric)).sum()
        (gradient,) = torch.autograd.grad(value, raw)
        assert (value.item(), gradient.abs().sum().item()) == pytest.approx(expected, abs=1e-10)


def test_ties_by_parity_go_by_the_order_of_rows():
    distances = torch.tensor([[1.0, 1.0, 1.0, 0.5]])
    partners = torch.tensor([[0, 2]])
    assert goals._nearer(distances, partners, parity=False).tolist() == [[1, 1]]
    assert goals._nearer(distances, partners, parity=True).tolist() == [[1, 3]]


def test_no_row_of_a_collapsed_net_is_nearer_than_another():
    gallery = Gallery(normalise(torch.ones(20, 4), "N"), torch.arange(20) % 4, "N")
    rows = torch.arange(6)
    for title in ("CA+", "CA-"):
        attack = named(title)
        goal = build_goal(
            attack, gallery, rows, gallery.embeddings[rows], draw_chance(attack, 6, torch.Generator()), False
        )
        assert goal.values(gallery.embeddings[rows])[title].tolist() == [0.0] * 6


def test_queries_are_a_sample_of_those_that_have_something_to_find():
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2])
    gallery = Gallery(torch.rand(8, 2, generator=torch.Generator().manual_seed(0)), labels, "E")
    assert suite.choose_queries(gallery, None, 0).tolist() == [0, 1, 2, 4, 5, 6, 7]
    some = suite.choose_queries(gallery, 3, 0)
    assert len(some) == 3 and (np.diff(some) > 0).all() and 3 not in some
    with pytest.raises(UserError, match="at least 2"):
        suite.choose_queries(gallery, 1, 0)


def test_one_class_alone_is_refused(toy):
    gallery = Gallery(toy.subject().gallery.embeddings, torch.zeros(600, dtype=torch.long), "N")
    with pytest.raises(UserError, match="all images are of one"):
        build_goal(named("ES"), gallery, torch.arange(2), gallery.embeddings[:2], torch.zeros(2, 0))


def test_the_ascent_of_a_ranking_goal_is_ordinary_pgd(toy):
    """Sign steps of alpha on the plain formula, clipped, by hand: the same images."""
    subject, rows = toy.subject(), torch.arange(8)
    attack = named("CA+", eps=0.05, alpha=0.02, steps=3)
    goal = build_goal(attack, subject.gallery, rows, subject.gallery.embeddings[rows], torch.rand(8, 1).double())
    images = toy.images[:8]
    moved = images.clone()
    for _ in range(3):
        moved.requires_grad_()
        (gradient,) = torch.autograd.grad(plain_loss(goal, subject.embed(moved)).sum(), moved)
        moved = (moved.detach() + 0.02 * gradient.sign()).clamp(images - 0.05, images + 0.05).clamp(0, 1)
    found = ascend(suite.build_objective(subject, goal), images, attack.threat(), keep="last").images
    torch.testing.assert_close(found, moved, atol=1e-12, rtol=0)


def test_a_tie_is_a_miss_in_r_at_1():
    gallery = Gallery(normalise(torch.ones(20, 4), "N"), torch.arange(20) % 4, "N")
    rows, attack = torch.arange(6), named("ES")
    chance = draw_chance(attack, 6, torch.Generator())
    goal = build_goal(attack, gallery, rows, gallery.embeddings[rows], chance, False)
    assert goal.top_one(gallery.embeddings[rows]).tolist() == [0.0] * 6
