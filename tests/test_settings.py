"""Protocol, recipe and budget: what is refused, what is stored, and what a preset may change."""

import dataclasses
import json

import pytest

from anrot_lib.core.configs import change, from_dict, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.encoders import BUILDERS
from anrot_lib.settings import (
    EMBEDDED,
    LAPTOP,
    PAPER,
    PRESETS,
    RADII,
    SMOKE,
    Budget,
    Protocol,
    Recipe,
    get_radii,
    preset,
)


@pytest.mark.parametrize(
    "settings",
    [
        Protocol(),
        Protocol(shot=1, eps=2 / 255, curve_eps=(0.0, 0.1)),
        Recipe(),
        Recipe(adversarial=1.0, augment=("flip", "rotate90"), mix="cutmix", attention=False),
        *PRESETS.values(),
    ],
)
def test_stored_settings_come_back_the_same(settings):
    stored = json.loads(json.dumps(to_dict(settings)))
    assert from_dict(type(settings), stored) == settings


def test_an_unknown_key_is_an_error_that_names_it():
    with pytest.raises(UserError, match=r"unknown setting sheds, shtop for Protocol.*shot"):
        from_dict(Protocol, {"shtop": 5, "sheds": 1})


def test_settings_cannot_be_altered_in_place():
    for settings in (Protocol(), Recipe(), SMOKE):
        with pytest.raises(dataclasses.FrozenInstanceError):
            settings.seed = 3


