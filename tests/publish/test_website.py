"""The site: its pages lead to one another, ask no other host, and what is wrong with a page is an error."""

import itertools
import json
import re

import pytest

from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.course.exercises.checking import Predict, get_exercises, judge
from anrot_lib.publish import formulas, pages, reference, rooms, sources, website

ROOT = pages.CHECKOUT
LINK = re.compile(r'(?:href|src)="([^"]+)"')
# What a browser loads by itself when it shows a page, unlike a link that a reader follows.
LOADED = re.compile(r'<(?:script|img|iframe|source|use)\b[^>]*\s(?:src|href)="([^"]*)"|<link\b[^>]*\shref="([^"]*)"')


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("README.md", "index.html"),
        ("docs/results/README.md", "docs/results/README.html"),
        ("docs/results/cifar-fs.md", "docs/results/cifar-fs.html"),
        ("CONTRIBUTING.md", "CONTRIBUTING.html"),
        ("notebooks/06_hellinger_distance.ipynb", "notebooks/06_hellinger_distance.html"),
    ],
)
def test_a_page_has_a_name(path, name):
    assert website.name_page(ROOT / path) == name


def test_the_contents_list_every_page_once():
    listed = re.findall(r"<([^>]+)>$", sources.list_contents(), re.MULTILINE)
    expected = {path.relative_to(ROOT).with_suffix("").as_posix() for path in website.list_sources()} - {"README"}
    assert sorted(listed) == sorted(expected | {"api/index"})


def test_the_sources_are_pages_notebooks_and_what_they_show(tmp_path):
    website.gather(tmp_path, rooms=["divergences"])
    assert all(
        (tmp_path / website.name_page(path)).with_suffix(path.suffix).is_file() for path in website.list_sources()
    )
    image = "docs/images/robustness.png"
    assert (tmp_path / image).read_bytes() == (ROOT / image).read_bytes()
    assert (tmp_path / "api" / "divergences.rst").is_file() and not (tmp_path / "api" / "attacks.rst").exists()
    assert (tmp_path / "docs" / "glossary.md").read_text("utf-8") == (ROOT / "docs" / "glossary.md").read_text("utf-8")


def test_a_figure_takes_the_alternative_text_of_its_output(tmp_path):
    figure = {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {"image/png": {"alt": "A curve."}}}
    text = {"output_type": "stream", "name": "stdout", "text": "1"}
    cells = [{"outputs": [text, figure]}, {"outputs": [text]}, {}]
    cells = [{"cell_type": "code", "source": "", "metadata": {}} | cell for cell in cells]
    prepared = json.loads(sources.prepare_notebook(json.dumps({"cells": cells}), tmp_path))["cells"]
    assert [cell["metadata"] for cell in prepared] == [{"mystnb": {"image": {"alt": "A curve."}}}, {}, {}]


def test_the_code_of_a_figure_is_folded(tmp_path):
    figure, text = {"output_type": "display_data", "data": {"image/png": ""}}, {"output_type": "stream", "text": "1"}
    cells = [("fig, axes = plt.subplots()\n", figure), ("fig, axes = plt.subplots()\n", text), ("print(1)", figure)]
    cells = [{"cell_type": "code", "source": [s], "metadata": {"tags": ["t"]}, "outputs": [o]} for s, o in cells]
    prepared = json.loads(sources.prepare_notebook(json.dumps({"cells": cells}), tmp_path))["cells"]
    assert [cell["metadata"]["tags"] for cell in prepared] == [["t", "hide-input"], ["t"], ["t"]]


QUESTIONS = [
    (number, exercise)
    for notebook in catalogue.list_ready()
    for number, exercise in get_exercises(notebook.number).items()
    if isinstance(exercise, Predict)
]


@pytest.mark.parametrize("notebook", catalogue.list_ready(), ids=lambda n: n.stem)
def test_every_question_of_a_notebook_has_a_form_with_its_answers(notebook, tmp_path):
    text = (ROOT / "notebooks" / f"{notebook.stem}.ipynb").read_text("utf-8")
    cells = json.loads(sources.prepare_notebook(text, tmp_path))["cells"]
    forms = ["".join(cell["source"]) for cell in cells if "".join(cell["source"]).startswith('<form class="quiz"')]
    asked = {number: exercise for number, exercise in QUESTIONS if number.startswith(f"{notebook.number}.")}
    assert len(forms) == len(asked)
    for form, (number, exercise) in zip(forms, asked.items(), strict=True):
        assert f"<legend>Your answer to {number}</legend>" in form
        known = json.loads(re.search(r'json">(.*)</script>', form)[1])
        assert (known["solution"], known["tolerance"]) == (exercise.solution, exercise.tolerance)
        assert known["passed"] == judge(number, exercise.solution)
        choices = re.findall(r'type="radio" name="[^"]*" value="([^"]*)"', form)
        if isinstance(exercise.solution, str):
            assert len(choices) >= 3 and {exercise.solution, *exercise.wrong} <= set(choices)
        else:
            assert not choices and 'inputmode="decimal"' in form


