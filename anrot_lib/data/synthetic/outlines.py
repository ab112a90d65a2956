"""Outlines of the synthetic classes: chains of points around the origin, and distances to them.

Only +, -, *, / and square root are used, which IEEE 754 rounds in one way everywhere; sine and
cosine come from a polynomial. So nothing here differs between machines or numpy versions.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from anrot_lib.core import randomness

Array = NDArray[np.float64]
T = TypeVar("T")
PI = 3.141592653589793


class Outline(NamedTuple):
    """Chains of points (K, 2), x to the right and y down, of about radius 1.

    Closed chains bound an area (even-odd rule); open ones are pen strokes.
    """

    chains: tuple[Array, ...]
    closed: bool


class Draws:
    """Uniform numbers of one named stream, taken one after the other."""

    def __init__(self, seed: int, name: str, n: int = 128) -> None:
        self._values = iter(uniforms(seed, name, n).tolist())

    def between(self, low: float, high: float) -> float:
        value: float = next(self._values)
        return low + (high - low) * value

    def integer(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + int((high - low + 1) * next(self._values))

    def one_of(self, values: Sequence[T]) -> T:
        return values[self.integer(0, len(values) - 1)]


def uniforms(seed: int, name: str, n: int) -> Array:
    """`n` float64 in [0, 1) from the 53 high bits of a raw stream."""
    return (randomness.draw_raw(seed, name, n) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def circle(turns: float | Array) -> tuple[Array, Array]:
    """Cosine and sine of 2 pi turns, by Taylor series on an eighth of the circle.

    The error stays below 1e-9; what matters is that it is the same error everywhere.
    """
    quarters = np.asarray(turns, np.float64) * 4.0
    nearest = np.floor(quarters + 0.5)
    x = (quarters - nearest) * (PI / 2)
    y = x * x
    sine = x * (1 - y / 6 * (1 - y / 20 * (1 - y / 42 * (1 - y / 72 * (1 - y / 110)))))
    cosine = 1 - y / 2 * (1 - y / 12 * (1 - y / 30 * (1 - y / 56 * (1 - y / 90 * (1 - y / 132)))))
    k = nearest.astype(np.int64) % 4
    return (
        np.choose(k, [cosine, -sine, -cosine, sine]),
        np.choose(k, [sine, cosine, -sine, -cosine]),
    )


def polar(radius: float | Array, turns: Array) -> Array:
    """Points (K, 2) at these radii and turns; turn 0 points up the image, so figures stand up."""
    cosine, sine = circle(turns)
    return np.stack([radius * sine, -radius * cosine], -1)


def around(n: int) -> Array:
    return np.arange(n) / n


def one(points: Array | list[tuple[float, float]]) -> Outline:
    return Outline((np.asarray(points, np.float64),), closed=True)


def polygon(draw: Draws) -> Outline:
    return one(polar(1.0, around(draw.integer(3, 6))))


def star(draw: Draws) -> Outline:
    n, inner = draw.integer(4, 8), draw.between(0.38, 0.6)
    return one(polar(np.where(np.arange(2 * n) % 2, inner, 1.0), around(2 * n)))


def flower(draw: Draws) -> Outline:
    n, depth, turns = draw.integer(3, 7), draw.between(0.16, 0.34), around(84)
    return one(polar((1 + depth * circle(n * turns)[0]) / (1 + depth), turns))


def gear(draw: Draws) -> Outline:
    teeth, inner = draw.integer(6, 10), draw.between(0.68, 0.8)
    k = np.arange(4 * teeth)
    return one(polar(np.where(k % 4 < 2, 1.0, inner), (k - 0.5) / (4 * teeth)))


def blob(draw: Draws) -> Outline:
    """A closed curve with random Fourier descriptors of orders 2 to 5."""
    turns, radius = around(56), np.ones(56)
    for order in range(2, 6):
        size = draw.between(0.12, 0.34) / (order - 0.5)
        radius = radius + size * circle(order * turns + draw.between(0, 1))[0]
    return one(polar(radius / radius.max(), turns))


def cross(draw: Draws) -> Outline:
    """Three to five straight arms."""
    arms, half = draw.integer(3, 5), draw.between(0.15, 0.27)
    k = np.repeat(around(arms), 3)
    cosine, sine = circle(k)
    inner = half / circle(0.5 / arms)[1]
    x = np.tile([-half, half, 0.0], arms)
    y = np.tile([0.97, 0.97, 0.0], arms)
    points = np.stack([cosine * x + sine * y, sine * x - cosine * y], -1)
    points[2::3] = polar(inner, around(arms) + 0.5 / arms)
    return one(points)


def crescent(draw: Draws) -> Outline:
    end, bulge = draw.between(0.06, 0.14), draw.between(1.1, 1.3)
    outer = polar(1.0, end + (1 - 2 * end) * np.arange(41) / 40)
    s = np.arange(1, 20) / 10 - 1.0
    inner = [s * outer[0, 0], outer[0, 1] + bulge * (1 - s * s)]
    return one(np.concatenate([outer, np.stack(inner, -1)]))


def heart(draw: Draws) -> Outline:
    turns, dip = around(64), draw.between(0.1, 0.26)
    sine = circle(turns)[1]
    c1, c2, c3, c4 = (circle(k * turns)[0] for k in (1, 2, 3, 4))
    up = 0.78 * c1 - (dip + 0.14) * c2 - 0.12 * c3 - 0.06 * c4
    points = np.stack([sine * sine * sine, -up - 0.1], -1)
    return one(points / np.abs(points).max())


def drop(draw: Draws) -> Outline:
    turns, width = around(60), draw.between(0.62, 0.95)
    cosine, sine = circle(turns)
    half = circle(turns / 2)[1]
    return one(np.stack([width * sine * half * half, -cosine], -1))


def arrow(draw: Draws) -> Outline:
    neck, shaft, barb = draw.between(-0.25, 0.15), draw.between(0.18, 0.4), draw.between(-0.05, 0.2)
    right = [(0.0, -1.0), (0.85, neck), (shaft, neck - barb), (shaft, 0.95)]
    return one(right + [(-x, y) for x, y in reversed(right[1:])])


def ring(draw: Draws) -> Outline:
    """A round or angular frame around a hole."""
    outer, inner = draw.one_of([4, 6, 48]), draw.one_of([3, 4, 5, 40])
    size = draw.between(0.4, 0.55) if inner > 3 else draw.between(0.45, 0.55)
    return Outline((polar(1.0, around(outer)), polar(size, around(inner))), closed=True)


def cluster(draw: Draws) -> Outline:
    """Equal parts in a circle, some with one in the middle."""
    n, corners = draw.integer(3, 6), draw.one_of([3, 4, 20])
    size = draw.between(0.24, 0.3) if n > 4 else draw.between(0.3, 0.38)
    part = polar(size, around(corners))
    centres = polar(1 - size, around(n))
    if draw.integer(0, 1) and n > 3:
        centres = np.concatenate([centres, np.zeros((1, 2))])
    return Outline(tuple(part + centre for centre in centres), closed=True)


def spiral(draw: Draws) -> Outline:
    t = np.arange(49) / 48
    line = polar(0.1 + 0.75 * t, draw.between(1.4, 2.3) * draw.one_of([-1, 1]) * t)
    return Outline((line,), closed=False)


def zigzag(draw: Draws) -> Outline:
    n, height = draw.integer(4, 6), draw.between(0.4, 0.75)
    k = np.arange(n)
    line = np.stack([1.7 * k / (n - 1) - 0.85, np.where(k % 2, height, -height)], -1)
    return Outline((line,), closed=False)


def letter(draw: Draws) -> Outline:
    """A letter of no alphabet: two or three pen strokes between the knots of a 3 x 3 grid."""
    strokes = []
    for _ in range(draw.integer(2, 3)):
        row, column = draw.integer(0, 2), draw.integer(0, 2)
        knots = [(column, row)]
        for _ in range(2):
            if draw.integer(0, 1):
                row = (row + draw.integer(1, 2)) % 3
            else:
                column = (column + draw.integer(1, 2)) % 3
            knots.append((column, row))
        strokes.append((np.asarray(knots, np.float64) - 1.0) * 0.75)
    return Outline(tuple(strokes), closed=False)


_ANGULAR = (polygon, star, gear, cross, arrow)
_ROUND = (flower, blob, crescent, heart, drop)
_COMPOSED = (ring, cluster, spiral, zigzag, letter)
BODIES: dict[str, Callable[[Draws], Outline]] = {body.__name__: body for body in _ANGULAR + _ROUND + _COMPOSED}


def nearest(outline: Outline, x: Array, y: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """For points (P,): distance to the chains, length along the chain to the nearest place, inside?"""
    squared, arc = np.full(x.shape, np.inf), np.zeros(x.shape)
    inside = np.zeros(x.shape, np.bool_)
    for chain in outline.chains:
        ends = np.roll(chain, -1, 0) if outline.closed else chain[1:]
        start = 0.0
        for (ax, ay), (bx, by) in zip(chain.tolist(), ends.tolist(), strict=False):
            ex, ey = bx - ax, by - ay
            length = np.sqrt(ex * ex + ey * ey)
            px, py = x - ax, y - ay
            along = np.clip((px * ex + py * ey) / (length * length), 0.0, 1.0)
            dx, dy = px - along * ex, py - along * ey
            d = dx * dx + dy * dy
            closer = d < squared
            np.copyto(squared, d, where=closer)
            np.copyto(arc, start + along * length, where=closer)
            start += length
            if outline.closed and ay != by:
                inside ^= ((py >= 0) != (y >= by)) & (px < py * (ex / ey))
    return np.sqrt(squared), arc, inside
