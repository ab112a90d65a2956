"""Exercises of 02: the share of a cut box, the mixed loss, a draw for every image, blur, shifts that keep labels."""

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


def shift_each(images, most, generator):
    n, _, h, w = images.shape
    padded = torch.nn.functional.pad(images, (most,) * 4, mode="replicate")
    down, right = torch.randint(2 * most + 1, (2, n), generator=generator)
    places = zip(padded, down, right, strict=True)
    moved = [x[:, i : i + h, j : j + w] for x, i, j in places]
    return torch.stack(moved)


def _numbered(n=12):
    """Images of which every pixel value occurs once."""
    return torch.arange(n * 2 * 5 * 6).view(n, 2, 5, 6) / (n * 60.0)


def _shifts():
    return [(_numbered(n), most, torch.Generator().manual_seed(n)) for n, most in ((12, 1), (6, 2), (3, 0))]


def _find_moves(got, images, most):
    """(n, 2) moves down and to the right that make `images` of `got`; a move of `most` + 1 where there is none."""
    h, w = images.shape[-2:]
    padded = torch.nn.functional.pad(images, (most,) * 4, mode="replicate")
    moves = torch.full((len(images), 2), most + 1)
    for i in range(2 * most + 1):
        for j in range(2 * most + 1):
            same = (got == padded[:, :, i : i + h, j : j + w]).flatten(1).all(1)
            moves[same] = torch.tensor([i - most, j - most])
    return moves


def _find_fault_of_shifts(got, images, most, generator):
    """Whether an image is no shifted copy of itself."""
    if not isinstance(got, torch.Tensor) or got.shape != images.shape:
        return f"expected images of shape {tuple(images.shape)}, got {tuple(getattr(got, 'shape', ())) or got}"
    lost = (_find_moves(got, images, most) > most).any(1)
    if not lost.any():
        return None
    k = int(lost.nonzero()[0])
    for other in range(len(images)):
        if bool(torch.isin(got[k], images[other]).all()) and other != k:
            return f"image {k} is made of image {other}, whose label may be another; expected a shift of itself"
    if bool(torch.isin(got[k], images[k]).all()):
        return f"image {k} is no shift of itself by at most {most}; expected what comes in to repeat the border"
    return f"image {k} holds values that it had not before; expected its own pixels, moved"


def _find_flaw_of_shifts(answer):
    """What shows over many images: one draw each, all moves, and a generator that decides."""
    images = _numbered(300)
    same = [answer(images.clone(), 1, torch.Generator().manual_seed(0)) for _ in range(2)]
    if not torch.equal(*same):
        return "the same generator moves the same images differently; expected all chance to come from `generator`"
    moves = _find_moves(same[0], images, 1)
    seen = {tuple(move) for move in moves.tolist()}
    if len(seen) == 1:
        return f"300 images all move by {seen.pop()}; expected a draw for each image"
    if len(seen) < 9:
        return f"among 300 images only the moves {sorted(seen)} occur; expected all 9 with at most one pixel"
    return None


def _one_shift_for_all(images, most, generator):
    down, right = torch.randint(2 * most + 1, (2,), generator=generator).tolist()
    padded = torch.nn.functional.pad(images, (most,) * 4, mode="replicate")
    return padded[:, :, down : down + images.shape[-2], right : right + images.shape[-1]]


def _rolled(images, most, generator):
    moves = torch.randint(-most, most + 1, (len(images), 2), generator=generator).tolist()
    return torch.stack([x.roll(move, (-2, -1)) for x, move in zip(images, moves, strict=True)])


def _others_mixed_in(images, most, generator):
    return shift_each(images.flip(0), most, generator)


def _diagonal_moves(images, most, generator):
    padded = torch.nn.functional.pad(images, (most,) * 4, mode="replicate")
    moves = torch.randint(2 * most + 1, (len(images),), generator=generator)
    h, w = images.shape[-2:]
    return torch.stack([x[:, k : k + h, k : k + w] for x, k in zip(padded, moves.tolist(), strict=True)])


EXERCISES = {
    "2.1": Fill(
        kept_share,
        _boxes,
        {
            "Near a border a part of the box sticks out and is cut off; count what is left of it.": _border_forgotten,
            "This is the share inside the box; the first label gets what is outside.": _share_of_the_box,
        },
        (
            "Find the first and last row of the box, then cut both to the image; the same with columns.",
            "`max(row - side // 2, 0)` is its first row in the image, `min(row + side // 2, size)` the first row "
            "below.",
            "The area is the product of the two lengths that are left. Return 1 minus its share of `size**2`.",
        ),
    ),
    "2.2": Predict(
        1.609,
        tell="Both parts are ln 5, so their mixture is ln 5 for every weight.",
        hint="What is the cross-entropy of equal probabilities 1/5 with any one label? Then mix two of these.",
        wrong=(0.0, 0.8047),
        tolerance=0.005,
    ),
    "2.3": Fill(
        turn_each,
        _batches,
        {
            "All images are turned like the first one.": _one_draw_for_all,
            "The turns go the other way round than `torch.rot90(x, k, (-2, -1))`.": _the_other_way_round,
        },
        (
            "There are only four turns. Make all four of the whole batch, then pick one for each image.",
            "`torch.stack([images.rot90(k, (-2, -1)) for k in range(4)])` has the shape (4, n, C, H, H).",
            "Index it with two index tensors at once: `turns` for the first axis, `torch.arange(n)` for the second.",
        ),
        remark="All four turns of every image are made, and one of each is picked. The loop runs over 4 turns, not "
        "over "
        "n images.",
    ),
    "2.4": Predict(
        "blur",
        tell="A strong blur takes away the strokes and textures that this net reads its classes from.",
        hint="Slide the strength to 1 for each kind and look where the curve stands against the two bands.",
        wrong=("flip", "rotate90"),
    ),
    "2.5": Fill(
        shift_each,
        _shifts,
        {
            "One move for the whole batch.": _one_shift_for_all,
            "What leaves on one side comes in on the other.": _rolled,
            "Images change places and so their labels.": _others_mixed_in,
            "The moves down and to the right are one draw.": _diagonal_moves,
        },
        (
            "Make every image larger by `most` pixels on each side first; a shift is then a window of the old size.",
            '`torch.nn.functional.pad(images, (most,) * 4, mode="replicate")` repeats the border. A window may begin '
            "at "
            "0 to 2 x most.",
            "`torch.randint(2 * most + 1, (2, n), generator=generator)` draws the beginnings, rows and columns. Cut "
            "each "
            "image with `x[:, i : i + h, j : j + w]` and stack them.",
        ),
        remark="A shift by a pixel or two keeps the class of any picture of a thing. A `roll` would bring the left "
        "side "
        "in at the right.",
        find_fault=_find_fault_of_shifts,
        find_flaw=_find_flaw_of_shifts,
    ),
}
