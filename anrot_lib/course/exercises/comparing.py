"""Whether an answer has the value that was expected, in whatever form, and how values are shown to a reader."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

SHOWN_WHOLE = 8  # numbers of a tensor that is shown whole; a larger one by shape and range


def find_difference(got: Any, expected: Any, tolerance: float) -> str | None:
    """What is wrong with `got`, in words; None if nothing is.

    The value counts, not its form: a list or an array of numbers serves for a tensor, a tuple for a list, 0-d tensors
    for numbers. Numbers may be off by `tolerance` times the largest expected magnitude, or 1 if that is smaller.
    """
    if got is None and expected is not None:
        return "it returns None; does every way through it end in a `return`?"
    if expected is None or isinstance(expected, str):
        return None if type(got) is type(expected) and got == expected else "another value"
    if isinstance(expected, bool):
        return None if _is_truth(got) and bool(got) == expected else "another value"
    if isinstance(expected, list | tuple):
        return _find_in_parts(got, expected, tolerance)
    numbers = read_numbers(got)
    if isinstance(got, bool) or numbers is None:
        return f"expected {_describe_kind(expected)}, got {_describe_kind(got)}"
    return _find_in_numbers(numbers, torch.as_tensor(expected, dtype=torch.float64).detach(), tolerance)


def read_numbers(value: Any) -> Tensor | None:
    """A tensor float64 of a number, a tensor, an array, or nested sequences of these; None if it is none of them."""
    if isinstance(value, str | bytes | dict | set):
        return None
    if isinstance(value, Iterable) and not isinstance(value, Tensor | np.ndarray):
        parts = [read_numbers(part) for part in value]
        whole = [part for part in parts if part is not None]
        alike = len({part.shape for part in whole}) == 1 and len(whole) == len(parts)
        return torch.stack(whole) if alike else None
    try:
        return torch.as_tensor(value, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        return None


def _is_truth(value: Any) -> bool:
    is_array = isinstance(value, Tensor | np.ndarray)
    return isinstance(value, bool | np.bool_) or (is_array and value.ndim == 0 and "bool" in str(value.dtype))


def _find_in_parts(got: Any, expected: Sequence[Any], tolerance: float) -> str | None:
    if isinstance(got, str) or not isinstance(got, Iterable):
        return f"expected {len(expected)} values, got {_describe_kind(got)}"
    parts = list(got)
    if len(parts) != len(expected):
        return f"expected {len(expected)} values, got {len(parts)}"
    faults = (find_difference(part, whole, tolerance) for part, whole in zip(parts, expected, strict=True))
    return next((fault for fault in faults if fault), None)


def _find_in_numbers(got: Tensor, expected: Tensor, tolerance: float) -> str | None:
    if got.shape != expected.shape:
        return f"expected shape {tuple(expected.shape)}, got shape {tuple(got.shape)}"
    if not torch.equal(got.isfinite(), expected.isfinite()):
        return "a value is NaN or infinite"
    known = expected[expected.isfinite()].abs()
    off = (got - expected).nan_to_num(0.0).abs().max().item() if expected.numel() else 0.0
    largest = known.max().item() if known.numel() else 0.0
    return None if off <= tolerance * max(1.0, largest) else f"off by up to {off:.3g}"


def find_relative_difference(got: Any, expected: Tensor, tolerance: float) -> str | None:
    """What is wrong with numbers of very different sizes: each may be off by `tolerance` of itself."""
    if fault := find_difference(got, expected, float("inf")):
        return fault
    numbers, wanted = read_numbers(got), expected.detach().double()
    assert numbers is not None
    off = (numbers - wanted).abs() > tolerance * wanted.abs() + 1e-30
    if not off.any():
        return None
    k = int(off.flatten().nonzero()[0])
    return f"value {k} is {numbers.flatten()[k]:.4g}; expected {wanted.flatten()[k]:.4g}"


def _describe_kind(value: Any) -> str:
    return "a tensor" if isinstance(value, Tensor) else type(value).__name__


def show_arguments(case: tuple[Any, ...]) -> str:
    return ", ".join(show_value(value) for value in case)


def show_value(value: Any) -> str:
    """A short text for a value: small tensors whole, larger ones by shape and range."""
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(value)
    if isinstance(value, tuple | list):
        brackets = "()" if isinstance(value, tuple) else "[]"
        return brackets[0] + ", ".join(map(show_value, value)) + brackets[1]
    if not isinstance(value, Tensor):
        return _name_object(value)
    value = value.detach()
    if value.numel() <= SHOWN_WHOLE:
        return f"{[round(v, 4) for v in value.flatten().tolist()]} of shape {tuple(value.shape)}"
    numbers = value.double()
    return f"a tensor of shape {tuple(value.shape)} from {numbers.min():.4g} to {numbers.max():.4g}"


def _name_object(value: Any) -> str:
    """A number with four digits, a function by its name, an object of torch by its class."""
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, torch.Generator | torch.optim.Optimizer):
        return f"a {type(value).__name__}"
    return str(getattr(value, "__name__", "").strip("_") or repr(value))
