"""Where packed data, checkpoints and results live. Never derived from the working directory."""

import errno
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def root() -> Path:
    """`$ANROT_HOME` if set, else the checkout this package stands in, else the data folder of the user."""
    if home := os.environ.get("ANROT_HOME"):
        return Path(home).expanduser().resolve()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "anrot"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "anrot"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "anrot"


def raw_dir() -> Path:
    """Downloads, as they came."""
    return root() / "raw"


def packed_dir() -> Path:
    """Checked and packed image sets, one folder each."""
    return root() / "packed"


def checkpoints_dir() -> Path:
    return root() / "checkpoints"


def results_dir() -> Path:
    """Reference records, which README, site and notebooks print; a command writes them only for `--reference`."""
    return root() / "results"


def runs_dir() -> Path:
    """Records and figures of what users run. Not tracked by git."""
    return root() / "runs"


def records_dir(reference: bool = False) -> Path:
    """Where a command writes its records: `runs_dir`, or `results_dir` for a reference."""
    return results_dir() if reference else runs_dir()


LONGEST_NAME = 120  # letters; most file systems take 255 bytes
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>"/\\|?*]')  # in a file's name, on one system or another


def is_file_name(name: str) -> bool:
    """Whether a name is that of one file or folder everywhere: no separator, not hidden, not too long."""
    return bool(name.strip()) and len(name) <= LONGEST_NAME and not name.startswith(".") and not FORBIDDEN.search(name)


def make_file_stem(row: str) -> str:
    """The name of a row as a file's: "easyfsl:SimpleShot" is "easyfsl-SimpleShot", for Windows knows no colons.

    Any row gives the name of one file, never a path; where it had to be changed further, a digest keeps rows apart.
    """
    stem = row.replace(":", "-")
    if is_file_name(stem):
        return stem
    digest = hashlib.sha256(row.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    plain = FORBIDDEN.sub("-", stem).lstrip(". ")[: LONGEST_NAME - 20].rstrip(". ")
    return f"{plain or 'row'}-{digest}"


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk (or quota) is behind an error: torch raises an error whose cause is that of the system."""
    return error is not None and (
        getattr(error, "errno", None) in FULL or is_full(error.__cause__ or error.__context__)
    )


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` only if the block succeeds.

    A reader therefore sees the old file or the new file, never half of one, whenever the process dies.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; these are to be shared
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically, with a final newline (the files are tracked by git)."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
