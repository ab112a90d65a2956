"""The one check for images: what passes untouched, and what each refusal says."""

import numpy as np
import pytest
import torch

from anrot_lib.core.checks import check_images
from anrot_lib.core.errors import UserError, escape_control


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 6), (4, 3, 8, 8), (2, 5, 3, 1, 8, 8), (0, 3, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_images_pass_unchanged(shape, dtype):
    images = torch.rand(shape).to(dtype)
    assert check_images(images) is images


def test_the_ends_of_the_range_belong_to_it():
    images = torch.tensor([0.0, 1.0]).expand(3, 2, 2)
    assert check_images(images) is images


def test_a_tensor_with_a_gradient_passes():
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    assert check_images(images) is images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 4, 4, dtype=torch.uint8), r"float tensor, got torch\.uint8; divide uint8 pixels by 255"),
        (torch.zeros(3, 4, 4, dtype=torch.long), r"float tensor, got torch\.int64"),
        (np.zeros((3, 4, 4), np.float32), "float tensor, got ndarray"),
        ([[0.0]], "float tensor, got list"),
        (torch.zeros(4, 4), r"\(\.\.\., C, H, W\) with C = 1 or 3, got \(4, 4\)"),
        (torch.zeros(2, 4, 4, 3), r"C = 1 or 3, got \(2, 4, 4, 3\)"),
        (torch.zeros(4, 8, 8), r"C = 1 or 3, got \(4, 8, 8\)"),
        (torch.full((3, 4, 4), 255.0), r"must lie in \[0, 1\], found values from 255 to 255; do not normalise"),
        (torch.full((3, 4, 4), 1.001), r"found values from 1\.001 to 1\.001"),
        (torch.full((3, 4, 4), -0.001), r"found values from -0\.001"),
    ],
)
def test_anything_else_is_refused_with_the_reason(images, message):
    with pytest.raises(UserError, match=f"the photos .*{message}"):
        check_images(images, "the photos")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1.0001, -1e-4])
def test_one_bad_pixel_is_enough(bad):
    images = torch.full((2, 3, 4, 4), 0.5)
    images[1, 2, 3, 0] = bad
    with pytest.raises(UserError, match=r"images must lie in \[0, 1\]"):
        check_images(images)


def test_a_user_error_is_a_value_error_and_no_error_of_the_system():
    assert issubclass(UserError, ValueError), "easyfsl's sampler raises ValueError where ours raises UserError"
    assert not issubclass(UserError, OSError), "a handler of a full disk must not swallow it"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x9b1m\x07\x00", r"\x1b[2J\x9b1m\x07\x00"),
        ("\u202egpj.exe\u2028\ufeff\ud800", r"\u202egpj.exe\u2028\ufeff\ud800"),
        ("crème brûlée 寿司\u3000é.jpg", "crème brûlée 寿司\u3000é.jpg"),
    ],
)
def test_control_characters_in_names_are_escaped_in_every_message(name, shown):
    """Line breaks would forge lines of output, escape sequences command the terminal; other names stay readable."""
    assert escape_control(name) == shown
    assert str(UserError(f"the class {name} is empty")) == f"the class {shown} is empty"
