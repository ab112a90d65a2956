"""Decode the images of a Source into one file, block by block, so that a killed run can go on.

The work folder holds images.part (an .npy file whose header is still missing) and journal.jsonl: a
first line that says what is being packed, then a line for every block that is safely on disk. A new
run of the same packing cuts images.part back to the last whole block and continues from there.
"""

import contextlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

import numpy as np

from anrot_lib.core.errors import UserError
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.data import packed
from anrot_lib.data.readers.decode import BadImage, decode_counting
from anrot_lib.data.readers.items import Item, Source

COPIES = "copies.json"  # the screening's note in the work folder
BLOCK_IMAGES = 256  # written and logged together; bounds memory, and what a kill can cost
THREADS = min(4, os.cpu_count() or 1)  # PIL decodes outside of Python's lock

# called with images done, their total number, and an estimate of the seconds left
Progress = Callable[[int, int, float], None]


class Store(NamedTuple):
    """The open files of a packing."""

    images: BinaryIO
    journal: TextIO

    def add(self, blocks: list[dict[str, Any]], pixels: list[list[np.ndarray]]) -> None:
        """Write the images of some blocks, one after another, and then their lines."""
        for several in pixels:
            write(self.images, several)
        self.images.flush()
        os.fsync(self.images.fileno())  # the journal must never promise more than the disk holds
        self.journal.writelines(json.dumps(block) + "\n" for block in blocks)
        self.journal.flush()


@dataclass
class Packing:
    """How far a packing is: items[:done] are written, apart from the bad ones."""

    done: int = 0
    bad: dict[int, str] = field(default_factory=dict)  # item number -> why it cannot be read
    kinds: Counter[str] = field(default_factory=Counter)  # conversions that were needed

    @property
    def kept(self) -> int:
        return self.done - len(self.bad)

    def add(self, block: dict[str, Any]) -> None:
        self.done = int(block["done"])
        self.bad |= {int(number): str(reason) for number, reason in block["bad"]}
        self.kinds.update({str(kind): int(n) for kind, n in block["kinds"].items()})


def pack(
    source: Source, size: int, work: Path, key: str, progress: Progress | None = None, ranks: Ranks = ALONE
) -> Packing:
    """Write all readable images of a source to work/images.part, and say which ones are not.

    Args:    size: of the square images.   work: the folder to work in, made if need be.
             key: stands for the source and the options; another key in the journal starts over.
             ranks: the processes that share the decoding, a block each in turn; the first of them writes.
    Returns: the finished Packing. Row r of images.part is the r-th item that is not bad.
    Raises:  UserError if another process is packing there; OSError (disk full, no permission).
    """
    work.mkdir(parents=True, exist_ok=True)
    image_bytes = size * size * source.channels
    with contextlib.ExitStack() as stack:
        store = None
        if ranks.is_first:
            stack.enter_context(_alone(work))
            state = _resume(work, key, image_bytes)
            _check_space(work, (len(source.items) - state.done) * image_bytes)
            store = Store(
                stack.enter_context(open(work / "images.part", "r+b")),
                stack.enter_context(open(work / "journal.jsonl", "a")),
            )
            store.images.seek(packed.HEADER_BYTES + state.kept * image_bytes)
        state = ranks.gather(state if ranks.is_first else Packing())[0]
        _continue(source, size, state, store, progress, ranks)
    source.close()
    return state


