"""Image sets that ship with the package: a cut of Omniglot, and the synthetic figures by their name."""

from typing import TYPE_CHECKING

from anrot_lib.core.lazy import attach

if TYPE_CHECKING:
    from anrot_lib.data.embedded.names import open_embedded

__all__ = ["open_embedded"]

__getattr__, __dir__ = attach(__name__, __file__)
