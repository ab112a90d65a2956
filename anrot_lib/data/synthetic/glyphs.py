"""What makes a synthetic class a class: shape, stroke, texture and colours, each drawn independently.

`style` draws the factors of a class, `fields` renders them once into signed distances on a grid,
from which every image of the class is sampled. All classes draw from the same factors, so what is
learnt on some of them helps with the others.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anrot_lib.data.synthetic import outlines
from anrot_lib.data.synthetic.outlines import BODIES, Array, Draws, Outline, circle, nearest

REACH = 1.3  # a grid covers [-REACH, REACH] in x and y; a body has about radius 1
STROKES = ("solid", "dashed", "double", "bare")
EMBLEMS = ("none", "disc", "ring", "bar", "cross", "pair")
Colour = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Style:
    """The factors of one class. Lengths in units of the figure's radius, colours in [0, 1]."""

    body: str
    outline: Outline
    stretch: tuple[float, float]
    hollow: bool
    stroke: str
    width: float
    emblem: str
    emblem_size: float
    texture: str
    period: float
    duty: float
    slope: float  # direction of the texture, in turns
    colours: tuple[Colour, Colour, Colour]  # of the body, its texture, and the ink

    @property
    def softness(self) -> float:
        """How wide the texture's edge is; everything else is as sharp as the pixels allow."""
        return {"shaded": 1.1, "marbled": 0.1}.get(self.texture, 0.0)


def dealt(seed: int, name: str, c: int, n: int) -> int:
    """A value 0..n-1 for class c, dealt like cards: n classes in a row get each value once."""
    order = np.argsort(outlines.uniforms(seed, f"synthetic/{name}/{c // n}", n), kind="stable")
    return int(order[c % n])


