"""The guard: planted copies are found, other pictures are not, each complaint names its cause."""

import io
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from anrot_lib.core.errors import UserError
from anrot_lib.data.image_set import build_image_set
from anrot_lib.data.leakage import guard, near_copies
from anrot_lib.data.leakage.near_copies import find_near_copies

# ------------------------------------------------------------------ pictures and copies of them


def textured(n: int, size: int, seed: int = 0) -> np.ndarray:
    """Pictures with the spectrum of photographs (amplitude 1 / frequency), colours correlated."""
    chance = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]) * size
    noise = chance.normal(size=(n, 4, size, size))
    planes = np.fft.ifft2(np.fft.fft2(noise) / np.maximum(f, 1)).real
    planes = planes / planes.std((2, 3), keepdims=True)
    rgb = planes[:, :1] * 45 + planes[:, 1:] * 18
    level = chance.uniform(90, 165, (n, 1, 1, 1))
    return np.clip(level + rgb, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def resized(image: np.ndarray) -> np.ndarray:
    side = len(image)
    small = Image.fromarray(image).resize((round(0.9 * side),) * 2, Image.Resampling.BILINEAR)
    return np.asarray(small.resize((side, side), Image.Resampling.BILINEAR))


def cropped(image: np.ndarray) -> np.ndarray:
    side, cut = len(image), len(image) - round(0.9 * len(image))
    part = Image.fromarray(image[cut // 2 : side - (cut - cut // 2), cut:])
    return np.asarray(part.resize((side, side), Image.Resampling.BILINEAR))


def shifted(image: np.ndarray) -> np.ndarray:
    return np.pad(image[2:, :-2], ((0, 2), (2, 0), (0, 0)), mode="edge")


def rolled(image: np.ndarray) -> np.ndarray:
    return np.roll(image, (2, -2), (0, 1))


def mirrored(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def brighter(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 1.1 + 8, 0, 255).astype(np.uint8)


REQUIRED = (jpeg, resized, shifted, mirrored)
CHANGES = (*REQUIRED, cropped, rolled, brighter)


def plant(images: np.ndarray, changes, each: int, seed: int = 0) -> tuple[np.ndarray, dict]:
    """The images, then `each` copies by every change, and {(row, row of its copy): change}."""
    chance = np.random.default_rng(seed)
    copies, planted = [], {}
    for change in changes:
        for row in chance.choice(len(images), each, replace=False):
            planted[int(row), len(images) + len(copies)] = change.__name__
            copies.append(change(np.asarray(images[row])))
    return np.concatenate([images, np.stack(copies)]), planted


def recall(planted: dict, found: set, changes) -> dict[str, float]:
    hits = {change.__name__: [] for change in changes}
    for pair, name in planted.items():
        hits[name].append(pair in found)
    return {name: float(np.mean(h)) for name, h in hits.items()}


def unrelated(found: set, planted: dict) -> set:
    """Pairs found that no planting explains (two copies of one image are explained)."""
    origin = {copy: row for row, copy in planted}
    return {(a, b) for a, b in found if origin.get(a, a) != origin.get(b, b)}


# ------------------------------------------------------------------ near-copies


@pytest.mark.parametrize(("size", "n"), [(32, 300), (84, 120)])
def test_planted_copies_are_found_and_nothing_else(size, n):
    images, planted = plant(textured(n, size), CHANGES, each=20)
    pairs = find_near_copies(images)
    found = {(a, b) for a, b, _, _ in pairs}
    hits = recall(planted, found, CHANGES)
    assert min(hits.values()) >= 0.95, hits
    assert not unrelated(found, planted)
    flips = {(a, b): flipped for a, b, flipped, _ in pairs}
    for pair, name in planted.items():
        assert flips.get(pair, name == "mirrored") == (name == "mirrored")


def test_the_search_is_deterministic_and_leaves_threads_and_images_alone():
    images, _ = plant(textured(60, 32), REQUIRED, each=5)
    before, threads = images.copy(), torch.get_num_threads()
    assert find_near_copies(images) == find_near_copies(images)
    assert np.array_equal(images, before)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("shape", [(0, 32, 32, 3), (1, 32, 32, 3), (3, 8, 8, 3), (4, 40, 20, 1)])
def test_small_sets_and_odd_shapes_pass(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert find_near_copies(images) == []


def test_flat_and_nearly_flat_images_are_no_copies_of_one_another():
    chance = np.random.default_rng(0)
    flat = np.broadcast_to(chance.integers(0, 256, (40, 1, 1, 3)), (40, 32, 32, 3))
    dim = np.clip(flat + chance.normal(0, 1.5, flat.shape), 0, 255)
    slopes = np.linspace(40, 200, 32)[None, :, None, None] + chance.normal(0, 2, flat.shape)
    images = np.concatenate([flat, dim, slopes]).astype(np.uint8)
    assert find_near_copies(images) == []


def test_the_same_frame_around_other_pictures_is_no_copy():
    images = textured(60, 32)
    images[:, :5] = images[:, -5:] = 0
    assert find_near_copies(images) == []


def test_plain_strokes_of_many_hands_are_no_copies():
    chance = np.random.default_rng(0)
    images = np.full((80, 28, 28, 1), 255, np.uint8)
    for image, x, top, bottom in zip(
        images,
        chance.integers(11, 17, 80),
        chance.integers(3, 9, 80),
        chance.integers(18, 26, 80),
        strict=True,
    ):
        image[top:bottom, x : x + 2] = 0
    assert find_near_copies(np.unique(images, axis=0)) == []


# ------------------------------------------------------------------ duplicates across splits


def test_identical_images_are_paired_with_the_one_that_stays():
    images = textured(6, 16)
    images[[3, 5]] = images[1]
    splits = np.array(["train", "train", "train", "val", "test", "test"])
    pairs = guard.find_duplicates(images, np.array([0, 0, 1, 2, 3, 3]), splits)
    assert [(p.row_a, p.row_b, p.kind, p.across) for p in pairs] == [
        (1, 5, "identical", True),
        (3, 5, "identical", True),
    ]
    assert guard.quarantine(pairs, splits).tolist() == [1, 3]


def test_copies_of_a_copy_are_all_named():
    images = textured(40, 32)
    images[7] = images[2]  # both train
    images[30] = jpeg(images[2])  # test
    splits = np.array(["train"] * 20 + ["test"] * 20)
    pairs = guard.find_duplicates(images, np.arange(40), splits)
    assert {(p.row_a, p.row_b): (p.kind, p.across) for p in pairs} == {
        (2, 7): ("identical", False),
        (2, 30): ("near", True),
        (7, 30): ("near", True),
    }
    assert guard.quarantine(pairs, splits).tolist() == [2, 7]
    assert all(p.score == 1 or 0.7 < p.score < 1 for p in pairs)


def test_a_thousand_black_frames_make_no_million_pairs():
    images = np.zeros((1000, 8, 8, 1), np.uint8)
    splits = np.array(["train"] * 999 + ["test"])
    pairs = guard.find_duplicates(images, np.zeros(1000), splits)
    assert len(pairs) == 999 and {p.row_b for p in pairs} == {999}
    assert len(guard.quarantine(pairs, splits)) == 999


def test_images_outside_of_every_split_leak_nothing():
    images = textured(3, 16)
    images[2] = images[0]
    pairs = guard.find_duplicates(images, np.arange(3), np.array(["train", "train", ""]))
    assert [(p.row_a, p.row_b, p.across) for p in pairs] == [(0, 2, False)]


def test_quarantine_spares_test_then_val_and_keeps_what_no_longer_leaks():
    splits = np.array(["train", "val", "test", "train"])
    pairs = [guard.Pair(a, b, "near", 0.9, True, False) for a, b in ((0, 1), (1, 2), (2, 3))]
    assert guard.quarantine(pairs, splits).tolist() == [1, 3]  # 0 resembled only 1, which goes


# ------------------------------------------------------------------ the guard of a set


def small_set(copy=None, per_class=8, split=None):
    """Six classes, two in each split; `copy` = (row, row that becomes its copy)."""
    images = textured(6 * per_class, 16)
    if copy:
        images[copy[1]] = images[copy[0]]
    split = split or {"train": (0, 1), "val": (2, 3), "test": (4, 5)}
    labels = np.repeat(np.arange(6), per_class)
    files = [f"{c}/{i}.png" for c in "abcdef" for i in range(per_class)]
    return build_image_set("toy", images, labels, tuple("abcdef"), split, files=files)


def test_an_overlapping_split_is_an_error_that_names_the_class():
    with pytest.raises(UserError, match=r"train and test share 1 class \(zebra\)"):
        guard.check_class_overlap({"train": ["ant", "zebra"], "val": ["bee"], "test": ["Zebra"]})
    guard.check_class_overlap({"train": ["ant", "zebra"], "val": ["bee"], "test": ["cow"]})
    overlapping = SimpleNamespace(split_names={"train": ("a", "b"), "test": ("b", "c")})
    with pytest.raises(UserError, match=r"train and test share 1 class \(b\)"):
        guard.check(overlapping)


def test_a_clean_set_passes():
    report = guard.check(small_set(), n_shot=5, n_query=3, n_way=2)
    assert report.clean and not len(report.quarantine) and report.pairs == ()
    assert report.summary.startswith("48 images: 0 identical, 0 near, 0 mirrored")


def test_a_copy_across_splits_is_an_error_that_names_both_images():
    leaking = small_set(copy=(3, 40))
    with pytest.raises(UserError, match=r"toy .*a/3.png \(train\) = f/0.png \(test\)"):
        guard.check(leaking, n_way=2)
    report = guard.check(leaking, n_way=2, mode="report")
    assert report.counts["identical across splits"] == 1 and not report.clean
    assert report.name_pairs(report.pairs[:1]) == "a/3.png (train) = f/0.png (test)"
    assert guard.check(leaking, n_way=2, mode="quarantine").quarantine.tolist() == [3]


def test_a_copy_within_a_split_is_listed_but_no_error():
    report = guard.check(small_set(copy=(3, 9)), n_way=2)
    assert report.counts["identical"] == 1 and report.clean and not report.across


def test_too_few_images_or_classes_are_named():
    short = small_set(per_class=5)
    assert guard.check(short, n_shot=2, n_query=3, n_way=2, mode="report").clean
    report = guard.check(short, n_shot=3, n_query=3, n_way=2, mode="report")
    assert [s.class_name for s in report.shortages] == list("abcdef")
    assert report.small_splits == {"train": 0, "val": 0, "test": 0}
    with pytest.raises(UserError, match=r"too few classes in train \(2 usable\)"):
        guard.check(short, n_way=5)
    with pytest.raises(UserError, match=r"6 classes \(a: 5, b: 5"):
        guard.check(short, n_shot=5, n_query=5, n_way=2)


def test_a_quarantine_that_empties_a_class_lists_the_whole_class():
    whole = small_set(copy=(3, 40), split={"train": (0, 1, 2), "test": (3, 4, 5)})
    report = guard.check(whole, n_shot=4, n_query=4, n_way=2, mode="quarantine")
    assert [s.class_name for s in report.shortages] == ["a"]
    assert report.quarantine.tolist() == list(range(8))
    with pytest.raises(UserError, match="cannot be mended"):
        guard.check(whole, n_shot=4, n_query=4, n_way=3, mode="quarantine")


def test_a_quarantine_holds_copies_and_small_classes_together():
    whole = small_set(copy=(12, 50), per_class=9, split={"train": (0, 1, 2), "test": (3, 4, 5)})
    kept = np.arange(2, len(whole))  # 7 images of class a are left
    short = build_image_set("toy", whole.images[kept], whole.labels[kept], whole.class_names, whole.splits)
    report = guard.check(short, n_shot=4, n_query=4, n_way=2, mode="quarantine")
    assert report.quarantine.tolist() == [*range(7), 10]


def test_an_unknown_mode_is_refused():
    with pytest.raises(UserError, match="error, quarantine, report"):
        guard.check(small_set(), mode="drop")


# ------------------------------------------------------------------ real images


def jpegs(path):
    """Images and labels of a container of JPEG bytes."""
    arrays = np.load(path)
    data, ends = arrays["blob"].tobytes(), arrays["offsets"].astype(int)
    images = [Image.open(io.BytesIO(data[a:b])).convert("RGB") for a, b in pairwise(ends)]
    return np.stack([np.asarray(i) for i in images]), arrays["label"], arrays["class_names"]


@pytest.fixture(scope="module")
def mini_imagenet(shared_data):
    """(55,200, 84, 84, 3) images, labels, the split of each image."""
    parts = {"train_a": "train", "train_b": "train", "val": "val", "test": "test"}
    images, labels, split = [], [], []
    for file, part in parts.items():
        pixels, own, names = jpegs(shared_data / "mini_imagenet" / f"{file}.npz")
        images.append(pixels)
        labels += [str(names[label]) for label in own]
        split += [part] * len(own)
    return np.concatenate(images), np.array(labels), np.array(split)


@pytest.fixture(scope="module")
def cifar(shared_data):
    arrays = np.load(shared_data / "cifar100" / "cifar100_200perclass.npz")
    labels = arrays["labels"].astype(int)
    return arrays["images"], labels, arrays["split_names"][arrays["cifar_fs_split"][labels]]


def kinds(pairs) -> tuple[int, int]:
    exact = [p for p in pairs if p.kind == "identical"]
    return len(exact), sum(p.across for p in exact)


@pytest.mark.slow
@pytest.mark.realdata
def test_the_identical_pairs_of_the_cifar_cut_are_found(cifar):
    pairs = guard.find_duplicates(*cifar)
    assert kinds(pairs) == (5, 4)
    # CIFAR-100 holds many real near-copies, nearly all within a class; none is across CIFAR-FS
    near = [p for p in pairs if p.kind != "identical"]
    assert 300 < len(near) < 800 and sum(p.across for p in near) == 0
    assert np.mean([p.same_class for p in near]) > 0.95


@pytest.mark.slow
@pytest.mark.realdata
def test_the_identical_pairs_of_mini_imagenet_are_found(mini_imagenet):
    images, labels, split = mini_imagenet
    pairs = guard.find_duplicates(images, labels, split)
    assert kinds(pairs) == (7, 5)
    across = [p for p in pairs if p.across]
    gone = guard.quarantine(pairs, split)
    assert 5 <= len(gone) <= len(across) and not (split[gone] == "test").any()


# Pairs among these 10,000 images that were looked at and are the same photograph:
# a mirrored manatee, two dogs, a gymnast.
LOOKED_AT = {(867, 872), (960, 992), (1569, 1818), (4742, 8326)}


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("size", [84, 32])
def test_copies_planted_in_ten_thousand_real_images_are_found(mini_imagenet, size):
    images = mini_imagenet[0][:: len(mini_imagenet[0]) // 10000][:10000]
    if size != 84:
        images = np.stack([np.asarray(Image.fromarray(i).resize((size, size))) for i in images])
    images, planted = plant(images, REQUIRED, each=50)
    found = {(a, b) for a, b, _, _ in find_near_copies(images)}
    hits = recall(planted, found, REQUIRED)
    assert np.mean(list(hits.values())) >= 0.95, hits
    assert len(unrelated(found, planted) - LOOKED_AT) <= 1


def test_the_time_of_a_search_has_a_fixed_part_one_for_each_image_and_one_for_each_pair(monkeypatch):
    times = iter([9.0, 1.0, 1.5, 2.0])  # of half the images, twice, of all of them, and of the drawn fingerprints
    asked = []

    def time_nothing(search):
        asked.append(search)
        return next(times)

    monkeypatch.setattr(near_copies, "_time", time_nothing)
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), np.uint8)
    seconds = near_copies.estimate_search(images, 1010)
    each, pair = (1.5 - 1.0) / 5, 2.0 / near_copies.TRIAL_PRINTS**2
    assert seconds == pytest.approx(1.5 + 1000 * each + pair * 1010**2)
    for search in asked:
        search()  # they are searches that run
