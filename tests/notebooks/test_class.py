"""A class: copies for students and teachers, and the grading of what comes back."""

import csv
import errno
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace

import nbformat
import pytest

from anrot_lib.cli import main
from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue, copies, grading
from anrot_lib.course.exercises.checking import Fill, Predict, get_exercises
from tests.notebooks.columns import find_wide_lines

CHECKING = "anrot_lib.course.exercises.checking"
NUMBERS = [number for notebook in catalogue.list_ready() for number in get_exercises(notebook.number)]


def write_notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)


def read_cells(folder):
    return {path.stem: nbformat.read(path, as_version=4).cells for path in sorted(folder.glob("*.ipynb"))}


@pytest.fixture(scope="module")
def handout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    assert main.main(["course", "build", "--student", str(folder / "s"), "--teacher", str(folder / "t")]) == 0
    return folder


def test_copies_that_a_full_disk_cuts_short_leave_no_half_of_a_folder(tmp_path, monkeypatch, capsys):
    """Half a folder would be refused by the next try, as one that holds a student's work."""
    write, left = paths.write_text, [3]

    def fill(path, text):
        left[0] -= 1
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, text)

    monkeypatch.setattr(paths, "write_text", fill)
    assert main.main(["course", "build", "--student", str(tmp_path / "s")]) == 2
    assert not list(tmp_path.iterdir())


def test_folders_of_gradings_that_were_killed_go_and_those_of_living_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {"old": gone.pid, "fresh": gone.pid, "living": os.getpid()}
    folders = {name: tmp_path / f"{grading.FOLDER}{number}-{name}" for name, number in names.items()}
    folders["strange"] = tmp_path / f"{grading.FOLDER}notes-x"
    for folder in folders.values():
        (folder / "deep").mkdir(parents=True)
        if "fresh" not in folder.name:
            os.utime(folder, (1, 1))
    grading.remove_abandoned()
    assert [name for name, folder in folders.items() if not folder.exists()] == ["old"]


def test_students_get_every_exercise_and_hint_and_no_solution(handout):
    books = read_cells(handout / "s")
    assert list(books) == [notebook.stem for notebook in catalogue.list_ready()]
    texts = "\n".join(cell.source for cells in books.values() for cell in cells)
    assert all(f'check("{number}", ' in texts for number in NUMBERS)
    assert "Solution</summary>" not in texts and texts.count("Hint 3</summary>") > 10
    fills = [e for n in catalogue.list_ready() for e in get_exercises(n.number).values() if isinstance(e, Fill)]
    assert not any(e.remark and e.remark in texts for e in fills)
    outputs = [cell.outputs for cells in books.values() for cell in cells if cell.cell_type == "code"]
    assert not any(outputs) and (handout / "s" / "README.md").is_file()


@pytest.mark.parametrize("copy", ["s", "t/notebooks"])
def test_no_line_of_code_in_a_copy_is_too_wide(handout, copy):
    cells = [cell for cells in read_cells(handout / copy).values() for cell in cells]
    assert len(cells) > 700
    assert [line for cell in cells for line in find_wide_lines(cell.source, cell.cell_type == "code")] == []


def test_what_the_teachers_copies_answer_passes(handout):
    verdicts, unread = grading.grade(handout / "t" / "notebooks", seconds=120)
    assert not unread and [v.exercise for v in verdicts if not v.passed] == []
    assert sorted(v.exercise for v in verdicts) == sorted(NUMBERS)


def test_a_key_names_each_answer_and_the_usual_mistakes(handout):
    key = (handout / "t" / "keys" / "03_adversarial_examples.md").read_text()
    for number, exercise in get_exercises(3).items():
        assert f"## {number}\n" in key
        if isinstance(exercise, Predict):
            assert f"**{exercise.solution}**" in key
        else:
            assert all(sentence in key for sentence in exercise.wrong)
    for part in ("03_adversarial_examples.html", "reveal/dist/reveal.js", "reveal/LICENSE"):
        assert (handout / "t" / "slides" / part).is_file()
    assert (handout / "t" / "lesson_plans.md").read_text().count("90 minutes")


