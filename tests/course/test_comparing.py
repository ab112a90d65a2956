"""Values are compared by what they are, not by the form in which they come; and shown so that a reader sees them."""

import numpy as np
import pytest
import torch

from anrot_lib.course.exercises import comparing

GRID = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (GRID.tolist(), GRID),
        (list(GRID), GRID),
        (GRID.numpy(), GRID),
        (np.float32(2.5), 2.5),
        (torch.tensor(3), 3),
        ((k for k in (0, 74)), (0, 74)),
        (torch.tensor([0, 74]), [0, 74]),
        (["a", "b"], ("a", "b")),
        (np.bool_(True), True),
        (torch.tensor(False), False),
        ([True, False], torch.tensor([True, False])),
        ([(0, 2), [1, 3]], [(0, 2), (1, 3)]),
        (float("inf"), float("inf")),
        (torch.zeros(0), torch.zeros(0)),
        (None, None),
    ],
)
def test_another_form_of_the_same_value_is_no_difference(got, expected):
    assert comparing.find_difference(got, expected, 1e-6) is None


@pytest.mark.parametrize(
    ("got", "expected", "said"),
    [
        (None, GRID, "it returns None; does every way through it end in a `return`?"),
        (GRID[0], GRID, "expected shape (2, 2), got shape (2,)"),
        (GRID + 0.1, GRID, "off by up to 0.1"),
        ("2.5", 2.5, "expected float, got str"),
        (True, 1, "expected int, got bool"),
        (1, True, "another value"),
        ("b", "a", "another value"),
        ([0], (0, 74), "expected 2 values, got 1"),
        (3, [3], "expected 1 values, got int"),
        (float("nan"), 1.0, "a value is NaN or infinite"),
        ([[1.0, 2.0], [3.0]], GRID, "expected a tensor, got list"),
        ({1: 2}, GRID, "expected a tensor, got dict"),
    ],
)
def test_a_difference_is_told_in_words(got, expected, said):
    assert comparing.find_difference(got, expected, 1e-6) == said


def test_small_values_count_as_much_as_large_ones_where_that_is_asked_for():
    expected = torch.tensor([1e-12, 1.0, 1e6])
    assert comparing.find_difference(expected * 0, expected, 1.0) is None
    assert comparing.find_relative_difference(expected * 1.0005, expected, 1e-3) is None
    off = comparing.find_relative_difference(torch.tensor([0.0, 1.0, 1e6]), expected, 1e-3)
    assert off == "value 0 is 0; expected 1e-12"


def test_values_are_shown_whole_or_by_their_range():
    shown = comparing.show_arguments((GRID, torch.zeros(9), 0.25, "a", (1, 0.5), np.eye(2), np.linalg.norm))
    assert shown == (
        "[1.0, 2.0, 3.0, 4.0] of shape (2, 2), a tensor of shape (9,) from 0 to 0, 0.25, 'a', (1, 0.5), "
        "[1.0, 0.0, 0.0, 1.0] of shape (2, 2), norm"
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(GRID)], lr=0.1)
    assert comparing.show_value(optimizer) == "a SGD" and comparing.show_value(torch.Generator()) == "a Generator"
