"""A model's test as a whole, resumed after a kill; the checks for gradients that are of no use."""

import numpy as np
import pytest
import torch
from torch import nn

from anrot_lib.attacks.checks import check_falling, check_not_lower
from anrot_lib.core.errors import UserError
from anrot_lib.ranking.attacks import suite
from anrot_lib.ranking.attacks.goals import build_goal
from anrot_lib.ranking.attacks.names import make_profile
from anrot_lib.ranking.score import masking
from anrot_lib.ranking.score.ers import NUMBERS, ers
from anrot_lib.ranking.score.masking import Effort, check, measure_dead_gradients, nes
from anrot_lib.ranking.score.testing import ScoreProtocol, attack_all, measure_benign, summarise
from tests.helpers import silent

from .conftest import ToyEmbedder


@pytest.fixture(scope="module")
def protocol():
    return ScoreProtocol(make_profile("rob28", eps=0.1, steps=4), queries=40)


@pytest.fixture(scope="module")
def tested(toy, protocol):
    subject = toy.subject()
    rows = suite.choose_queries(subject.gallery, protocol.queries, protocol.seed)
    return subject, rows, attack_all(subject, protocol, rows, silent), measure_benign(subject.gallery, silent)


def test_the_parts_of_a_record(tested, protocol):
    _, _, (benign, attacked, seconds), clean = tested
    made = summarise(protocol, benign, attacked, seconds, clean)
    assert set(made["numbers"]) == {*NUMBERS, "GTM robrank"}
    assert made["numbers"]["CA+"]["attack"] == "CA:pm=+:W=1:eps=0.1:alpha=3/255:pgditer=4"
    score = made["ers"]
    assert score["value"] == pytest.approx(np.mean(made["queries"]), abs=0.02)
    assert score["bootstrap"][0] < score["value"] < score["bootstrap"][1] < score["ceiling"] <= 110
    assert score["collapsed"] is False
    assert score["with GTM robrank"] - score["value"] == pytest.approx(
        (made["numbers"]["GTM robrank"]["attacked"] - made["numbers"]["GTM"]["attacked"]) / 10, abs=1e-3
    )
    assert 0 < clean["chance"] < 20 < clean["R@1"] <= 100 and 0 < clean["NMI"] <= 100


def test_parity_measures_the_fixed_gtm_beside_its_own(toy, protocol):
    subject = toy.subject()
    parity = ScoreProtocol(protocol.attacks, parity="robrank")
    rows = np.arange(130)  # two batches, of 128 and of 2, count alike
    benign, attacked, seconds = attack_all(subject, parity, rows, silent)
    made = summarise(parity, benign, attacked, seconds, measure_benign(subject.gallery, silent, nmi=False))
    assert "GTM fixed" in made["numbers"] and "GTM robrank" not in made["numbers"]
    values = attacked["TMA"]
    batches = (values[:128].mean() + values[128:].mean()) / 2
    assert made["numbers"]["TMA"]["attacked"] == pytest.approx(batches, abs=1e-4)
    assert abs(batches - values.mean()) > 1e-3
    with pytest.raises(UserError, match="parity"):
        ScoreProtocol(protocol.attacks, parity="half")


def test_a_killed_test_goes_on_where_it_was(toy, protocol, monkeypatch):
    subject, rows = toy.subject(), np.arange(300)
    whole = attack_all(subject, protocol, rows, silent)[1]
    journal, batches = {}, []
    original = suite._attack_batch

    def counted(*arguments):
        batches.append(1)
        if len(batches) == 8:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(suite, "_attack_batch", counted)
    with pytest.raises(KeyboardInterrupt):
        attack_all(subject, protocol, rows, silent, journal)
    assert len(journal) == 7
    resumed = attack_all(subject, protocol, rows, silent, journal)[1]
    assert len(batches) == 30 + 1  # ten runs of three batches, one of them twice
    for name, values in whole.items():
        np.testing.assert_array_equal(values, resumed[name])


# Checks


