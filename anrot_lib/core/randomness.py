"""One root seed, and from it named, independent streams. Nothing here touches a global generator."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def make_stream_key(seed: int, name: str) -> int:
    """A 64-bit key of (root seed, stream name): the streams "episodes" and "attack" never share numbers."""
    digest = hashlib.sha256(f"{int(seed)}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def make_generator(seed: int, name: str, device: "str | torch.device" = "cpu") -> "torch.Generator":
    """A torch generator for the stream `name` ("init", "episodes", "augmentation", "noise", "attack", ...).

    Same seed, name and machine: same numbers. For numbers that must agree on every machine use `make_philox`.
    """
    import torch  # here, so that means and intervals can be computed where there is none

    return torch.Generator(device=device).manual_seed(make_stream_key(seed, name) & 0x7FFF_FFFF_FFFF_FFFF)


def make_philox(seed: int, name: str) -> np.random.Philox:
    """numpy's Philox bit generator for the stream `name`; its raw stream is promised stable across versions."""
    return np.random.Philox(key=make_stream_key(seed, name))


def draw_raw(seed: int, name: str, n: int) -> np.ndarray:
    """`n` raw 64-bit words (uint64) of a stream: the same on every machine and numpy version."""
    return make_philox(seed, name).random_raw(n)
