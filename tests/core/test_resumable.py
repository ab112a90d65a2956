"""The loop of all long trainings: kills, pauses and slices change no bit; what it refuses, and when it saves."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from anrot_lib.core import checkpoints, randomness, resumable
from anrot_lib.core.configs import to_dict
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.core.resumable import Paused, ResumableTraining, run_resumable
from tests.helpers import Killed, kill_at


class Line(ResumableTraining):
    """Fits a line by Adam to points that are drawn anew in every step; validates every fourth step."""

    title = " of the line"

    def __init__(self, rate=0.1, n_steps=10, poison=None):
        super().__init__({"recipe": {"rate": rate}, "n": n_steps}, n_steps)
        self.net = nn.Linear(1, 1)
        nn.init.zeros_(self.net.weight)
        nn.init.zeros_(self.net.bias)
        self.optimizers = (torch.optim.Adam(self.net.parameters(), lr=rate),)
        self.poison, self.begun, self.validated, self.losses = poison, 0, [], []

    def begin(self):
        self.begun += 1

    def compute_loss(self):
        x = torch.randn(8, 1, generator=randomness.make_generator(0, f"points/{self.step}"))
        loss = (self.net(x) - 3 * x + 1).square().mean()
        return self.poison(loss) if self.poison and self.step == 5 else loss

    def finish_update(self, loss):
        self.losses.append(loss)

    def finish_step(self):
        if self.step % 4:
            return False
        with self.timed():
            self.validated.append(self.step)
        return True

    def latest_numbers(self):
        return {"validated": float(len(self.validated))}

    def describe_kept(self):
        return "nothing is kept"

    def state_dict(self):
        parts = {"weights": self.net.state_dict(), "optimizer": self.optimizers[0].state_dict()}
        return super().state_dict() | parts | {"validated": self.validated, "losses": self.losses}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.net.load_state_dict(state["weights"])
        self.optimizers[0].load_state_dict(state["optimizer"])
        self.validated, self.losses = state["validated"], state["losses"]


def outcome(training):
    return [training.net.weight.item(), training.net.bias.item(), training.losses, training.validated]


@pytest.fixture(scope="module")
def whole():
    training = Line()
    run_resumable(training)
    return training


def test_it_learns_and_validates(whole):
    assert whole.losses[-1] < whole.losses[0] and whole.validated == [4, 8] and whole.begun == 1
    assert len(whole.durations) == whole.step == 10 and whole.seconds >= sum(whole.durations) > 0


@pytest.mark.parametrize("at", range(1, 11))
def test_a_kill_at_any_step_changes_no_bit(whole, tmp_path, at):
    with pytest.raises(Killed):
        run_resumable(Line(), tmp_path / "a.pt", kill_at(at))
    again, shown = Line(), []
    run_resumable(again, tmp_path / "a.pt", lambda *what: shown.append(what))
    saved = 10 if at == 10 else at // 4 * 4
    assert [done for done, _, _ in shown] == list(range(saved + 1, 11)), "no saved step is repeated"
    assert all(total == 10 and numbers.keys() == {"loss", "validated"} for _, total, numbers in shown)
    assert outcome(again) == outcome(whole) and again.begun == (saved == 0)
    assert len(again.durations) == 10, "the steps before the kill count too"


def test_pauses_and_slices_change_no_bit(whole, tmp_path):
    with pytest.raises(Paused):
        run_resumable(Line(), tmp_path / "a.pt", pause=lambda: True)
    assert checkpoints.load(tmp_path / "a.pt")["step"] == 1
    part = Line()
    run_resumable(part, tmp_path / "a.pt", max_steps=5)
    assert part.step == checkpoints.load(tmp_path / "a.pt")["step"] == 6
    again = Line()
    run_resumable(again, tmp_path / "a.pt", max_steps=100)
    assert outcome(again) == outcome(whole)
    before = (tmp_path / "a.pt").read_bytes()
    run_resumable(Line(), tmp_path / "a.pt", pause=lambda: pytest.fail("a step was made"))
    assert (tmp_path / "a.pt").read_bytes() == before


def test_work_of_five_minutes_is_saved_between_validations(tmp_path, monkeypatch):
    now = iter(range(0, 10_000, 200))
    monkeypatch.setattr(resumable.time, "monotonic", lambda: next(now))
    with pytest.raises(Killed):
        run_resumable(Line(), tmp_path / "a.pt", kill_at(3))
    assert checkpoints.load(tmp_path / "a.pt")["step"] == 2


def test_a_checkpoint_of_other_settings_is_refused_or_replaced(tmp_path):
    run_resumable(Line(), tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    with pytest.raises(UserError, match=r"a.pt is the checkpoint of another training \(different n, rate\)"):
        run_resumable(Line(0.2, 7), tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == before
    fresh, plain = Line(0.2, 7), Line(0.2, 7)
    run_resumable(fresh, tmp_path / "a.pt", restart=True)
    run_resumable(plain)
    assert fresh.begun == 1 and outcome(fresh) == outcome(plain)


@dataclass(frozen=True)
class LineRecipe:
    rate: float = 0.1
    newer: float = 0.5


class NewerLine(Line):
    """The same training in a release whose recipe has one more field."""

    recipe_type = LineRecipe

    def __init__(self, newer=0.5):
        super().__init__()
        self.settings["recipe"] = to_dict(LineRecipe(newer=newer))


def test_a_checkpoint_from_before_a_field_of_the_recipe_goes_on_where_that_has_its_default(tmp_path):
    run_resumable(Line(), tmp_path / "a.pt", max_steps=4)
    newer, plain = NewerLine(), Line()
    run_resumable(newer, tmp_path / "a.pt")
    run_resumable(plain)
    assert newer.begun == 0 and outcome(newer) == outcome(plain)
    run_resumable(Line(), tmp_path / "b.pt", max_steps=4)
    with pytest.raises(UserError, match=r"another training \(different newer\)"):
        run_resumable(NewerLine(0.7), tmp_path / "b.pt")


@pytest.mark.parametrize(
    "poison", [lambda loss: loss * math.nan, lambda loss: loss + math.inf, lambda _: exec("raise FloatingPointError")]
)
def test_a_loss_that_is_not_finite_stops_before_the_weights(poison, tmp_path):
    training, clean = Line(poison=poison), Line()
    message = "the loss of the line is no longer finite at step 6 of 10; nothing is kept; try a smaller learning rate"
    with pytest.raises(NotFinite, match=message):
        run_resumable(training, tmp_path / "a.pt")
    run_resumable(clean, max_steps=5)
    assert outcome(training) == outcome(clean) and checkpoints.load(tmp_path / "a.pt")["step"] == 4


def test_a_training_of_no_steps_is_saved_as_it_begins(tmp_path):
    run_resumable(Line(n_steps=0), tmp_path / "a.pt")
    assert checkpoints.load(tmp_path / "a.pt")["weights"]["weight"].item() == 0


@pytest.mark.parametrize(("former", "durations"), [({"step_seconds": 2.5}, [2.5]), ({}, [])])
def test_checkpoints_that_hold_only_the_sum_of_durations_are_taken_up(whole, tmp_path, former, durations):
    run_resumable(Line(), tmp_path / "a.pt", max_steps=4)
    state = checkpoints.load(tmp_path / "a.pt")
    del state["step_seconds"], state["format"]
    checkpoints.save(tmp_path / "a.pt", state | former)
    again = Line()
    run_resumable(again, tmp_path / "a.pt")
    assert outcome(again) == outcome(whole) and again.durations[: len(durations)] == durations
    assert len(again.durations) == len(durations) + 6
