"""The defects of the released code: what each does, a demo of seconds, and the test that would have caught it."""

from anrot_lib.audit.defects import (
    committed,
    demos_data,
    demos_distance,
    demos_levels,
    demos_ranking,
    demos_reconstruction,
    demos_training,
)
from anrot_lib.audit.defects.registry import (
    DEMOS,
    MEASUREMENTS,
    UNKNOWN,
    Defect,
    Measurement,
    Shown,
    list_defects,
    select_defects,
    show_defect,
)

__all__ = [
    "DEMOS",
    "MEASUREMENTS",
    "UNKNOWN",
    "Defect",
    "Measurement",
    "Shown",
    "committed",
    "demos_data",
    "demos_distance",
    "demos_levels",
    "demos_ranking",
    "demos_reconstruction",
    "demos_training",
    "list_defects",
    "select_defects",
    "show_defect",
]
