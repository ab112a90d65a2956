"""The journal of an unfinished evaluation: a killed run goes on with the next part."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from anrot_lib.core import paths
from anrot_lib.core.configs import make_key
from anrot_lib.core.ranks import ALONE, Ranks


def _describe_part(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": value, "digest": make_key(key, value)}


def _read_parts(lines: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Key and value of each line, up to the first that is not as it was written."""
    for line in lines:
        if not isinstance(line, dict) or {"key", "value", "digest"} - set(line):
            return
        if not isinstance(line["key"], str) or line["digest"] != make_key(line["key"], line["value"]):
            return
        yield line["key"], line["value"]


class Journal:
    """Finished parts of an unfinished evaluation, a JSON line each: `journal[key]` after a kill is what it was.

    Each line carries a digest of its part. A line that a kill cut short, or that is damaged, ends what is read. The
    first line names what the journal belongs to; one that belongs to something else starts empty.
    """

    def __init__(self, path: Path, belongs_to: Mapping[str, Any]):
        self.path = Path(path)
        self.parts: dict[str, Any] = {}
        belongs_to = json.loads(json.dumps(belongs_to))  # as it will be read: tuples are lists then
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self._read_lines()
        if lines and lines[0] == {"belongs_to": belongs_to}:
            self.parts = dict(_read_parts(lines[1:]))
        with paths.write_atomically(self.path) as temporary:  # without the cut line, so that appending is safe
            kept = [{"belongs_to": belongs_to}, *(_describe_part(k, v) for k, v in self.parts.items())]
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")

    def _read_lines(self) -> list[Any]:
        if not self.path.is_file():
            return []
        lines = []
        for text in self.path.read_bytes().splitlines():
            try:
                lines.append(json.loads(text))
            except (ValueError, RecursionError):
                break
        return lines

    def __contains__(self, key: str) -> bool:
        return key in self.parts

    def __getitem__(self, key: str) -> Any:
        return self.parts[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.parts[key] = value
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(_describe_part(key, value)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def name_journal(path: Path, number: int) -> Path:
    """The file in which process `number` keeps what it has finished of an evaluation; that of the first is `path`."""
    return path.with_name(f"{path.stem}-rank{number}{path.suffix}") if number else path


def list_journals(path: Path) -> list[Path]:
    """The journals of an evaluation that are there, those of processes of a former run among them."""
    others = sorted(p for p in path.parent.glob("*-rank*.jsonl") if p.name.startswith(f"{path.stem}-rank"))
    return [file for file in (path, *others) if file.is_file()]


def open_journal(path: Path, belongs_to: Mapping[str, Any], ranks: Ranks = ALONE) -> Journal:
    """The journal of this process; it knows the parts that any process has finished, now or in a former run."""
    journal = Journal(name_journal(path, ranks.number), belongs_to)
    if ranks.is_first:
        present = {name_journal(path, number) for number in range(ranks.count)}
        for other in set(list_journals(path)) - present:  # there were more processes
            for key, value in Journal(other, belongs_to).parts.items():
                journal[key] = value
    gather_parts(ranks, journal)
    return journal


def gather_parts(ranks: Ranks, journal: Journal) -> None:
    """Tell every process the parts that each has finished."""
    for parts in ranks.gather(dict(journal.parts)):
        journal.parts |= parts


def remove_journals(path: Path) -> None:
    """Remove the journals of an evaluation, whose record is written."""
    for file in list_journals(path):
        file.unlink()
