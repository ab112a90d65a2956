"""Every exercise: its solution passes, its stub and two plausible wrong answers do not, its text tells the truth."""

import inspect
from pathlib import Path

import jupytext
import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue, exercises

SOURCES = Path(__file__).resolve().parents[2] / "notebooks" / "src"
ALL = [(notebook, number) for notebook in catalogue.list_ready() for number in exercises.get_exercises(notebook.number)]
every = pytest.mark.parametrize(("notebook", "number"), ALL, ids=[number for _, number in ALL])


def exercise(number):
    return exercises.get_exercises(int(number.split(".")[0]))[number]


@pytest.mark.parametrize("notebook", catalogue.list_ready(), ids=lambda n: n.stem)
def test_each_notebook_has_three_to_five_of_both_kinds(notebook):
    found = list(exercises.get_exercises(notebook.number).values())
    assert 3 <= len(found) <= 5
    assert {type(e) for e in found} == {exercises.Fill, exercises.Predict}


@every
def test_the_solution_passes(notebook, number):
    assert exercises.judge(number, exercise(number).solution).startswith("passed")


@every
def test_wrong_answers_do_not_pass_and_are_told_why(notebook, number):
    first, second = exercise(number).wrong
    for answer in (first, second):
        said = exercises.judge(number, answer)
        assert said.startswith(("not yet", "expected")), said
        if isinstance(exercise(number), exercises.Fill):
            assert "expected" in said or "raises" in said
    assert first is not second


@every
def test_a_stub_is_not_attempted_yet(notebook, number):
    def stub(*arguments):
        raise NotImplementedError

    assert exercises.judge(number, None) == exercises.judge(number, ...) == "not attempted yet"
    if isinstance(exercise(number), exercises.Fill):
        assert exercises.judge(number, stub) == "not attempted yet"


@every
def test_the_notebook_asks_checks_and_solves_it(notebook, number):
    cells = jupytext.read(SOURCES / f"{notebook.stem}.py", fmt="py:percent").cells
    assert any(f'check("{number}"' in c.source for c in cells if c.cell_type == "code")
    told = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    assert f"### {number} " in told
    if isinstance(exercise(number), exercises.Fill):
        assert inspect.getsource(exercise(number).solution).strip() in told, "the shown solution is not the tested one"


def test_a_counter_example_shows_shapes_and_values():
    said = exercises.judge("6.1", lambda m, s, n, t: torch.zeros(7))
    assert "expected shape (4,), got shape (7,)" in said
    said = exercises.judge("6.1", lambda m, s, n, t: m * 0)
    assert "expected [0.0, 0.8218" in said and "got      [0.0, 0.0" in said


def test_an_answer_that_raises_is_shown_with_its_case():
    assert "it raises ZeroDivisionError" in exercises.judge("6.1", lambda m, s, n, t: 1 / 0)
    assert exercises.judge("6.1", lambda: 0).startswith("not yet: it raises TypeError")
    assert exercises.judge("6.1", 3.0) == "expected a function, got 3.0"
    assert exercises.judge("6.1", lambda *a: torch.full((4,), float("nan"))).startswith("not yet: a value is NaN")
    assert exercises.judge("6.2", "a lot") == "expected a number, got 'a lot'"


def test_unknown_numbers_are_errors():
    with pytest.raises(UserError, match=r"there is no exercise 6\.9"):
        exercises.check("6.9", 1)
    with pytest.raises(UserError, match="there is no notebook 77"):
        exercises.check("77.1", 1)
