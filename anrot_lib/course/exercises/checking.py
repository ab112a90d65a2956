"""Exercises: what is asked, how an answer is checked, one solution each. `check(number, answer)` in a notebook.

An exercise is a function to write, checked on given cases by its values or by the properties of a right answer, or a
value to predict. The answer to a wrong one is a counter-example with shapes and values, and a sentence that says what
went wrong where that is known; never just "wrong".
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.course.exercises.comparing import find_difference, show_arguments, show_value

Answer = Callable[..., Any]


@dataclass(frozen=True)
class Fill:
    """A function to write.

    solution    one right answer; the notebook shows its source, folded, and `remark` below it.
    cases       gives argument tuples. It is called anew for each use, so that an answer may change its arguments.
    wrong       sentence -> a plausible answer that must fail, at least two. Where a reader's answer gives the same
                values in every case, the sentence is said beside the counter-example.
    hints       three, each of which says more than the one before.
    tolerance   of the comparison with `solution`, absolute and relative to the largest value.
    find_fault  takes the place of that comparison where several answers are right: `find_fault(got, *case)` says in
                words which property of a right answer `got` lacks; None if it has them all.
    find_flaw   for what shows over several calls, such as a draw: `find_flaw(answer)`, asked after all cases.
    """

    solution: Answer
    cases: Callable[[], list[tuple[Any, ...]]]
    wrong: Mapping[str, Answer]
    hints: tuple[str, str, str]
    remark: str = ""
    tolerance: float = 1e-5
    find_fault: Callable[..., str | None] | None = None
    find_flaw: Callable[[Answer], str | None] | None = None


@dataclass(frozen=True)
class Predict:
    """A value to predict, or a letter to choose. `tell` is printed once it is right; `wrong` are two that must fail.

    `hint` is printed after a wrong one. Numbers within `tolerance` of the solution are right.
    """

    solution: Any
    tell: str
    hint: str
    wrong: tuple[Any, Any]
    tolerance: float = 0.0


def get_exercises(number: int) -> dict[str, Fill | Predict]:
    """The exercises of a notebook by their numbers, "3.1" and so on."""
    notebook = next((n for n in catalogue.list_ready() if n.number == number), None)
    if notebook is None:
        raise UserError(f"there is no notebook {number}")
    exercises: dict[str, Fill | Predict] = importlib.import_module(
        f"anrot_lib.course.exercises.{notebook.name}"
    ).EXERCISES
    return exercises


def get_exercise(number: str) -> Fill | Predict:
    """One exercise by its number. UserError for an unknown one."""
    lesson = get_exercises(int(number.split(".")[0]))
    if number not in lesson:
        raise UserError(f"there is no exercise {number}; this notebook has {', '.join(lesson)}")
    return lesson[number]


def check(number: str, answer: Any = None) -> None:
    """Print whether the answer to an exercise is right: "not attempted yet", a counter-example, or "passed"."""
    print(f"Exercise {number}: {judge(number, answer)}")


def judge(number: str, answer: Any = None) -> str:
    """What `check` prints, without the number."""
    exercise = get_exercise(number)
    if answer is None or answer is ...:
        return "not attempted yet"
    return _judge_value(exercise, answer) if isinstance(exercise, Predict) else _judge_function(exercise, answer)


def use_answer(number: str, answer: Any) -> Any:
    """The answer to an exercise if it passes, else the solution: so that a notebook can go on with either.

    Raises UserError for an unknown number.
    """
    return answer if judge(number, answer).startswith("passed") else get_exercise(number).solution


def _judge_value(exercise: Predict, answer: Any) -> str:
    right = exercise.solution
    if isinstance(right, str):
        fits = isinstance(answer, str) and answer.strip().lower() == right
    else:
        try:
            fits = abs(float(answer) - right) <= exercise.tolerance
        except (TypeError, ValueError):
            return f"expected a number, got {answer!r}"
    return f"passed. {exercise.tell}" if fits else f"not yet: {answer!r} is not it. {exercise.hint}"


def _judge_function(exercise: Fill, answer: Any) -> str:
    if not callable(answer):
        return f"expected a function, got {answer!r}"
    shown = exercise.cases()
    for k in range(len(shown)):
        try:
            got = answer(*exercise.cases()[k])
        except NotImplementedError:
            return "not attempted yet"
        except Exception as error:  # whatever the reader's code raises is shown beside the case, not as a traceback
            return f"not yet: it raises {type(error).__name__}: {error}\n  for {show_arguments(shown[k])}"
        if fault := _find_fault(exercise, got, k):
            return f"not yet: {fault}{_recognise(exercise, answer)}"
    try:
        flaw = exercise.find_flaw(answer) if exercise.find_flaw else None
    except Exception as error:
        flaw = f"called again, it raises {type(error).__name__}: {error}"
    return f"not yet: {flaw}" if flaw else f"passed ({len(shown)} cases)"


def _find_fault(exercise: Fill, got: Any, k: int) -> str | None:
    """What is wrong with the answer to case k, with the counter-example; None if nothing is."""
    if exercise.find_fault is not None:
        fault = exercise.find_fault(got, *exercise.cases()[k])
        return f"{fault}\n  for {show_arguments(exercise.cases()[k])}" if fault else None
    expected = exercise.solution(*exercise.cases()[k])
    if fault := find_difference(got, expected, exercise.tolerance):
        case = show_arguments(exercise.cases()[k])
        return f"{fault}\n  for {case}\n  expected {show_value(expected)}\n  got      {show_value(got)}"
    return None


def _recognise(exercise: Fill, answer: Answer) -> str:
    """The sentence of the wrong answer that gives the same values in every case; nothing if there is none."""
    for sentence, mistake in exercise.wrong.items():
        if _agree(exercise, answer, mistake):
            return f"\n  {sentence}"
    return ""


def _agree(exercise: Fill, answer: Answer, mistake: Answer) -> bool:
    try:
        pairs = [(answer(*case), mistake(*same)) for case, same in zip(exercise.cases(), exercise.cases(), strict=True)]
        return all(find_difference(got, like, exercise.tolerance) is None for got, like in pairs)
    except Exception:  # one that raises in a later case is none of the known ones
        return False
