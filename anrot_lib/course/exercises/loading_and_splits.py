"""Exercises of 01: pixels to a batch, the expected leak, copies across splits, a manifest's hash, a leak-free draw."""

import numpy as np
import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def to_batch(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _pixels():
    rng = np.random.default_rng(0)
    shapes = ((1, 1, 2, 3), (2, 3, 4, 3), (3, 4, 2, 1))
    return [(rng.integers(0, 256, shape, dtype=np.uint8),) for shape in shapes]


def _not_divided(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


def _reshaped(images):
    n, h, w, c = images.shape
    return torch.from_numpy(images).reshape(n, c, h, w).float() / 255


def _divided_as_bytes(images):
    return torch.from_numpy(images // 255).permute(0, 3, 1, 2).float()


def leaks(digests, splits):
    pairs = []
    for i in range(len(digests)):
        for j in range(i + 1, len(digests)):
            if digests[i] == digests[j] and splits[i] != splits[j]:
                pairs.append((i, j))
    return pairs


def _copies():
    return [
        (["a", "b", "a", "c"], ["train", "train", "test", "test"]),
        (["a", "a", "b", "b"], ["train", "train", "val", "test"]),
        (["a", "b", "b", "a", "b"], ["test", "val", "train", "train", "val"]),
        (["a", "b", "c"], ["train", "val", "test"]),
    ]


def _within_a_split_too(digests, splits):
    n = len(digests)
    return [(i, j) for i in range(n) for j in range(i + 1, n) if digests[i] == digests[j]]


def _neighbours_only(digests, splits):
    n = len(digests)
    return [(i, i + 1) for i in range(n - 1) if digests[i] == digests[i + 1] and splits[i] != splits[i + 1]]


def _both_orders(digests, splits):
    n = len(digests)
    pairs = [(i, j) for i in range(n) for j in range(n) if splits[i] != splits[j]]
    return [(i, j) for i, j in pairs if digests[i] == digests[j]]


def draw_episode(labels, digests, way, shot, query, generator):
    def shuffle(items):
        order = torch.randperm(len(items), generator=generator)
        return [items[k] for k in order.tolist()]

    rows = []
    for name in shuffle(sorted(set(labels)))[:way]:
        members = shuffle([k for k, label in enumerate(labels) if label == name])
        pictures = {digests[k]: k for k in members}  # one row for each, in random order
        rows.append(list(pictures.values())[: shot + query])
    return [row[:shot] for row in rows], [row[shot:] for row in rows]


LABELS = [k % 4 for k in range(32)]  # four classes of eight images
DIGESTS = [f"{k % 4}{min(k // 4, 5)}" for k in range(32)]  # of each class the last three are one picture


def _draws():
    sizes = ((2, 1, 2), (3, 2, 4), (4, 3, 3))
    return [(LABELS, DIGESTS, *s, torch.Generator().manual_seed(k)) for k, s in enumerate(sizes)]


def _find_fault_of_draw(got, labels, digests, way, shot, query, generator):
    """Which property of an episode the drawn rows lack."""
    try:
        support, queries = ([[int(k) for k in row] for row in part] for part in got)
    except (TypeError, ValueError):
        return f"expected two lists of rows, support and queries, got {type(got).__name__}"
    for name, rows, n in (("support", support, shot), ("queries", queries, query)):
        if len(rows) != way or {len(row) for row in rows} != {n}:
            return f"{name}: expected {way} lists of {n} row numbers, got {rows}"
    together = [s + q for s, q in zip(support, queries, strict=True)]
    for row in together:
        if len({labels[k] for k in row}) > 1:
            return f"expected one class in a row, got the classes {[labels[k] for k in row]} in {row}"
    if len({labels[row[0]] for row in together}) < way:
        return f"expected {way} different classes, got {[labels[row[0]] for row in together]}"
    for s, q in zip(support, queries, strict=True):
        if twice := {digests[k] for k in s} & {digests[k] for k in q}:
            return f"the picture {min(twice)!r} stands in the support set and among the queries; expected none in both"
    if len({k for row in together for k in row}) < way * (shot + query):
        return "a row number is drawn twice; expected every image once at most"
    return None


def _find_flaw_of_draw(answer):
    """What shows only when an episode is drawn again: chance, and who controls it."""
    seeds = [answer(LABELS, DIGESTS, 2, 1, 2, torch.Generator().manual_seed(k)) for k in range(60)]
    again = answer(LABELS, DIGESTS, 2, 1, 2, torch.Generator().manual_seed(0))
    first, same = ([[[int(k) for k in row] for row in part] for part in drawn] for drawn in (seeds[0], again))
    if first != same:
        return f"the same generator gives {first} and then {same}; expected the same: take all chance from `generator`"
    heads = {LABELS[int(support[0][0])] for support, _ in seeds}
    if len(heads) < 4:
        return f"in 60 draws only the classes {sorted(heads)} come first; expected every class to be drawn"
    pictures = {DIGESTS[int(k)] for support, _ in seeds for row in support for k in row}
    if len(pictures) < len(set(DIGESTS)):
        return f"in 60 draws only {len(pictures)} of {len(set(DIGESTS))} pictures come up as shots; expected all"
    return None


def _copies_forgotten(labels, digests, way, shot, query, generator):
    return draw_episode(labels, range(len(labels)), way, shot, query, generator)


def _unseeded(labels, digests, way, shot, query, generator):
    return draw_episode(labels, digests, way, shot, query, None)


def _always_the_first(labels, digests, way, shot, query, generator):
    kept = [k for k, label in enumerate(labels) if label < way]
    rows = draw_episode([labels[k] for k in kept], [digests[k] for k in kept], way, shot, query, generator)
    return [[[kept[k] for k in row] for row in part] for part in rows]


EXERCISES = {
    "1.1": Fill(
        to_batch,
        _pixels,
        {
            "Bytes run from 0 to 255; divide by 255.": _not_divided,
            "`reshape` gives the right shape and scrambled pictures: axes have to be exchanged by `permute`.": (
                _reshaped
            ),
            "Divided as bytes all but 255 become 0; make them floats first.": _divided_as_bytes,
        },
        (
            "Three things: another order of the axes, another type, another range.",
            "`permute(0, 3, 1, 2)` says which old axis each new one is: image, channel, row, column.",
            "`torch.from_numpy(images)`, then `permute`, then `float()`, then a division by 255, in this order.",
        ),
        remark="`reshape` instead of `permute` would give the right shape and scrambled pictures.",
    ),
    "1.2": Predict(
        12.8,
        tell="Each of the 20 test classes was trained on with probability 64/100, and 20 x 0.64 = 12.8.",
        hint="What is the probability that one given test class is among 64 training classes of 100?",
        wrong=(20, 11.52),
        tolerance=0.05,
    ),
    "1.3": Fill(
        leaks,
        _copies,
        {
            "Copies within a split are named too; a leak needs two different splits.": _within_a_split_too,
            "Only neighbours are compared; a copy may stand anywhere.": _neighbours_only,
            "Each pair comes twice; i < j is asked for.": _both_orders,
        },
        (
            "Compare every image with every later one.",
            "Two loops: `for i in range(n)` and `for j in range(i + 1, n)` give each pair once, in ascending order.",
            "A pair counts if `digests[i] == digests[j]` and `splits[i] != splits[j]`.",
        ),
        remark="For large sets one would sort, or use a dictionary from digest to rows, as the library does.",
    ),
    "1.4": Predict(
        "b",
        tell="The hash covers the rows that are drawn and the pixels of the set; computer and versions play no part.",
        hint="Read again what goes into the hash of a manifest, and which numbers are the same on every machine.",
        wrong=("a", "c"),
    ),
    "1.5": Fill(
        draw_episode,
        _draws,
        {
            "Copies are taken for different images.": _copies_forgotten,
            "Chance comes from elsewhere than `generator`.": _unseeded,
            "The classes are not drawn.": _always_the_first,
        },
        (
            "Draw the classes first, then rows of each. Before you take rows of a class, leave one row for each "
            "digest.",
            "`torch.randperm(n, generator=generator).tolist()` is a random order of 0 to n - 1. Use it for the classes "
            "and again for the rows of each class.",
            "A dictionary from digest to row, filled in random order, holds each picture once and keeps the order. Its "
            "first `shot` values are the shots, the next `query` the queries.",
        ),
        remark="Taking the distinct pictures before the cut is what makes it safe: no later step can put two copies "
        "on two sides.",
        find_fault=_find_fault_of_draw,
        find_flaw=_find_flaw_of_draw,
    ),
}