def test_change_leaves_what_is_none():
    changed = change(Recipe(), learning_rate=0.1, method=None, seed=0, clean=0.5)
    assert changed == Recipe(learning_rate=0.1, clean=0.5)
    with pytest.raises(TypeError):
        change(Recipe(), lerning_rate=0.1)
    with pytest.raises(UserError):
        change(Recipe(), eps=8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clean": 0.0}, "shares must be at least 0 and not all 0"),
        ({"noisy": -0.1}, "shares must be at least 0"),
        ({"clean": float("nan")}, "shares must be at least 0"),
        ({"sigma_low": 0.3, "sigma_high": 0.1}, "low <= high, got 0.3 and 0.1"),
        ({"sigma_low": -0.1}, "sigma must satisfy 0 <= low"),
        ({"sigma_high": float("nan")}, "sigma must satisfy"),
        ({"eps": 8}, "eps is in units of the pixel range.*got 8; write k/255"),
        ({"eps": -0.1}, "eps"),
        ({"eps": float("nan")}, "eps"),
        ({"mix": "mixin"}, "unknown mix 'mixin'; choose one of mixup, cutmix"),
        ({"optimizer": "adam"}, "unknown optimizer 'adam'; choose one of adamw, sgd"),
        ({"attack": "fgsm"}, "unknown attack 'fgsm'; choose one of fgsm-rs, n-fgsm"),
        ({"label_smoothing": 1.0}, "label smoothing must be below 1"),
        ({"averaging": 1.0}, "averaging must be below 1"),
        ({"weight_decay": -1.0}, "weight decay must be at least 0"),
        ({"episodic": 1.5, "pretrain": True}, "episodic must be at most 1"),
        ({"episodic": 0.0}, "nothing would be trained"),
        ({"pretrain_rate": 0.1}, "add pretrain"),
        ({"pretrain_as": "clean-classes"}, "add pretrain"),
        ({"pretrain_as": "clean-classes", "pretrain_rate": 0.1, "pretrain": True}, "leave out pretrain rate"),
        ({"trades": 6.0}, "needs both shares above 0"),
        ({"trades": 6.0, "adversarial": 1.0, "mix": "cutmix"}, "neither mix nor two views"),
        ({"schedule": "cosinus"}, "unknown schedule 'cosinus'; choose one of cosine, constant, one-cycle"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        Recipe(**values)


def test_limits_that_make_sense_are_allowed():
    Recipe(clean=0, adversarial=1)
    Recipe(sigma_low=0, sigma_high=0, eps=0)
    Recipe(eps=1, mix=None, schedule="constant")


# --- radii ---


def test_colour_photographs_have_the_defaults_of_protocol_and_recipe():
    for name in ("cifar-fs", "mine", "omniglot", ""):
        radii = get_radii(name)
        assert radii.make_protocol() == Protocol()
        assert radii.adapt(Recipe(adversarial=1.0)) == Recipe(adversarial=1.0)


def test_radii_of_the_embedded_sets():
    letters, figures = get_radii("omniglot-300"), get_radii("synthetic")
    protocol, recipe = letters.make_protocol(), letters.adapt(Recipe())
    assert (protocol.eps, protocol.step, protocol.steps, protocol.sigma) == (0.10, 0.025, 20, 0.3)
    assert (recipe.eps, recipe.sigma_low, recipe.sigma_high) == (0.20, 0.1, 0.3)
    assert min(protocol.curve_eps) == 0 and 0.10 in protocol.curve_eps and max(protocol.curve_eps) == 0.30
    assert (figures.make_protocol().eps, figures.make_protocol().step) == (2 / 255, 0.5 / 255)
    assert figures.adapt(Recipe()).eps == 4 / 255
    assert set(RADII) == set(EMBEDDED)


def test_what_is_asked_for_wins_over_the_radii_of_a_set():
    letters = get_radii("omniglot-300")
    assert letters.make_protocol(eps=0.2, shot=1) == dataclasses.replace(
        letters.make_protocol(), eps=0.2, step=0.05, shot=1
    )
    assert letters.make_protocol(eps=0.2, step=0.01).step == 0.01
    assert letters.adapt(Recipe(eps=0.05, sigma_low=0.0)) == Recipe(eps=0.05, sigma_low=0.0, sigma_high=0.3)
    with pytest.raises(UserError, match="eps is in units of the pixel range"):
        letters.make_protocol(eps=8)


# --- presets ---


def test_the_three_presets_are_those_of_the_design():
    assert list(PRESETS) == ["smoke", "laptop", "paper"]
    assert (SMOKE.size, SMOKE.encoder) == (32, "tiny")
    assert (LAPTOP.size, LAPTOP.encoder) == (32, "resnet12_anrot")
    assert (PAPER.size, PAPER.encoder) == (84, "resnet12_anrot")
    assert (LAPTOP.attacked_tasks, LAPTOP.attacked_query) == (200, 5)
    assert (PAPER.attacked_tasks, PAPER.attacked_query) == (600, 15)
    assert (PAPER.clean_tasks, PAPER.episodes) == (10_000, 80_000)
    assert SMOKE.attacked_tasks == 20
    assert {b.encoder for b in PRESETS.values()} <= set(BUILDERS)
    assert all(b.attacked_tasks <= b.clean_tasks and b.attacked_query <= b.clean_query for b in PRESETS.values())


def test_a_preset_changes_sizes_and_lengths_only():
    """No field of a budget is one of the question or of the method."""
    of = {cls: {f.name for f in dataclasses.fields(cls)} for cls in (Budget, Protocol, Recipe)}
    assert not of[Budget] & (of[Protocol] | of[Recipe])
    assert not of[Budget] & {"loss", "weight", "head", "divergence", "scale"}


def test_a_preset_is_chosen_by_name_by_environment_or_is_smoke(monkeypatch):
    monkeypatch.delenv("ANROT_PRESET", raising=False)
    assert preset() == SMOKE
    assert preset("paper") == PAPER
    monkeypatch.setenv("ANROT_PRESET", "laptop")
    assert preset() == LAPTOP
    assert preset("smoke") == SMOKE
    monkeypatch.setenv("ANROT_PRESET", "labtop")
    with pytest.raises(UserError, match=r"unknown preset 'labtop'; choose one of smoke, laptop, paper"):
        preset()


def test_the_defaults_of_the_protocol_are_in_pixel_units():
    protocol = Protocol()
    assert (protocol.way, protocol.shot, protocol.steps) == (5, 5, 20)
    assert (protocol.eps, protocol.step) == (8 / 255, 2 / 255)
    assert {0.0, *(k / 255 for k in (1, 2, 4, 8, 16)), 0.05, 0.30} <= {*protocol.curve_eps, 0.05}
    assert protocol.curve_sigma == pytest.approx([0.05 * k for k in range(7)])


def test_the_defaults_of_a_recipe_are_those_that_records_were_trained_with():
    recipe = Recipe()
    assert (recipe.eps, recipe.attack_steps, recipe.sigma_low, recipe.sigma_high) == (8 / 255, 1, 0.1, 0.1)
    assert (recipe.hesim, recipe.temperature, recipe.learning_rate, recipe.clip) == (0.5, 0.1, 1e-3, 10.0)
