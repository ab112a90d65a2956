"""The verb course, its two actions, and their options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from anrot_lib.cli.options.fields import add_options
from anrot_lib.cli.options.verbs import Verb
from anrot_lib.core.configs import check_at_least
from anrot_lib.core.options import Option


@dataclass(frozen=True)
class BuildOptions:
    student: Annotated[
        Path | None, Option("write notebooks without outputs and solutions into a new folder", metavar="FOLDER")
    ] = None
    teacher: Annotated[
        Path | None,
        Option("write notebooks with every answer, keys, slides and lesson plans into a new folder", metavar="FOLDER"),
    ] = None


@dataclass(frozen=True)
class GradeOptions:
    folder: Annotated[Path | None, Option("submissions: notebooks, in folders as you like", positional=True)] = None
    out: Annotated[Path, Option("the grades, one line an exercise", metavar="FILE")] = Path("grades.csv")
    feedback: Annotated[
        Path | None, Option("write what is to be said to each student into a new folder", metavar="FOLDER")
    ] = None
    seconds: Annotated[float, Option("how long an answer may take")] = 20.0
    workers: Annotated[int | None, Option("submissions at a time (default: one a core)")] = None

    def __post_init__(self) -> None:
        check_at_least(self, seconds=0.1)
        if self.workers is not None:
            check_at_least(self, workers=1)


COURSE = Verb(
    "course",
    "teach: copies of the notebooks for a class, and the grading of what is handed in",
    "anrot course build --student handout",
    actions=(
        Verb(
            "build",
            "write copies of the notebooks for students or for teachers",
            "anrot course build --student handout --teacher solutions",
            "course.build",
            lambda parser: add_options(parser, BuildOptions),
        ),
        Verb(
            "grade",
            "check the exercises of all notebooks in a folder",
            "anrot course grade submissions --out grades.csv",
            "course.grade",
            lambda parser: add_options(parser, GradeOptions),
            "Submissions are code and run with your rights: grade where there is nothing to lose.",
        ),
    ),
)
