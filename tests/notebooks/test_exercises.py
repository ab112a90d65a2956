"""Every exercise: its solution passes, its stub and plausible wrong answers do not, its text tells the truth.

Unusual right answers are in test_answers.
"""

import inspect
import re

import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue, exercises

FEWEST_FUNCTIONS = 25  # exercises of the course that ask for code
ALL = [(notebook, number) for notebook in catalogue.list_ready() for number in exercises.get_exercises(notebook.number)]
every = pytest.mark.parametrize(("notebook", "number"), ALL, ids=[number for _, number in ALL])


def exercise(number):
    return exercises.get_exercises(int(number.split(".")[0]))[number]


@pytest.mark.parametrize("notebook", catalogue.list_ready(), ids=lambda n: n.stem)
def test_each_notebook_has_three_to_six_of_both_kinds(notebook):
    found = list(exercises.get_exercises(notebook.number).values())
    assert 3 <= len(found) <= 6
    assert {type(e) for e in found} == {exercises.Fill, exercises.Predict}


def test_most_exercises_ask_for_code():
    assert sum(isinstance(exercise(number), exercises.Fill) for _, number in ALL) >= FEWEST_FUNCTIONS


@every
def test_the_solution_passes(notebook, number):
    assert exercises.judge(number, exercise(number).solution).startswith("passed")


@every
def test_wrong_answers_do_not_pass_and_are_told_why(notebook, number):
    asked = exercise(number)
    answers = list(asked.wrong.items()) if isinstance(asked, exercises.Fill) else [(asked.hint, w) for w in asked.wrong]
    assert len({answer for _, answer in answers}) == len(answers) >= 2
    for sentence, answer in answers:
        said = exercises.judge(number, answer)
        assert said.startswith("not yet"), said
        if asked.__class__ is exercises.Predict or asked.find_flaw is None:
            assert sentence in said
        if isinstance(asked, exercises.Fill):
            assert "expected" in said or "raises" in said or "infinite" in said, said


@every
def test_a_stub_is_not_attempted_yet(notebook, number):
    def stub(*arguments):
        raise NotImplementedError

    assert exercises.judge(number, None) == exercises.judge(number, ...) == "not attempted yet"
    if isinstance(exercise(number), exercises.Fill):
        assert exercises.judge(number, stub) == "not attempted yet"


@every
def test_the_notebook_asks_checks_helps_and_solves_it(notebook, number, build):
    cells = build.from_source(notebook).cells
    asked = exercise(number)
    assert any(f'check("{number}"' in c.source for c in cells if c.cell_type == "code")
    told = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    assert f"### {number} " in told and "<!-- help" not in told
    if isinstance(asked, exercises.Fill):
        assert len({*asked.hints}) == 3 and all(f"\n\n{hint}\n\n</details>" in told for hint in asked.hints)
        assert f"```python\n{inspect.getsource(asked.solution).strip()}\n```" in told, "no solution, or another one"
        stub = re.search(rf"def {asked.solution.__name__}\((.*)\):", "\n".join(c.source for c in cells))
        assert stub and stub[1].split(", ") == list(inspect.signature(asked.solution).parameters)


def test_a_mark_of_an_exercise_without_hints_is_refused():
    assert exercises.fill_in_help("a\n<!-- help 0.1 -->\nb").startswith("a\n<details><summary>Hint 1</summary>")
    with pytest.raises(UserError, match=r"exercise 0\.2 asks for no function"):
        exercises.fill_in_help("<!-- help 0.2 -->")


def test_a_counter_example_shows_shapes_and_values():
    said = exercises.judge("7.3", lambda positive, negatives, t: torch.zeros(7))
    assert "expected shape (4,), got shape (7,)" in said
    said = exercises.judge("7.3", lambda positive, negatives, t: negatives * 0)
    assert "expected [0.1372, 2.0817" in said and "got      [0.0, 0.0" in said


def test_an_answer_that_raises_is_shown_with_its_case():
    assert "it raises ZeroDivisionError" in exercises.judge("7.3", lambda p, n, t: 1 / 0)
    assert exercises.judge("7.3", lambda: 0).startswith("not yet: it raises TypeError")
    assert exercises.judge("7.3", 3.0) == "expected a function, got 3.0"
    assert exercises.judge("7.3", lambda p, n, t: n * float("nan")).startswith("not yet: a value is NaN")
    assert "does every way through it end in a `return`?" in exercises.judge("7.3", lambda p, n, t: None)
    assert exercises.judge("6.2", "a lot") == "expected a number, got 'a lot'"


def test_one_that_raises_when_it_is_called_again_is_told_so():
    calls = []

    def tires(labels, digests, *rest):
        calls.append(rest)
        if len(calls) > 3:
            raise ValueError("no more")
        return exercise("1.5").solution(labels, digests, *rest)

    assert exercises.judge("1.5", tires) == "not yet: called again, it raises ValueError: no more"


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
    assert "expected shape (4,), got shape ()" in exercises.judge("13.2", lambda x, levels: x.sum())


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
