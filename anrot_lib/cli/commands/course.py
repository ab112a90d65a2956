"""The verb course: copies of the notebooks for a class, and grades."""

import argparse
import csv
import io
from collections import defaultdict
from pathlib import Path

from anrot_lib.cli.commands.arguments import read_options
from anrot_lib.cli.options.course import BuildOptions, GradeOptions
from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import bar, shorten
from anrot_lib.course import copies, grading
from anrot_lib.course.grading import Grade
from anrot_lib.publish import slides
from anrot_lib.reports import tables

DEFAULT_GRADES, HEADER = GradeOptions.out, "submission,exercise,passed,said"


def build(arguments: argparse.Namespace) -> int:
    """Write the copies that are asked for."""
    options = read_options(BuildOptions, arguments)
    if options.student is None and options.teacher is None:
        raise UserError("say which copies: --student FOLDER, --teacher FOLDER, or both")
    if options.teacher is not None:
        slides.check_packages()
    for folder in filter(None, (options.student, options.teacher)):
        copies.refuse_filled(folder)
    if options.student is not None:
        with paths.fill_atomically(options.student) as folder:
            copies.build_student(folder)
        print(f"for students: {shorten(options.student)}")
    if options.teacher is not None:
        with paths.fill_atomically(options.teacher) as folder:
            copies.build_teacher(folder)
            slides.write(folder / "slides")
        print(f"for teachers: {shorten(options.teacher)}")
    return 0


def grade(arguments: argparse.Namespace) -> int:
    """Grade a folder, print a line a submission, write the grades; 1 if one could not be read or graded."""
    options = read_options(GradeOptions, arguments)
    if options.folder is None or not options.folder.is_dir():
        raise UserError(f"there is no folder {options.folder}" if options.folder else "name the folder of submissions")
    paths.refuse_other_file(options.out, HEADER, "grades")
    if options.out == DEFAULT_GRADES and options.out.exists():
        raise UserError(f"{options.out} exists; name it with --out to replace it")
    if options.feedback is not None:
        copies.refuse_filled(options.feedback)
    with bar("grade", len(grading.find_submissions(options.folder))) as progress:
        verdicts, ungraded = grading.grade(options.folder, options.seconds, options.workers, progress)
    groups: dict[str, list[Grade]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.submission].append(verdict)
    rows = [
        [name, str(sum(v.passed for v in group)), str(len(group)), _name_open(group)] for name, group in groups.items()
    ]
    print(tables.format_text(["submission", "passed", "of", "not passed"], rows))
    _write_grades(options.out, verdicts)
    print(f"grades: {shorten(options.out)}")
    if options.feedback is not None:
        for name, group in groups.items():
            paths.write_text(options.feedback / f"{name}.md", write_feedback(group))
        print(f"feedback: {shorten(options.feedback)}")
    for sentence in ungraded:
        print(sentence)
    return int(bool(ungraded))


def _name_open(group: list[Grade]) -> str:
    return ", ".join(verdict.exercise for verdict in group if not verdict.passed)


def _write_grades(path: Path, verdicts: list[Grade]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER.split(","))
    writer.writerows([v.submission, v.exercise, int(v.passed), v.said] for v in verdicts)
    paths.write_text(path, text.getvalue())


def write_feedback(group: list[Grade]) -> str:
    """Markdown for a student: each exercise with what the check says."""
    passed = sum(verdict.passed for verdict in group)
    parts = [f"# {group[0].submission}: {passed} of {len(group)} passed"]
    parts += [f"## {verdict.exercise}\n\n```text\n{verdict.said}\n```" for verdict in group]
    return "\n\n".join(parts) + "\n"
