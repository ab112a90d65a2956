"""Standard class splits, drawn ones, and how a set's class names find their place."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anrot_lib.core.errors import UserError
from anrot_lib.data import splits

COUNTS = {
    "mini-imagenet": (64, 16, 20),
    "tiered-imagenet": (351, 97, 160),
    "cifar-fs": (64, 16, 20),
    "fc100": (60, 20, 20),
    "omniglot": (1028, 172, 423),
    "cub-100-50-50": (100, 50, 50),
    "cub-140-30-30": (140, 30, 30),
}
CLASS_LISTS = st.lists(st.text(min_size=1, max_size=8), min_size=3, max_size=60, unique=True)


def every_class(name):
    return [member for members in splits.load_standard(name).values() for member in members]


@pytest.mark.parametrize("name", splits.NAMES)
def test_standard_splits_have_their_published_sizes_and_share_no_class(name):
    split = splits.load_standard(name)
    assert tuple(len(split[part]) for part in splits.SPLITS) == COUNTS[name]
    assert max(Counter(every_class(name)).values()) == 1
    assert splits.describe_source(name)


HASHES = {
    "mini-imagenet": "c8d66728c464c4615486aa1cd23deb18a9aac1762949b31c50136e1d545dc261",
    "tiered-imagenet": "f13eb86242453842ddfc8cc11192b46efadf279dc2efe3920d3ef8ec02ca7e56",
    "cifar-fs": "a15839144e77551981775d1e8c638ea643333c068f75914f35f638d359e8cebf",
    "fc100": "9d000fd524f7c7edce27c2f3b79ce6b597b4bceb526c85d5ef5b69b6dbe08683",
    "omniglot": "7cba2430b8fed09b70090cc2ce5645b30764505c37e8f8d67dc243b42756e47b",
    "cub-100-50-50": "0e158b4c2acb9a0bbfd9f21daa102c06ecd0dddf2999a4e4ffabcb739c2de0f1",
    "cub-140-30-30": "9beaf2c26b4c91b12c22630291bd685798746d5c9066d6b236a99c7272c7544e",
}


@pytest.mark.parametrize("name", splits.NAMES)
def test_the_hash_of_a_standard_split_is_pinned(name):
    assert splits.split_hash(splits.load_standard(name)) == HASHES[name]


def test_an_altered_class_list_is_refused(monkeypatch):
    record = splits._read("cifar-fs")
    moved = record["classes"]["train"]["fish"].pop()
    record["classes"]["test"].setdefault("fish", []).append(moved)
    monkeypatch.setattr(splits, "_read", lambda name: record)
    with pytest.raises(UserError, match="cifar-fs is not the published one"):
        splits.load_standard("cifar-fs")


def test_an_unknown_split_is_refused_with_the_known_names():
    with pytest.raises(UserError, match=r"'mini'.*mini-imagenet, tiered-imagenet"):
        splits.load_standard("mini")


def test_fc100_keeps_superclasses_whole_and_cifar_fs_does_not():
    def parts_of_superclasses(name):
        group = splits.load_groups(name)
        parts = {}
        for part, members in splits.load_standard(name).items():
            for member in members:
                parts.setdefault(group[member], set()).add(part)
        return [len(p) for p in parts.values()]

    assert parts_of_superclasses("fc100") == [1] * 20
    assert max(parts_of_superclasses("cifar-fs")) > 1
    assert splits.load_groups("omniglot")["Gurmukhi/character42"] == "Gurmukhi"
    assert splits.load_groups("mini-imagenet") == {}


def test_split_hash_ignores_order_and_sees_every_move():
    split = {"train": ["a", "b"], "val": ["é"], "test": ["c"]}
    same = {"test": ["c"], "train": ["b", "a"], "val": ["é"]}
    assert splits.split_hash(split) == splits.split_hash(same)
    for other in (
        {"train": ["a"], "val": ["é"], "test": ["c", "b"]},
        {"train": ["a", "b"], "val": ["e"], "test": ["c"]},
    ):
        assert splits.split_hash(split) != splits.split_hash(other)


@settings(max_examples=40)
@given(CLASS_LISTS, st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_a_drawn_split_holds_every_class_once_whatever_their_order(names, seed, shuffler):
    split = splits.draw_split(names, seed)
    assert sorted(n for members in split.values() for n in members) == sorted(names)
    assert all(split[part] for part in splits.SPLITS)
    shuffled = list(names)
    shuffler.shuffle(shuffled)
    assert splits.draw_split(shuffled, seed) == split


def test_a_drawn_split_is_the_same_on_every_machine():
    names = [f"class{i:02d}" for i in range(10)]
    assert splits.draw_split(names, 7) == {
        "train": ("class00", "class02", "class05", "class07", "class08", "class09"),
        "val": ("class03", "class04"),
        "test": ("class01", "class06"),
    }
    assert len({splits.split_hash(splits.draw_split(names, seed)) for seed in range(20)}) > 10


@pytest.mark.parametrize(
    ("n", "fractions", "counts"),
    [
        (100, (0.64, 0.16, 0.20), (64, 16, 20)),
        (3, (0.98, 0.01, 0.01), (1, 1, 1)),
        (10, (0.8, 0, 0.2), (8, 0, 2)),
        (7, (1 / 3, 1 / 3, 1 / 3), (3, 2, 2)),
    ],
)
def test_shares_become_counts(n, fractions, counts):
    split = splits.draw_split([str(i) for i in range(n)], 0, fractions)
    assert tuple(len(split[part]) for part in splits.SPLITS) == counts


@pytest.mark.parametrize(
    ("names", "fractions", "said"),
    [
        ("ab", (0.6, 0.2, 0.2), "2 classes are too few"),
        ("aab", (0.6, 0.2, 0.2), "same name"),
        ("abc", (0.6, 0.6, 0.2), "sum to 1"),
        ("abc", (1.2, -0.4, 0.2), "three shares"),
    ],
)
def test_what_cannot_be_split_is_refused(names, fractions, said):
    with pytest.raises(UserError, match=said):
        splits.draw_split(names, 0, fractions)


@pytest.mark.parametrize("name", splits.NAMES)
def test_a_set_with_the_published_names_is_assigned_whole(name):
    names = sorted(every_class(name))
    indices = splits.assign(names, name)
    for part, members in splits.load_standard(name).items():
        assert {names[i] for i in indices[part]} == set(members)
        assert list(indices[part]) == sorted(indices[part])


@pytest.mark.parametrize(
    ("name", "own", "meant"),
    [
        ("cifar-fs", "Pickup Truck", "pickup_truck"),
        ("cifar-fs", "fish/aquarium-fish", "aquarium_fish"),
        ("fc100", "vehicles_1\\train", "train"),
        ("mini-imagenet", "train/n01532829", "n01532829"),
        ("tiered-imagenet", "n01532829 - house finch", "n01532829"),
        ("mini-imagenet", "n0153282900000005.jpg", "n01532829"),
        ("omniglot", "images_evaluation/Gurmukhi/character42", "Gurmukhi/character42"),
        ("omniglot", "gurmukhi_character42", "Gurmukhi/character42"),
        ("omniglot", "character42", None),  # of many alphabets
        ("cub-100-50-50", "Brewer\u2019s Blackbird", "009.Brewer_Blackbird"),
        ("cub-100-50-50", "CUB/images/010.Red_winged_Blackbird", "010.Red_winged_Blackbird"),
        ("cub-140-30-30", "001 black-footed albatross", "001.Black_footed_Albatross"),
        ("cifar-fs", "zebra", None),
    ],
)
def test_spellings_in_the_wild_find_their_class(name, own, meant):
    assert splits.match([own], name) == [meant]


def test_missing_and_unknown_classes_are_named():
    names = [*every_class("cifar-fs")[1:], "zebra"]
    with pytest.raises(UserError, match=r"lacks 1 class \(dolphin\).*not know 1 class \(zebra\)"):
        splits.assign(names, "cifar-fs")


def test_a_part_of_a_set_keeps_its_part_of_the_split_if_asked():
    names = ["dolphin", "zebra", "whale", "beaver"]
    indices = splits.assign(names, "cifar-fs", subset=True, extra=True)
    assert indices == {"train": (0,), "val": (3,), "test": (2,)}
    with pytest.raises(UserError, match="zebra"):
        splits.assign(names, "cifar-fs", subset=True)
    with pytest.raises(UserError, match="no test class"):
        splits.assign(["dolphin", "beaver"], "cifar-fs", subset=True)


def test_two_classes_that_are_one_are_refused():
    with pytest.raises(UserError, match=r"'whale' and 'Whale' are both class 'whale'"):
        splits.assign([*every_class("cifar-fs"), "Whale"], "cifar-fs")


def published_overlap(seed: int) -> int:
    """How many test classes the published procedure trains on: two samples of the same 100."""
    names = range(100)
    train = set(random.Random(seed).sample(names, 64))
    drawn_again = random.Random(f"again {seed}").sample(names, 36)
    return len(train & set(drawn_again[18:]))


def test_the_published_split_procedure_leaks_about_twelve_of_its_eighteen_test_classes():
    overlaps = [published_overlap(seed) for seed in range(2000)]
    assert np.mean(overlaps) == pytest.approx(18 * 0.64, abs=0.2)  # 11.5; its error is 0.04
    names = [str(i) for i in range(100)]
    drawn = [splits.draw_split(names, seed) for seed in range(50)]
    assert not any(set(s["train"]) & set(s["test"]) for s in drawn)


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "key"), [("cifar-fs", "cifar_fs_split"), ("fc100", "fc100_split")])
def test_the_cifar_set_is_split_as_its_own_arrays_say(name, key, shared_data):
    arrays = np.load(shared_data / "cifar100" / "cifar100_200perclass.npz")
    indices = splits.assign([str(n) for n in arrays["class_names"]], name)
    for number, part in enumerate(arrays["split_names"]):
        assert indices[str(part)] == tuple(np.flatnonzero(arrays[key] == number))


@pytest.mark.realdata
def test_real_omniglot_and_cub_names_are_understood(shared_data):
    omniglot = np.load(shared_data / "omniglot" / "omniglot_28.npz")["class_names"]
    birds = np.load(shared_data / "cub200_2010" / "cub200_2010_84.npz")["class_names"]
    assert len(splits.assign([str(n) for n in omniglot], "omniglot")["test"]) == 423
    assert len(splits.assign([str(n) for n in birds], "cub-140-30-30")["test"]) == 30


def test_a_split_is_drawn_64_16_20_unless_asked_otherwise():
    split = splits.draw_split([f"class{i:03d}" for i in range(100)], 0)
    assert {part: len(members) for part, members in split.items()} == {"train": 64, "val": 16, "test": 20}
