"""TODO."""

WHAT_TO_TIME = ("step", "episodes", "reconstruction", "levels", "ranking")
