"""Plant every fault, one at a time, each in a copy of the repository and a process of its own.

The heavy libraries are loaded once, before the processes are forked. A fault is killed if a test fails; one whose tests
pass, or end in any other way than a failed test, such as after the time limit, survives.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

sys.modules["tests"] = ModuleType("tests")  # not a package of that name that a library may have installed
sys.modules["tests"].__path__ = [str(Path(__file__).resolve().parents[1])]

from tests.faults import MOST_SURVIVORS, RECORD, ROOT, SCHEMA, Fault, list_faults  # noqa: E402

HEAVY = (
    "torch", "numpy", "scipy.special", "scipy.stats", "sklearn.cluster", "sklearn.metrics", "matplotlib.figure",
    "PIL.Image", "pytest", "hypothesis.strategies", "pytorch_metric_learning.losses",
)  # fmt: skip
LEFT_OUT = shutil.ignore_patterns("__pycache__", "runs", "checkpoints", "packed", "raw", "site", "*.egg-info")
COPIED = ("anrot_lib", "tests", "notebooks", "docs", "data")
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def make_copy(folder: Path) -> Path:
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=LEFT_OUT)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, folder / path.name)
    return folder


def run_tests(root: Path, tests: str, log: Path) -> None:
    """In a process of its own: pytest on a copy. Exit code 1 if a test failed."""
    with open(log, "w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        sys.stdout = sys.stderr = file
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "anrot_lib")]:
            del sys.modules[name]
        sys.path[:] = [str(root), *(path for path in sys.path if path not in ("", str(ROOT)))]
        os.chdir(root)
        import pytest

        code = pytest.main(["-x", "-q", "-rfE", "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests.split())])
        file.flush()
        os._exit(int(code))


class Slot:
    """One copy of the repository, and the fault that is in it now."""

    def __init__(self, folder: Path):
        self.root, self.log = make_copy(folder / "copy"), folder / "log"
        self.fault: Fault | None = None

    def start(self, fault: Fault, planted: bool = True) -> None:
        self.fault, self.started = fault, time.monotonic()
        if planted:
            (self.root / "anrot_lib" / fault.file).write_text(fault.plant(ROOT), "utf-8")
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=run_tests, args=(self.root, fault.tests, self.log))
        self.process.start()

    def finish(self, limit: float) -> dict[str, Any] | None:
        """What became of the fault; None while its tests run."""
        assert self.fault is not None
        seconds = time.monotonic() - self.started
        if self.process.is_alive() and seconds < limit:
            return None
        late = self.process.is_alive()
        if late:
            self.process.kill()
        self.process.join()
        output = self.log.read_text("utf-8", "replace")
        by = FAILED.search(output)
        killed = self.process.exitcode == 1 and by is not None and not late
        shutil.copy2(ROOT / "anrot_lib" / self.fault.file, self.root / "anrot_lib" / self.fault.file)
        return {
            "fault": self.fault.key,
            "tests": self.fault.tests,
            "killed": killed,
            "by": by[1].removeprefix("tests/") if killed and by is not None else None,
            "seconds": round(seconds, 1),
            **({} if killed else {"end": "time limit" if late else f"exit code {self.process.exitcode}"}),
        }


def write_record(record: Path, results: dict[str, dict[str, Any]], faults: Sequence[Fault]) -> None:
    """Atomically, in the order of the list; results of faults that are listed no more are left out."""
    rows = [results[fault.key] for fault in faults if fault.key in results]
    survivors = [row["fault"] for row in rows if not row["killed"]]
    content = {"schema": SCHEMA, "kind": "planted faults", "faults": len(rows), "survivors": survivors, "results": rows}
    temporary = record.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    temporary.replace(record)


def read_record(record: Path) -> dict[str, dict[str, Any]]:
    return {row["fault"]: row for row in json.loads(record.read_text("utf-8"))["results"]} if record.is_file() else {}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/faults", description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults whose file or text holds one of these words")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=240, help="seconds for the tests of one fault")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--changed", action="store_true", help="only those that the record does not show as killed")
    parser.add_argument("--sound", action="store_true", help="plant nothing: the same tests must all pass")
    args = parser.parse_args()
    faults, results = list_faults(), read_record(args.record)
    for fault in faults:
        fault.plant(ROOT)  # an outdated text stops here, before anything runs
    chosen = [f for f in faults if not args.words or any(word in f.key for word in args.words)]
    if args.changed:
        done = {key for key, row in results.items() if row["killed"]}
        chosen = [f for f in chosen if f.key not in done or results[f.key]["tests"] != f.tests]
    if args.sound:
        chosen = list({fault.tests: fault for fault in chosen}.values())
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in HEAVY:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        faulty = _run(chosen, [Slot(Path(folder) / str(k)) for k in range(args.workers)], args, results, faults)
    if args.sound:
        print(f"{len(chosen)} selections of tests without a fault, {faulty} red")
        return int(faulty > 0)
    survivors = [fault for fault in faults if not results.get(fault.key, {"killed": False})["killed"]]
    alive = [fault for fault in survivors if fault in chosen]
    print(f"{len(faults)} faults, {len(survivors)} without a red test, of these now:", *alive, sep="\n  ")
    return int(len(survivors) > MOST_SURVIVORS)


def _run(
    chosen: list[Fault],
    free: list[Slot],
    args: argparse.Namespace,
    results: dict[str, dict[str, Any]],
    faults: Sequence[Fault],
) -> int:
    """Run all; returns how many had a red test."""
    waiting, busy, red = chosen[::-1], [], 0
    while waiting or busy:
        while waiting and free:
            slot = free.pop()
            slot.start(waiting.pop(), planted=not args.sound)
            busy.append(slot)
        time.sleep(0.1)
        for slot in [*busy]:
            row = slot.finish(args.limit)
            if row is None:
                continue
            busy.remove(slot)
            free.append(slot)
            red += row["killed"]
            if not args.sound:
                results[row["fault"]] = row
                write_record(args.record, results, faults)
            print(f"{'red' if row['killed'] else 'GREEN'} {row['seconds']:6.1f} s  {row['fault'][:100]!r}", flush=True)
            if args.sound is row["killed"]:
                print(slot.log.read_text("utf-8", "replace")[-1500:] if args.sound or "4" in row["end"] else "")
    return red


if __name__ == "__main__":
    sys.exit(main())
