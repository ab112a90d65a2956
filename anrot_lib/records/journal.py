"""The journal of an unfinished evaluation: a killed run goes on with the next part."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anrot_lib.core import paths


class Journal:
    """Finished parts of an unfinished evaluation, a JSON line each: `journal[key]` after a kill is what it was.

    A line that a kill cut short is ignored. The first line names what the journal belongs to; one that belongs to
    something else starts empty.
    """

    def __init__(self, path: Path, belongs_to: Mapping[str, Any]):
        self.path = Path(path)
        self.parts: dict[str, Any] = {}
        belongs_to = json.loads(json.dumps(belongs_to))  # as it will be read: tuples are lists then
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self._read_lines()
        if lines and lines[0] == {"belongs_to": belongs_to}:
            self.parts = {line["key"]: line["value"] for line in lines[1:]}
        with paths.write_atomically(self.path) as temporary:  # without the cut line, so that appending is safe
            kept = [{"belongs_to": belongs_to}, *({"key": k, "value": v} for k, v in self.parts.items())]
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")

    def _read_lines(self) -> list[Any]:
        if not self.path.is_file():
            return []
        lines = []
        for text in self.path.read_text("utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
        return lines

    def __contains__(self, key: str) -> bool:
        return key in self.parts

    def __getitem__(self, key: str) -> Any:
        return self.parts[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.parts[key] = value
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "value": value}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
