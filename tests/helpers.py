"""What tests of several rooms share."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch

PATIENCE = 900  # seconds until a process that never reaches the point of the kill counts as hung


class Killed(Exception):
    """Stands for a kill -9: nothing in the library catches it."""


def kill_at(step: int) -> Callable[..., None]:
    """A progress that is killed when so many steps are done."""

    def progress(done: int, *_: object) -> None:
        if done == step:
            raise Killed

    return progress


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(a: object, b: object) -> bool:
    """Equal nested dicts, lists, tensors and numbers, bit by bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def never(*_, **__):
    raise AssertionError("done again")


@contextmanager
def silent(title: str, total: int):
    """A progress display that shows nothing."""
    yield lambda *_: None


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "anrot_lib", *map(str, words)]


def kill_when(reached: Callable[[], object], home: Path, *words: object) -> None:
    """Start `anrot WORDS` and kill -9 it as soon as `reached()`; it must not have ended by itself before."""
    log = home / "stderr.txt"
    with open(log, "w") as stderr:
        environment = os.environ | {"ANROT_HOME": str(home)}
        process = subprocess.Popen(command(*words), env=environment, stdout=stderr, stderr=stderr)
        started = time.monotonic()
        try:
            while not reached():
                assert process.poll() is None, f"ended too early: {log.read_text()}"
                assert time.monotonic() - started < PATIENCE
                time.sleep(0.002)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL, "it was through before the kill"