class Quantised(nn.Module):
    """Masks the gradient: rounds its input, so that no pixel seems to matter, and an attack is blind."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        coarse = (images * 8).round() / 8
        return self.net(coarse + 0 * images)


@pytest.fixture(scope="module")
def efforts():
    return Effort(restarts=2, more_steps=2, factors=(0.5,), population=20, nes_queries=20)


@pytest.mark.slow
def test_an_honest_net_passes(toy, protocol, efforts):
    subject = toy.subject()
    other = toy.subject(net=ToyEmbedder(torch.Generator().manual_seed(99)).double().eval())
    rows = suite.choose_queries(subject.gallery, 40, 0)
    # enough steps to arrive: that more of them change little is one of the checks
    found = check(
        subject, ScoreProtocol(make_profile("rob28", eps=0.1, steps=24)), rows, silent, effort=efforts, other=other
    )
    assert set(found["checks"]) == set(masking.CHECKS)
    assert found["passed"], found
    assert max(found["checks"]["gradient"]["dead"].values()) == 0
    assert list(found["checks"]["eps"]["scores"]) == ["0.05", "0.1", "1"]
    assert found["checks"]["transfer"]["score"] > found["pgd"] > found["worst"]


def test_a_masked_gradient_is_found_out(toy, protocol, efforts):
    subject = toy.subject(net=Quantised(toy.net))
    rows = suite.choose_queries(subject.gallery, 40, 0)
    other = toy.subject()
    found = check(subject, protocol, rows, silent, effort=efforts, other=other)
    failed = {name for name, part in found["checks"].items() if not part["passed"]}
    assert failed >= {"gradient", "eps", "nes", "transfer"} and not found["passed"]
    assert found["checks"]["gradient"]["dead"]["ES"] == 100


def test_nes_guesses_the_gradient(toy):
    subject, rows = toy.subject(), torch.arange(6)
    attack = make_profile("rob28", eps=0.02)[4]
    goal = build_goal(attack, subject.gallery, rows, subject.gallery.embeddings[rows], torch.rand(6, 1).double())
    images = toy.images[:6].clone().requires_grad_()
    (true,) = torch.autograd.grad(suite.build_objective(subject, goal)(images, None).sum(), images)
    one_step = type(attack)("TMA", 0.02, 0.02, 1)
    moved = nes(one_step, 0, 2000)(subject, goal, images.detach(), 0) - images.detach()
    strong = true.abs() > true.abs().flatten(1).median(1).values.view(-1, 1, 1, 1)
    free = (images > 0.02) & (images < 0.98)
    assert (moved.sign() == true.sign())[strong & free].double().mean() > 0.9


def test_nes_needs_no_gradient_of_the_net(toy):
    subject, rows = toy.subject(net=Quantised(toy.net)), torch.arange(20)
    attack = make_profile("rob28", eps=0.2, steps=4)[4]
    goal = build_goal(attack, subject.gallery, rows, subject.gallery.embeddings[rows], torch.rand(20, 1).double())
    images = toy.images[:20]
    before, blind, found = (
        goal.values(subject.embed(x))["TMA"].mean()
        for x in (images, suite.pgd(attack, 0)(subject, goal, images, 0), nes(attack, 0, 60)(subject, goal, images, 0))
    )
    assert before == blind < found


def test_the_worst_of_several_attacks():
    rng = np.random.default_rng(1)
    runs = [{name: rng.uniform(0, 100, 30) for name in NUMBERS} for _ in range(3)]
    found = masking.take_worst(runs)
    np.testing.assert_array_equal(found["CA+"], np.min([run["CA+"] for run in runs], 0))
    np.testing.assert_array_equal(found["ES:D"], np.max([run["ES:D"] for run in runs], 0))
    assert all((ers(found) <= ers(run)).all() for run in runs)


def test_verdicts():
    rng = np.random.default_rng(0)
    pgd = rng.uniform(20, 60, 200)
    assert check_not_lower(pgd, pgd - 1)["passed"]  # within the tolerance
    assert not check_not_lower(pgd, pgd - 5)["passed"]
    assert check_not_lower(pgd, pgd - 5 + rng.normal(0, 100, 200))["passed"]  # within noise
    assert check_falling({0.5: pgd + 5, 1.0: pgd, 3.0: pgd / 4}, 0.3, 10.0)["passed"]
    assert not check_falling({0.5: pgd - 5, 1.0: pgd, 3.0: pgd / 4}, 0.3, 10.0)[
        "passed"
    ]  # a larger ball, a higher score
    assert not check_falling({1.0: pgd, 3.0: pgd - 1}, 0.3, 10.0)["passed"]  # nothing brings it down
    assert list(check_falling({1.0: pgd, 4.0: pgd}, 0.3, 10.0)["scores"]) == ["0.3"]


def test_checks_refuse_what_they_cannot_do(toy, protocol):
    subject = toy.subject()
    with pytest.raises(UserError, match="unknown check 'nse'"):
        check(subject, protocol, np.arange(4), silent, names=("nse",))
    with pytest.raises(UserError, match="eps above 0"):
        check(subject, ScoreProtocol(make_profile("rob28", eps=0.0)), np.arange(4), silent)


def test_dead_gradients_are_counted_by_attack(toy):
    subject = toy.subject()
    found = measure_dead_gradients(subject, make_profile("rob28"), np.arange(150), 0)
    assert set(found) == {"CA-", "QA-", "TMA", "ES", "GTM", "GTT"}
    assert set(found.values()) == {0.0}
