"""Common corruptions as one column of a record."""

import time
from collections.abc import Callable
from typing import Literal, cast

import numpy as np

from anrot_lib.core.progress import accumulate
from anrot_lib.core.resumable import Paused
from anrot_lib.data.episodes import EpisodeRows
from anrot_lib.experiments.setting import Setting
from anrot_lib.fewshot.corrupted import count_corrupted
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.records import results
from anrot_lib.records.journal import Journal
from anrot_lib.records.parts import ColumnRecord


def measure_corruptions(
    setting: Setting,
    evaluator: Evaluator,
    rows: EpisodeRows,
    name: str,
    which: str,
    journal: Journal,
    progress: Callable[[int], None],
) -> ColumnRecord:
    """All kinds and severities as one column: its counts are sums over them, its mean the mean over all.

    name, which: of the column, and which images are corrupted: query, support or both.
    """
    started, key = time.perf_counter(), f"{name} / 0"
    if key not in journal:
        counts = count_corrupted(evaluator, rows, setting.protocol.seed, which, accumulate(progress))
        kinds = {kind: values.tolist() for kind, values in counts.items()}
        journal[key] = {"kinds": kinds, "seconds": time.perf_counter() - started}
        if setting.pause():
            raise Paused
    queries = rows.query[0].size
    counted = {kind: np.array(values) for kind, values in journal[key]["kinds"].items()}
    correct = np.stack(list(counted.values())).sum((0, 1))
    means = {kind: [round(100 * float(v) / queries, 2) for v in values.mean(1)] for kind, values in counted.items()}
    changed = cast(Literal["query", "support", "both"], which)
    total = queries * sum(map(len, counted.values()))
    return results.make_column(correct, total, journal[key]["seconds"], kinds=means, changed=changed)