def test_every_module_stands_on_one_page_of_the_reference(tmp_path):
    reference.write(tmp_path)
    text = "".join(path.read_text("utf-8") for path in tmp_path.glob("*.rst"))
    listed = re.findall(r"^\.\. automodule:: (\S+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(reference.list_documented()) and len(listed) > 150
    assert {path.stem for path in tmp_path.glob("*.rst")} == {"index", *itertools.chain(*rooms.read_floors())}
    assert ":py:obj:`pairwise <anrot_lib.divergences.measures.pairwise>`" in text
    assert not any("exercises" in name for name in listed)


def test_aligned_names_of_a_docstring_become_a_list():
    lines = [
        "What it does.",
        "",
        "norm      which ball,",
        "          and how.",
        "eps, step  its sizes",
        "",
        "Raises it.",
    ]
    lines += ["", "```", "a  b", "```", "| a  b |", "- a  b"]
    text = "\n".join(reference.prepare_docstring(lines))
    assert "\n`norm`\n: which ball,\n  and how.\n" in text and "\n`eps, step`\n: its sizes\n" in text
    assert text.endswith("Raises it.\n\n```\na  b\n```\n| a  b |\n- a  b")


def test_formulas_are_mathml_and_a_slip_is_an_error():
    pytest.importorskip("latex2mathml")
    drawn = formulas.convert(r"\operatorname{arg\,min}_k H(p, q_k)", "block")
    assert drawn.startswith("<math") and 'display="block"' in drawn and "\\" not in drawn
    for wrong in (r"\nosuchcommand x", r"\left( x"):
        with pytest.raises(UserError, match="cannot be drawn"):
            formulas.convert(wrong)


@pytest.mark.slow
def test_a_warning_of_sphinx_is_an_error(tmp_path, monkeypatch):
    pytest.importorskip("sphinx")

    def gather(folder, rooms, frames):
        folder.mkdir()
        (folder / "index.md").write_text("# A page\n\n[nowhere](gone.md)\n", "utf-8")

    monkeypatch.setattr(website, "gather", gather)
    with pytest.raises(UserError, match=r"gone\.md"):
        website.build(tmp_path / "site")


def test_another_folder_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="no site of this kit"):
        website.build(tmp_path)
    assert (tmp_path / "thesis.tex").is_file()


@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_place_of_the_site(site):
    found = {path: path.read_text("utf-8") for path in site.rglob("*.html")}
    assert len(found) > len(pages.PAGES) + len(catalogue.list_ready())
    anchors = {path: set(re.findall(r'\sid="([^"]+)"', text)) for path, text in found.items()}
    for path, text in found.items():
        for link in LINK.findall(text):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            there = (path.parent / target.partition("?")[0]).resolve() if target else path
            assert there.is_file(), f"{path.relative_to(site)}: {link} leads nowhere"
            if anchor and there in anchors:
                assert anchor in anchors[there], f"{path.relative_to(site)}: there is no {link}"


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    for path in site.rglob("*.html"):
        loaded = ["".join(pair) for pair in LOADED.findall(path.read_text("utf-8"))]
        assert loaded and not [link for link in loaded if re.match(r"(https?:)?//", link)], path
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text("utf-8")), path


@pytest.mark.slow
def test_the_pages_hold_formulas_solutions_and_the_whole_library(site):
    hellinger = (site / "notebooks" / "06_hellinger_distance.html").read_text("utf-8")
    assert hellinger.count("<math") > 10 and hellinger.count("<details") >= 4 and "$$" not in hellinger
    assert 'id="anrot_lib.divergences.measures.pairwise"' in (site / "api" / "divergences.html").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("notebook", catalogue.list_ready(), ids=lambda n: n.stem)
def test_every_figure_of_a_notebook_has_its_text_on_the_site(site, notebook):
    text = (site / "notebooks" / f"{notebook.stem}.html").read_text("utf-8")
    images = re.findall(r'<img [^>]*src="\.\./_images/[^>]*>', text)
    assert images and all(len(re.search(r'alt="([^"]*)"', image)[1]) > 20 for image in images)
