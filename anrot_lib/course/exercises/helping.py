"""What stands folded below an exercise: its hints and its solution, written into the notebooks when they are built."""

import inspect
import re

from anrot_lib.core.errors import UserError
from anrot_lib.course.exercises.checking import Fill, get_exercise

MARK = re.compile(r"<!-- help ([0-9]+\.[0-9]+) -->")


def fill_in_help(text: str) -> str:
    """The text with each mark `<!-- help 3.1 -->` replaced by the three hints and the solution of that exercise."""
    return MARK.sub(lambda mark: write_help(mark[1]), text)


def write_help(number: str) -> str:
    """Markdown: three hints and the solution, each folded. UserError for one that is predicted, which has no hints."""
    exercise = get_exercise(number)
    if not isinstance(exercise, Fill):
        raise UserError(f"exercise {number} asks for no function; write what is to be known of it into the notebook")
    code = f"```python\n{inspect.getsource(exercise.solution).strip()}\n```"
    folded = {f"Hint {k}": hint for k, hint in enumerate(exercise.hints, 1)}
    folded["Solution"] = "\n\n".join(filter(None, (code, exercise.remark)))
    return "\n".join(f"<details><summary>{title}</summary>\n\n{text}\n\n</details>" for title, text in folded.items())
