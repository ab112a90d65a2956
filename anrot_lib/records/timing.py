"""Timing variants side by side, and the record of it: seconds; only the ratios within one record say anything."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from anrot_lib.core import devices, paths
from anrot_lib.records import results, schema
from anrot_lib.records.describe import describe_run

# Settings of a record:
# "reference": the variant that the others are compared with, or variant -> its own; "reference_title": what to call it
# "limits": variant -> [variant, factor], what cannot be gone below
PEAK = "peak MiB above the features"  # variant -> MiB


def write_timing(name: str, what: str, settings: dict, seconds: dict, device: torch.device) -> Path:
    """Write a timing record to data/runs/bench/NAME.json, with the load that the machine had."""
    record = {
        "schema": schema.SCHEMA_VERSION,
        "kind": "timing",
        "what": what,
        "run": describe_run(devices.device_kind(device)),
        "settings": settings | {"load_average": round(os.getloadavg()[0], 2)},
        "seconds": seconds,
    }
    path = paths.runs_dir() / "bench" / f"{name}.json"
    results.write(path, record)
    return path


def interleave(variants: dict[str, Callable[[int], None]], repeats: int) -> dict[str, dict[str, float]]:
    """Median and quartiles of each variant, one repeat of each in turn, after one unmeasured round."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for k in range(repeats + 1):
        for name, once in variants.items():
            started = time.perf_counter()
            once(k)
            seconds[name].append(time.perf_counter() - started)
    return {
        name: dict(
            zip(("low", "median", "high"), (float(q) for q in np.quantile(s[1:], (0.25, 0.5, 0.75))), strict=True)
        )
        for name, s in seconds.items()
    }
