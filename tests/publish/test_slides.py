"""Slides: what is shown and what is said follows from a notebook's headings, and nothing comes from a network."""

import re

import nbformat
import pytest

from anrot_lib.core import packages
from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue, copies
from anrot_lib.publish import slides

CODE, TEXT = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
PNG = nbformat.v4.new_output("display_data", {"image/png": "aGVsbG8="}, metadata={"image/png": {"alt": "A curve."}})
SOLVED = (
    "<details><summary>Hint 1</summary>\n\nlook\n</details>\n<details><summary>Solution</summary>\n\n42\n</details>"
)


def place(*cells):
    book = slides.choose_slides(nbformat.v4.new_notebook(cells=list(cells)))
    return [(cell.metadata["slideshow"]["slide_type"], cell.source) for cell in book.cells]


def test_a_heading_shows_its_first_sentence_lists_and_formulas_and_notes_the_prose():
    text = "last words\n\n## Overlap\n\nTake two. Then a third\n\n$$x^2$$\n\nOf these:\n- one\n- two"
    said, shown, notes = place(TEXT(text))
    assert said == ("notes", "last words")
    assert shown[0] == "slide" and shown[1].startswith("## Overlap\n\nTake two.\n\n<div") and "<math" in shown[1]
    assert shown[1].endswith("- one\n- two") and "third" not in shown[1] and "$" not in shown[1]
    assert notes == ("notes", "Take two. Then a third\n\nOf these:\n- one\n- two")


def test_a_list_below_its_heading_is_shown_once():
    assert place(TEXT("## Summary\n- One, two.\n- Three.")) == [("slide", "## Summary\n\n- One, two.\n- Three.")]


def test_an_exercise_is_shown_whole_and_its_solution_is_noted():
    exercise, notes, stub = place(TEXT(f"### 3.1 Do it\nFirst. Second.\n\nThird.\n\n{SOLVED}"), CODE('check("3.1", f)'))
    assert exercise == ("subslide", "### 3.1 Do it\nFirst. Second.\n\nThird.")
    assert notes[0] == "notes" and "42" in notes[1] and "look" not in notes[1]
    assert stub == ("-", 'check("3.1", f)')


def test_figures_come_without_code_and_setting_up_not_at_all():
    figure = CODE("plt.show()", outputs=[PNG])
    cells = [TEXT("## A"), CODE("P = lesson.set_up('03')"), CODE("assert 1"), CODE("def f():\n    pass"), figure]
    book = slides.choose_slides(nbformat.v4.new_notebook(cells=cells))
    where = '<p class="where">A</p>'
    assert [cell.source for cell in book.cells] == ["## A", where, "def f():\n    pass", where, "plt.show()"]
    html = slides.convert(nbformat.v4.new_notebook(cells=[TEXT("## A"), figure]), "one")
    assert "plt.show" not in html and 'alt="A curve."' in html


def test_formulas_are_not_looked_for_in_code():
    assert slides.draw_formulas("`$x$` and ```\n$y$\n```") == "`$x$` and ```\n$y$\n```"
    drawn = slides.draw_formulas("$a_b*c_d$")
    assert drawn.startswith("<math") and not re.search(r"[*_$]", drawn)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "sphinx_revealjs" else object())
    with pytest.raises(UserError, match=r"slides need sphinx_revealjs: pip install 'anrot-lib\[course\]'"):
        slides.check_packages()


@pytest.mark.slow
@pytest.mark.parametrize("notebook", catalogue.list_ready(), ids=lambda n: n.stem)
def test_slides_hold_every_figure_and_exercise_and_ask_for_nothing_from_elsewhere(notebook):
    book = copies.read_notebook(copies.find_notebooks() / f"{notebook.stem}.ipynb")
    figures = sum("image/png" in output.get("data", {}) for cell in book.cells for output in cell.get("outputs", ()))
    numbers = {match for cell in book.cells for match in re.findall(r"^### (\d+\.\d+) ", cell.source, re.MULTILINE)}
    html = slides.convert(book, notebook.title)
    texts = re.findall(r'<img alt="([^"]*)"', html)
    assert html.count('src="data:image/png') == figures == len(texts) > 0 and all(len(text) > 20 for text in texts)
    assert not re.findall(r'<(?:script|link|img)\b[^>]*\s(?:src|href)="(?!data:|reveal/)', html)
    assert not re.search(r"(url\(|import)\s*[\"']?(https?:)?//", html) and "MathJax" not in html
    assert numbers == set(re.findall(r"<h3 [^>]*>(\d+\.\d+) ", html)) and "$$" not in html
