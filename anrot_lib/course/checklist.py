"""The reviewer's checklist as a form: verdict and note for each question, saved to a file that the reader names."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.course import lesson
from anrot_lib.reports.review import QUESTIONS

OPEN, VERDICTS = "open", ("open", "yes", "in part", "no", "does not apply")
SUFFIXES = (".md", ".json")


@dataclass(frozen=True)
class Answer:
    """What a reader says to one question."""

    question: str
    verdict: str = OPEN
    note: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise UserError(f"unknown verdict {self.verdict!r}; choose one of {', '.join(VERDICTS)}")


@dataclass(frozen=True)
class Checklist:
    """Answers about one paper. `set_answer` gives a changed copy; `save` writes Markdown or JSON."""

    paper: str = ""
    answers: tuple[Answer, ...] = tuple(Answer(question) for question in QUESTIONS)

    def set_answer(self, number: int, verdict: str, note: str = "") -> "Checklist":
        """A copy with another answer to question `number`, counted from 1. UserError for a number that there is not."""
        if not 1 <= number <= len(self.answers):
            raise UserError(f"the questions are numbered from 1 to {len(self.answers)}, got {number}")
        changed = replace(self.answers[number - 1], verdict=verdict, note=note)
        return replace(self, answers=(*self.answers[: number - 1], changed, *self.answers[number:]))

    def count(self, verdict: str) -> int:
        return sum(answer.verdict == verdict for answer in self.answers)

    def write_markdown(self) -> str:
        """The whole list: a box that is ticked for "yes", the verdict, and the note below."""
        counts = ", ".join(f"{self.count(verdict)} {verdict}" for verdict in VERDICTS if self.count(verdict))
        lines = [f"# Checklist: {self.paper or 'a claim of robustness'}", "", f"{counts}.", ""]
        for answer in self.answers:
            lines.append(f"- [{'x' if answer.verdict == 'yes' else ' '}] {answer.question} **{answer.verdict}**")
            lines += [f"  {line}" for line in answer.note.splitlines()]
        return "\n".join(lines) + "\n"

    def save(self, path: Path | str) -> Path:
        """Write the list to a new file, Markdown or JSON by its suffix. UserError for a file that is there already."""
        path = Path(path).expanduser()
        if path.suffix not in SUFFIXES or not path.stem:
            raise UserError(f"name a file that ends in {' or '.join(SUFFIXES)}, got {str(path)!r}")
        if path.exists():
            raise UserError(f"{path} is there already, and nothing is overwritten; name another file")
        if not path.absolute().parent.is_dir():
            raise UserError(f"there is no folder {path.parent} to write {path.name} to")
        text = self.write_markdown()
        if path.suffix == ".json":
            text = json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"
        paths.write_text(path, text)
        return path


def load_checklist(path: Path | str) -> Checklist:
    """A list that was saved as JSON, to go on with. UserError for a file that is none."""
    try:
        content = json.loads(Path(path).expanduser().read_text("utf-8"))
        return Checklist(content["paper"], tuple(Answer(**answer) for answer in content["answers"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a checklist that was saved as .json: {error}") from None


def show_form(checklist: Checklist | None = None) -> "Form | None":
    """Show a form in a live notebook, filled with a list if one is given; elsewhere the questions as text, and None."""
    checklist = checklist or Checklist()
    if lesson.is_headless():
        print("\n".join(f"{k:2d}. {answer.question}" for k, answer in enumerate(checklist.answers, 1)))
        return None
    from IPython.display import display

    form = Form(checklist)
    display(form.box)
    return form


class Form:
    """The widgets of a checklist. `read` gives what stands in them; the button saves it under the name in the field."""

    def __init__(self, checklist: Checklist):
        import ipywidgets as widgets

        wide: dict[str, Any] = {"layout": {"width": "95%"}}
        self.paper = widgets.Text(value=checklist.paper, description="paper", **wide)
        self.verdicts = [widgets.Dropdown(options=VERDICTS, value=a.verdict) for a in checklist.answers]
        self.notes = [widgets.Text(value=a.note, placeholder="where it says so", **wide) for a in checklist.answers]
        self.questions: Sequence[str] = [answer.question for answer in checklist.answers]
        rows = [
            widgets.VBox([widgets.Label(f"{k}. {question}"), verdict, note])
            for k, (question, verdict, note) in enumerate(
                zip(self.questions, self.verdicts, self.notes, strict=True), 1
            )
        ]
        self.file = widgets.Text(value="checklist.md", description="file")
        self.button = widgets.Button(description="save")
        self.message = widgets.Label()
        self.button.on_click(lambda _: self.save())
        self.box = widgets.VBox([self.paper, *rows, widgets.HBox([self.file, self.button]), self.message])

    def read(self) -> Checklist:
        """The checklist as it stands in the form."""
        answers = zip(self.questions, self.verdicts, self.notes, strict=True)
        return Checklist(self.paper.value, tuple(Answer(q, verdict.value, note.value) for q, verdict, note in answers))

    def save(self) -> None:
        """Write the list under the name in the field, and say so, or why not."""
        try:
            self.message.value = f"written: {self.read().save(self.file.value)}"
        except UserError as error:
            self.message.value = str(error)
