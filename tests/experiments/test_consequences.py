"""Consequences of the published evaluation: paired columns, the same noise, kills, and what is printed of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anrot_lib.core.configs import change
from anrot_lib.core.resumable import Paused
from anrot_lib.experiments import consequences
from anrot_lib.experiments.setting import Setting, make_manifest
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import change_head
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.records import results
from anrot_lib.reports import consequences as report
from anrot_lib.settings import Protocol, Recipe
from tests.helpers import silent


@pytest.fixture
def setting(small_set, small_budget, tmp_path):
    protocol = Protocol(way=5, shot=5, sigma=0.3)
    budget = change(small_budget, clean_tasks=12, attacked_tasks=8)
    folder = tmp_path / "results" / "there"
    return Setting(small_set, protocol, budget, torch.device("cpu"), "fp32", silent, folder)


@pytest.fixture
def measure(setting, small_net):
    def run(net=small_net, recipe=Recipe(), **changes):  # noqa: B008  # a frozen dataclass
        chosen = replace(setting, **changes)
        manifest = make_manifest(chosen)
        path = consequences.run_consequences(chosen, "anrot-clean", recipe, net, {"checkpoint": "0" * 64}, manifest)
        return results.read(path, "accuracy")

    return run


def test_a_record_has_the_right_and_the_published_column(measure, small_net, small_set, setting):
    record = measure()
    assert set(record["columns"]) == {
        "clean",
        consequences.AUGMENTED,
        "noise 0.30 query",
        "noise 0.30 unclipped query",
    }
    rows = make_manifest(setting).rows
    clean = evaluation.count_clean(small_net, small_set, rows)
    assert record["columns"]["clean"]["correct"] == clean.tolist()
    assert record["columns"][consequences.AUGMENTED]["correct"] != clean.tolist()
    assert {c: v.get("sigma") for c, v in record["columns"].items() if "noise" in c} == {
        "noise 0.30 query": 0.3,
        "noise 0.30 unclipped query": 0.3,
    }


def test_the_noise_is_the_same_and_only_its_clipping_differs(small_set):
    rows = np.array([3, 40])
    images = small_set.batch(rows)
    right = evaluation.make_noise_change(0.3, 5)(images, rows)
    published = consequences.make_unclipped_noise(0.3, 5)(images, rows)
    assert published.max() > 1 and torch.equal(published.clamp(max=1), right)


def test_an_image_is_turned_alike_in_every_batch(small_set):
    rows = np.arange(20)
    turn = consequences.make_published_augmentation(0)
    together = turn(small_set.batch(rows), rows)
    assert torch.equal(turn(small_set.batch(rows[7:9]), rows[7:9]), together[7:9])
    changed = (together != small_set.batch(rows)).flatten(1).any(1)
    assert 10 < changed.sum() < 20


def test_alone_and_together_are_equal_but_for_a_head_that_couples_queries(setting, small_net, small_set, measure):
    rows = make_manifest(setting).rows
    evaluator = Evaluator(small_net, small_set)
    alone = consequences.count_alone(evaluator.net, rows, evaluator.describe_images())
    assert alone.tolist() == evaluation.count_clean(small_net, small_set, rows).tolist()
    coupled = change_head(small_net, "published").eval()
    record = measure(coupled, Recipe(method="published", hesim=0.0))
    assert consequences.ALONE in record["columns"] and record["transductive"]
    assert record["columns"][consequences.ALONE]["correct"] != record["columns"]["clean"]["correct"]
    assert len(report.list_pairs(record)) == 3


def test_a_paused_run_goes_on_with_the_next_column(measure, monkeypatch, setting):
    undisturbed = measure()["columns"]
    (setting.folder / "anrot-clean.json").unlink()
    done = []
    plain = Evaluator.count_changed
    monkeypatch.setattr(Evaluator, "count_changed", lambda self, *a, **k: done.append(1) or plain(self, *a, **k))
    pauses = iter([False, True])
    with pytest.raises(Paused):
        measure(pause=lambda: next(pauses))
    assert len(done) == 1
    again = measure()["columns"]
    assert len(done) == 3
    assert {name: c["correct"] for name, c in again.items()} == {name: c["correct"] for name, c in undisturbed.items()}


def test_the_table_pairs_and_blocks_of_a_hundred_tasks(measure, setting):
    record = measure()
    headings, rows = report.make_table(record)
    assert [row[0] for row in rows] == ["training augmentation in the test", "noise of 0.3 clipped at 255"]
    clean, augmented = (np.array(record["columns"][c]["correct"]) for c in ("clean", consequences.AUGMENTED))
    difference = 100 * (augmented - clean).mean() / record["columns"]["clean"]["queries"]
    assert rows[0][3].startswith(f"{difference:+.1f} ±") and len(headings) == 5
    assert report.describe_few_tasks(record) == ""
    many = record["columns"]["clean"] | {"correct": [10] * 100 + [12] * 100 + [20] * 50, "queries": 20}
    text = report.describe_few_tasks(record | {"columns": {"clean": many}})
    assert text.startswith("2 evaluations of 100 tasks each") and "from 50.0 to 60.0 %" in text
