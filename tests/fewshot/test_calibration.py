"""Calibration error: against values by hand, and of a net whose confidence is known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot.calibration import measure_calibration_error
from anrot_lib.fewshot.evaluation import Evaluator, describe, score_episodes


def test_the_error_is_the_gap_of_each_bin_by_its_share_of_queries():
    confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False, True, False])
    # bin of 0.95: 3 of 4 right, gap 0.20, four queries; bin of 0.55: 1 of 2, gap 0.05, two queries
    assert measure_calibration_error(confidences, right) == pytest.approx((4 * 0.20 + 2 * 0.05) / 6)
    assert measure_calibration_error(confidences, right, bins=1) == pytest.approx(abs(4 / 6 - confidences.mean()))


@given(st.lists(st.tuples(st.floats(0.2, 1), st.booleans()), min_size=1, max_size=40))
def test_the_error_is_in_0_1_and_not_below_that_of_one_bin(queries):
    confidences, right = (np.array(values) for values in zip(*queries, strict=True))
    error = measure_calibration_error(confidences, right)
    assert abs(right.mean() - confidences.mean()) - 1e-9 <= error <= 1


def test_edges_of_bins_belong_to_the_lower_bin():
    edge = np.array([1 / 15, 1.0])
    assert measure_calibration_error(edge, np.array([False, True])) == pytest.approx(0.5 / 15)


def test_a_net_is_asked_on_unchanged_images(small_net, small_set):
    small_rows = EpisodeManifest.make(small_set, "test", 5, 2, 4, n_tasks=12, seed=0).rows
    evaluator = Evaluator(small_net, small_set)
    error = evaluator.measure_calibration(small_rows)
    described = describe(evaluator.net, small_set, small_set.rows("test"))
    logits, labels = zip(*score_episodes(evaluator.net, small_rows, described, described), strict=True)
    probabilities = torch.cat(logits).softmax(-1)
    right = (probabilities.argmax(-1) == labels[0]).numpy().ravel()
    by_hand = measure_calibration_error(probabilities.amax(-1).numpy().ravel(), right)
    assert error == pytest.approx(by_hand) and 0 < error < 1
    assert evaluator.count_clean(small_rows).sum() == right.sum()
