"""How work grows with its size: the record of it, and the exponent."""

import os
from pathlib import Path

import numpy as np
import torch

from anrot_lib.core import devices, paths
from anrot_lib.records import results
from anrot_lib.records.describe import describe_run
from anrot_lib.records.parts import GrowthAboutRecord, GrowthRowRecord
from anrot_lib.records.schema import SCHEMA_VERSION, GrowthRecord


def fit_exponent(sizes: list[int], seconds: list[float]) -> float:
    """The slope of the least-squares line through (log size, log seconds): 1 for work that doubles with its size."""
    x, y = np.log(sizes), np.log(np.maximum(seconds, 1e-9))
    return float(((x - x.mean()) * (y - y.mean())).sum() / np.square(x - x.mean()).sum())


def make_row(unit: str, sizes: list[int], seconds: list[float]) -> GrowthRowRecord:
    return {"unit": unit, "sizes": sizes, "seconds": seconds, "exponent": round(fit_exponent(sizes, seconds), 3)}


def write_growth(name: str, what: str, settings: GrowthAboutRecord, rows: dict[str, GrowthRowRecord]) -> Path:
    """Write a growth record to data/runs/bench/NAME.json, with the load that the machine had."""
    record: GrowthRecord = {
        "schema": SCHEMA_VERSION,
        "kind": "growth",
        "what": what,
        "run": describe_run(devices.describe_device(torch.device("cpu"))),
        "settings": {**settings, "load_average": round(os.getloadavg()[0], 2)},
        "rows": rows,
    }
    path = paths.runs_dir() / "bench" / f"{name}.json"
    results.write(path, record)
    return path
