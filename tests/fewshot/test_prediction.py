"""Naming one's own photos: unequal shots, any size and format, probabilities, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from anrot_lib.core import randomness
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.prediction import list_query_files, list_support_files, predict, read_images

COLOURS = {"brick": (200, 60, 40), "grüner Tee": (60, 180, 70), "sea": (40, 80, 200)}
SHOTS = {"brick": 1, "grüner Tee": 4, "sea": 2}


def photo(colour, seed, size=(40, 30)):
    """A plain wall with grain."""
    rng = np.random.default_rng(seed)
    pixels = np.asarray(colour) + rng.normal(0, 12, (size[1], size[0], 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def photos(tmp_path):
    """support/CLASS/*.png with 1, 4 and 2 shots of several sizes, and queries named after their class."""
    for at, (name, colour) in enumerate(COLOURS.items()):
        (tmp_path / "support" / name).mkdir(parents=True)
        for k in range(SHOTS[name]):
            photo(colour, 10 * at + k, (20 + 9 * k, 31)).save(tmp_path / "support" / name / f"my photo {k}.png")
        (tmp_path / "query").mkdir(exist_ok=True)
        photo(colour, 100 + at).save(tmp_path / "query" / f"{name}.png")
    return tmp_path


def test_easy_photos_of_unequal_shots_are_named(photos, small_net):
    found = predict(small_net, photos / "support", photos / "query", 16)
    assert [p.file for p in found] == [f"{name}.png" for name in COLOURS]
    for p in found:
        assert p.best == p.file.removesuffix(".png")
        assert set(p.probabilities) == set(COLOURS)
        shares = list(p.probabilities.values())
        assert sum(shares) == pytest.approx(1, abs=1e-5) and shares == sorted(shares, reverse=True)
        assert min(shares) >= 0


def test_a_net_that_gives_all_classes_the_same_logit_names_none(photos):
    net = create_net("tiny", "prototypes", generator=randomness.make_generator(0, "init")).eval()
    with torch.no_grad():
        for weight in net.backbone.parameters():
            weight.zero_()
    with pytest.raises(UserError, match="gives all classes the same logit, so it names none"):
        predict(net, photos / "support", photos / "query", 16)


def test_a_class_is_the_mean_of_all_its_shots(photos):
    net = create_net("tiny", "prototypes", generator=randomness.make_generator(0, "init")).eval()
    found = predict(net, photos / "support", photos / "query", 16)
    with torch.no_grad():
        classes = []
        for name in COLOURS:
            files = sorted((photos / "support" / name).iterdir())
            assert len(files) == SHOTS[name]
            classes.append(net.encode(read_images(files, 16, 3)).mean((-2, -1)).mean(0))
        queries = net.encode(read_images([photos / "query" / f"{n}.png" for n in COLOURS], 16, 3)).mean((-2, -1))
        expected = (-torch.cdist(queries, torch.stack(classes)).square()).softmax(-1)
    got = torch.tensor([[p.probabilities[n] for n in COLOURS] for p in found])
    assert torch.allclose(got, expected, atol=1e-4)


def test_one_photo_and_a_net_of_grey_images(photos):
    net = create_net("tiny", "anrot", 1, generator=randomness.make_generator(0, "init")).eval()
    (only,) = predict(net, photos / "support", photos / "query" / "sea.png", 16)
    assert only.file == "sea.png" and sum(only.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_photos_become_small_images_in_the_unit_range(photos):
    images = read_images(sorted((photos / "query").iterdir()), 16, 3)
    assert images.shape == (3, 3, 16, 16) and images.min() >= 0 and images.max() <= 1
    mean = images[0].mean((-2, -1)) * 255
    assert torch.allclose(mean, torch.tensor(COLOURS["brick"], dtype=torch.float), atol=4)


def test_hidden_and_other_files_are_passed_over(photos):
    (photos / "support" / ".thumbnails").mkdir()
    (photos / "support" / "sea" / "notes.txt").write_text("blue")
    (photos / "support" / "sea" / "._0.png").write_bytes(b"resource fork")
    assert {name: len(files) for name, files in list_support_files(photos / "support").items()} == SHOTS


def broken(photos, what):
    """Damage the folders in one way; return (support, query, what the sentence must say)."""
    support, query = photos / "support", photos / "query"
    if what == "no support":
        return photos / "nowhere", query, "no folder"
    if what == "one class":
        return photos, query / "sea.png", "'query' holds images and 'support' holds folders of images"
    if what == "empty class":
        (support / "empty").mkdir()
        return support, query, "class folder 'empty'.*holds no photos"
    if what == "no query":
        return support, photos / "nowhere.png", "no photo or folder"
    if what == "empty query":
        (photos / "none").mkdir()
        return support, photos / "none", "holds no photos"
    file = (query if what == "damaged query" else support / "sea") / "broken.png"
    file.write_bytes(b"not a picture")
    return support, query, "cannot read the photo .*broken.png"


@pytest.mark.parametrize(
    "what",
    ["no support", "one class", "empty class", "no query", "empty query", "damaged query", "damaged support"],
)
def test_what_cannot_be_used_is_one_sentence(what, photos, small_net):
    support, query, said = broken(photos, what)
    with pytest.raises(UserError, match=said) as caught:
        predict(small_net, support, query, 16)
    assert "\n" not in str(caught.value)


def test_query_files_are_one_or_all_of_a_folder(photos):
    assert list_query_files(photos / "query" / "sea.png") == [photos / "query" / "sea.png"]
    assert len(list_query_files(photos / "query")) == 3


def test_photos_in_folders_of_the_query_are_named_with_their_folder(photos, small_net):
    (photos / "query" / "more").mkdir()
    photo(COLOURS["sea"], 7).save(photos / "query" / "more" / "sea.png")
    named = predict(small_net, photos / "support", photos / "query", 16)
    assert [p.file for p in named] == [*(f"{name}.png" for name in COLOURS), "more/sea.png"]


def test_files_of_the_support_set_that_are_no_photos_are_said_to_be_passed_over(photos, caplog):
    (photos / "support" / "sea" / "raw.cr2").write_bytes(b"x")
    with caplog.at_level("INFO"):
        list_support_files(photos / "support")
    assert "1 files that are no images were passed over" in caplog.text
