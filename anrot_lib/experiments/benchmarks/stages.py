"""A stage of work in a fresh process: seconds of the clock and of the processor, and the memory that it held."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

from anrot_lib.core import devices

TICK = 0.02  # seconds between two looks at the memory


class Stage(NamedTuple):
    result: Any
    minutes: float
    seconds: float  # of the processor, children included
    peak_gib: float  # held, without mapped files, which the system takes back when it needs room


def run_stage(work: Callable[..., Any], *arguments: Any) -> Stage:
    """Call a function of a module in a process of its own, and measure it. Its errors come back."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=devices.flush_denormals) as pool:
        return pool.submit(_measure, work, *arguments).result()


def _measure(work: Callable[..., Any], *arguments: Any) -> Stage:
    peak, done = [_read_held()], threading.Event()

    def watch() -> None:
        while not done.wait(TICK):
            peak[0] = max(peak[0], _read_held())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started, before = time.perf_counter(), sum(os.times()[:4])
    try:
        result = work(*arguments)
    finally:
        done.set()
        watcher.join()
    minutes = (time.perf_counter() - started) / 60
    return Stage(result, minutes, sum(os.times()[:4]) - before, max(peak[0], _read_held()))


def _read_held() -> float:
    """GiB that this process holds, without mapped files; where that cannot be known, the peak with them, or 0."""
    held = devices.read_memory_status("RssAnon")
    return held / 2**30 if held is not None else devices.measure_peak_memory() or 0.0
