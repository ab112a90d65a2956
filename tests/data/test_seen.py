"""A net is never tested on what it was trained on, unnoticed."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.core.torchvision_compat import load_torchvision
from anrot_lib.data import splits
from anrot_lib.data.image_set import build_image_set
from anrot_lib.data.leakage.seen import (
    Origin,
    check_unseen,
    describe_class,
    describe_origin,
    find_close,
    find_seen,
    remove_seen,
)
from anrot_lib.data.leakage.synsets import WORDS

SPLIT = {"train": (0, 1, 2), "val": (3, 4), "test": (5, 6)}


def make(names="abcdefg", split=SPLIT, seed=0, size=8):
    images = np.random.default_rng(seed).integers(0, 256, (4 * len(names), size, size, 3), dtype=np.uint8)
    return build_image_set("toys", images, np.repeat(np.arange(len(names)), 4), list(names), split)


def test_seen_classes_are_left_out_by_name_and_by_their_images():
    origin = describe_origin(make())
    unchanged = make(names="tuvwxyz", seed=1)
    left = remove_seen(origin, unchanged)
    assert left.splits == unchanged.splits and left.provenance == unchanged.provenance
    by_name = make(names="uAvwxyz", split={"train": (5,), "val": (6,), "test": (0, 1, 2, 3)}, seed=1, size=16)
    left = remove_seen(origin, by_name)
    assert left.splits["test"] == (0, 2, 3) and left.provenance["without"] == ["A"]
    images = by_name.images.copy()
    images[9] = make(names="abcdefg", size=16).images[1]  # one of class a, as an image of class v
    copied = build_image_set("copied", images, by_name.labels, by_name.class_names, by_name.splits)
    larger = describe_origin(make(size=16))
    left = remove_seen(larger, copied)
    assert left.provenance["without"] == ["A", "v"] and not check_unseen(larger, left)
    assert left.split_hash != copied.split_hash and left.splits["train"] == copied.splits["train"]


def test_what_is_known_again_only_beside_fewer_classes_is_left_out_too():
    """ "owl" stands for neither of two owls; without the first, which its whole name gives away, it is the second."""
    origin = replace(describe_origin(make()), trained=("n1/owl",))
    names = ("n1/owl", "n2/owl", "c", "d", "e", "f", "g")
    other = make(names=names, split={"train": (5,), "val": (6,), "test": (0, 1, 2, 3)}, seed=1)
    assert find_seen(origin, other).trained == ("n1/owl",)
    left = remove_seen(replace(origin, selected=()), other)
    assert left.provenance["without"] == ["n1/owl", "n2/owl"] and not check_unseen(replace(origin, selected=()), left)


def test_the_test_classes_of_its_set_are_unseen():
    assert not find_seen(describe_origin(make()), make())


def test_another_split_of_the_same_images_is_refused_with_numbers_and_names():
    origin = describe_origin(make())
    other = make(split={"train": (5, 6), "val": (4,), "test": (0, 1, 2, 3)})
    with pytest.raises(
        UserError, match=r"trained on 3 of the 4 test classes \(a, b, c\), it was selected on 1 .*\(d\), 16 of the 16"
    ):
        check_unseen(origin, other)
    seen = check_unseen(origin, other, allow_seen=True)
    assert seen and (len(seen.trained), len(seen.selected), seen.images) == (3, 1, 16)


def test_a_set_that_was_split_anew_is_not_recommended_to_its_own_net():
    origin = describe_origin(make())
    other = make(split={"train": (5, 6), "val": (4,), "test": (0, 1, 2, 3)})
    with pytest.raises(UserError, match="; test it on other classes, or allow"):
        check_unseen(origin, other)
    with pytest.raises(UserError, match=f"; test it on '{origin.data}' or on other classes"):
        check_unseen(origin, replace(other, name="another"))


def test_the_same_images_under_other_names_are_found_by_their_pixels():
    other = make(names="tuvwxyz", split={"train": (5, 6), "val": (3, 4), "test": (0, 1, 2)})
    seen = find_seen(describe_origin(make()), other)
    assert (seen.trained, seen.selected, seen.images) == ((), (), 12)


@pytest.mark.parametrize("names", ["ABCDEFG", "abcdefg"])
def test_the_same_classes_with_other_images_are_found_by_name(names):
    other = make(names=names, split={"train": (5,), "val": (6,), "test": (0, 3)}, seed=1, size=16)
    seen = find_seen(describe_origin(make()), other)
    assert (len(seen.trained), len(seen.selected), seen.images) == (1, 1, 0)


def test_a_net_is_refused_on_the_classes_that_only_selected_it():
    other = make(split={"train": (5,), "val": (6,), "test": (3, 4)}, seed=1)
    with pytest.raises(UserError, match=r"selected on 2 .*\(d, e\)"):
        check_unseen(describe_origin(make()), other)


def test_composed_and_decomposed_letters_are_one_name():
    first = make(names=["\u00e9", *"bcdefg"])
    second = make(names=["e\u0301", *"tuvwxy"], split={"train": (1,), "val": (2,), "test": (0,)}, seed=1)
    assert len(find_seen(describe_origin(first), second).trained) == 1


def test_other_classes_and_images_are_unseen():
    assert not find_seen(describe_origin(make()), make(names="tuvwxyz", seed=1))


@pytest.mark.parametrize(
    ("first", "second", "count", "of"),
    [
        ("cifar-fs", "fc100", 11, 20),
        ("fc100", "cifar-fs", 11, 20),
        ("cub-140-30-30", "cub-100-50-50", 29, 50),
        ("cub-100-50-50", "cub-140-30-30", 14, 30),
        ("tiered-imagenet", "mini-imagenet", 5, 20),
        ("mini-imagenet", "tiered-imagenet", 13, 160),
    ],
)
def test_published_splits_overlap_as_known(first, second, count, of):
    """Nets of one published split under test on another: how many of its test classes trained them."""

    def tiny(name):
        split = splits.load_standard(name)
        classes = [c for names in split.values() for c in names]
        places = {part: tuple(classes.index(c) for c in names) for part, names in split.items()}
        images = np.random.default_rng(len(name)).integers(0, 256, (len(classes), 4, 4, 1), dtype=np.uint8)
        return build_image_set(name, images, np.arange(len(classes)), classes, places)

    seen = find_seen(describe_origin(tiny(first)), tiny(second))
    assert (len(seen.trained), seen.n_classes) == (count, of)


def test_an_origin_survives_a_checkpoint_and_a_broken_one_is_refused(tmp_path):
    origin = describe_origin(make())
    torch.save(origin.to_dict(), tmp_path / "x.pt")
    again = Origin.from_dict(torch.load(tmp_path / "x.pt", weights_only=True))
    assert again.trained == origin.trained and np.array_equal(again.images, origin.images)
    for change in ({"trained": "abc"}, {"images": [1, 2]}, {"data": None}, {"selected": [1]}):
        with pytest.raises(UserError, match="does not say in full"):
            Origin.from_dict(origin.to_dict() | change)


def test_a_net_of_unknown_origin_cannot_be_judged():
    assert check_unseen(None, make()) is None


def test_one_changed_pixel_makes_another_image():
    base = make()
    pixels = base.images.copy()
    pixels[0, 0, 0, 0] ^= 1
    split = {"train": (5, 6), "val": (3, 4), "test": (0, 1, 2)}
    changed = build_image_set("x", pixels, base.labels, list("tuvwxyz"), split)
    assert find_seen(describe_origin(base), changed).images == 11


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        ("n01532829_house_finch", "n01532829"),
        ("lion", "n02129165"),
        ("n02457408", "three_toed sloth"),
        ("birds/owl", "owl"),
        ("Owl", "night birds/owl"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("aquarium_fish", "Aquarium fish"),
        ("caf\u00e9", "CAFE\u0301"),
        ("\uff4fwl", "owl "),
        ("7", "007"),
    ],
)
def test_a_class_is_known_again_under_a_usual_other_spelling(trained, tested):
    first = make(names=[trained, *"bcdefg"])
    second = make(names=[*"tuvwxy", tested], split={"train": (1,), "val": (2,), "test": (0, 6)}, seed=1, size=16)
    assert find_seen(describe_origin(first), second).trained == (tested,)


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        ("Greek/character05", "Latin/character05"),
        ("train/12", "test/12"),
        ("wing", "swing"),
        ("n01532829", "n01532828"),
        ("lion", "n02129166"),
        ("owl", "owls"),
    ],
)
def test_other_classes_are_not_taken_for_known_ones(trained, tested):
    first = make(names=[trained, *"bcdefg"])
    second = make(names=[*"tuvwxy", tested], split={"train": (1,), "val": (2,), "test": (0, 6)}, seed=1, size=16)
    assert not find_seen(describe_origin(first), second)


def test_the_words_of_synsets_are_those_of_all_classes_of_mini_imagenet_in_the_order_of_imagenet():
    """torchvision has the words of the thousand classes, in the order of their ids."""
    assert sorted(WORDS) == sorted(name for names in splits.load_standard("mini-imagenet").values() for name in names)
    load_torchvision()
    known = [text.casefold() for text in importlib.import_module("torchvision.models._meta")._IMAGENET_CATEGORIES]
    at = -1
    for synset in sorted(WORDS):
        at = known.index(WORDS[synset].casefold(), at + 1)


@pytest.mark.parametrize(
    ("trained", "tested", "close"),
    [
        ("n02120079", "fox", "fox (Arctic fox)"),
        ("bowl", "n03775546", "mixing bowl (bowl)"),
        ("006.Least_Auklet", "Crested Auklet", "crested auklet (least auklet)"),
        ("wolf", "n02114548_white_wolf", "white wolf (wolf)"),
        ("fox", "foxglove", None),
        ("swing", "wing", None),
        ("Greek/character05", "Latin/character05", None),
        ("house 1", "mouse 1", None),
    ],
)
def test_a_kind_under_another_name_is_said(trained, tested, close):
    first = make(names=[trained, *"bcdefg"])
    second = make(names=[*"tuvwxy", tested], split={"train": (1,), "val": (2,), "test": (0, 6)}, seed=1, size=16)
    assert find_close(describe_origin(first), second) == ((close,) if close else ())
    assert not find_seen(describe_origin(first), second), "close is not the same"


def test_within_its_own_set_no_class_is_called_close():
    own = make(names=["red fox", "b", "c", "d", "e", "grey fox", "g"])
    assert find_close(describe_origin(own), own) == ()
    assert [describe_class(name) for name in ("7", "birds/owl", "two  words")] == ["7", "owl", "two words"]


def test_a_class_that_is_known_is_not_called_close():
    second = make(names=[*"tuvwxy", "n02129165"], split={"train": (1,), "val": (2,), "test": (0, 6)}, seed=1, size=16)
    origin = describe_origin(make(names=["lion", *"bcdefg"]))
    assert find_close(origin, second) == () and find_seen(origin, second).trained == ("n02129165",)


def test_a_last_word_that_two_classes_share_names_neither():
    first = make(names=["red/wing", "blue/wing", *"cdefg"])
    second = make(names=[*"tuvwxy", "wing"], split={"train": (1,), "val": (2,), "test": (0, 6)}, seed=1, size=16)
    assert not find_seen(describe_origin(first), second)
