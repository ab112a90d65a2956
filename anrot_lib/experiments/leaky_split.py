"""What the split of the release is worth: each net is tested on classes that it has not seen, and on the release's.

The release draws its test classes from all classes again, so most of them trained the net (`audit.published`). Here one
net is trained for each of several draws, and both accuracies are of this one net.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anrot_lib.audit import published
from anrot_lib.data.image_set import ImageSet
from anrot_lib.experiments.rows import run_row
from anrot_lib.experiments.setting import Setting
from anrot_lib.settings import Recipe

METHOD = "anrot-clean"  # the release trains on clean images alone
SPLIT_TAG, RELEASED_TAG = "consequences-split", "consequences-split-released"


def name_split(seed: int) -> str:
    """The row of a draw."""
    return f"split-{seed}"


def draw_split(image_set: ImageSet, seed: int) -> ImageSet:
    """The set with the classes of one draw: 64 % to train, half of the rest to choose the net, half to test it."""
    drawn = published.split_classes(image_set.class_names, random.Random(seed))
    return replace(image_set, splits={split: _number(image_set, names) for split, names in drawn._asdict().items()})


def draw_released_test(image_set: ImageSet, seed: int) -> ImageSet:
    """The set with the test classes of the release, which are the same whatever the seed of the first draw."""
    return replace(
        image_set, splits={"test": _number(image_set, published.split_twice(image_set.class_names, seed).test)}
    )


def _number(image_set: ImageSet, names: Sequence[str]) -> tuple[int, ...]:
    wanted = set(names)
    return tuple(k for k, name in enumerate(image_set.class_names) if name in wanted)


def run_splits(setting: Setting, released: Path, recipe: Recipe, seeds: Sequence[int]) -> None:
    """Train a net for each draw; record its clean accuracy on its own test classes, and on those of the release.

    released: the folder of the second kind of record, which is marked: the net has seen classes of it.
    """
    for seed in seeds:
        split = replace(setting, image_set=draw_split(setting.image_set, seed), columns=("clean",))
        again = draw_released_test(setting.image_set, seed)
        tests = replace(split, image_set=again, folder=released, allow_seen=True)
        run_row(split, name_split(seed), recipe)
        run_row(split, name_split(seed), recipe, tested_in=tests)
