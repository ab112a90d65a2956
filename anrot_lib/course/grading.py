"""Grading: the answers of many submissions, each in a process of its own with a limit of time.

A submission is a notebook of the course as a student hands it in. Of its cells only what an answer needs is run:
imports and definitions of the whole notebook, and the cells that end in `check("3.1", answer)`. Figures, trainings and
printed lines are not run again, so that a class is graded in a minute or two.

A student's code runs with the rights of whoever grades: use an account or a container that has nothing to lose.
"""

import ast
import contextlib
import io
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from anrot_lib.core.errors import UserError
from anrot_lib.course.copies import read_notebook
from anrot_lib.course.exercises.checking import get_exercises, judge

START_SECONDS = 60.0  # for a process to import what it needs, on a busy machine
FOLDER = "anrot-grading-"  # where a submission runs: the beginning of its name
ABANDONED_SECONDS = 3600.0  # since which nothing has changed in such a folder
NOT_HANDED_IN, NOT_ATTEMPTED, NOT_GRADED = "not handed in", "not attempted yet", "not graded"
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Grade:
    """What became of one exercise of a submission. said: what `check` would print, without the number."""

    submission: str
    exercise: str
    said: str

    @property
    def passed(self) -> bool:
        return self.said.startswith("passed")


@dataclass(frozen=True)
class AnswerCell:
    """A cell that answers an exercise: its statements without the check, and the expression that was checked."""

    exercise: str
    statements: list[ast.stmt]
    expression: ast.expr


@dataclass(frozen=True)
class Submission:
    """A notebook that was handed in: definitions of all its cells, and its answers by exercise."""

    name: str
    definitions: list[ast.stmt]
    answers: dict[str, AnswerCell]
    faults: tuple[str, ...]


def find_submissions(folder: Path) -> list[Path]:
    """Notebooks in a folder and in folders within it, in order. UserError if there are none."""
    books = [path for path in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
    if not books:
        raise UserError(f"there are no notebooks in {folder}; a submission is a file NAME.ipynb")
    return books


def read_submission(path: Path, name: str) -> Submission:
    """The parts of a notebook that are run. UserError if the file is no notebook, or answers no exercise."""
    book = read_notebook(path)
    definitions: list[ast.stmt] = []
    answers: dict[str, AnswerCell] = {}
    faults = []
    for k, cell in enumerate(book.cells):
        if cell.cell_type != "code":
            continue
        try:
            statements = ast.parse(_drop_magics(cell.source)).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the last two: nested too deeply
            where = f"{error.msg} in line {error.lineno}" if isinstance(error, SyntaxError) else type(error).__name__
            faults.append(f"cell {k + 1} is no Python: {where}")
            continue
        checks = list(filter(None, map(_read_check, statements)))
        rest = [statement for statement in statements if _read_check(statement) is None]
        definitions += [statement for statement in rest if isinstance(statement, DEFINITIONS)]
        answers |= {number: AnswerCell(number, rest, expression) for number, expression in checks}
    if not answers and not faults:
        raise UserError(f'{path} answers no exercise: no cell has check("...", ...)')
    return Submission(name, definitions, answers, tuple(faults))


def _drop_magics(source: str) -> str:
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())


def _read_check(statement: ast.stmt) -> tuple[str, ast.expr] | None:
    """(exercise, expression) of a statement check("3.1", expression)."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "check"):
        return None
    match call.args:
        case [ast.Constant(value=str(number)), expression]:
            return number, expression
    return None


def judge_answers(submission: Submission, exercises: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(exercise, what `check` says) in order; runs the code of the submission in this process."""
    space: dict[str, Any] = {"__name__": "submission"}
    for statement in submission.definitions:
        with contextlib.suppress(Exception):  # a definition that fails is missed where an answer needs it
            _run([statement], space)
    for number in exercises:
        answer = submission.answers[number]
        try:
            _run(answer.statements, space)
            value = eval(compile(ast.Expression(answer.expression), "<answer>", "eval"), space)
            said = judge(number, value)
        except NotImplementedError:
            said = NOT_ATTEMPTED
        except NameError as error:
            said = f"not yet: {error}; an answer may use what other cells import and define, but no values of theirs"
        except Exception as error:
            said = f"not yet: the cell raises {type(error).__name__}: {error}"
        yield number, said


def _run(statements: list[ast.stmt], space: dict[str, Any]) -> None:
    exec(compile(ast.Module(list(statements), []), "<submission>", "exec"), space)


