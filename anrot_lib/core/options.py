"""What a field of a dataclass says about itself when the command line offers it as an option."""

from dataclasses import dataclass

PIXELS = "K/255"
"""The metavar of a length in units of the pixel range, which is written as a fraction of 255."""


@dataclass(frozen=True)
class Option:
    """The annotation of a field, `way: Annotated[int, Option("classes an episode")] = 5`.

    help        what the field means, without its default.
    choices     the values that are allowed; () for any.
    metavar     the placeholder for the value, "" for the name of the field in capitals.
    flags       the names on the command line, () for `--name-of-the-field`.
    positional  whether the value is given without a flag.
    count       how many values a tuple takes: "+" at least one, "*" any number, or a number.
    alone       the value of a flag that is given without one, "" if it needs one.
    """

    help: str
    choices: tuple[str, ...] = ()
    metavar: str | tuple[str, ...] = ""
    flags: tuple[str, ...] = ()
    positional: bool = False
    count: str | int = "+"
    alone: str = ""
