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


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda model, x, *rest: x, "ends at a margin of"),
        (lambda model, x, *rest: x + 0.5, "expected values in [0, 1]"),
        (lambda model, x, *rest: 1 - x, "expected at most eps = 0.1"),
        (lambda model, x, *rest: x[0], "expected images of shape (6, 1, 3, 4), got shape (1, 3, 4)"),
        (lambda model, x, *rest: x / 0, "NaN or infinite"),
        (lambda *arguments: None, "got NoneType"),
    ],
)
def test_an_attack_is_checked_by_its_promises(answer, said):
    assert said in exercises.judge("13.1", answer)


def test_more_than_one_right_attack_passes():
    solution = exercise("13.1").solution
    assert exercises.judge("13.1", lambda *case: solution(*case).clone() + 1e-8).startswith("passed")
    assert exercises.judge("13.1", lambda *case: solution(*case[:-1], case[-1] + 4)).startswith("passed")


def test_a_slope_is_asked_for_beside_the_values():
    assert "cut off from the pixels" in exercises.judge(
        "13.2", lambda x, levels: ((x * levels).round() / levels).detach()
    )
    assert "expected pixels of shape (4,)" in exercises.judge("13.2", lambda x, levels: x.sum())


def test_a_notebook_goes_on_with_a_right_answer_and_else_with_the_solution():
    solution = exercise("13.3").solution

    def mine(beaten):
        return solution(beaten)

    assert exercises.use_answer("13.3", mine) is mine
    assert exercises.use_answer("13.3", lambda beaten: beaten.sum(1)) is solution
    assert exercises.use_answer("13.3", None) is solution


def test_unknown_numbers_are_errors():
    with pytest.raises(UserError, match=r"there is no exercise 6\.9"):
        exercises.check("6.9", 1)
    with pytest.raises(UserError, match="there is no notebook 77"):
        exercises.check("77.1", 1)
