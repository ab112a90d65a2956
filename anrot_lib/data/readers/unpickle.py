"""Read pickles from outside without running them: numpy arrays and plain containers only.

A pickle is a program: it can name any function of any module and call it. This reader knows the few
names that arrays and containers need and refuses every other one before anything is called.
"""

import codecs
import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from anrot_lib.core.errors import UserError


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
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, bytes, bytearray)
    },
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
            return _Unpickler(file, encoding="bytes").load()
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


def text(value: Any) -> str:
    """A key or a name of a pickle as text, whichever Python wrote it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def keyed(value: Any, path: Path, *needed: str) -> dict[str, Any]:
    """A pickled dict with text for keys; UserError unless it has all that are needed."""
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}, not a dict with {needed[0]!r}")
    entries = {text(key): entry for key, entry in value.items()}
    if missing := [key for key in needed if key not in entries]:
        raise UserError(f"{path} has no {missing[0]!r} (it has {', '.join(sorted(entries)) or 'none'})")
    return entries
