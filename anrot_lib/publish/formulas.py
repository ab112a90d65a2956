"""Formulas of LaTeX as MathML, which browsers draw themselves: no script, no font, no network."""

import re

from anrot_lib.core.errors import UserError

LEFT = re.compile(r"<m[iont]+>\s*\\[A-Za-z]+")  # a command that was not understood stays as text


def convert(formula: str, display: str = "inline") -> str:
    """MathML of a formula; display: "inline" or "block". UserError if it holds a command that has no translation."""
    from latex2mathml.converter import convert as translate

    try:
        drawn = str(translate(formula.replace(r"\arg", r"\operatorname{arg}"), display=display))
    except Exception as error:  # the converter has an exception a kind of slip
        raise UserError(f"the formula {formula!r} cannot be drawn: {error!r}") from error
    if unknown := LEFT.search(drawn):
        raise UserError(f"the formula {formula!r} cannot be drawn: {unknown[0].split('>')[-1]} has no translation")
    return drawn
