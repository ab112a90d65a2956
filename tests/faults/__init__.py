"""Planted faults: each is a small change that makes numbers wrong without a word, and must turn a named test red.

`python tests/faults` (or `make faults`) plants them one at a time in a copy of the repository and writes `record.json`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECORD, SCHEMA = HERE / "record.json", 1
MOST_SURVIVORS = 3


@dataclass(frozen=True)
class Fault:
    """A change of one place in a module.

    file   below anrot_lib.
    old    text that occurs once there; new: what is planted for it.
    tests  files below tests, or file::test, several with spaces between them.
    excuse why no test can see it; only for a fault that survives.
    """

    file: str
    old: str
    new: str
    tests: str
    excuse: str = ""

    @property
    def key(self) -> str:
        return f"{self.file}: {self.old} -> {self.new}"

    @property
    def room(self) -> str:
        return self.file.split("/")[0]

    def plant(self, root: Path) -> str:
        """The module's text with the fault. ValueError unless the old text occurs exactly once."""
        text = (root / "anrot_lib" / self.file).read_text("utf-8")
        if (n := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} holds {self.old!r} {n} times, not once")
        return text.replace(self.old, self.new)


def list_faults() -> list[Fault]:
    from tests.faults import catalogue

    return list(_read(catalogue.FAULTS))


def _read(rooms: dict[str, list[tuple[str, ...]]]) -> Iterator[Fault]:
    for file, rows in rooms.items():
        for old, new, tests, *excuse in rows:
            yield Fault(file, old, new, tests, *excuse)