def _work(connection: Connection, submission: Submission, exercises: Sequence[str], folder: str) -> None:
    """In the process of a submission: every verdict as soon as it is known. It works in a folder that goes after it."""
    import torch

    torch.set_num_threads(1)
    os.chdir(folder)
    connection.send(None)  # the imports are done: the clock starts
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for verdict in judge_answers(submission, exercises):
            connection.send(verdict)
    connection.close()


def grade_submission(submission: Submission, seconds: float, context: BaseContext) -> list[Grade]:
    """The verdict of every exercise of the submission's notebooks, answered or not.

    seconds  that an answer may take. One that takes longer, or ends the process, fails; the others are judged.
    """
    said: dict[str, str] = {}
    left = list(submission.answers)
    while left:
        for number, text in _judge_in_process(submission, left, seconds, context):
            said[number] = text
        left = [number for number in left if number not in said]
    notebooks = sorted({int(number.split(".")[0]) for number in submission.answers})
    expected = [number for notebook in notebooks for number in get_exercises(notebook)]
    missing = "; ".join((NOT_HANDED_IN, *submission.faults))
    return [Grade(submission.name, number, said.get(number, missing)) for number in expected]


def _judge_in_process(
    submission: Submission, exercises: list[str], seconds: float, context: BaseContext
) -> Iterator[tuple[str, str]]:
    """Verdicts until one takes too long or the process ends; that one is said to have.

    A process that does not start tells nothing of an answer: none of them is graded, and that is said of each.
    """
    here, there = context.Pipe()
    prefix = f"{FOLDER}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        process = context.Process(  # type: ignore[attr-defined]
            target=_work, args=(there, submission, exercises, folder), daemon=True
        )
        done, fault = 0, _start(process, here, there)
        try:
            if fault:
                yield from ((number, f"{NOT_GRADED}: {fault}") for number in exercises)
                return
            while done < len(exercises):
                if not here.poll(seconds):
                    yield exercises[done], f"not yet: it takes longer than {seconds:g} s"
                    return
                yield here.recv()
                done += 1
        except EOFError:
            yield exercises[done], "not yet: it ends the process that runs it"
        finally:
            if process.pid is not None:
                process.kill()
                process.join()


def _start(process: BaseProcess, here: Connection, there: Connection) -> str:
    """Start a process and wait until it is ready to run answers; why it did not start, or nothing."""
    try:
        process.start()
        there.close()
        if not here.poll(START_SECONDS):
            return f"the process that runs it did not start within {START_SECONDS:.0f} s"
        here.recv()
    except (OSError, EOFError, RecursionError) as error:  # no memory, no file handles, code nested too deeply
        return f"the process that runs it did not start ({type(error).__name__}: {error})"
    return ""


def remove_abandoned() -> None:
    """Remove the folders that killed gradings left behind: their process is gone, and they are an hour old."""
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        number = path.name.removeprefix(FOLDER).partition("-")[0]
        with contextlib.suppress(OSError):  # another grading may have removed it, or it is another user's
            old = time.time() - path.stat().st_mtime > ABANDONED_SECONDS
            if old and path.is_dir() and not path.is_symlink() and number.isdecimal() and not is_running(int(number)):
                shutil.rmtree(path, ignore_errors=True)


def is_running(process: int) -> bool:
    """Whether there is a process of this number, of whatever user; True where that cannot be asked."""
    if os.name != "posix":  # elsewhere the signal 0 means something
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def grade(
    folder: Path, seconds: float = 20.0, workers: int | None = None, progress: Callable[[int], None] | None = None
) -> tuple[list[Grade], list[str]]:
    """Verdicts of all submissions in a folder, and a sentence for each one that could not be read or graded.

    A submission is called as its file, from that folder on. workers: submissions at a time; None: one a core.
    """
    remove_abandoned()
    submissions, ungraded = [], list[str]()
    for path in find_submissions(folder):
        try:
            submission = read_submission(path, path.relative_to(folder).as_posix().removesuffix(".ipynb"))
            for number in {int(number.split(".")[0]) for number in submission.answers}:
                get_exercises(number)  # UserError for a notebook that the course does not have
            submissions.append(submission)
        except UserError as error:
            ungraded.append(str(error))
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["torch", __name__])  # imported once, for all submissions
    verdicts: list[Grade] = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for k, part in enumerate(pool.map(lambda s: grade_submission(s, seconds, context), submissions), 1):
            verdicts += part
            if said := next((verdict.said for verdict in part if verdict.said.startswith(NOT_GRADED)), ""):
                ungraded.append(f"{part[0].submission}: {said}; grade it again")
            if progress is not None:
                progress(k)
    return verdicts, ungraded
