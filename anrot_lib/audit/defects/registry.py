"""The list of defects, and what shows each: a demo of seconds, and for some a committed record."""

import dataclasses
import functools
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from anrot_lib.core.errors import UserError

Numbers = Mapping[str, float | int | str]
Demo = Callable[[], Numbers]

SYSTEMS = ("ANROT-HELANet", "MML", "RobDML")
UNKNOWN = "Whether the published numbers came from exactly this code is unknown."


@dataclass(frozen=True)
class Defect:
    """What a line of a release does, and what follows.

    id       "D1" to "D27" for ANROT-HELANet, "M..." for MML, "R..." for RobDML.
    place    file and line of the release, at the commits that `audit.published` names.
    guard    the node id of a test of this repository that would have caught it.
    needs    "" if the demo shows the whole effect, else what only trained nets can add.
    """

    id: str
    system: str
    place: str
    title: str
    does: str
    follows: str
    guard: str
    needs: str = ""


@dataclass(frozen=True)
class Measurement:
    """What committed records say of a defect: numbers by name, and the files they come from."""

    numbers: Numbers
    records: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """A defect after its demo: the numbers, what records add (None if there are none), seconds."""

    defect: Defect
    numbers: Numbers
    measurement: Measurement | None
    seconds: float = field(compare=False)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


DEMOS: dict[str, Demo] = {}
MEASUREMENTS: dict[str, Callable[[], Measurement | None]] = {}


def add_demo(name: str) -> Callable[[Demo], Demo]:
    """Register a function without arguments as the demo of a defect."""

    def register(demo: Demo) -> Demo:
        DEMOS[name] = demo
        return demo

    return register


@functools.cache
def list_defects() -> tuple[Defect, ...]:
    """All defects, in the order of their numbers."""
    content = tomllib.loads((files("anrot_lib.audit.defects") / "defects.toml").read_text("utf-8"))
    return tuple(Defect(**entry) for entry in content["defect"])


def select_defects(names: tuple[str, ...] = ()) -> list[Defect]:
    """Those of some ids or systems, in their order; all of them for (). UserError for a name that is neither."""
    wanted = {name.upper() for name in names}
    chosen = [d for d in list_defects() if not names or wanted & {d.id, d.system.upper()}]
    if unknown := wanted - {key for d in chosen for key in (d.id, d.system.upper())}:
        raise UserError(
            f"there is no defect {min(unknown)!r}; they are D1 to D27, M1 to M10 and R1 to R9, or all of "
            f"{', '.join(SYSTEMS)}"
        )
    return chosen


def show_defect(defect: Defect) -> Shown:
    """Run the demo of a defect and read what records say."""
    started = time.perf_counter()
    numbers = DEMOS[defect.id]()
    read = MEASUREMENTS.get(defect.id)
    return Shown(defect, numbers, read() if read else None, time.perf_counter() - started)
