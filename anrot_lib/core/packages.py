"""Optional packages: whether they are there, and what to say where they are not."""

from collections.abc import Sequence
from importlib.util import find_spec

from anrot_lib.core.errors import UserError


def check_packages(what: str, names: Sequence[str], extra: str) -> None:
    """UserError if one of some packages is missing, which the extra of this kit installs. what: "slides need"."""
    if missing := [name for name in names if find_spec(name) is None]:
        raise UserError(f"{what} {' and '.join(missing)}: pip install 'anrot-lib[{extra}]'")
