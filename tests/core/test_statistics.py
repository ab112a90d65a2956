"""Intervals against scipy and brute force, paired differences, curves."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from anrot_lib.core import statistics
from anrot_lib.core.statistics import (
    adjust_holm,
    bootstrap_means,
    compare_paired,
    compute_paired_p,
    count_tasks,
    find_halving_point,
    interval,
    measure_area_under,
)


def test_the_interval_of_a_share_is_that_of_its_hits():
    hits = np.arange(2000) % 5 == 0
    assert statistics.compute_share_half_width(20.0, 2000) == pytest.approx(interval(hits).half_width, rel=0.002)


def accuracies(n, seed=0, mean=0.6):
    """n episodes of 75 queries, more spread than coin tosses."""
    rng = np.random.default_rng(seed)
    return rng.binomial(75, np.clip(rng.normal(mean, 0.1, n), 0, 1)) / 75


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
@settings(max_examples=40)
def test_the_t_interval_is_scipys(values):
    found = interval(np.array(values))
    percent = 100 * np.array(values)
    if np.ptp(percent) > 1e-6:
        low, high = scipy.stats.t.interval(0.95, len(values) - 1, percent.mean(), scipy.stats.sem(percent))
        assert found.mean - found.half_width == pytest.approx(low, rel=1e-6, abs=1e-6)
        assert found.mean + found.half_width == pytest.approx(high, rel=1e-6, abs=1e-6)
        assert found.sd == pytest.approx(percent.std(ddof=1))
    assert found.n == len(values)
    assert found.bootstrap_low <= found.mean + 1e-9
    assert found.bootstrap_high >= found.mean - 1e-9


def test_it_is_in_per_cent_and_prints_so():
    found = interval(np.array([0.5, 0.7]))
    assert found.mean == pytest.approx(60)
    assert found.half_width == pytest.approx(12.706204736 * 10)  # t with one degree of freedom
    assert str(interval(np.array([0.5, 0.6, 0.7, 0.6]))) == "60.0 +/- 13.0"


def test_the_interval_shrinks_as_published_widths_do(monkeypatch):
    """An episode's s.d. of about 10 points: +/- 2.0 with 100 episodes, 0.8 with 600, 0.2 with 10,000."""
    monkeypatch.setattr(statistics, "BOOTSTRAP_SAMPLES", 1)
    widths = [
        interval(10 * scipy.stats.norm.ppf((np.arange(n) + 0.5) / n) / 100).half_width for n in (100, 600, 10_000)
    ]
    assert widths == pytest.approx([2.0, 0.80, 0.20], rel=0.03)


def test_the_interval_covers_the_mean_95_times_in_100(monkeypatch):
    monkeypatch.setattr(statistics, "BOOTSTRAP_SAMPLES", 500)
    true = 60.0
    hits, boot = 0, 0
    for seed in range(300):
        values = np.random.default_rng(seed).normal(0.6, 0.1, 30)
        found = interval(values)
        hits += abs(found.mean - true) <= found.half_width
        boot += found.bootstrap_low <= true <= found.bootstrap_high
    assert 0.92 <= hits / 300 <= 0.98
    assert 0.90 <= boot / 300 <= 0.98


def test_the_bootstrap_is_a_resampling_of_episodes(monkeypatch):
    monkeypatch.setattr(statistics, "BOOTSTRAP_SAMPLES", 40_000)
    values = accuracies(50)
    ours = bootstrap_means(values, seed=0)
    plain = np.random.default_rng(1).choice(values, (40_000, 50)).mean(1)
    assert ours.shape == (40_000,)
    for q in (2.5, 16, 50, 84, 97.5):
        assert np.percentile(ours, q) == pytest.approx(np.percentile(plain, q), abs=0.002)
    assert ours.std() == pytest.approx(values.std() / 50**0.5, rel=0.02)


def test_the_bootstrap_repeats_by_seed_alone():
    values = accuracies(100)
    with_seed = [interval(values, seed) for seed in (0, 0, 1)]
    assert with_seed[0] == with_seed[1]
    assert with_seed[0].bootstrap_low != with_seed[2].bootstrap_low
    assert with_seed[0].half_width == with_seed[2].half_width


def test_the_bootstrap_does_not_depend_on_the_order_of_the_episodes():
    values = accuracies(100)
    assert np.array_equal(bootstrap_means(values, 0), bootstrap_means(values[::-1].copy(), 0))


def test_bootstrap_and_t_agree_where_both_hold():
    found = interval(accuracies(600))
    assert found.mean - found.bootstrap_low == pytest.approx(found.half_width, rel=0.06)
    assert found.bootstrap_high - found.mean == pytest.approx(found.half_width, rel=0.06)


