"""Adversarial queries in files: what is written comes back, and what a stranger writes is checked."""

import json
import struct

import numpy as np
import pytest
import safetensors.torch
import torch

from anrot_lib.attacks.stored import ROUNDING, check_ball, make_about, open_images, write_images
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import UserError
from tests.helpers import rng

ABOUT = make_about("a" * 64, "b" * 64, "c" * 64, "linf", 8 / 255, "PGD-20 8/255 query")
TASKS, ROWS = np.array([3, 5]), np.arange(8).reshape(2, 4)


@pytest.fixture
def images():
    return torch.rand(2, 4, 3, 6, 6, generator=rng())


@pytest.fixture
def path(tmp_path, images):
    write_images(tmp_path / "images.safetensors", ABOUT, TASKS, ROWS, images)
    return tmp_path / "images.safetensors"


def rewrite(path, images, about=ABOUT, **changes):
    """A file of the same tensors and metadata with some changed or left out."""
    tensors = {"images": images, "rows": torch.from_numpy(ROWS), "tasks": torch.from_numpy(TASKS)} | changes
    text = about if isinstance(about, str) else json.dumps(about)
    safetensors.torch.save_file({k: t for k, t in tensors.items() if t is not None}, path, metadata={"anrot": text})


def test_what_is_written_comes_back_bit_by_bit(path, images):
    with open_images(path, 8) as stored:
        assert stored.about == ABOUT and stored.shape == (2, 4, 3, 6, 6)
        assert np.array_equal(stored.tasks, TASKS) and np.array_equal(stored.rows, ROWS)
        assert all(torch.equal(stored.read(k), images[k]) for k in range(2))


def test_images_outside_the_pixel_range_are_not_written(tmp_path, images):
    with pytest.raises(UserError, match=r"must lie in \[0, 1\]"):
        write_images(tmp_path / "images.safetensors", ABOUT, TASKS, ROWS, images + 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.rand(2, 4, 3, 6, 6).double()}, "images are F64"),
        ({"images": torch.rand(2, 4, 3, 36)}, r"images are F32 \(2, 4, 3, 36\), not F32 of 5 dimensions"),
        ({"rows": torch.from_numpy(ROWS).int()}, "rows are I32"),
        ({"rows": torch.from_numpy(ROWS[:, :3].copy())}, "do not go together"),
        ({"tasks": torch.arange(3)}, "do not go together"),
        ({"tasks": None}, "it holds images, rows in place of images, rows, tasks"),
        ({"more": torch.zeros(1)}, "it holds images, more, rows, tasks in place of"),
        (
            {"images": torch.rand(0, 4, 3, 6, 6), "rows": torch.zeros(0, 4).long(), "tasks": torch.zeros(0).long()},
            "togeth",
        ),
    ],
)
def test_other_tensors_are_refused_without_being_read(path, images, changes, message):
    rewrite(path, **{"images": images} | changes)
    with pytest.raises(UserError, match=message), open_images(path, 8):
        pass


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("", "does not say what its images were made from"),
        ("{", "does not say what its images were made from"),
        ("[" * 100_000, "does not say what its images were made from"),
        ("[1]", "does not say what its images were made from"),
        ({k: v for k, v in ABOUT.items() if k != "manifest"}, r"manifest is of another type"),
        (ABOUT | {"eps": "8/255"}, r"eps is of another type"),
        (ABOUT | {"eps": float("nan")}, "eps at least 0"),
        (ABOUT | {"eps": -0.1}, "eps at least 0"),
        (ABOUT | {"norm": "l0"}, "norm must be one of linf, l2"),
        (ABOUT | {"target": "support"}, "target 'query'"),
        (ABOUT | {"format": 2}, "not the format 1"),
        (ABOUT | {"more": 1}, "not the format 1"),
        (ABOUT | {"attack": "x" * 1000}, "has 1000 letters"),
    ],
)
def test_a_senseless_description_is_refused(path, images, about, message):
    rewrite(path, images, about)
    with pytest.raises(UserError, match=message), open_images(path, 8):
        pass


def test_a_file_of_too_many_images_is_refused_before_it_is_read(path):
    with (
        pytest.raises(UserError, match="holds 8 images, where the episodes of the record have 7"),
        open_images(path, 7),
    ):
        pass


def test_a_huge_file_is_refused_at_once(tmp_path):
    """A header that promises 60 terabytes, on a disk that has none of them."""
    shape, path = [1000, 5, 3, 1_000_000, 1000], tmp_path / "huge.safetensors"
    size = 4 * int(np.prod(shape))
    header = json.dumps({"images": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(2**31)
    with pytest.raises(UserError, match="no file of adversarial images"), open_images(path, 10_000):
        pass


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_file_that_is_cut_short_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="no file of adversarial images"), open_images(path, 8):
        pass


def test_a_pickle_is_not_read(tmp_path):
    torch.save({"images": torch.zeros(1)}, tmp_path / "images.safetensors")
    with (
        pytest.raises(UserError, match="no file of adversarial images"),
        open_images(tmp_path / "images.safetensors", 8),
    ):
        pass


# The ball


def make_threat(norm, eps):
    return ThreatModel(norm=norm, eps=eps, step=eps, steps=1, restarts=1, start="random", target="query")


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("linf", 0.3), ("linf", 0.0), ("l2", 0.5), ("l2", 3.0)])
def test_every_point_that_a_threat_model_reaches_is_allowed(norm, eps):
    clean = torch.randint(256, (200, 3, 32, 32), generator=rng(1)) / 255
    far = clean + 4 * torch.randn(clean.shape, generator=rng(2))
    check_ball(make_threat(norm, eps).project(far, clean), clean, norm, eps, ["image"] * 200)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.25)])
def test_one_step_of_a_pixel_beyond_the_ball_is_refused(norm, eps):
    clean = torch.full((3, 3, 8, 8), 0.5)
    moved = clean.clone()
    moved[1, 2, 4, 5] += eps + 2 * ROUNDING[norm]
    with pytest.raises(UserError, match=f"^second lies 0.* in the norm {norm}; the threat model allows"):
        check_ball(moved, clean, norm, eps, ["first", "second", "third"])
    moved[1, 2, 4, 5] = 0.5 + eps
    check_ball(moved, clean, norm, eps, ["first", "second", "third"])


def test_the_norm_l2_is_that_of_a_whole_image():
    clean = torch.full((1, 3, 8, 8), 0.5)
    with pytest.raises(UserError, match=r"lies 0\.69282 "):
        check_ball(clean + 0.05, clean, "l2", 0.5, ["image"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "holds a value that is not finite"),
        (float("inf"), "holds a value that is not finite"),
        (1.0000001, "pixels lie in"),
        (-1e-7, "pixels lie in"),
    ],
)
def test_what_is_no_pixel_is_refused(value, message):
    clean = torch.tensor([0.0, 1.0]).repeat(96).view(1, 3, 8, 8)
    moved = clean.clone()
    moved.view(-1)[0 if value < 0.5 else 1] = value
    with pytest.raises(UserError, match=message):
        check_ball(moved, clean, "linf", 1.0, ["image"])


def test_images_of_another_shape_are_refused():
    with pytest.raises(UserError, match=r"images of shape \(1, 8, 8\), the set has \(3, 8, 8\)"):
        check_ball(torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 8, 8), "linf", 0.1, ["a", "b"])
