"""Answers in records: packed and read, the episodes drawn again without images, and the open interval from both."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anrot_lib.audit import recompute
from anrot_lib.core.statistics import interval, measure_image_variance, measure_open_interval
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.experiments import rows as pipeline
from anrot_lib.experiments.setting import Setting, make_manifest
from anrot_lib.experiments.testing import evaluate_row
from anrot_lib.records import answers, results, schema
from anrot_lib.reports import intervals
from anrot_lib.settings import Protocol, Recipe
from tests.helpers import silent


@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 1000))
def test_answers_are_read_as_they_were_packed(episodes, queries, seed):
    right = np.random.default_rng(seed).random((episodes, queries)) < 0.5
    text = answers.pack_answers(right)
    assert np.array_equal(answers.unpack_answers(text, episodes, queries), right)
    with pytest.raises(ValueError, match=r"reshape|size"):
        answers.unpack_answers(text, episodes + 1, queries)


def test_episodes_are_drawn_again_from_the_numbers_of_images(small_set):
    """The same classes and images, by their places among those of the split."""
    manifest = EpisodeManifest.make(small_set, "test", 3, 2, 4, 30, 5)
    used = small_set.rows("test")
    ordered = used[np.argsort(small_set.labels[used], kind="stable")]
    names, layout = np.unique(small_set.labels[used], return_counts=True)
    drawn = answers.draw_layout(layout.tolist(), manifest.recipe())
    assert np.array_equal(names[drawn.classes], manifest.rows.classes)
    assert np.array_equal(ordered[drawn.support], manifest.rows.support)
    assert np.array_equal(ordered[drawn.query], manifest.rows.query)


def ask(seed, classes=30, images=40, asked=6, class_sd=0.0, image_sd=0.3):
    """Answers about images of classes, both draws of a population with mean 0.6 or nearly so."""
    rng = np.random.default_rng(seed)
    of_class = np.repeat(np.arange(classes), images)
    chance = 0.6 + class_sd * rng.normal(size=classes)[of_class] + image_sd * rng.choice([-1, 1], classes * images)
    right = rng.random((asked, classes * images)) < np.clip(chance, 0, 1)
    number = np.broadcast_to(np.arange(classes * images), right.shape)
    return right, number, np.broadcast_to(of_class, right.shape)


def test_the_variance_of_images_is_that_of_a_mean_over_other_images():
    found = [measure_image_variance(*ask(seed)) for seed in range(5)]
    means = [100 * ask(seed)[0].mean() for seed in range(400)]
    assert np.mean(found) == pytest.approx(np.var(means), rel=0.2)
    right, _, of_class = ask(0)
    alone = measure_image_variance(right, np.arange(right.size).reshape(right.shape), of_class)
    assert alone < 0.6 * found[0], "as if every query were another image"


def test_halves_are_drawn_within_a_class():
    """A class that is always right and one that is always wrong leave no variance: their shares do not move."""
    number = np.arange(40).reshape(1, 40)
    of_class = number // 20
    assert measure_image_variance(of_class == 1, number, of_class) == pytest.approx(0, abs=1e-9)


@pytest.fixture
def measured(small_set, small_budget, small_net, tmp_path, monkeypatch):
    """(record, path) of a net on the small set, tested on clean images and by PGD."""
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    protocol = Protocol(way=3, shot=2, steps=2)
    setting = Setting(small_set, protocol, small_budget, torch.device("cpu"), "fp32", silent, tmp_path / "there")
    setting = replace(setting, columns=("clean", "PGD-2", "FGSM"))
    manifest = make_manifest(setting)
    columns = evaluate_row(setting, "anrot", small_net, manifest, "key")
    trained = {"checkpoint": "0" * 64}
    record = pipeline.make_record(setting, "anrot", Recipe(), small_net, manifest, trained, columns)
    results.write(tmp_path / "there" / "anrot.json", record)
    return record, tmp_path / "there" / "anrot.json", manifest


def test_a_record_holds_the_answers_of_clean_images_and_of_pgd(measured):
    record, _, manifest = measured
    assert {name for name, column in record["columns"].items() if "answers" in column} == {
        "clean",
        "PGD-2 8/255 query",
    }
    column = record["columns"]["clean"]
    right = answers.unpack_answers(column["answers"], len(column["correct"]), column["queries"])
    assert right.sum(1).tolist() == column["correct"]
    variance = measure_image_variance(
        right, manifest.rows.query.reshape(right.shape), np.repeat(manifest.rows.classes, 4, axis=1)
    )
    expected = measure_open_interval(right.mean(1), manifest.rows.classes, variance)
    assert column["open_half_width"] == pytest.approx(expected.half_width, abs=1e-4)
    assert column["open_half_width"] > 1.001 * measure_open_interval(right.mean(1), manifest.rows.classes).half_width
    kept = answers.measure_open(column, record["manifest"])
    assert kept.half_width == pytest.approx(expected.half_width), "from the record alone"


def test_the_four_intervals_take_it_from_the_record(measured):
    record, *_ = measured
    clean, pgd = intervals.measure_intervals("there", [record])
    assert clean.open == pytest.approx(record["columns"]["clean"]["open_half_width"], abs=1e-4)
    assert clean.classes is None and pgd.open is None, "4 episodes of 5 classes"
    del record["columns"]["clean"]["answers"]
    (cells, other) = intervals.make_table(intervals.measure_intervals("there", [record]))[1]
    assert "not kept" in cells and "not kept" in other


def test_it_is_computed_again_and_an_altered_one_is_named(measured):
    record, path, _ = measured
    again = recompute.recompute_folder(path)
    assert not again.deviations and again.counts["open half-width"] == 1
    altered = copy.deepcopy(record)
    altered["columns"]["clean"]["open_half_width"] += 0.01
    results.write(path, altered)
    (deviation,) = recompute.recompute_folder(path).deviations
    assert deviation.what == "open half-width of clean"


def test_answers_that_are_not_those_that_were_counted_are_refused(measured):
    record, *_ = measured
    column = record["columns"]["clean"]
    right = answers.unpack_answers(column["answers"], len(column["correct"]), column["queries"])
    column["answers"] = answers.pack_answers(~right)
    with pytest.raises(ValueError, match="'clean' has answers that are not those that were counted"):
        schema.validate(record)
    column["answers"] = "!"
    with pytest.raises(ValueError, match="'clean' has answers that cannot be read"):
        schema.validate(record)


def test_the_open_interval_covers_the_population_of_classes_and_images():
    covered = {"open": 0, "closed": 0}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        chance = np.clip(0.6 + 0.1 * rng.normal(size=(20, 1)) + 0.2 * rng.choice([-1, 1], (20, 30)), 0, 1)
        classes = np.array([rng.choice(20, 5, replace=False) for _ in range(300)])
        images = np.array([[rng.choice(30, 6, replace=False) for _ in range(5)] for _ in range(300)])
        right = rng.random((300, 5, 6)) < chance[classes[..., None], images]
        flat, number = right.reshape(300, 30), (30 * classes[..., None] + images).reshape(300, 30)
        variance = measure_image_variance(flat, number, np.repeat(classes, 6, axis=1))
        opened = measure_open_interval(flat.mean(1), classes, variance)
        closed = interval(flat.mean(1), bootstrap=False)
        covered["open"] += abs(opened.mean - 60) <= opened.half_width
        covered["closed"] += abs(closed.mean - 60) <= closed.half_width
    assert 0.91 <= covered["open"] / 150 <= 0.99 and covered["closed"] / 150 < 0.6
