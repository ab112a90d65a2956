"""Validation: the versions a recipe trains on, and the alarm of training that overfits to FGSM."""

from types import SimpleNamespace

import pytest
import torch

from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot import evaluation, validation
from anrot_lib.settings import Recipe

MIXTURE = Recipe(clean=1.0, adversarial=1.0, noisy=1.0, sigma_low=0.0, sigma_high=0.3)


def point(step, fgsm, pgd):
    return {"step": step, "clean": 0.6, "fgsm": fgsm, "adversarial": pgd}


HEALTHY = {
    "nothing yet": [],
    "one validation": [point(50, 0.3, 0.2)],
    "both rise": [point(50, 0.3, 0.2), point(100, 0.4, 0.3)],
    "both fall": [point(50, 0.5, 0.4), point(100, 0.3, 0.2)],
    "noise of the probe": [point(50, 0.3, 0.30), point(100, 0.4, 0.25)],
    "recovered": [point(50, 0.3, 0.3), point(100, 0.5, 0.05), point(150, 0.4, 0.35)],
    "no attack in the recipe": [{"step": 50, "clean": 0.5}, {"step": 100, "clean": 0.6}],
}
OVERFITTED = {
    "at once": [point(50, 0.3, 0.3), point(100, 0.7, 0.02)],
    "slowly": [point(50, 0.3, 0.30), point(100, 0.4, 0.24), point(150, 0.5, 0.18)],
    "after its best": [point(50, 0.2, 0.1), point(100, 0.3, 0.3), point(150, 0.3, 0.19)],
}


@pytest.mark.parametrize("name", HEALTHY)
def test_no_alarm_on_a_healthy_history(name):
    assert validation.describe_overfitting(HEALTHY[name]) is None


@pytest.mark.parametrize("name", OVERFITTED)
def test_an_alarm_when_fgsm_training_fools_itself(name):
    last = OVERFITTED[name][-1]
    alarm = validation.describe_overfitting(OVERFITTED[name])
    assert alarm.startswith(f"step {last['step']}: training overfits to FGSM")
    assert f"{last['fgsm']:.2f}" in alarm and f"to {last['adversarial']:.2f}" in alarm


@pytest.fixture(scope="module")
def manifest(small_set):
    return EpisodeManifest.make(small_set, "val", 5, 5, 10, 6, 0)


def test_only_what_the_recipe_trains_on_is_measured(small_net, small_set, manifest):
    def keys(recipe):
        return set(validation.validate(small_net, small_set, manifest, recipe, "cpu"))

    assert keys(Recipe()) == {"clean", "view"}
    assert keys(Recipe(noisy=1.0)) == {"clean", "view", "noisy"}
    assert keys(Recipe(adversarial=1.0)) == {"clean", "view", "fgsm", "adversarial"}


def test_the_numbers_are_accuracies_of_the_validation_classes(small_net, small_set, manifest):
    before = {k: v.clone() for k, v in small_net.state_dict().items()}
    found = validation.validate(small_net, small_set, manifest, MIXTURE, "cpu")
    clean = evaluation.count_clean(small_net, small_set, manifest.rows).mean() / 50
    noisy = evaluation.count_changed(small_net, small_set, manifest.rows, evaluation.make_noise_change(0.3, 0)).mean()
    assert found["clean"] == found["view"] == pytest.approx(clean)
    assert found["noisy"] == pytest.approx(noisy / 50), "at the largest sigma of the recipe"
    assert 0 <= found["adversarial"] <= found["fgsm"] < found["clean"] <= 1
    assert set(manifest.rows.classes.ravel()) <= set(small_set.splits["val"])
    assert all(torch.equal(v, before[k]) for k, v in small_net.state_dict().items())


def test_the_probe_is_small_and_pgd_is_the_recipes(small_net, small_set, manifest, monkeypatch):
    seen = []

    def attacked(net, image_set, rows, threat, *rest):
        seen.append(SimpleNamespace(rows=rows, threat=threat))
        return evaluation.np.full(len(rows), 5)

    monkeypatch.setattr(evaluation, "count_attacked", attacked)
    monkeypatch.setattr(evaluation, "count_clean", lambda *_: evaluation.np.array([1]))
    found = validation.validate(small_net, small_set, manifest, Recipe(adversarial=1.0, eps=0.1), "cpu")
    assert [s.threat.name for s in seen] == ["FGSM 0.1 query", "PGD-7 0.1 query"]
    assert [s.threat.step for s in seen] == [0.1, 0.1 / 4]
    assert seen[0].rows.query.shape == (6, 5, validation.PROBE_QUERY)
    assert found["fgsm"] == found["adversarial"] == 5 / 25
