"""Exercises: what is asked, how an answer is checked, one solution each. `check(number, answer)` in a notebook.

An exercise is a function to fill in, compared with the solution on given cases, or a value to predict. The answer to
a wrong one is a counter-example with shapes and values, never just "wrong".
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue


@dataclass(frozen=True)
class Fill:
    """A function to fill in. `cases()` gives argument tuples; `wrong` are two plausible answers that must fail.

    The answer is compared with `solution` on every case, to `tolerance` (absolute, and relative to the largest value).
    Where several answers are right, `find_fault(got, *case)` takes the place of that comparison: it says in words which
    property of a right answer `got` lacks, and what was expected; None if it has them all.
    """

    solution: Callable[..., Any]
    cases: Callable[[], list[tuple[Any, ...]]]
    wrong: tuple[Callable[..., Any], Callable[..., Any]]
    tolerance: float = 1e-5
    find_fault: Callable[..., str | None] | None = None


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


def check(number: str, answer: Any = None) -> None:
    """Print whether the answer to an exercise is right: "not attempted yet", a counter-example, or "passed"."""
    print(f"Exercise {number}: {judge(number, answer)}")


def judge(number: str, answer: Any = None) -> str:
    """What `check` prints, without the number."""
    lesson = get_exercises(int(number.split(".")[0]))
    if number not in lesson:
        raise UserError(f"there is no exercise {number}; this notebook has {', '.join(lesson)}")
    exercise = lesson[number]
    if answer is None or answer is ...:
        return "not attempted yet"
    return _predicted(exercise, answer) if isinstance(exercise, Predict) else _filled_in(exercise, answer)


def use_answer(number: str, answer: Any) -> Any:
    """The answer to an exercise if it passes, else the solution: so that a notebook can go on with either.

    Raises UserError for an unknown number.
    """
    if judge(number, answer).startswith("passed"):
        return answer
    return get_exercises(int(number.split(".")[0]))[number].solution


def _predicted(exercise: Predict, answer: Any) -> str:
    right = exercise.solution
    if isinstance(right, str):
        fits = isinstance(answer, str) and answer.strip().lower() == right
    else:
        try:
            fits = abs(float(answer) - right) <= exercise.tolerance
        except (TypeError, ValueError):
            return f"expected a number, got {answer!r}"
    return f"passed. {exercise.tell}" if fits else f"not yet: {answer!r} is not it. {exercise.hint}"


def _filled_in(exercise: Fill, answer: Any) -> str:
    if not callable(answer):
        return f"expected a function, got {answer!r}"
    cases = exercise.cases()
    for case in cases:
        expected = exercise.solution(*case)
        try:
            got = answer(*case)
        except NotImplementedError:
            return "not attempted yet"
        except Exception as error:  # whatever the reader's code raises is shown beside the case, not as a traceback
            return f"not yet: it raises {type(error).__name__}: {error}\n  for {_arguments(case)}"
        if exercise.find_fault is not None:
            if fault := exercise.find_fault(got, *case):
                return f"not yet: {fault}\n  for {_arguments(case)}"
        elif fault := _difference(got, expected, exercise.tolerance):
            return f"not yet: {fault}\n  for {_arguments(case)}\n  expected {_show(expected)}\n  got      {_show(got)}"
    return f"passed ({len(cases)} cases)"


def _difference(got: Any, expected: Any, tolerance: float) -> str | None:
    """What is wrong with `got`, in words; None if nothing is."""
    if isinstance(expected, str | bool | frozenset | set | list | tuple | dict) or expected is None:
        return None if type(got) is type(expected) and got == expected else "another value"
    if isinstance(got, bool) or not isinstance(got, Tensor | np.ndarray | int | float | np.number):
        return f"expected {_kind(expected)}, got {_kind(got)}"
    x, y = (torch.as_tensor(v, dtype=torch.float64).detach() for v in (got, expected))
    if x.shape != y.shape:
        return f"expected shape {tuple(y.shape)}, got shape {tuple(x.shape)}"
    if not torch.equal(x.isfinite(), y.isfinite()):
        return "a value is NaN or infinite"
    largest = y[y.isfinite()].abs().max().item() if y.isfinite().any() else 0.0
    off = (x - y).nan_to_num(0.0).abs().max().item() if y.numel() else 0.0
    return None if off <= tolerance * max(1.0, largest) else f"off by up to {off:.3g}"


def _kind(value: Any) -> str:
    return "a tensor" if isinstance(value, Tensor) else type(value).__name__


def _arguments(case: tuple[Any, ...]) -> str:
    return ", ".join(_show(value) for value in case)


def _show(value: Any) -> str:
    """A short text for a value: small tensors whole, larger ones by shape and range."""
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(value)
    if not isinstance(value, Tensor):
        return f"{value:.4g}" if isinstance(value, float) else repr(value)
    value = value.detach()
    if value.numel() <= 8:
        return f"{[round(v, 4) for v in value.flatten().tolist()]} of shape {tuple(value.shape)}"
    numbers = value.double()
    return f"a tensor of shape {tuple(value.shape)} from {numbers.min():.4g} to {numbers.max():.4g}"
