"""The colours of all figures: each at least 3 to 1 against white paper, and apart for readers who see fewer colours.

The first eight suffice for nearly every figure; texts call them by the names here, in lower case. The rest is for
tables with many rows. `adjust_text` makes a colour fit for letters.
"""

BLUE = "#0072B2"
SKY = "#3D9BD8"
GREEN = "#009E73"
ORANGE = "#D55E00"
BROWN = "#773311"
PINK = "#CC79A7"
GREY = "#767676"
BLACK = "#000000"
INDIGO = "#332288"
VIOLET = "#8833EE"
WINE = "#AA0044"
PLUM = "#440044"
MAUVE = "#774477"
LAVENDER = "#9977FF"
PALETTE = (BLUE, SKY, GREEN, ORANGE, BROWN, PINK, GREY, BLACK, INDIGO, VIOLET, WINE, PLUM, MAUVE, LAVENDER)
LEAST_MARK, LEAST_TEXT = (
    3.0,
    4.5,
)  # contrast that WCAG 2.2 asks for, of marks and of letters (criteria 1.4.11 and 1.4.3)


def read_channels(colour: str) -> tuple[float, float, float]:
    """Red, green and blue of "#RRGGBB", in [0, 1]."""
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue


def compute_luminance(colour: str) -> float:
    """Relative luminance of "#RRGGBB" as WCAG defines it, in [0, 1]."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in read_channels(colour)]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def compute_contrast(colour: str, other: str = "#FFFFFF") -> float:
    """Contrast of two colours, from 1 (equal) to 21 (black and white): (L1 + 0.05) / (L2 + 0.05), the lighter first."""
    low, high = sorted((compute_luminance(colour), compute_luminance(other)))
    return (high + 0.05) / (low + 0.05)


def adjust_text(colour: str) -> str:
    """The colour, as little darker as it takes to read letters in it on white."""
    channels = read_channels(colour)
    for part in range(100, 0, -1):
        darker = "#" + "".join(f"{round(c * 255 * part / 100):02X}" for c in channels)
        if compute_contrast(darker) >= LEAST_TEXT:
            return darker
    return BLACK


def pick_letters(background: str) -> str:
    """Black or white, whichever reads better on the background."""
    return max((BLACK, "#FFFFFF"), key=lambda letters: compute_contrast(background, letters))