def time_reading(source: Source, size: int, images: int = 128) -> tuple[float, dict[int, str], list[np.ndarray]]:
    """Seconds that one image takes to read and decode here, from some that are spread over the source; the bad ones;
    the pixels of the others."""
    numbers = range(0, len(source.items), max(1, len(source.items) // images))
    started = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        block, pixels = _decode_block(source, numbers, size, pool)
    source.close()
    return (time.monotonic() - started) / len(numbers), dict(block["bad"]), pixels


def finish(work: Path, shape: tuple[int, ...]) -> Path:
    """Give images.part its header, so that it is a whole .npy file; return its path."""
    path = work / "images.part"
    with open(path, "r+b") as file:
        file.write(packed.make_npy_header(shape))
    return path


def _continue(
    source: Source, size: int, state: Packing, store: Store | None, progress: Progress | None, ranks: Ranks
) -> None:
    start, first, total = time.monotonic(), state.done, len(source.items)
    with ThreadPoolExecutor(THREADS) as pool:
        while state.done < total:
            at = min(state.done + ranks.number * BLOCK_IMAGES, total)
            numbers = range(at, min(at + BLOCK_IMAGES, total))
            block, pixels = _decode_block(source, numbers, size, pool)
            several = ranks.gather(block)
            if store is not None:
                store.add(several, ranks.gather_first(pixels))
            else:
                ranks.gather_first(pixels)
            for block in several:
                state.add(block)
            if progress is not None:
                pace = (time.monotonic() - start) / (state.done - first)
                progress(state.done, total, pace * (total - state.done))


def write(file: BinaryIO, pixels: list[np.ndarray]) -> None:
    for image in pixels:
        file.write(image.data)


def _decode_block(source: Source, numbers: range, size: int, pool: Executor) -> tuple[dict[str, Any], list[np.ndarray]]:
    bad: list[tuple[int, str]] = []
    kinds: Counter[str] = Counter()
    pixels: list[np.ndarray] = []
    jobs = [_job(source, source.items[n], size) for n in numbers]
    for number, (image, note) in zip(numbers, pool.map(lambda job: job(), jobs), strict=True):
        if image is None:
            bad.append((number, note))
            continue
        pixels.append(image)
        kinds.update([note] if note else [])
    return {"done": numbers.stop, "bad": bad, "kinds": dict(kinds)}, pixels


def _job(source: Source, item: Item, size: int) -> Callable[[], tuple[np.ndarray | None, str]]:
    """A task for the pool. Files are read there; rows of arrays here, one file at a time."""
    raw = source.open(item) if item.row >= 0 and not item.problem else None

    def run() -> tuple[np.ndarray | None, str]:
        try:
            if item.problem:
                return None, item.problem
            encoded = source.open(item) if raw is None else raw
            return decode_counting(encoded, size, source.channels, item.turn)
        except BadImage as error:
            return None, str(error)
        except OSError as error:
            return None, f"it cannot be read: {error.strerror or error}"

    return run


def _resume(work: Path, key: str, image_bytes: int) -> Packing:
    """The state that journal and images agree on; both are cut back to it, or begun anew."""
    state, journal, images = Packing(), work / "journal.jsonl", work / "images.part"
    lines: list[dict[str, Any]] = []
    size = images.stat().st_size if images.is_file() else 0
    for line in _whole_lines(journal):
        if not lines and line != {"key": key}:
            break
        later = Packing(state.done, dict(state.bad), Counter(state.kinds))
        try:
            if lines:
                later.add(line)
        except (KeyError, TypeError, ValueError, AttributeError):  # not a line that this program wrote
            break
        if size < packed.HEADER_BYTES + later.kept * image_bytes:
            break
        state, lines = later, [*lines, line]
    if not lines:
        (work / COPIES).unlink(missing_ok=True)  # of copies among other images
    text = "".join(json.dumps(line) + "\n" for line in lines or [{"key": key}])
    journal.write_text(text, "utf-8")
    with open(images, "ab") as file:
        file.truncate(packed.HEADER_BYTES + state.kept * image_bytes if lines else 0)
        if not lines:
            file.write(b"\0" * packed.HEADER_BYTES)
    return state


def _whole_lines(journal: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal up to the first that was cut off."""
    if not journal.is_file():
        return
    for line in journal.read_text("utf-8", "replace").splitlines(keepends=True):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not line.endswith("\n") or not isinstance(value, dict):
            return
        yield value


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Keep a second process out for as long as this one packs; the system ends the lock with us."""
    try:
        import fcntl
    except ImportError:  # Windows: two packings of one set at once are not caught there
        yield
        return
    with open(work / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is packing in {work}; wait for it, or choose another name") from None
        yield


def _check_space(work: Path, needed: int) -> None:
    free = shutil.disk_usage(work).free
    if needed > free:
        raise UserError(
            f"the disk is full: {needed / 1e6:.0f} MB are needed in {work.parent}, "
            f"{free / 1e6:.0f} MB are free; make room, or choose a smaller size"
        )
