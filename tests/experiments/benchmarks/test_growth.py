"""How work grows: the exponent, the sizes that are asked for, and a large set at a small size."""

import os
import time

import numpy as np
import pytest
import torch

from anrot_lib.core import randomness
from anrot_lib.core.errors import UserError
from anrot_lib.experiments.benchmarks import growth, large, stages
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.records import results
from anrot_lib.records.growth import fit_exponent
from anrot_lib.reports.growth import list_tables


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_the_exponent_is_the_power_of_the_size(power):
    sizes = [3, 12, 48]
    assert fit_exponent(sizes, [0.7 * n**power for n in sizes]) == pytest.approx(power)


def test_one_number_runs_over_a_factor_of_sixteen_and_the_others_stay(monkeypatch, tmp_path):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    asked = {}

    def prepare(net, what, size):
        asked.setdefault(what, []).append(size)
        return lambda: None

    monkeypatch.setattr(growth, "prepare_episodes", prepare)
    monkeypatch.setattr(growth, "prepare_encoding", lambda net, n: lambda: None)
    (path,) = growth.measure(repeats=1)
    record = results.read(path, "growth")
    assert {what: sizes[-1] / sizes[0] for what, sizes in asked.items()} == dict.fromkeys(growth.STARTS, 16)
    assert set(record["rows"]) == {*growth.STARTS, "images, encoded"}
    ((headings, rows),) = list_tables(record)
    assert all(len(row) == len(headings) for row in rows)


def test_the_episodes_that_are_timed_are_those_that_the_size_says(monkeypatch):
    net = create_net("tiny", "prototypes", generator=randomness.make_generator(0, "init")).eval()
    seen = []

    def count(net, rows, support, query):
        seen.append((rows.support.shape, rows.query.shape))

    monkeypatch.setattr(growth.evaluation, "count_correct", count)
    growth.prepare_episodes(net, "way", 80)()
    growth.prepare_episodes(net, "episodes", 125)()
    assert seen == [((200, 80, 5), (200, 80, 3)), ((125, 5, 5), (125, 5, 15))]


def test_the_least_of_the_repeats_counts_and_the_first_round_does_not(monkeypatch):
    clock = iter([0, 1, 1, 9, 9, 12, 12, 17])
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    assert growth._time([lambda: None], 3) == [3]


def tell_where() -> int:
    time.sleep(0.2)
    return os.getpid()


def test_a_stage_has_a_process_of_its_own_and_its_memory_is_seen(monkeypatch):
    stage = stages._measure(tell_where)
    assert stage.result == os.getpid() and stage.minutes > 0.2 / 60
    elsewhere, large = stages.run_stage(os.getpid), stages.run_stage(torch.ones, 40 * 2**20)  # 160 MiB
    assert elsewhere.result != os.getpid() and elsewhere.seconds < 600
    assert large.result.all() and large.peak_gib > elsewhere.peak_gib + 0.1


def test_a_large_set_goes_through_all_stages_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(large, "run_stage", stages._measure)
    monkeypatch.setattr(large, "EPISODES", 20)
    monkeypatch.setattr(large, "PARTS", (2, 1))
    path = large.measure(800, tmp_path / "work", per_class=20, encoder="tiny")
    assert not list((tmp_path / "work").iterdir())
    record = results.read(path, "growth")
    copies = record["settings"]["copies"]
    for size, kinds in copies.items():
        planted = sum(count["planted"] for count in kinds.values())
        assert planted == len(large.split(int(size) // 20)["train"])
        assert sum(count["detected"] for count in kinds.values()) > 0.9 * planted
    assert all(row["sizes"] == [400, 800] for row in record["rows"].values())
    disk = record["rows"]["look for copies, hash"]["disk_gib"]
    assert np.allclose(disk[-1] / disk[0], 2, rtol=0.2), "a set on the disk grows with its images"
    stages_table, copies_table = list_tables(record)
    for headings, rows in (stages_table, copies_table):
        assert rows and all(len(row) == len(headings) for row in rows)


@pytest.mark.parametrize(("images", "sentence"), [(1_000_001, "is a multiple of 8000"), (8000, "at least 160000")])
def test_numbers_of_images_that_cannot_be_are_refused(images, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        large.measure(images, tmp_path)


def test_a_disk_that_is_too_small_is_named_before_anything_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(large.shutil, "disk_usage", lambda path: type("Disk", (), {"free": 2**30})())
    with pytest.raises(UserError, match=r"1000000 images need 8.0 GiB in .*, where 1.0 are free"):
        large.measure(1_000_000, tmp_path)