def test_nothing_of_a_student_is_overwritten(handout, capsys):
    assert main.main(["course", "build", "--student", str(handout / "s")]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main.main(["course", "build"]) == 2


def test_each_kind_of_submission_gets_its_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    number = next(k for k, exercise in get_exercises(3).items() if isinstance(exercise, Fill))
    others = [k for k in get_exercises(3) if k != number]
    home, check = tmp_path / "in", f'check("{number}", f)'
    helper = f"from {CHECKING} import get_exercise\n\ndef helper():\n    return get_exercise('{number}').solution"
    write_notebook(home / "ada" / "03.ipynb", f"%matplotlib inline\n{helper}", "1 / 0", f"f = helper()\n{check}")
    write_notebook(home / "ben" / "03.ipynb", f"f = lambda *values: values[0]\n{check}")
    endless = f"def f(*values):\n    while True:\n        pass\n\n{check}"
    write_notebook(home / "cyd.ipynb", endless, f'check("{others[0]}", ...)')
    write_notebook(home / "dot.ipynb", f"import os\n\ndef f(*values):\n    os._exit(0)\n\n{check}")
    write_notebook(home / "eve.ipynb", f'check("{number}", value_of_another_cell)', "def f(:")
    (tmp_path / "in" / "fay.ipynb").write_text("{")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = main.main(["course", "grade", "in", "--seconds", "5", "--feedback", "words"])
    assert not list(tmp_path.glob(f"{grading.FOLDER}*")), "a folder of a submission is left"
    printed = capsys.readouterr().out
    assert code == 1 and "fay.ipynb is not a readable notebook" in printed
    with open("grades.csv") as file:
        rows = list(csv.DictReader(file))
    said = {row["submission"]: row for row in rows if row["exercise"] == number}
    assert said["ada/03"]["passed"] == "1" and sum(row["passed"] == "1" for row in rows) == 1
    assert said["ben/03"]["said"].startswith("not yet: ")
    assert "longer than 5 s" in said["cyd"]["said"] and "ends the process" in said["dot"]["said"]
    assert "value_of_another_cell" in said["eve"]["said"] and "values of theirs" in said["eve"]["said"]
    missing = {row["submission"]: row["said"] for row in rows if row["exercise"] == others[1]}
    assert missing["ada/03"] == "not handed in" and "cell 2 is no Python" in missing["eve"]
    assert next(row["said"] for row in rows if row["submission"] == "cyd" and row["exercise"] == others[0]) == (
        "not attempted yet"
    )
    assert "ada/03: 1 of" in (tmp_path / "words" / "ada" / "03.md").read_text()
    assert main.main(["course", "grade", "in"]) == 2 and "name it with --out" in capsys.readouterr().err


def test_plans_fill_90_minutes_and_name_exercises_with_the_minutes_of_their_titles():
    root = copies.find_notebooks()
    titles = "\n".join(cell.source for cells in read_cells(root).values() for cell in cells)
    minutes = {number: int(m) for number, m in re.findall(r"^### (\d+\.\d+) .*\((\d+) minutes", titles, re.MULTILINE)}
    lessons = (root.parent / "docs" / "lesson_plans.md").read_text().split("\n## ")[1:]
    assert len(lessons) == 4
    for lesson in lessons:
        rows = re.findall(r"^\| (\d+) \| .* \|(.*)\|$", lesson, re.MULTILINE)
        assert sum(int(given) for given, _ in rows) == 90
        for given, where in rows:
            named = re.findall(r"\d+\.\d+", where)
            assert sum(minutes[number] for number in named) <= int(given), where


def test_a_process_that_does_not_start_fails_its_own_submission_alone(tmp_path, monkeypatch, capsys):
    """The others are graded; the run says of that one that nobody looked at it, and why."""
    number = next(k for k, exercise in get_exercises(0).items() if isinstance(exercise, Predict))
    for name in ("ada", "ben", "cyd"):
        write_notebook(tmp_path / f"{name}.ipynb", f'check("{number}", {get_exercises(0)[number].solution!r})')
    context = multiprocessing.get_context("forkserver")

    class Refused(context.Process):
        def start(self):
            raise OSError("no more processes")

    def make(target, args, daemon):
        return (Refused if args[1].name == "ben" else context.Process)(target=target, args=args, daemon=daemon)

    stand_in = SimpleNamespace(Pipe=context.Pipe, Process=make, set_forkserver_preload=context.set_forkserver_preload)
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: stand_in)
    assert main.main(["course", "grade", str(tmp_path), "--out", str(tmp_path / "grades.csv"), "--workers", "1"]) == 1
    printed = capsys.readouterr().out
    assert f"ben: {grading.NOT_GRADED}: the process" in printed and "no more processes); grade it again" in printed
    with open(tmp_path / "grades.csv") as file:
        said = {row["submission"]: row["said"] for row in csv.DictReader(file) if row["exercise"] == number}
    assert said["ada"].startswith("passed") and said["cyd"].startswith("passed")
    assert said["ben"].startswith(f"{grading.NOT_GRADED}: the process")


