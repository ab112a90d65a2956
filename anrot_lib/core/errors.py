"""The error for a user's mistake, in a module that loads nothing: the command line names it before it loads torch."""

import unicodedata


class UserError(ValueError):
    """A mistake that the user can correct: what is wrong, where, and what to do, in one sentence.

    The command line prints it and ends with exit code 2, without a traceback. It is a ValueError, as libraries with
    the same contracts (easyfsl's sampler) raise one. Names of files and classes may hold any character: line breaks,
    escape sequences and other control characters are shown escaped, so that a message stays one line and cannot
    command a terminal.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(escape_control(str(message)))


class NotFinite(UserError, FloatingPointError):
    """A loss, a weight or an output of a net is NaN or infinite: no number that rests on it would mean anything."""


class Paused(Exception):
    """The time of this slice is over; what was done is in the checkpoint. The message says how far it came."""


def escape_control(text: str) -> str:
    r"""Text in one printable line: every control, format and lone surrogate character as \n, \x1b, \u202e ..."""
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
