import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import UserError
from anrot_lib.core.units import format_pixels

FIELDS = {
    "norm": "linf",
    "eps": 8 / 255,
    "step": 2 / 255,
    "steps": 20,
    "restarts": 1,
    "start": "random",
    "target": "query",
}


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_required(field):
    with pytest.raises(TypeError, match=field):
        ThreatModel(**{k: v for k, v in FIELDS.items() if k != field})


def test_eps_and_target_are_required_by_the_constructors():
    with pytest.raises(TypeError):
        fgsm(target="query")
    with pytest.raises(TypeError):
        fgsm(8 / 255)
    with pytest.raises(TypeError):
        pgd(steps=20, step=2 / 255, restarts=1, target="query")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"norm": "l1"}, "norm"),
        ({"eps": 8}, "k/255"),
        ({"eps": -0.1}, "eps"),
        ({"eps": float("nan")}, "eps"),
        ({"eps": float("inf"), "norm": "l2"}, "eps"),
        ({"step": 0}, "step"),
        ({"step": "2/255"}, "step"),
        ({"steps": 0}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"restarts": True}, "restarts"),
        ({"restarts": 3, "start": "clean"}, "restarts"),
        ({"start": "zero"}, "start"),
        ({"target": "gallery"}, "target"),
    ],
)
def test_impossible_values_are_refused_by_name(change, word):
    with pytest.raises(UserError, match=word):
        ThreatModel(**(FIELDS | change))


def test_names():
    assert ThreatModel(**FIELDS).name == "PGD-20 8/255 query"
    assert fgsm(0.3, "support").name == "FGSM 0.3 support"
    assert fgsm(2 / 255, "query", random_start=True).name == "FGSM-RS 2/255 query"
    assert pgd(0.5, 10, 0.1, 5, "both", norm="l2").name == "PGD-10x5 l2 0.5 both"
    assert [format_pixels(v) for v in (0, 1 / 255, 0.05, 16 / 255)] == ["0", "1/255", "0.05", "16/255"]


def test_a_threat_model_survives_its_record():
    threat = pgd(4 / 255, 7, 1 / 255, 2, "both")
    assert ThreatModel(**dataclasses.asdict(threat)) == threat


def test_zero_eps_is_a_threat_model():
    assert fgsm(0.0, "query").name == "FGSM 0 query"


def lengths(change, norm):
    change = change.flatten(1)
    return change.abs().amax(1) if norm == "linf" else change.norm(dim=1)


@given(seed=st.integers(0, 999), norm=st.sampled_from(["linf", "l2"]), eps=st.sampled_from([0.01, 8 / 255, 0.3, 1.0]))
def test_projection_start_and_step_stay_in_the_ball_and_in_the_box(seed, norm, eps):
    generator = torch.Generator().manual_seed(seed)
    threat = pgd(eps, 3, eps / 2, 1, "query", norm=norm)
    clean = (torch.rand(4, 3, 5, 5, generator=generator) * 1.4 - 0.2).clamp(0, 1)  # many pixels at the borders
    far = clean + torch.randn(clean.shape, generator=generator)
    moved = threat.move(clean, far, clean)
    for points in (threat.project(far, clean), threat.random_start(clean, generator), moved):
        assert lengths(points - clean, norm).max() <= eps + 1e-6 * (norm == "l2") + 1e-7
        assert points.min() >= 0
        assert points.max() <= 1
    assert torch.equal(threat.project(clean, clean), clean)
    torch.testing.assert_close(threat.project(moved, clean), moved, rtol=0, atol=1e-7)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_step_has_its_length_whatever_the_scale_of_the_gradient(norm):
    threat = pgd(0.1, 3, 0.04, 1, "query", norm=norm)
    clean = torch.full((4, 1, 6, 6), 0.5)
    gradient = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([1e-30, 1e-3, 1.0, 1e30]).view(-1, 1, 1, 1)
    moved = threat.move(clean, gradient * scale, clean) - clean
    torch.testing.assert_close(lengths(moved, norm), torch.full((4,), 0.04), rtol=1e-3, atol=0)
    assert (moved * gradient >= 0).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_gradients_that_are_not_finite_leave_finite_points(norm):
    threat = pgd(0.1, 3, 0.04, 1, "query", norm=norm)
    clean = torch.full((2, 1, 2, 2), 0.5)
    gradient = torch.zeros_like(clean)
    gradient[0, 0, 0] = torch.tensor([float("nan"), float("inf")])
    moved = threat.move(clean, gradient, clean) - clean
    assert moved[0, 0, 0, 0] == 0
    assert moved[0, 0, 0, 1] == pytest.approx(0.04, rel=1e-4)
    assert not moved[1].any()  # a zero gradient moves nothing


def test_random_starts_fill_the_ball():
    clean = torch.full((2000, 1, 1, 2), 0.5)
    generator = torch.Generator().manual_seed(0)
    cube = pgd(0.2, 1, 0.1, 1, "query").random_start(clean, generator) - clean
    assert abs(cube.mean().item()) < 0.01
    assert cube.std().item() == pytest.approx(0.4 / 12**0.5, rel=0.05)
    disc = lengths(pgd(0.2, 1, 0.1, 1, "query", norm="l2").random_start(clean, generator) - clean, "l2")
    assert (disc < 0.1).float().mean().item() == pytest.approx(0.25, abs=0.03)  # a quarter of the area


def test_a_random_start_without_generator_is_refused():
    with pytest.raises(UserError, match="generator"):
        fgsm(0.1, "query", random_start=True).random_start(torch.rand(1, 1, 2, 2), None)
