"""Steps of several groups, and what a lost process comes to."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from anrot_lib.core import ranks
from anrot_lib.core.configs import change
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.core.ranks import ALONE, Ranks, measure_parts
from anrot_lib.core.resumable import ResumableTraining, run_resumable
from anrot_lib.fewshot.pretraining import BaseClassTraining
from anrot_lib.fewshot.training import FewShotTraining
from anrot_lib.records.journal import Journal, name_journal, open_journal, remove_journals
from anrot_lib.settings import Protocol, Recipe

IMAGES = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))  # of four groups


class Groups(ResumableTraining):
    """Least squares behind a batch norm, in double precision."""

    groups = 4

    def __init__(self, bad: int | None = None):
        super().__init__({}, 1)
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)).double()
        self.optimizers = (torch.optim.SGD(self.net.parameters(), lr=0.1),)
        self.bad = bad

    def compute_loss(self):
        if self.group == self.bad:
            raise FloatingPointError
        return (self.net(IMAGES[self.group].double()) - self.group).square().mean()

    def state_dict(self):
        return super().state_dict()

    def load_state_dict(self, state):
        super().load_state_dict(state)


def test_a_step_is_the_mean_over_its_groups_each_with_its_own_batch_statistics():
    training, judge = Groups(), Groups()
    before = judge.net[0].running_mean.clone()
    losses = [(judge.net(x.double()) - g).square().mean() for g, x in enumerate(IMAGES)]
    torch.stack(losses).mean().backward()
    judge.optimizers[0].step()
    assert training.advance() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-12)
    for ours, theirs in zip(training.net.parameters(), judge.net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    own = torch.stack([0.9 * before + 0.1 * x.double().mean(0) for x in IMAGES]).mean(0)
    torch.testing.assert_close(training.net[0].running_mean, own, rtol=0, atol=1e-12)
    assert training.net[0].num_batches_tracked == 1  # not 4: each group begins where the step began


def test_a_group_that_is_not_finite_ends_the_step_and_leaves_the_weights():
    training = Groups(bad=2)
    before = [w.clone() for w in training.net.parameters()]
    with pytest.raises(NotFinite, match="no longer finite at step 1"):
        training.advance()
    assert all(torch.equal(w, b) for w, b in zip(training.net.parameters(), before, strict=True))


def test_processes_take_the_groups_in_turns_and_gather_them_in_order(monkeypatch):
    third = Ranks(2, 3)
    assert list(third.share(7)) == [2, 5] and not third.is_first and ALONE.is_first

    def all_gather(parts, own):  # as if process r held rows of r, r + 3
        for number, part in enumerate(parts):
            part.copy_(torch.stack([torch.full((2,), float(number)), torch.full((2,), float(number + 3))]))

    monkeypatch.setattr(ranks.distributed, "all_gather", all_gather)
    rows = third.gather_rows([torch.zeros(2), torch.zeros(2)])
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@dataclass(frozen=True)
class InThreads(Ranks):
    """A process that is a thread: what all gather meets in a list."""

    meeting: list = field(default_factory=list)
    barrier: threading.Barrier | None = None

    def gather(self, value):
        self.meeting[self.number] = value
        self.barrier.wait()
        values = list(self.meeting)
        self.barrier.wait()
        return values


def test_each_part_is_measured_once_by_one_process_that_did_not_find_it():
    measured, stores = [], [{"b": 66}, {}]  # the first has kept a part
    parts = {name: lambda name=name: measured.append(name) or ord(name) for name in "abcde"}
    meeting, barrier = [None, None], threading.Barrier(2, timeout=20)
    with ThreadPoolExecutor(2) as pool:
        processes = [InThreads(number, 2, meeting, barrier) for number in range(2)]
        found = list(pool.map(lambda store, process: measure_parts(parts, store, process), stores, processes))
    assert found[0] == found[1] == {"a": 97, "b": 66, "c": 99, "d": 100, "e": 101}
    assert sorted(measured) == ["a", "c", "d", "e"]
    assert stores == [{"b": 66, "a": 97, "d": 100}, {"c": 99, "e": 101}]


def test_a_journal_knows_what_any_process_finished_in_this_run_or_a_former_one(tmp_path):
    path, about = tmp_path / "row.jsonl", {"net": "this"}
    for number, key in enumerate("abc"):  # a former run of three processes
        Journal(name_journal(path, number), about)[key] = number
    Journal(name_journal(path, 3), {"net": "other"})["d"] = 3
    (tmp_path / "row2-rank1.jsonl").write_text("of another row", "utf-8")
    meeting, barrier = [None, None], threading.Barrier(2, timeout=20)
    with ThreadPoolExecutor(2) as pool:
        processes = [InThreads(number, 2, meeting, barrier) for number in range(2)]
        journals = list(pool.map(lambda process: open_journal(path, about, process), processes))
    assert [journal.parts for journal in journals] == [{"a": 0, "b": 1, "c": 2}] * 2
    assert Journal(path, about).parts == {"a": 0, "c": 2}, "the first adopts what has no process any more"
    remove_journals(path)
    assert [file.name for file in tmp_path.iterdir()] == ["row2-rank1.jsonl"]


def test_groups_that_the_processes_cannot_share_are_refused():
    training = Groups()
    training.ranks = Ranks(0, 3)
    with pytest.raises(UserError, match=r"3 processes cannot share the 4 groups .* --groups 3"):
        run_resumable(training)


def test_a_lost_process_is_a_sentence(monkeypatch):
    def gone(*_):
        raise RuntimeError("Connection closed by peer [127.0.0.1]:1234")

    monkeypatch.setattr(ranks.distributed, "all_gather_object", gone)
    with pytest.raises(UserError, match="another process of this run has ended; the same command continues"):
        Ranks(0, 2).wait()


def test_the_groups_of_a_step_are_its_episodes_and_its_images(small_set, small_budget):
    budget = change(small_budget, episodes_per_step=4, groups=2, pretrain_batch=8)
    episodes = FewShotTraining(small_set, Recipe(), budget, Protocol(way=2, shot=1), torch.device("cpu"), "fp32")
    whole = episodes.sampler.draw(4, start=4).to_episode(small_set, torch.device("cpu"))
    images = BaseClassTraining(small_set, Recipe(), budget, torch.device("cpu"), "fp32")
    images.augment = lambda x, generator: x
    parts, batches = [], []
    for training, drawn in ((episodes, parts), (images, batches)):
        training.step = 1
        for training.group in range(2):
            drawn.append(training.draw_episode().query if training is episodes else training.draw_batch()[0])
    assert torch.equal(torch.cat(parts), whole.query)
    images.groups, images.group = 1, 0
    assert torch.equal(torch.cat(batches), images.draw_batch()[0])
