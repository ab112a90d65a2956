"""Exercises: one module a notebook, and `check(number, answer)`, which compares an answer with the solution."""

from anrot_lib.course.exercises.checking import Fill, Predict, check, get_exercises, judge, use_answer

__all__ = ["Fill", "Predict", "check", "get_exercises", "judge", "use_answer"]