def test_equal_episodes_have_no_spread_and_one_episode_has_no_interval():
    found = interval(np.full(20, 0.4))
    assert (found.mean, found.half_width, found.bootstrap_low, found.bootstrap_high) == pytest.approx((40, 0, 40, 40))
    single = interval(np.array([0.4]))
    assert single.mean == pytest.approx(40)
    assert all(math.isnan(v) for v in (single.half_width, single.bootstrap_low, single.bootstrap_high, single.sd))


def test_paired_differences_are_second_minus_first():
    first = accuracies(200)
    second = first + 0.02 + np.random.default_rng(5).normal(0, 0.005, 200)
    found = compare_paired(first, second)
    assert found.mean == pytest.approx(100 * (second - first).mean())
    assert found.mean - found.half_width > 0, "a difference of 2 points is seen on the same episodes"
    assert found.half_width < 0.2 * interval(first).half_width
    assert compare_paired(second, first).mean == pytest.approx(-found.mean)
    opposite = compare_paired(np.tile([0.0, 1.0], 50), np.tile([1.0, 0.0], 50))
    assert opposite.mean == 0 and opposite.sd == pytest.approx(100 * (100 / 99) ** 0.5), "episode by episode"


def test_pairs_need_the_same_episodes():
    with pytest.raises(ValueError, match=r"same episodes.*\(3,\).*\(4,\)"):
        compare_paired(np.zeros(3), np.zeros(4))


def test_tasks_for_a_precision_give_that_precision():
    assert count_tasks(10, 0.5) == math.ceil((1.96 * 10 / 0.5) ** 2) == 1537
    n = count_tasks(10, 2)
    assert 1.96 * 10 / n**0.5 <= 2 < 1.96 * 10 / (n - 1) ** 0.5


def test_the_area_is_the_mean_height():
    assert measure_area_under([0, 1, 4], [30, 30, 30]) == pytest.approx(30)
    assert measure_area_under([0, 2], [80, 20]) == pytest.approx(50)
    assert measure_area_under([0, 1, 4], [10, 20, 20]) == pytest.approx((15 * 1 + 20 * 3) / 4)  # uneven steps
    assert measure_area_under([2, 3, 6], [10, 20, 20]) == measure_area_under([0, 1, 4], [10, 20, 20])


def test_the_halving_point_is_interpolated():
    assert find_halving_point([0, 1, 2], [80, 60, 20]) == pytest.approx(1.5)
    assert find_halving_point([0, 2, 4], [60, 30, 10]) == 2
    assert find_halving_point([0, 1, 2, 3], [60, 20, 50, 10]) == pytest.approx(0.75)  # the first time
    assert find_halving_point([0, 1], [60, 31]) is None


# --- many comparisons ---


def test_the_paired_p_is_scipys():
    first, second = accuracies(30), accuracies(30, seed=1, mean=0.63)
    assert compute_paired_p(first, second) == pytest.approx(scipy.stats.ttest_rel(first, second).pvalue)
    assert compute_paired_p(first, second) == pytest.approx(compute_paired_p(second, first))
    assert (compute_paired_p(first, first), compute_paired_p(first, first + 0.25)) == (1.0, pytest.approx(0, abs=1e-12))


def test_holm_by_hand():
    assert adjust_holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert adjust_holm([0.6, 0.7]) == [1.0, 1.0]
    assert adjust_holm([0.02]) == [0.02] and adjust_holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=60)
def test_holm_lies_between_no_correction_and_bonferronis(p):
    adjusted = adjust_holm(p)
    assert all(a <= b <= min(1, len(p) * a) + 1e-12 for a, b in zip(p, adjusted, strict=True))
    assert [adjusted[k] for k in np.argsort(p, kind="stable")] == sorted(adjusted)


def test_holm_keeps_its_promise_where_nothing_differs():
    rng = np.random.default_rng(0)
    p = scipy.stats.ttest_1samp(rng.normal(size=(400, 14, 20)), 0, axis=-1).pvalue
    plain = np.mean([min(row) <= 0.05 for row in p])
    corrected = np.mean([min(adjust_holm(row)) <= 0.05 for row in p])
    assert plain > 0.4 and corrected < 0.08


def test_the_bootstrap_can_be_left_out():
    values = np.array([0.2, 0.5, 0.9, 0.4])
    whole, part = interval(values), interval(values, bootstrap=False)
    assert (part.mean, part.half_width, part.sd, part.n) == (whole.mean, whole.half_width, whole.sd, 4)
    assert np.isnan([part.bootstrap_low, part.bootstrap_high]).all() and whole.bootstrap_low < whole.bootstrap_high
    assert compare_paired(values, values**2, bootstrap=False).half_width == compare_paired(values, values**2).half_width
