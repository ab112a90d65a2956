"""Lengths in units of the pixel range, and times, as people write them."""

from anrot_lib.core.errors import UserError


def parse_fraction(text: str) -> float:
    """The number that a text such as "0.03" or "8/255" stands for. UserError for any other text."""
    top, _, bottom = text.partition("/")
    try:
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        raise UserError(f"{text!r} is neither a number nor a fraction such as 8/255") from None


def format_pixels(length: float) -> str:
    """A length in pixel units as people write it: 8/255 where that fits, else a decimal number."""
    k = round(length * 255)
    return f"{k}/255" if k and abs(length * 255 - k) < 1e-6 else f"{length:g}"


def format_minutes(seconds: float) -> str:
    """A time with two digits that count: "0.23 min", "4.1 min", "130 min"; "0.0 min" below a third of a second."""
    minutes = seconds / 60
    digits = 0 if minutes >= 9.95 else 1 if minutes >= 0.995 or minutes < 0.005 else 2
    return f"{minutes:.{digits}f} min"
