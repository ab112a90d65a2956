"""Painting the images of a synthetic class: its figure in some pose and light before a background.

All images of a class are painted at once, layer over layer, as three colour planes of float32.
Every operation is element-wise and rounded once, so the bytes do not depend on the machine.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from anrot_lib.data.synthetic import glyphs, outlines

Plane = NDArray[np.float32]
PIXELS_AT_ONCE = 1 << 15  # as many as stay in the processor's cache
CLUTTER = 3  # stray shapes behind a figure
KNOTS = 7  # of the background's cloud, each way
WORDS = 64 + KNOTS * KNOTS  # random numbers an image, whatever its size
POSE_WORDS = 7  # of these for the pose of a figure


def draw(c: int, indices: NDArray[np.integer], size: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """Images number `indices` of class c: uint8 (n, size, size, 3)."""
    style = glyphs.style(seed, c)
    template = glyphs.fields(style, max(64, size))
    rows = [outlines.uniforms(seed, f"synthetic/image/{c}/{int(i)}", WORDS) for i in indices]
    numbers = np.asarray(rows, np.float64)
    step = max(1, PIXELS_AT_ONCE // (size * size))
    out = np.empty((len(rows), size, size, 3), np.uint8)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        out[part] = _paint(style, template, numbers[part], size)
    return out


def draw_plain(c: int, indices: NDArray[np.integer], size: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    """Figures of class c alone, white on black, each in another pose: uint8 (n, size, size, 1)."""
    template = glyphs.fields(glyphs.style(seed, c), max(64, size))
    rows = [outlines.uniforms(seed, f"plain/image/{c}/{int(i)}", POSE_WORDS) for i in indices]
    x, y = _grid(size)
    (body, ink, _), pixel = _posed(_Columns(np.asarray(rows, np.float64)), x, y, template, 2 / size)
    cover = np.maximum(_cover(body, pixel), _cover(ink, pixel))
    pixels: NDArray[np.uint8] = np.floor(cover * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return pixels.reshape(-1, size, size, 1)


def _grid(size: int) -> tuple[Plane, Plane]:
    """x and y of the pixels' centres in [-1, 1], (1, size * size) each."""
    axis = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    return np.tile(axis, size)[None], np.repeat(axis, size)[None]


class _Columns:
    """Random numbers, one an image at a time: float32 columns (n, 1) that broadcast over pixels."""

    def __init__(self, numbers: NDArray[np.float64]) -> None:
        self._columns: Iterator[NDArray[np.float64]] = iter(numbers.T)

    def between(self, low: float, high: float) -> Plane:
        column: Plane = (low + (high - low) * next(self._columns)).astype(np.float32)[:, None]
        return column

    def colour(self, low: float, high: float) -> Plane:
        return np.stack([self.between(low, high) for _ in range(3)])

    def direction(self, spread: float = 1.0) -> tuple[Plane, Plane]:
        """Cosine and sine of an angle within +- spread / 2 turns."""
        cosine, sine = outlines.circle(spread * (next(self._columns) - 0.5))
        return cosine.astype(np.float32)[:, None], sine.astype(np.float32)[:, None]


