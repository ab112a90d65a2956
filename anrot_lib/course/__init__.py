"""The notebooks' helpers: the list of notebooks, sliders, exercises, and four small trained networks."""

from typing import TYPE_CHECKING

from anrot_lib.core.lazy import attach

if TYPE_CHECKING:
    from anrot_lib.course.exercises import check

__all__ = ["check"]

__getattr__, __dir__ = attach(__name__, __file__)
