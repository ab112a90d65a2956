"""The embedded default: coloured figures in any number of classes, drawn on the spot.

A class is a figure with a stroke, a texture and colours (`glyphs`); its images differ in pose,
scale, light and background. Numbers come from Philox's raw stream and pixels from element-wise
IEEE arithmetic alone (no BLAS, no libm), so a call gives the same bytes on every machine.
"""

import numpy as np

from anrot_lib.core.errors import UserError
from anrot_lib.data.image_set import ImageSet, build_image_set
from anrot_lib.data.synthetic import glyphs, outlines
from anrot_lib.data.synthetic.painting import draw, draw_plain

PERCENT = {"train": 64, "val": 16, "test": 20}


def synthetic(
    n_classes: int = 100,
    per_class: int = 60,
    size: int = 32,
    seed: int = 0,
    first_image: int = 0,
) -> ImageSet:
    """Draw `n_classes` classes of `per_class` RGB images of `size` x `size` pixels.

    Class c keeps its figure, its split and its images whatever the counts: images `first_image`,
    `first_image` + 1, ... of a class are the same in every call with this seed and size.
    100 classes are split 64/16/20 into train, val and test; see `split` for other numbers.
    The label level "superclass" is the kind of body (star, arrow, ...), "texture" that of texture;
    the splits share both, so a new class is a new mixture of known factors.

    Raises UserError for n_classes < 20, per_class < 1, size < 16 or first_image < 0.
    """
    _check(n_classes, per_class, size, first_image)
    styles = [glyphs.style(seed, c) for c in range(n_classes)]
    images = np.empty((n_classes, per_class, size, size, 3), np.uint8)
    for c in range(n_classes):
        images[c] = draw(c, np.arange(first_image, first_image + per_class), size, seed)
    bodies, textures = list(outlines.BODIES), list(glyphs.TEXTURES)
    return build_image_set(
        "synthetic",
        images.reshape(-1, size, size, 3),
        np.repeat(np.arange(n_classes), per_class),
        [f"{c:03d}-{s.texture}-{s.body}" for c, s in enumerate(styles)],
        split(n_classes),
        levels={
            "superclass": np.repeat([bodies.index(s.body) for s in styles], per_class),
            "texture": np.repeat([textures.index(s.texture) for s in styles], per_class),
        },
        level_names={"superclass": bodies, "texture": textures},
        provenance={
            "source": "anrot_lib.data.synthetic.figures",
            "licence": "MIT",
            "settings": {
                "n_classes": n_classes,
                "per_class": per_class,
                "size": size,
                "seed": seed,
                "first_image": first_image,
            },
        },
    )


def draw_plain_figures(n_classes: int = 100, per_class: int = 60, size: int = 16, seed: int = 0) -> ImageSet:
    """The figures of the same classes by themselves, white on black, one channel: what a small net learns in seconds.

    Split and figures are those of `synthetic`, poses are drawn anew. Raises UserError as `synthetic` does.
    """
    _check(n_classes, per_class, size, 0)
    images = np.concatenate([draw_plain(c, np.arange(per_class), size, seed) for c in range(n_classes)])
    return build_image_set(
        "plain figures",
        images,
        np.repeat(np.arange(n_classes), per_class),
        [f"{c:03d}-{glyphs.style(seed, c).body}" for c in range(n_classes)],
        split(n_classes),
        provenance={
            "source": "anrot_lib.data.synthetic.plain_figures",
            "licence": "MIT",
            "settings": {"n_classes": n_classes, "per_class": per_class, "size": size, "seed": seed},
        },
    )


def _check(n_classes: int, per_class: int, size: int, first_image: int) -> None:
    low = {"n_classes": (n_classes, 20), "per_class": (per_class, 1), "size": (size, 16)}
    for name, (value, least) in (low | {"first_image": (first_image, 0)}).items():
        if value < least:
            raise UserError(f"synthetic images need {name} >= {least}, got {value}")


def split(n_classes: int) -> dict[str, tuple[int, ...]]:
    """Class numbers of train, val and test; more classes never move a class to another split.

    Of the first 20 classes 10, 5 and 5 go to train, val and test, so that 5-way tasks fit into
    each; every later one goes where most is missing from 64, 16 and 20 %.
    """
    parts: dict[str, list[int]] = {name: [] for name in PERCENT}
    for c in range(n_classes):
        if c < 20:
            name = ("train", "test", "train", "val")[c % 4]
        else:
            missing = {s: PERCENT[s] * (c + 1) - 100 * len(parts[s]) for s in parts}
            name = max(missing, key=missing.__getitem__)
        parts[name].append(c)
    return {name: tuple(classes) for name, classes in parts.items()}
