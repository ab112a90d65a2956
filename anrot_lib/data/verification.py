"""Are the pixels of a packed set those that were packed? Hashed once, then known by size and times of the files."""

import hashlib
import json
import time
from pathlib import Path

from anrot_lib.core import paths

FILES = ("images.npy", "set.json")
TICK = 0.1  # seconds: a change within them after the check may leave the times as they are


def is_verified(folder: Path, sha256: str) -> bool:
    """Whether these files, unchanged since, had this hash when they were checked."""
    try:
        noted = json.loads(_note(folder).read_text("utf-8"))
        same = noted["sha256"] == sha256 and noted["files"] == read_state(folder)
        return same and _settled(folder, float(noted["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def note_verified(folder: Path, sha256: str, state: dict[str, list[int]]) -> None:
    """Note that the files, whose state was `state` before they were hashed, have this hash."""
    now = time.time()
    if state == read_state(folder) and _settled(folder, now):
        try:
            paths.write_json(_note(folder), {"sha256": sha256, "files": state, "at": now})
        except OSError:  # a folder that cannot be written: the set is hashed again next time
            return


def read_state(folder: Path) -> dict[str, list[int]]:
    """What changes when one of a set's files is written: size, times and number of each."""
    infos = ((name, (folder / name).stat()) for name in FILES)
    return {name: [i.st_size, i.st_mtime_ns, i.st_ctime_ns, i.st_ino] for name, i in infos}


def _settled(folder: Path, at: float) -> bool:
    newest = max(max(times[1:3]) for times in read_state(folder).values())
    return bool(newest / 1e9 < at - TICK)


def _note(folder: Path) -> Path:
    name = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return paths.packed_dir() / ".verified" / f"{name}.json"
