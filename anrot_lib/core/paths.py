"""Where packed data, checkpoints and results live. Never derived from the working directory."""

import contextlib
import errno
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anrot_lib.core.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def root() -> Path:
    """`$ANROT_HOME` if set, else the checkout this package stands in, else the data folder of the user."""
    if home := os.environ.get("ANROT_HOME"):
        return Path(os.path.realpath(Path(home).expanduser()))  # which takes a link to itself, too
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


UNREACHABLE = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError, FileNotFoundError)


def is_unreachable(error: OSError) -> bool:
    """Whether an error says that a path, which it names, cannot be read or written: it is the user's to mend."""
    kinds = isinstance(error, UNREACHABLE) or error.errno in (errno.ELOOP, errno.ENAMETOOLONG)
    return kinds and error.filename is not None


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` only if the block succeeds.

    A reader therefore sees the old file or the new file, never half of one, whenever the process dies.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    locked = _lock(handle)
    if not locked:  # Windows renames no open file
        os.close(handle)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; these are to be shared
        temporary.replace(path)
    finally:
        if locked:
            os.close(handle)
        temporary.unlink(missing_ok=True)


@contextmanager
def fill_atomically(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, which is new or empty; rename it only if the block succeeds.

    Whatever goes wrong, a full disk for one, `folder` is as it was. What a killed process leaves is not removed.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp") as name:
        made = Path(name, folder.name)
        made.mkdir()
        yield made
        if folder.is_dir():
            folder.rmdir()
        made.rename(folder)


LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")
SECONDS_OF_A_WRITER, SECONDS_OF_ANY = 60, 24 * 3600


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed runs left in a folder: a writer that lives holds a lock on its own.

    Where files cannot be locked, those are removed that are older than a day. A file of the last minute always stays.
    """
    for path in list(folder.glob(".*.tmp")):
        with contextlib.suppress(OSError):  # another run may have removed or finished it meanwhile
            age = time.time() - path.stat().st_mtime
            if path.is_symlink() or not path.is_file() or not LEFTOVER.fullmatch(path.name):
                continue
            if age > SECONDS_OF_A_WRITER and _is_abandoned(path, age):
                path.unlink()


def _is_abandoned(path: Path, age: float) -> bool:
    with open(path, "rb") as file:
        locked = _lock(file.fileno())
    return age > SECONDS_OF_ANY if locked is None else locked


def _lock(handle: int) -> bool | None:
    """Lock an open file for as long as it is open; False if another process holds it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have none
        return None
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text, atomically, in UTF-8."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, "utf-8")


def refuse_other_file(path: Path, start: str, what: str) -> None:
    """UserError if a path is taken by anything but a file of the kind, which begins with `start`."""
    if not path.exists():
        return
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(start.encode())) == start.encode():
                return
    raise UserError(f"{path} is there already, holds no {what}, and is not overwritten; name another file")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically, with a final newline (the files are tracked by git)."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
