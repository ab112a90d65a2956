"""Published claims: what is claimed, where, in which setting, and what its source leaves open. No measurement here."""

import functools
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal

from anrot_lib.core.errors import UserError

FILES = ("anrot.toml", "mml.toml", "robdml.toml")
SYSTEMS = ("ANROT-HELANet", "MML", "RobDML")


@dataclass(frozen=True)
class ClaimSetting:
    """What a record needs to be compared with a claim. None and () stand for what does not matter.

    kind      of the record: "accuracy", "ranking" or "reconstruction".
    data      the name of the image set, "" for any; `images` the number of all its images, `size` their side.
    rows      rows of a table that may stand for the claimed method, the best match first.
    column    the column of that row.
    row, eta  of a ranking model: its defence, the steps of the attack in its training.
    number    of a ranking model: "R@1" or "ERS".
    """

    kind: Literal["accuracy", "ranking", "reconstruction"]
    data: str
    size: int
    images: int | None = None
    way: int | None = None
    shot: int | None = None
    encoder: str | None = None
    rows: tuple[str, ...] = ()
    column: str = "clean"
    episodes: int | None = None
    row: str | None = None
    number: str | None = None
    backbone: str | None = None
    eta: int | None = None
    epochs: int | None = None
    divergence: str | None = None
    extractor: str | None = None
    test_images: int | None = None
    train_images: int | None = None


@dataclass(frozen=True)
class Claim:
    """One number, or one sentence without a number, that the authors of a system publish.

    value, half_width  as printed; None where none is.
    unstated           what the source does not say.
    needs              what a measurement in the same setting takes.
    derived            ids of two claims whose difference it is.
    """

    id: str
    system: str
    text: str
    source: str
    needs: str
    value: float | None = None
    half_width: float | None = None
    unit: str = ""
    setting: ClaimSetting | None = None
    unstated: tuple[str, ...] = field(default=())
    remark: str = ""
    derived: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        """The value as printed: "69.4 ± 0.3 %", or "-"."""
        if self.value is None:
            return "-"
        decimals = 2 if self.unit in ("FID", "points") else _count_decimals(self.value)
        spread = "" if self.half_width is None else f" ± {self.half_width:.{_count_decimals(self.half_width)}f}"
        return f"{self.value:.{decimals}f}{spread} {self.unit}".strip()


def _count_decimals(value: float) -> int:
    return len(f"{value:g}".partition(".")[2]) or 1


def _parse(entry: dict[str, Any]) -> Claim:
    fields = _make_tuples(entry)
    if "setting" in entry:
        fields["setting"] = ClaimSetting(**_make_tuples(entry["setting"]))
    return Claim(**fields)


def _make_tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


@functools.cache
def list_claims() -> tuple[Claim, ...]:
    """All claims, system by system."""
    folder = files("anrot_lib.audit.claims")
    entries = [e for name in FILES for e in tomllib.loads((folder / name).read_text("utf-8"))["claim"]]
    return tuple(_parse(entry) for entry in entries)


def select_claims(systems: tuple[str, ...] = ()) -> list[Claim]:
    """Those of some systems; all of them for (). UserError for an unknown system."""
    known = {system.lower(): system for system in SYSTEMS}
    if unknown := [system for system in systems if system.lower() not in known]:
        raise UserError(f"there are no claims of {unknown[0]!r}; choose from {', '.join(SYSTEMS)}")
    wanted = {known[system.lower()] for system in systems} or {*SYSTEMS}
    return [claim for claim in list_claims() if claim.system in wanted]
