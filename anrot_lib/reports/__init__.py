"""Tables and figures, drawn from result records."""

from typing import TYPE_CHECKING

from anrot_lib.core.lazy import attach

if TYPE_CHECKING:
    from anrot_lib.reports.comparison import Comparison, compare

__all__ = ["Comparison", "compare"]

__getattr__, __dir__ = attach(__name__, __file__)
