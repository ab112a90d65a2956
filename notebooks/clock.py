"""Time what a teacher waits for: `OMP_NUM_THREADS=1 python notebooks/clock.py [--reference] [notebooks] [grading]`.

notebooks  each is run at smoke in a kernel of its own; what counts is the processor time of the kernel, with imports,
           and the sum over the course.
grading    40 submissions of 03 with right answers, copied from the teachers' notebooks; the seconds of the clock.

Records go to bench/notebooks.json and bench/grading.json in data/runs, with --reference in data/results. The exit code
is 1 if the sum or the grading is above its limit.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import build

from anrot_lib.course import catalogue, copies, grading
from anrot_lib.publish.times import COURSE, GRADED
from anrot_lib.records import timing
from anrot_lib.records.parts import QuartilesRecord

SUBMISSIONS, SUBMITTED = 40, 3
LONGEST = {"notebooks": 240.0, "grading": 120.0}  # seconds: of the course, of the grading


def measure_notebook(notebook: catalogue.Notebook) -> float:
    """Processor seconds of the kernel that runs a notebook."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    client = NotebookClient(build.from_source(notebook), timeout=600, resources={"metadata": {"path": str(HERE)}})
    client.execute()  # waits for the end of the kernel
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_notebooks() -> dict[str, float]:
    found: dict[str, float] = {}
    for notebook in catalogue.list_ready():
        found[notebook.stem] = measure_notebook(notebook)
        print(f"{notebook.stem}: {found[notebook.stem]:.1f} s", flush=True)
    return found | {COURSE: sum(found.values())}


def measure_grading() -> dict[str, float]:
    """Seconds of the clock for grading a class that handed in one notebook. AssertionError if an answer fails."""
    with tempfile.TemporaryDirectory() as folder:
        copies.build_teacher(Path(folder, "key"))
        (source,) = Path(folder, "key", "notebooks").glob(f"{SUBMITTED:02d}_*.ipynb")
        handed_in = Path(folder, "handed in")
        handed_in.mkdir()
        for k in range(SUBMISSIONS):
            (handed_in / f"student-{k:02d}.ipynb").write_bytes(source.read_bytes())
        started = time.perf_counter()
        verdicts, ungraded = grading.grade(handed_in, seconds=120)
        seconds = time.perf_counter() - started
    assert verdicts and not ungraded and all(verdict.passed for verdict in verdicts)
    return {GRADED: seconds}


def main(arguments: list[str]) -> int:
    os.environ.update(build.ENVIRONMENT)
    parts = {"notebooks": measure_notebooks, "grading": measure_grading}
    titles = {
        "notebooks": "a notebook at smoke, processor time of its kernel",
        "grading": f"{SUBMISSIONS} submissions of one notebook, graded",
    }
    chosen = [argument for argument in arguments if argument != "--reference"] or list(parts)
    if unknown := set(chosen) - set(parts):
        print(f"cannot time {', '.join(sorted(unknown))}; known: {', '.join(parts)}", file=sys.stderr)
        return 2
    code = 0
    for name in chosen:
        found = parts[name]()
        seconds: dict[str, QuartilesRecord] = {key: {"low": s, "median": s, "high": s} for key, s in found.items()}
        timing.write_timing(name, titles[name], {}, seconds, torch.device("cpu"), "--reference" in arguments)
        last = list(found.values())[-1]
        print(f"{name}: {last:.0f} s, limit {LONGEST[name]:.0f} s")
        code |= last > LONGEST[name]
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
