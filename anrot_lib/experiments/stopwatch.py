"""Timing a piece of work, for estimates."""

import time
from collections.abc import Callable

import torch


def time_work(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of some work, a GPU's part of it included."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