def _paint(style: glyphs.Style, template: Plane, numbers: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Background, clutter, shadow, body, texture, ink, light: layer over layer, all images at once."""
    u = _Columns(numbers[:, : -KNOTS * KNOTS])
    x, y = _grid(size)
    image = _background(u, x, y, numbers[:, -KNOTS * KNOTS :].astype(np.float32))
    _clutter(u, x, y, image, 2 / size)
    (body, ink, texture), pixel = _posed(u, x, y, template, 2 / size)
    _blend(image, np.zeros((3, 1, 1), np.float32), 0.4 * np.clip(1 - body / 0.3, 0, 1))
    colours = [_colour(u, colour) for colour in style.colours]
    cover = _cover(body, pixel)
    _blend(image, colours[0], cover)
    _blend(image, colours[1], cover * _cover(texture, np.maximum(pixel, style.softness)))
    _blend(image, colours[2], _cover(ink, pixel))
    _light(u, x, y, image)
    pixels: NDArray[np.uint8] = np.floor(np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return pixels.transpose(1, 2, 0).reshape(-1, size, size, 3)


def _blend(image: Plane, colour: Plane, cover: Plane) -> None:
    """Lay a colour (3, n, 1) over the image (3, n, P) where cover (n, P) is 1."""
    image += (colour - image) * cover


def _cover(distance: Plane, pixel: Plane | float) -> Plane:
    """Share of a pixel that lies behind an edge at this signed distance."""
    share: Plane = np.clip(np.float32(0.5) - distance / pixel, 0, 1)
    return share


def _background(u: _Columns, x: Plane, y: Plane, knots: Plane) -> Plane:
    """Two muted colours, mixed by a cloud, by stripes and by a slope of random shares."""
    first, second = (u.colour(-0.2, 0.2) + u.between(0.15, 0.85) for _ in range(2))
    c, s = u.direction()
    along = c * x + s * y
    wave = along * u.between(0.8, 3.0) + u.between(0, 1)
    wave = np.abs(2 * (wave - np.floor(wave)) - 1) - np.float32(0.5)
    cloud = _cloud(knots.reshape(-1, KNOTS, KNOTS), round(np.sqrt(x.size))) - np.float32(0.5)
    mix = along * u.between(-0.5, 0.5) + wave * u.between(-1, 1) + cloud * u.between(0.3, 1.6)
    image = np.empty((3, *mix.shape), np.float32)
    image[:] = np.clip(first, 0.05, 0.95)
    _blend(image, np.clip(second, 0.05, 0.95), np.clip(mix + np.float32(0.5), 0, 1))
    return image


def _cloud(knots: Plane, size: int) -> Plane:
    """Smooth noise (n, size * size) through random knots (n, K, K)."""
    at = (np.arange(size) + 0.5) / size * (KNOTS - 1)
    low = at.astype(np.int64)
    t = (at - low).astype(np.float32)
    t = t * t * (3 - 2 * t)
    rows = knots[:, low] + (knots[:, low + 1] - knots[:, low]) * t[:, None]
    cloud = rows[:, :, low] + (rows[:, :, low + 1] - rows[:, :, low]) * t
    return cloud.reshape(len(knots), -1)


def _clutter(u: _Columns, x: Plane, y: Plane, image: Plane, pixel: float) -> None:
    """Stray discs and bars of any colour; about half of them are left out."""
    for _ in range(CLUTTER):
        c, s = u.direction()
        dx, dy = x - u.between(-1.1, 1.1), y - u.between(-1.1, 1.1)
        a, b = np.abs(c * dx + s * dy), np.abs(c * dy - s * dx)
        length, width, kind = u.between(0.1, 0.4), u.between(0.05, 0.2), u.between(0, 1)
        disc, bar = np.sqrt(a * a + b * b) - length, np.maximum(a - length, b - width)
        distance = np.where(kind < 0.25, disc, np.where(kind < 0.5, bar, np.float32(9)))
        _blend(image, u.colour(0.1, 0.9), _cover(distance, pixel))


def _posed(u: _Columns, x: Plane, y: Plane, template: Plane, pixel: float) -> tuple[list[Plane], Plane]:
    """The class's fields seen in each image's pose, and the size of a pixel in their units."""
    scale = u.between(0.5, 0.9)
    c, s = u.direction(0.24)
    x, y = (x - u.between(-0.24, 0.24)) / scale, (y - u.between(-0.24, 0.24)) / scale
    x, y = c * x + s * y, c * y - s * x
    shear, bend, swing = u.between(-0.25, 0.25), u.between(-0.15, 0.15), u.between(-0.15, 0.15)
    x = x + shear * y + bend * y * y
    y = y + swing * x * x
    return _sampled(template, x, y), np.float32(pixel) / scale


def _sampled(template: Plane, x: Plane, y: Plane) -> list[Plane]:
    """Bilinear samples of square fields (F, n * n) at x, y in the figure's units, clamped to the grid."""
    n = round(np.sqrt(template.shape[1]))
    to_grid = np.float32((n - 1) / (2 * glyphs.REACH))
    limit = np.float32(n - 1.001)
    u = np.clip((x + np.float32(glyphs.REACH)) * to_grid, 0, limit)
    v = np.clip((y + np.float32(glyphs.REACH)) * to_grid, 0, limit)
    column, row = u.astype(np.int32), v.astype(np.int32)
    u, v, at = u - column, v - row, row * n + column
    return [_lerp2(field, at, n, u.astype(np.float32), v.astype(np.float32)) for field in template]


def _lerp2(field: Plane, at: NDArray[np.int32], n: int, u: Plane, v: Plane) -> Plane:
    above, below = field[at], field[at + n]
    above += (field[at + 1] - above) * u
    below += (field[at + n + 1] - below) * u
    value: Plane = above + (below - above) * v
    return value


def _colour(u: _Columns, colour: glyphs.Colour) -> Plane:
    """A class colour with the jitter of one image, (3, n, 1)."""
    centre = np.asarray(colour, np.float32)[:, None, None]
    jittered: Plane = np.clip(centre + u.colour(-0.18, 0.18), 0, 1)
    return jittered


def _light(u: _Columns, x: Plane, y: Plane, image: Plane) -> None:
    """Light from one side, its tint and strength, and the contrast of the camera."""
    c, s = u.direction()
    slope = np.float32(1) + u.between(0, 0.35) * (c * x + s * y)
    image *= slope * u.between(0.7, 1.15)
    image *= u.colour(0.76, 1.14)
    contrast = u.between(0.75, 1.1)
    image *= contrast
    image += np.float32(0.5) * (1 - contrast)
