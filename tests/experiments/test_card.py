"""The record of a masking card: kept, never lost to another net, and marked where the net has seen the test classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.experiments import card as experiment
from anrot_lib.experiments.setting import Setting, choose_folder, make_manifest
from anrot_lib.fewshot import card
from anrot_lib.records import results
from anrot_lib.reports import card as report
from anrot_lib.settings import Protocol
from tests.helpers import silent

PROTOCOL = Protocol(way=5, shot=5)
PASSED = {name: {"passed": True} for name in ("alone", "gradient", "restarts", "steps")}


@pytest.fixture
def setting(small_set, small_budget, tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    monkeypatch.setattr(card, "check_masking", lambda *_, **__: PASSED)
    monkeypatch.setattr(card, "measure_surface", lambda *_: np.zeros((2, 2)))
    folder = choose_folder(small_set, PROTOCOL, small_budget)
    return Setting(small_set, PROTOCOL, small_budget, torch.device("cpu"), "fp32", silent, folder)


def run(setting, net, net_hash="a" * 64):
    return experiment.run_card(setting, "anrot", net, net_hash, make_manifest(setting))


def test_a_card_that_says_the_same_is_kept_and_none_is_lost(setting, small_net):
    path = run(setting, small_net)
    before = path.read_bytes()
    assert run(setting, small_net) == path and path.read_bytes() == before
    with pytest.raises(UserError, match="a record of another net"):
        run(setting, small_net, "b" * 64)
    with pytest.raises(UserError, match="a record of another protocol"):
        run(replace(setting, protocol=replace(PROTOCOL, steps=3)), small_net)
    assert path.read_bytes() == before


def test_a_card_on_seen_classes_is_marked(setting, small_net, small_set):
    splits = small_set.splits
    turned = replace(small_set, splits={**splits, "train": splits["test"], "test": splits["train"]})
    over = replace(setting, image_set=turned, folder=setting.folder.with_name("turned"))
    with pytest.raises(UserError, match="trained on"):
        run(over, small_net)
    record = results.read(run(replace(over, allow_seen=True), small_net), "card")
    assert record["seen"]["trained_classes"] > 0
    record["checks"] = {}
    assert report.write_caption(record).startswith("SEEN CLASSES, no few-shot accuracy; ")
    assert "seen" not in results.read(run(setting, small_net), "card")
