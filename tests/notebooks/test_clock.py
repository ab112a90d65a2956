"""The clock says what is above its limit, and writes a reference only when asked to."""

import pytest

from anrot_lib.publish import times
from tests.notebooks.conftest import tool


@pytest.fixture
def clock(tmp_path, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    clock = tool("clock")
    monkeypatch.setattr(clock.build, "ENVIRONMENT", {})
    monkeypatch.setattr(clock, "measure_notebooks", lambda: {"00_a": 100.0, "01_b": 130.0, times.COURSE: 230.0})
    return clock


@pytest.mark.parametrize(("graded", "code"), [(100.0, 0), (130.0, 1)])
def test_the_course_and_the_grading_have_a_limit(clock, monkeypatch, capsys, graded, code):
    monkeypatch.setattr(clock, "measure_grading", lambda: {times.GRADED: graded})
    assert clock.main(["--reference"]) == code
    assert f"notebooks: 230 s, limit 240 s\ngrading: {graded:.0f} s, limit 120 s\n" in capsys.readouterr().out
    assert times.format_seconds("notebooks", "01_b") == "130 s"
    assert times.format_seconds("grading", times.GRADED) == f"{graded:.0f} s"


def test_a_run_is_no_reference_and_an_unknown_part_is_refused(clock, tmp_path, capsys):
    assert clock.main(["notebooks"]) == 0
    assert [path.parent.parent.name for path in tmp_path.rglob("*.json")] == ["runs"]
    assert clock.main(["sliders"]) == 2 and "cannot time sliders" in capsys.readouterr().err
