"""How many images go through the encoder at once, and blocks of a long row of things."""

from collections.abc import Iterator

import torch

IMAGES_PER_PASS = 256  # at most; results do not depend on it beyond rounding
PIXELS_PER_PASS = 256 * 32**2  # on a CPU; more are no faster there and hold more memory

LOGITS_PER_PASS = 3000  # of one episode: few enough to be scored in a CPU's caches
EPISODES_PER_PASS = 32  # of so few logits that starting the work takes longer than the work, and at most
LOGITS_TOGETHER = 12_000  # of all of these


def count_images_per_pass(size: int, device: torch.device | str) -> int:
    """How many images of side `size` go through the encoder at once: 256 on a GPU or at 32 px, 37 at 84 px on a CPU."""
    few = PIXELS_PER_PASS // size**2 if torch.device(device).type == "cpu" else IMAGES_PER_PASS
    return max(1, min(few, IMAGES_PER_PASS))


def count_episodes_per_pass(queries: int, way: int) -> int:
    """How many episodes are scored together: 32, or fewer where they have many queries or ways."""
    return max(1, min(EPISODES_PER_PASS, LOGITS_TOGETHER // (queries * way)))


def count_queries_per_pass(way: int) -> int:
    """How many queries of an episode are scored together: 600 at 5 ways, 37 at 80."""
    return max(1, LOGITS_PER_PASS // way)


def cut_blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(at, min(at + size, n)) for at in range(0, n, size))
