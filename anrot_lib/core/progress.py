"""Progress bars with an estimate, and short paths."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from tqdm import tqdm

from anrot_lib.core.errors import escape_control

# Smooth in a terminal; in a log file one line every half minute.
BAR: dict[str, Any] = {"dynamic_ncols": True, "mininterval": 0.1 if sys.stderr.isatty() else 30}


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar with an estimate; called with (done, numbers to show, another total where that changes)."""
    with tqdm(total=total, desc=escape_control(title), **BAR) as shown:

        def update(done: int, numbers: dict[str, Any] | None = None, total: int | None = None) -> None:
            shown.total = total or shown.total
            if numbers:
                shown.set_postfix(
                    {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in numbers.items()}, refresh=False
                )
            shown.update(done - shown.n)

        yield update


@contextmanager
def no_bar(title: str, total: int) -> Iterator[Callable[..., None]]:
    """What shows no progress: for processes beside the first."""
    yield lambda done, numbers=None, total=None: None


@contextmanager
def counting_bar(title: str) -> Iterator[Callable[..., None]]:
    """A bar whose total is known with the first call: (done, total, ...)."""
    with tqdm(desc=title, unit="image", **BAR) as shown:

        def update(done: int, total: int, *_: Any) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield update


def shorten(path: Path) -> str:
    """The path relative to the current folder if it lies below, else whole; escaped, to be printed."""
    here = Path.cwd()
    return escape_control(str(path.relative_to(here) if path.is_relative_to(here) else path))


class Progress(Interface):
    """What shows progress: `bar(title, total)` gives a context whose value is called with (done, numbers)."""

    def __call__(self, title: str, total: int) -> AbstractContextManager[Callable[..., None]]: ...


def accumulate(progress: Callable[[int], None]) -> Callable[[int], None]:
    """A function that takes the number of new steps and calls `progress` with their sum so far."""
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress(done)

    return step
