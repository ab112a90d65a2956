"""Timing variants side by side, and the record of it: seconds; only the ratios within one record say anything."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch

from anrot_lib.core import devices, paths
from anrot_lib.records import results
from anrot_lib.records.describe import describe_run
from anrot_lib.records.parts import QuartilesRecord, TimingSettingsRecord
from anrot_lib.records.schema import SCHEMA_VERSION, TimingRecord

PEAK: Final = "peak MiB above the features"  # the setting that holds variant -> MiB
Variants = Mapping[str, Callable[[int], object]]  # each is called with the number of the repeat


def write_timing(
    name: str,
    what: str,
    settings: TimingSettingsRecord,
    seconds: dict[str, QuartilesRecord],
    device: torch.device,
    reference: bool = False,
) -> Path:
    """Write a timing record to data/runs/bench/NAME.json, or of a reference to data/results/bench, with the load that
    the machine had.
    """
    record: TimingRecord = {
        "schema": SCHEMA_VERSION,
        "kind": "timing",
        "what": what,
        "run": describe_run(devices.describe_device(device)),
        "settings": {**settings, "load_average": round(os.getloadavg()[0], 2)},
        "seconds": seconds,
    }
    path = paths.records_dir(reference) / "bench" / f"{name}.json"
    results.write(path, record)
    return path


def interleave(
    variants: Variants, repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, QuartilesRecord]:
    """Median and quartiles of each variant, one repeat of each in turn, after one unmeasured round.

    clock  `time.process_time` counts what the processor did for this process, whatever else the machine does.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for k in range(repeats + 1):
        for name, once in variants.items():
            started = clock()
            once(k)
            seconds[name].append(clock() - started)
    return {name: _find_quartiles(measured[1:]) for name, measured in seconds.items()}


def scale_seconds(seconds: QuartilesRecord, factor: float) -> QuartilesRecord:
    """Seconds of a part, counted for the whole."""
    return {"low": seconds["low"] * factor, "median": seconds["median"] * factor, "high": seconds["high"] * factor}


def _find_quartiles(seconds: list[float]) -> QuartilesRecord:
    low, median, high = (float(q) for q in np.quantile(seconds, (0.25, 0.5, 0.75)))
    return {"low": low, "median": median, "high": high}
