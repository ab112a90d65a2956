"""What dry runs count: passes of the encoder; and how they write times. Seconds of a machine are not tested."""

import numpy as np
import pytest

from anrot_lib.core.units import format_minutes
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.experiments.estimates import SHARE_OF_ATTACKS, RunEstimate
from anrot_lib.fewshot import validation
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.settings import Recipe

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


def test_a_total_counts_every_row_and_the_usual_part_of_the_attacks():
    estimate = RunEstimate(pretraining=100, surrogate=10, training={"a": 5, "b": 7}, test=40)
    assert estimate.total == 100 + 10 + 12 + 2 * 40 * SHARE_OF_ATTACKS


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1, "0.0 min"), (6, "0.10 min"), (14, "0.23 min"), (59.8, "1.0 min"), (246, "4.1 min"), (7800, "130 min")],
)
def test_times_have_two_digits_that_count(seconds, text):
    assert format_minutes(seconds) == text
