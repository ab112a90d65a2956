"""Records of certificates: what they hold follows from the library, a killed run goes on, none is overwritten."""

import itertools
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.experiments import poisoning, smoothing
from anrot_lib.experiments.setting import Setting, make_manifest
from anrot_lib.fewshot import smoothing as votes
from anrot_lib.fewshot.certificates import Smoothing
from anrot_lib.fewshot.classifier import change_head
from anrot_lib.records import results
from anrot_lib.reports import certificates
from anrot_lib.settings import Protocol
from tests.helpers import Killed, never, silent

SMOOTHING = Smoothing(sigma=0.05, first_draws=5, draws=30)
HASH = "a" * 64


@pytest.fixture
def setting(small_set, small_budget, tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    budget = replace(small_budget, attacked_tasks=5, curve_tasks=2)
    return Setting(
        small_set, Protocol(way=5, shot=5), budget, torch.device("cpu"), "fp32", silent, tmp_path / "records"
    )


def smooth(setting, net, settings=SMOOTHING, net_hash=HASH):
    return smoothing.run_smoothing(setting, "anrot", net, net_hash, make_manifest(setting), settings)


def poison(setting, net, head="median-gaussian"):
    return poisoning.run_poisoning(setting, "anrot", net, HASH, make_manifest(setting), head)


def test_a_smoothing_record_holds_the_votes_of_its_episodes(setting, small_net):
    record = results.read(smooth(setting, small_net), "smoothing")
    assert len(record["hits"]) == len(record["chosen"]) == 4, "twice the episodes of a curve"
    assert record["queries"] == 10 and record["smoothing"]["draws"] == 30
    within, beyond = record["attacks"]
    certified = (votes.compute_radii(np.array(record["hits"]), SMOOTHING) > 0).sum()
    assert (within["factor"], within["queries"], within["broken"]) == (1.0, certified, 0) and certified > 10
    assert beyond["factor"] == 4.0 and 0 < beyond["queries"] < certified, "only the first episode"
    right = certificates.compute_certified_radii(record) > 0
    assert right.mean() > 0.5
    with torch.no_grad():
        rows = make_manifest(setting).rows[:1].with_queries(2)
        plain = small_net.scores(rows.to_episode(setting.image_set)).logits[0].argmax(-1)
    assert record["plain"][0] == plain.tolist()


def test_a_killed_smoothing_goes_on_with_the_next_episode(setting, small_net, monkeypatch):
    whole = results.read(smooth(setting, small_net), "smoothing")
    again = replace(setting, folder=setting.folder.with_name("killed"))
    certify, calls = votes.certify_episode, []

    def stop(*arguments):
        calls.append(len(calls))
        if len(calls) == 2:
            raise Killed
        return certify(*arguments)

    monkeypatch.setattr(votes, "certify_episode", stop)
    monkeypatch.setattr(smoothing, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
    with pytest.raises(Killed):
        smooth(again, small_net)
    record = results.read(smooth(again, small_net), "smoothing")
    assert len(calls) == 5, "the first episode was not certified again"
    assert record["seconds"] == 4.0, "one of each episode, the first one's too"
    assert all(record[part] == whole[part] for part in ("plain", "chosen", "hits", "attacks"))
    assert not list(setting.work.parent.rglob("*.jsonl"))


def test_a_record_is_kept_and_never_overwritten(setting, small_net, monkeypatch):
    path = smooth(setting, small_net)
    poisoned = poison(setting, small_net)
    before = path.read_bytes(), poisoned.read_bytes()
    monkeypatch.setattr(votes, "count_votes", never)
    monkeypatch.setattr(poisoning, "classify_queries", never)
    assert smooth(setting, small_net) == path and poison(setting, small_net) == poisoned
    with pytest.raises(UserError, match="is a record of another smoothing; give another --tag"):
        smooth(setting, small_net, replace(SMOOTHING, draws=31))
    with pytest.raises(UserError, match="is a record of another net"):
        smooth(setting, small_net, net_hash="b" * 64)
    with pytest.raises(UserError, match="is a record of another number of episodes"):
        poison(replace(setting, budget=replace(setting.budget, attacked_tasks=4)), small_net)
    assert (path.read_bytes(), poisoned.read_bytes()) == before


def test_a_poisoning_record_holds_certificates_that_its_attacks_do_not_break(setting, small_net):
    record = results.read(poison(setting, small_net), "poisoning")
    assert len(record["answers"]) == 5 and record["trimmed"] == 2 and record["head"] == "median-gaussian"
    assert [attack["replaced"] for attack in record["attacks"]] == [1, 2, 3]
    for attack in record["attacks"]:
        for kind in certificates.KINDS:
            part = attack[kind]
            radii = np.array(record[kind][:4])
            assert part["certified"] == (radii >= attack["replaced"]).sum()
            assert part["broken"] == 0 and part["certified"] + part["others"] == 40
    assert record["attacks"][2]["every_class"]["turned"] > 20
    held = [certificates.count_held(record, "one_class", r).mean() for r in range(4)]
    assert held == sorted(held, reverse=True) and held[1] > 0.2
    with torch.no_grad():
        rows = make_manifest(setting).rows[:1].with_queries(2)
        logits = small_net.scores(rows.to_episode(setting.image_set)).logits[0]
    assert record["plain"][0] == logits.argmax(-1).tolist(), "the usual head of the net"


def test_the_head_of_shots_is_like_that_of_the_net(small_net):
    assert poisoning.choose_head(small_net, "anrot") == "median-gaussian"
    assert poisoning.choose_head(change_head(small_net, "cosine"), "cosine") == "median-cosine"
    mirrored = change_head(small_net, "cosine-mirror")
    assert poisoning.choose_head(mirrored, "robust-attacked-mirror") == "median-cosine-mirror"
    assert poisoning.choose_head(change_head(small_net, "trimmed-cosine"), "trimmed-cosine") == "trimmed-cosine"


def test_passes_are_counted_as_they_are_made(setting, small_net):
    """Of a smoothing in which all queries are certified; the bar never shows more."""
    shown, totals = [], []

    def bar(title, total):
        totals.append(total)
        return nullcontext(lambda done, *_: shown.append(done))

    watched = replace(setting, progress=bar)
    smooth(watched, small_net)
    assert totals == [smoothing.count_smoothing_passes(setting, SMOOTHING)]
    assert shown == sorted(shown) and shown[-1] == totals[0]
    both = smoothing.count_smoothing_passes(setting, replace(SMOOTHING, noisy="both"))
    assert both > totals[0], "support images are drawn, too"
    shown.clear(), totals.clear()
    poison(watched, small_net)
    assert shown[-1] == totals[0] == poisoning.count_poisoning_passes(setting)
