"""TODO."""

import argparse


def float_of(text: str) -> float:
    top, _, bottom = text.partition("/")
    return float(top) / float(bottom or 1)


def pixels(length: float) -> str:
    """A length in pixel units as people write it: 8/255 where that fits, else a decimal number."""
    k = round(length * 255)
    return f"{k}/255" if k and abs(length * 255 - k) < 1e-6 else f"{length:g}"


def fraction(text: str) -> float:
    """A number or k/255, as people write eps."""
    try:
        top, _, bottom = text.partition("/")
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a fraction such as 8/255") from None
