"""Exercises of 02: the share of a cut box, the mixed loss, a draw for every image, blur, counted decodes."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def kept_share(size, row, column, side):
    top, bottom = max(row - side // 2, 0), min(row + side // 2, size)
    left, right = max(column - side // 2, 0), min(column + side // 2, size)
    return 1 - (bottom - top) * (right - left) / size**2


def _boxes():
    return [(32, 16, 16, 16), (32, 0, 0, 16), (32, 30, 8, 8), (84, 42, 80, 40), (32, 16, 16, 0)]


def _border_forgotten(size, row, column, side):
    return 1 - side**2 / size**2


def _share_of_the_box(size, row, column, side):
    return 1 - kept_share(size, row, column, side)


def turn_each(images, turns):
    turned = torch.stack([images.rot90(k, (-2, -1)) for k in range(4)])
    return turned[turns, torch.arange(len(images))]


def _batches():
    g = torch.Generator().manual_seed(0)
    cases = [torch.tensor([0, 1, 2, 3]), torch.tensor([1, 3, 1]), torch.tensor([2, 2, 0, 3, 1])]
    return [(torch.rand(len(turns), 3, 4, 4, generator=g), turns) for turns in cases]


def _one_draw_for_all(images, turns):
    return images.rot90(int(turns[0]), (-2, -1))


def _the_other_way_round(images, turns):
    return turn_each(images, (4 - turns) % 4)


EXERCISES = {
    "2.1": Fill(kept_share, _boxes, (_border_forgotten, _share_of_the_box)),
    "2.2": Predict(
        1.609,
        tell="Both parts are ln 5, so their mixture is ln 5 for every weight.",
        hint="What is the cross-entropy of equal probabilities 1/5 with any one label? Then mix two of these.",
        wrong=(0.0, 0.8047),
        tolerance=0.005,
    ),
    "2.3": Fill(turn_each, _batches, (_one_draw_for_all, _the_other_way_round)),
    "2.4": Predict(
        "blur",
        tell="A strong blur takes away the strokes and textures that this net reads its classes from.",
        hint="Slide the strength to 1 for each kind and look where the curve stands against the two bands.",
        wrong=("flip", "rotate90"),
    ),
    "2.5": Predict(
        60_000,
        tell="Every image of all three splits is opened once, before the first episode.",
        hint="64, 16 and 20 classes with 600 images each, and every image of a split is opened for its label.",
        wrong=(100, 38_400),
    ),
}
