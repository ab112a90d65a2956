"""What dry runs count: passes of the encoder; and how they write times. Seconds of a machine are not tested: where an
estimate measures a piece of work, these tests have it measure the images that pass through the encoder."""

import numpy as np
import pytest
import torch

from anrot_lib.core.configs import change
from anrot_lib.core.units import format_minutes
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.experiments import testing_time
from anrot_lib.experiments.estimates import SHARE_PLAIN, SHARE_ROBUST, RunEstimate
from anrot_lib.experiments.ranking_time import count_tests
from anrot_lib.experiments.setting import Setting, make_manifest
from anrot_lib.experiments.testing import evaluate_row
from anrot_lib.fewshot import validation
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.settings import Protocol, Recipe
from tests.sabotage.conftest import silent

CLEAN = Recipe(clean=1.0, adversarial=0.0, noisy=0.0)


@pytest.fixture
def manifest(small_set):
    return EpisodeManifest.make(small_set, "val", 2, 1, 4, 6, 0)


@pytest.mark.parametrize("recipe", [CLEAN, Recipe(clean=0.5, adversarial=0.0, noisy=0.5)])
def test_passes_of_a_validation_are_those_that_the_encoder_makes(manifest, small_set, small_net, recipe, monkeypatch):
    images = []
    encode = FewShotNet.encode
    monkeypatch.setattr(FewShotNet, "encode", lambda self, x: images.append(len(x)) or encode(self, x))
    validation.validate(small_net, small_set, manifest, recipe, "cpu")
    assert sum(images) == validation.count_passes(manifest, recipe)


def test_attacked_validation_counts_a_forward_and_a_backward_pass_for_each_step(manifest):
    clean = validation.count_passes(manifest, CLEAN)
    attacked = validation.count_passes(manifest, Recipe(clean=0.5, adversarial=0.5, noisy=0.0))
    queries = 6 * 2 * min(4, validation.PROBE_QUERY)
    assert attacked - clean == queries * ((1 + 2) + (1 + 2 * validation.PROBE_STEPS))
    assert len(np.unique(manifest.rows.query)) < clean


@pytest.fixture
def passes(monkeypatch):
    """The images that went through the encoder, of which estimates are made in place of seconds."""
    images = []
    encode = FewShotNet.encode
    monkeypatch.setattr(FewShotNet, "encode", lambda self, x: images.append(x.shape[:-3].numel()) or encode(self, x))

    def count(work, device):
        before = sum(images)
        work()
        return sum(images) - before

    monkeypatch.setattr(testing_time, "time_work", count)
    return images


@pytest.fixture
def setting(small_set, small_budget, tmp_path):
    budget = change(small_budget, attacked_tasks=12, curve_tasks=6, attacked_query=4)
    columns = ("clean", "FGSM", "PGD-4", "noise", "curve")
    return Setting(
        small_set, Protocol(steps=4), budget, torch.device("cpu"), "fp32", silent, tmp_path / "folder", columns
    )


def test_the_estimate_of_a_test_is_what_the_test_takes(setting, small_net, passes):
    """Of a net that loses queries on the way, by a few episodes of each column; each image is encoded as often."""
    manifest = make_manifest(setting)
    estimate = testing_time.estimate_columns(setting, small_net, manifest)
    passes.clear()
    values = evaluate_row(setting, "row", small_net, manifest, "key")
    assert set(values) == set(estimate) - {"clean images"}
    assert 0.7 < sum(estimate.values()) / sum(passes) < 1.3, (estimate, sum(passes))


def test_the_estimate_before_training_takes_the_usual_part_of_the_steps_on_queries_alone(setting, small_net, passes):
    manifest = make_manifest(setting)
    plain, robust, whole = (
        testing_time.estimate_columns(setting, small_net, manifest, share) for share in (SHARE_PLAIN, SHARE_ROBUST, 1)
    )
    strong, support = "PGD-4 8/255 query", "PGD-4 8/255 support"
    tasks, images = 12, 5 * 4
    # a step of the trial: all queries once, and of its two steps half the passes that fit the support set
    step = tasks * (images + 5 * setting.protocol.shot / testing_time.TRIAL_STEPS)
    for share, estimate in ((SHARE_PLAIN, plain), (SHARE_ROBUST, robust), (1, whole)):
        assert estimate[strong] == pytest.approx(step * (1 + 4 * share))
    assert plain[support] == robust[support] == whole[support] > 0


@pytest.mark.parametrize(("tasks", "tried"), [(1, 1), (2, 2), (60, 2), (200, 4), (600, 12)])
def test_one_episode_in_fifty_is_tried(tasks, tried):
    assert testing_time.count_trial_tasks(tasks) == tried


@pytest.mark.parametrize(("epochs", "every", "tests"), [(0, 1, 1), (3, 1, 4), (4, 5, 2), (5, 5, 2), (6, 5, 3)])
def test_a_ranking_model_is_tested_at_the_beginning_at_its_epochs_and_last(epochs, every, tests):
    assert count_tests(epochs, every) == tests


def test_a_total_counts_every_row():
    estimate = RunEstimate(pretraining=100, surrogate=10, training={"a": 5, "b": 7}, testing={"a": 40, "b": 30})
    assert estimate.total == 100 + 10 + 12 + 70


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1, "0.0 min"), (6, "0.10 min"), (14, "0.23 min"), (59.8, "1.0 min"), (246, "4.1 min"), (7800, "130 min")],
)
def test_times_have_two_digits_that_count(seconds, text):
    assert format_minutes(seconds) == text