def test_a_process_that_is_late_is_said_to_be(tmp_path, monkeypatch):
    write_notebook(tmp_path / "ada.ipynb", 'check("0.2", 100)')
    submission = grading.read_submission(tmp_path / "ada.ipynb", "ada")
    context = multiprocessing.get_context("fork")
    asleep = context.Process(target=time.sleep, args=(60,), daemon=True)
    late = SimpleNamespace(Pipe=context.Pipe, Process=lambda **options: asleep)
    monkeypatch.setattr(grading, "START_SECONDS", 0.1)
    verdicts = grading.grade_submission(submission, 5, late)
    assert "did not start within 0 s" in next(v.said for v in verdicts if v.exercise == "0.2")


def test_code_that_cannot_be_read_is_a_fault_of_its_cell(tmp_path):
    write_notebook(tmp_path / "ada.ipynb", 'check("0.2", 100)', "-" * 100_000 + "1")
    submission = grading.read_submission(tmp_path / "ada.ipynb", "ada")
    assert list(submission.answers) == ["0.2"] and submission.faults[0].startswith("cell 2 is no Python: ")


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_mistakes_are_one_sentence(tmp_path, capsys, what):
    if what == "empty":
        (tmp_path / what).mkdir()
    elif what == "file":
        (tmp_path / what).write_text("")
    assert main.main(["course", "grade", str(tmp_path / what), "--out", str(tmp_path / "g.csv")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["photo.jpg", "in/ada.ipynb", "in"])
def test_grades_replace_grades_and_nothing_else(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    write_notebook(tmp_path / "in" / "ada.ipynb", 'check("0.2", ...)')
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main.main(["course", "grade", "in", "--out", name]) == 2
    assert "holds no grades, and is not overwritten; name another file" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (tmp_path / "g.csv").write_text("submission,exercise,passed,said\nold,0.2,1,passed\n")
    assert main.main(["course", "grade", "in", "--out", "g.csv"]) == 0
    assert "old" not in (tmp_path / "g.csv").read_text()


def test_names_of_submissions_do_not_command_the_terminal(tmp_path, capsys):
    write_notebook(tmp_path / "in" / "\x1b[31mada.ipynb", 'check("0.2", ...)')
    assert main.main(["course", "grade", str(tmp_path / "in"), "--out", str(tmp_path / "\x1b[2Jg.csv")]) == 0
    printed = "".join(capsys.readouterr())
    assert "\\x1b[31mada" in printed and "\\x1b[2Jg.csv" in printed and "\x1b[31m" not in printed


def test_a_notebook_of_something_else_is_named(tmp_path):
    write_notebook(tmp_path / "a.ipynb", "x = 1")
    write_notebook(tmp_path / "b.ipynb", 'check("77.1", 1)')
    verdicts, unread = grading.grade(tmp_path)
    assert verdicts == [] and "answers no exercise" in unread[0] and "there is no notebook 77" in unread[1]
    with pytest.raises(UserError, match="no notebooks"):
        grading.find_submissions(tmp_path / "nothing")


@pytest.mark.slow
def test_a_class_of_forty_is_graded(handout, tmp_path):
    """Time is recorded by whoever runs it; what is asserted is that nothing is lost on the way."""
    source = (handout / "t" / "notebooks" / "03_adversarial_examples.ipynb").read_text()
    for k in range(40):
        (tmp_path / f"student-{k:02}.ipynb").write_text(source)
    started = time.perf_counter()
    verdicts, unread = grading.grade(tmp_path, seconds=120)
    print(f"40 submissions graded in {time.perf_counter() - started:.0f} s")
    assert not unread and len(verdicts) == 40 * len(get_exercises(3)) and all(v.passed for v in verdicts)
