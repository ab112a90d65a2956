"""Copies of the notebooks for a class: for students without solutions, for teachers with every answer filled in."""

import ast
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anrot_lib.core import packages, paths
from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.course.exercises.checking import Fill, Predict, get_exercise, get_exercises

SOLUTION = re.compile(r"\n*<details><summary>Solution</summary>.*?</details>\n*", re.DOTALL)
CHECK = re.compile(r'^check\("(\d+\.\d+)", (.+)\)$', re.MULTILINE)

STUDENT_PAGE = """# The course, for students

Open the notebooks in order: `jupyter lab {first}`. Each exercise is checked by the cell that you write in: a wrong
answer gets a counter-example. Hints fold out below the exercise.

Hand in the notebooks as they are, under their names, in a folder of your own. What is graded are the cells that end in
`check(...)`, with the imports and functions of all cells: an answer must not need values that another cell computed.
"""


def remove_solutions(text: str) -> str:
    """Markdown without its folded solutions; hints stay."""
    return SOLUTION.sub("\n\n", text).strip("\n")


def fill_in_answer(source: str) -> str:
    """The source of a cell that checks an exercise, with the right answer in place of the reader's.

    A function becomes the solution of the exercise; its source stands folded out below the cell.
    """
    match = CHECK.search(source)
    if match is None:
        return source
    number, answer = match[1], match[2]
    exercise = get_exercise(number)
    is_value = isinstance(exercise, Predict)
    solution = repr(exercise.solution) if is_value else f'get_exercise("{number}").solution'
    named = isinstance(ast.parse(answer, mode="eval").body, ast.Name)
    lines = [] if is_value else ["from anrot_lib.course.exercises.checking import get_exercise", ""]
    lines += [f"{answer} = {solution}", ""] if named else []
    lines.append(f'check("{number}", {answer if named else solution})')
    return "\n".join(lines) + source[match.end() :]


def write_key(notebook: catalogue.Notebook) -> str:
    """Markdown: of every exercise of a notebook the answer, and the usual mistakes with what `check` says of them."""
    parts = [f"# Key to {notebook.number:02d} {notebook.title}"]
    for number, exercise in get_exercises(notebook.number).items():
        parts.append(f"## {number}")
        if isinstance(exercise, Fill):
            parts.append(f"```python\n{inspect.getsource(exercise.solution).strip()}\n```")
            parts += [exercise.remark] * bool(exercise.remark)
            parts.append("Usual mistakes:\n\n" + "\n".join(f"- {said}" for said in exercise.wrong))
        else:
            parts.append(f"**{exercise.solution}**. {exercise.tell}")
            parts.append(f"After a wrong answer: {exercise.hint}")
    return "\n\n".join(parts) + "\n"


def find_notebooks() -> Path:
    """The folder of the notebooks in the checkout. UserError if there is none."""
    folder = Path(__file__).resolve().parents[2] / "notebooks"
    if not (folder / f"{catalogue.list_ready()[0].stem}.ipynb").is_file():
        raise UserError("the notebooks stand in a checkout of this kit; run this in one")
    return folder


def refuse_filled(folder: Path) -> None:
    """UserError for a folder that holds something: a student's work could be among it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; name a new folder, nothing is overwritten")


def read_notebook(path: Path) -> Any:
    """A notebook file as nbformat has it. UserError if that is not installed, or the file is no notebook."""
    packages.check_packages("notebooks need", ("nbformat",), "course")
    import nbformat

    try:
        return nbformat.read(path, 4)  # type: ignore[no-untyped-call]
    except Exception as error:  # a cut file makes the reader raise nearly anything
        raise UserError(f"{path} is not a readable notebook ({type(error).__name__})") from error


def _write_notebooks(folder: Path, change: Callable[[Any], None]) -> None:
    source = find_notebooks()
    for notebook in catalogue.list_ready():
        book = read_notebook(source / f"{notebook.stem}.ipynb")
        for cell in book.cells:
            if cell.cell_type == "code":
                cell["outputs"], cell["execution_count"] = [], None
            change(cell)
        paths.write_text(folder / f"{notebook.stem}.ipynb", f"{json.dumps(book, indent=1, ensure_ascii=False)}\n")


def build_student(folder: Path) -> None:
    """Write the notebooks without outputs and solutions, and a page that says how to hand them in."""
    refuse_filled(folder)

    def change(cell: Any) -> None:
        if cell.cell_type == "markdown":
            cell["source"] = remove_solutions(cell.source)

    _write_notebooks(folder, change)
    first = f"{catalogue.list_ready()[0].stem}.ipynb"
    paths.write_text(folder / "README.md", STUDENT_PAGE.format(first=first))


def build_teacher(folder: Path) -> None:
    """Write the notebooks with every answer filled in, a key to each, and the lesson plans."""
    refuse_filled(folder)

    def change(cell: Any) -> None:
        if cell.cell_type == "code":
            cell["source"] = fill_in_answer(cell.source)
        else:
            cell["source"] = cell.source.replace("<details><summary>Solution", "<details open><summary>Solution")

    _write_notebooks(folder / "notebooks", change)
    for notebook in catalogue.list_ready():
        paths.write_text(folder / "keys" / f"{notebook.stem}.md", write_key(notebook))
    plans = find_notebooks().parent / "docs" / "lesson_plans.md"
    paths.write_text(folder / "lesson_plans.md", plans.read_text("utf-8"))
