"""The exercises of the notebooks: one module a notebook, and how an answer is checked and helped."""

from anrot_lib.course.exercises.checking import Fill, Predict, check, get_exercises, judge, use_answer
from anrot_lib.course.exercises.helping import fill_in_help

__all__ = ["Fill", "Predict", "check", "fill_in_help", "get_exercises", "judge", "use_answer"]
