"""Means over trainings with several seeds."""

import numpy as np
import pytest

from anrot_lib.core.statistics import compute_t_quantile
from anrot_lib.reports import seeds
from tests.reports.test_tables import record

RECORDS = [record("anrot"), record("anrot-seed1", 2), record("anrot-seed2", 7), record("prototypes")]


def test_the_interval_is_over_trainings_and_not_over_episodes():
    headings, rows = seeds.make_table(RECORDS)
    assert headings[:3] == ["mean over seeds ± 95 % interval (standard deviation)", "seeds", "clean"]
    means = np.array([r["columns"]["clean"]["mean"] for r in RECORDS[:3]])
    half = compute_t_quantile(3) * means.std(ddof=1) / 3**0.5
    assert rows[0][:3] == [
        "ANROT, trained on the mixture",
        "3",
        f"{means.mean():.1f} ± {half:.1f} ({means.std(ddof=1):.1f})",
    ]
    assert half == pytest.approx(4.302653 * means.std(ddof=1) / 3**0.5, rel=1e-5)
    assert len(rows) == 1, "a method of one seed has no such interval"


def test_a_main_table_has_one_row_a_method():
    assert [r["row"] for r in seeds.select_first_seeds(RECORDS)] == ["anrot", "prototypes"]
