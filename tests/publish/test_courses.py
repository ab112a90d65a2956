"""Other courses beside this one: what is counted, and that ours is counted as it is committed."""

import json
import re

import pytest

from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.course.exercises.checking import get_exercises
from anrot_lib.publish import courses, pages


def make_book(*cells):
    return json.dumps({"cells": [{"cell_type": k, "source": s, "outputs": outputs} for k, s, outputs in cells]})


def test_a_notebook_is_counted_by_hand():
    described = {"data": {"image/png": "x"}, "metadata": {"image/png": {"alt": "A curve."}}}
    mute = {"data": {"image/png": "x"}, "metadata": {"needs_background": "light"}}
    text = "# A question\n\n## Exercises\n1. One?\n2. Two?\n\n## After\n- no exercise\n\n### 3.1 Do it (5 minutes)"
    cells = [("markdown", text, []), ("code", "a = 1\n# TODO fill in\nb = 2", [described, mute]), ("code", " ", [])]
    expected = courses.CourseCounts(1, len(text.split()), 1, 3, 1, 2, 1, 2 + 1 + 1, 0)
    assert courses.count_one(make_book(*cells)) == expected
    assert courses.count_one(make_book(("code", "lesson.explore(draw)", []))).sliders == 1


def test_a_page_of_a_book_is_counted_like_a_notebook():
    page = "Words here.\n```{.python .input}\n%%tab all\nx = 1\n```\n## Exercises\n\n1. Why?\n1. How?\n"
    assert courses.count_one(page, is_notebook=False) == courses.CourseCounts(1, 8, 1, 2, 0, 0, 0, 2, 0)


def test_counts_add_up_and_the_longest_cell_stays():
    both = courses.add_counts([courses.CourseCounts(1, 10, 2, 7), courses.CourseCounts(1, 5, 1, 9)], missing=3)
    assert both == courses.CourseCounts(2, 15, 3, 9, missing=3)


def test_ours_is_counted_as_it_is():
    ours = courses.count_this()
    assert ours.notebooks == len(catalogue.list_ready()) and ours.described == ours.figures > 50
    assert ours.exercises == sum(len(get_exercises(n.number)) for n in catalogue.list_ready())


def test_the_page_names_every_course_with_the_commit_and_the_day():
    text = (pages.CHECKOUT / "docs" / "courses.md").read_text("utf-8")
    found = courses.read_courses()
    assert len(found) == 4
    for course in found:
        assert f"[{course.name}]({course.address}) at {course.commit[:7]} on {course.looked}" in text
        assert re.fullmatch(r"[0-9a-f]{40}", course.commit) and course.counts.notebooks > 20


def test_another_file_is_refused(monkeypatch, tmp_path):
    (tmp_path / "courses.json").write_text('[{"name": "x"}]')
    monkeypatch.setattr(courses, "FILE", tmp_path / "courses.json")
    with pytest.raises(UserError, match=r"run notebooks/count\.py"):
        courses.read_courses()
