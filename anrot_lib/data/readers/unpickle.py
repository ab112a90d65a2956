"""Read pickles from outside without running them: numpy arrays and plain containers only.

A pickle is a program: it can name any function of any module and call it. This reader knows the few
names that arrays and containers need and refuses every other one before anything is called.
"""

import codecs
import collections
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy as np

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers.pickle_structure import check_structure


def _dtype(*args: Any) -> np.dtype[Any]:
    """numpy.dtype, but not for arrays of Python objects: those are pickles inside the pickle."""
    dtype: np.dtype[Any] = np.dtype(*args)
    if dtype.hasobject:
        raise pickle.UnpicklingError("arrays of Python objects are not read")
    return dtype


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2, written by Python 3, spells bytes: as text that is to be encoded again."""
    if encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise pickle.UnpicklingError(f"text encoded as {encoding!r} is not read")
    return codecs.encode(text, "latin1")


def _bytes(*args: Any) -> bytes:
    """bytes, but not of a number, which would be so many zeros."""
    if args and isinstance(args[0], int):
        raise pickle.UnpicklingError("bytes of a number are not read")
    return bytes(*args)


def _bytearray(*args: Any) -> bytearray:
    return bytearray(_bytes(*args))


def _numpy_globals() -> dict[tuple[str, str], Any]:
    """The functions numpy names in its pickles; they moved from numpy.core to numpy._core."""
    array = np.zeros(1)
    reconstruct = array.__reduce__()[0]
    frombuffer = array.__reduce_ex__(5)[0]
    scalar = np.int64(0).__reduce__()[0]
    allowed = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): _dtype}
    for core in ("numpy.core", "numpy._core"):
        allowed[core + ".multiarray", "_reconstruct"] = reconstruct
        allowed[core + ".multiarray", "scalar"] = scalar
        allowed[core + ".numeric", "_frombuffer"] = frombuffer
    return allowed


ALLOWED: dict[tuple[str, str], Any] = {
    **_numpy_globals(),
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): collections.OrderedDict,
    **{
        (module, name): function
        for module in ("builtins", "__builtin__")
        for name, function in (("bytes", _bytes), ("bytearray", _bytearray))
    },
    **{(module, kind.__name__): kind for module in ("builtins", "__builtin__") for kind in (set, frozenset)},
}


class _Refused(Exception):
    """The name of a global that is not on the list."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None


def read(path: Path) -> Any:
    """The content of a pickle file, with bytes for the texts of Python 2.

    Raises UserError if the file names anything but numpy arrays, dtypes and plain containers (the
    message says what), and if it is not a pickle or was cut short.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{path} is no regular file")
            check_structure(file)
            file.seek(0)
            return _Unpickler(file, encoding="bytes").load()
    except UserError:
        raise
    except _Refused as refused:
        raise UserError(
            f"{path} was not read: it asks to load {refused}, but only numpy arrays and plain "
            "containers are allowed in a pickle, because anything else can run code"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise UserError(f"{path} does not fit into memory") from None
    except Exception as error:  # damaged pickles end in almost any error that Python has
        raise UserError(f"{path} is not a whole pickle file ({error}); get it again") from None


def decode_text(value: Any) -> str:
    """A key or a name of a pickle as text, whichever Python wrote it; also a whole number. UserError for others."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (str, int, np.integer)):
        return str(value)
    raise UserError(f"a name in a pickle must be a text, not a {type(value).__name__}")


def decode_keys(value: Any, path: Path, *needed: str) -> dict[str, Any]:
    """A pickled dict with text for keys; UserError unless it has all that are needed."""
    if not isinstance(value, dict):
        what = f" with {needed[0]!r}" if needed else " of class names"
        raise UserError(f"{path} holds a {type(value).__name__}, not a dict{what}")
    entries = {decode_text(key): entry for key, entry in value.items()}
    if missing := [key for key in needed if key not in entries]:
        raise UserError(f"{path} has no {missing[0]!r} (it has {', '.join(sorted(entries)) or 'none'})")
    return entries


def check_pixels(images: Any, path: Path) -> np.ndarray:
    """uint8 (N, H, W, 3) or (N, H, W), from channels first too; UserError for anything else."""
    if not isinstance(images, np.ndarray):
        raise UserError(f"{path}: the images must be uint8 (N, H, W, 3), not a {type(images).__name__}")
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    fits = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
    if images.dtype != np.uint8 or not fits or 0 in images.shape[1:]:
        raise UserError(f"{path}: the images must be uint8 (N, H, W, 3), not {images.dtype} {images.shape}")
    pixels: np.ndarray = images
    return pixels


def check_labels(labels: Any, n: int, classes: int, path: Path, what: str) -> list[int]:
    """Whole numbers from 0 to classes - 1, n of them; UserError for anything else."""
    numbers = np.asarray(labels) if isinstance(labels, (list, tuple, np.ndarray)) else np.empty((0, 0))
    if numbers.shape != (n,) or (n and not np.issubdtype(numbers.dtype, np.integer)):
        raise UserError(f"{path}: {what} must be {n} whole numbers, one an image")
    if n and not 0 <= numbers.min() <= numbers.max() < classes:
        raise UserError(f"{path}: {what} must be from 0 to {classes - 1}, the numbers of the classes that are named")
    return [int(v) for v in numbers]


def read_names(value: Any, path: Path) -> list[str]:
    """A list of names as text; of equal names (ImageNet has two cranes) the later ones are numbered."""
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise UserError(f"{path}: the class names must be a list, not a {type(value).__name__}")
    names = [decode_text(name) for name in value]
    return [name if name not in names[:k] else f"{name} ({k})" for k, name in enumerate(names)]
