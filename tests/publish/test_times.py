"""The times of the course: pages print what the records of bench hold."""

import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.publish import marks, times
from anrot_lib.records import results, timing

FIRST = catalogue.list_ready()[0]


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A data root with a reference record of the notebooks' times, and with one of a run that no page may print."""
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    seconds = {name: {"low": s, "median": s, "high": s} for name, s in ((FIRST.stem, 12.4), (times.COURSE, 199.6))}
    timing.write_timing("notebooks", "a notebook", {}, seconds, torch.device("cpu"), reference=True)
    other = {"x": {"low": 1.0, "median": 1.0, "high": 1.0}}
    timing.write_timing("grading", "graded", {}, other, torch.device("cpu"))
    return tmp_path


def test_a_reference_is_written_to_the_results_and_a_run_to_the_runs(recorded):
    written = sorted(path.relative_to(recorded).as_posix() for path in recorded.rglob("*.json"))
    assert written == ["results/bench/notebooks.json", "runs/bench/grading.json"]
    assert results.read(recorded / written[0], "timing")["what"] == "a notebook"


def test_notebooks_stand_under_their_titles_and_the_course_last(recorded):
    lines = marks.draw("notebook-times").splitlines()
    assert lines[2:] == [f"| 00 {FIRST.title} | 12 |", f"| {times.COURSE} | 200 |"]
    assert marks.draw(f"seconds notebooks {times.COURSE!r}", "number") == "200 s"


def test_the_slowest_is_the_largest_median_in_milliseconds(recorded):
    assert marks.draw("slowest notebooks", "number") == "199600 ms"


def test_what_is_missing_is_named(recorded):
    assert times.format_seconds("grading", "x") == times.format_slowest("grading") == times.NOT_TIMED
    with pytest.raises(UserError, match=f"has no 'all'; it has {FIRST.stem}, {times.COURSE}"):
        times.format_seconds("notebooks", "all")
