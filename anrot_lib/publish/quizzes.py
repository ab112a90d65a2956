"""Questions of the notebooks on the site: an answer is checked in the page, by a few lines of plain script.

An exercise that asks for a value gets a field, or a button for each of the answers that its text offers. Exercises that
ask for a function need Python, and so stay in the notebooks.
"""

import html
import json
import re
from collections.abc import Sequence
from typing import Any

from anrot_lib.course.exercises.checking import Predict, get_exercise

CHECK = re.compile(r'^check\("(\d+\.\d+)", ', re.MULTILINE)
CHOICE = re.compile(r'`"([^"`]+)"`')


def attach_quizzes(book: dict[str, Any]) -> None:
    """Put a form behind every cell of a notebook that checks a value, ahead of the folded solution."""
    cells, asked = [], ""
    for cell in book["cells"]:
        source = "".join(cell["source"])
        cells.append(cell)
        if cell["cell_type"] == "markdown":
            asked = source
        elif (checked := CHECK.search(source)) and isinstance(exercise := get_exercise(checked[1]), Predict):
            form = write_form(checked[1], exercise, find_choices(checked[1], asked))
            cells.append({"cell_type": "markdown", "id": f"quiz-{len(cells)}", "metadata": {}, "source": form})
    book["cells"] = cells


def find_choices(number: str, text: str) -> list[str]:
    """The answers that the text of an exercise offers, in its order: what it names in quotation marks, as code."""
    return list(dict.fromkeys(CHOICE.findall(text.partition(f"### {number} ")[2])))


def write_form(number: str, exercise: Predict, choices: Sequence[str]) -> str:
    """HTML of a question's form; hidden until the script of the site finds it."""
    name = f"answer-{number.replace('.', '-')}"
    if isinstance(exercise.solution, str):
        quoted = [html.escape(choice) for choice in choices]
        fields = [f'<label><input type="radio" name="{name}" value="{c}"> {c}</label>' for c in quoted]
    else:
        fields = [f'<label>a number <input type="text" name="{name}" inputmode="decimal" autocomplete="off"></label>']
    known = {
        "solution": exercise.solution,
        "tolerance": exercise.tolerance,
        "passed": f"passed. {exercise.tell}",
        "hint": exercise.hint,
    }
    data = json.dumps(known).replace("<", "\\u003c")
    return (
        f'<form class="quiz" hidden><fieldset><legend>Your answer to {number}</legend>{"".join(fields)}'
        f'<button type="submit">Check</button></fieldset><p role="status"></p>'
        f'<script type="application/json">{data}</script></form>'
    )