def style(seed: int, c: int) -> Style:
    """The factors of class c. They do not depend on how many classes there are."""
    draw = Draws(seed, f"synthetic/class/{c}")
    body = list(BODIES)[dealt(seed, "body", c, len(BODIES))]
    outline = BODIES[body](draw)
    squeeze = draw.between(0.68, 1.0)
    hollow = outline.closed and body not in ("ring", "cluster") and draw.between(0, 1) < 0.25
    centred = outline.closed and not hollow and body not in ("ring", "cluster", "crescent")
    return Style(
        body=body,
        outline=outline,
        stretch=draw.one_of([(squeeze, 1.0), (1.0, squeeze)]),
        hollow=hollow,
        stroke=STROKES[dealt(seed, "stroke", c, len(STROKES))],
        width=draw.between(0.05, 0.085),
        emblem=draw.one_of(EMBLEMS) if centred else "none",
        emblem_size=draw.between(0.2, 0.3),
        texture=list(TEXTURES)[dealt(seed, "texture", c, len(TEXTURES))],
        period=draw.between(0.4, 0.75),
        duty=draw.between(0.36, 0.6),
        slope=draw.integer(0, 7) / 16 + draw.between(-0.02, 0.02),
        colours=palette(draw, dealt(seed, "hue", c, 12) / 12 + draw.between(-0.03, 0.03)),
    )


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB of a hue (in turns), saturation and value."""

    def channel(offset: float) -> float:
        k = (offset + 6 * (hue - np.floor(hue))) % 6
        return float(value * (1 - saturation * max(0.0, min(k, 4 - k, 1.0))))

    return channel(5.0), channel(3.0), channel(1.0)


def palette(draw: Draws, hue: float) -> tuple[Colour, Colour, Colour]:
    """A body colour, a texture colour that goes with it, and an ink that stands out."""
    body = hsv(hue, draw.between(0.55, 0.9), draw.between(0.72, 0.98))
    other = hue + draw.one_of([0.0, 0.09, -0.09, 1 / 3, 0.5])
    texture = draw.one_of(
        [
            hsv(other, draw.between(0.08, 0.3), 0.97),
            hsv(other, draw.between(0.6, 0.9), draw.between(0.3, 0.5)),
            hsv(other + 0.14, draw.between(0.6, 0.9), 0.95),
        ]
    )
    dark = hsv(hue + draw.one_of([0.0, 0.5]), 0.6, draw.between(0.1, 0.25))
    return body, texture, draw.one_of([dark, dark, (0.97, 0.96, 0.92)])


def fields(style: Style, n: int) -> NDArray[np.float32]:
    """Body, ink and texture of a class: signed distances (3, n * n), negative where there is paint."""
    axis = (np.arange(n) / (n - 1) * 2 - 1) * REACH
    y, x = (a.reshape(-1) for a in np.meshgrid(axis, axis, indexing="ij"))
    distance, arc, inside = nearest(stretched(style), x, y)
    body = np.where(inside, -distance, distance) if style.outline.closed else distance - 0.17
    if style.hollow:
        body = np.abs(body + 0.13) - 0.13
    ink = np.minimum(stroke(style, body, arc), emblem(style, x, y))
    c, s = circle(style.slope)
    texture = TEXTURES[style.texture](c * x + s * y, c * y - s * x, style)
    return np.stack([body, ink, texture]).astype(np.float32)


def stretched(style: Style) -> Outline:
    chains = tuple(chain * np.asarray(style.stretch) for chain in style.outline.chains)
    return Outline(chains, style.outline.closed)


def wave(x: Array) -> Array:
    """Triangle wave of period 1 between 0 (at whole numbers) and 1."""
    return 1 - np.abs(2 * (x - np.floor(x)) - 1)


def stroke(style: Style, body: Array, arc: Array) -> Array:
    """The line along the edge of the body."""
    line = np.abs(body) - style.width
    if style.stroke == "bare":
        return np.full_like(line, REACH)
    if style.stroke == "double":
        return np.minimum(line, np.abs(body - 2.6 * style.width) - 0.6 * style.width)
    if style.stroke == "dashed":
        return np.maximum(line, (wave(arc / 0.42) - 0.62) * 0.21)
    return line


def emblem(style: Style, x: Array, y: Array) -> Array:
    """A small mark in the middle of the body, in ink."""
    size, thin = style.emblem_size, 0.4 * style.emblem_size
    radius: Array = np.sqrt(x * x + y * y)
    bar = np.maximum(np.abs(x) - 1.3 * size, np.abs(y) - thin)
    match style.emblem:
        case "disc":
            return radius - size
        case "ring":
            return np.abs(radius - size) - 0.75 * thin
        case "bar":
            return bar
        case "cross":
            return np.minimum(bar, np.maximum(np.abs(y) - 1.3 * size, np.abs(x) - thin))
        case "pair":
            off = np.abs(x) - 0.9 * size
            middle: Array = np.sqrt(off * off + y * y)
            return middle - 0.6 * size
    return np.full_like(x, REACH)


def plain(x: Array, y: Array, style: Style) -> Array:
    return np.full_like(x, REACH)


def striped(x: Array, y: Array, style: Style) -> Array:
    return (wave(x / style.period) - style.duty) * style.period / 2


def checked(x: Array, y: Array, style: Style) -> Array:
    a, b = (wave(v / (1.6 * style.period)) - 0.5 for v in (x, y))
    return np.maximum(np.minimum(a, b), np.minimum(-a, -b)) * 0.8 * style.period


def dotted(x: Array, y: Array, style: Style) -> Array:
    p = 0.9 * style.period
    row = np.floor(y / p)
    u = x / p + 0.5 * row
    u, v = u - np.floor(u) - 0.5, y / p - row - 0.5
    distance: Array = (np.sqrt(u * u + v * v) - 0.5 * np.sqrt(style.duty) * 0.9) * p
    return distance


def ringed(x: Array, y: Array, style: Style) -> Array:
    return (wave(np.sqrt(x * x + y * y) / style.period) - style.duty) * style.period / 2


def zigzagged(x: Array, y: Array, style: Style) -> Array:
    bend = 0.5 * wave(y / (1.3 * style.period))
    return (wave(x / style.period + bend) - style.duty) * style.period / 2


def marbled(x: Array, y: Array, style: Style) -> Array:
    """Stripes bent by slow waves."""
    bend = wave(0.8 * x + 1.7 * y) + wave(1.9 * x - 0.7 * y + style.duty)
    return (wave((x + 0.35 * bend) / (1.2 * style.period)) - style.duty) * style.period / 2


def shaded(x: Array, y: Array, style: Style) -> Array:
    return x


TEXTURES: dict[str, Callable[[Array, Array, Style], Array]] = {
    f.__name__: f for f in (plain, striped, checked, dotted, ringed, zigzagged, marbled, shaded)
}
