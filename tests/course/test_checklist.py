"""The reviewer's checklist: answers, files that are never overwritten, and the form around it."""

import json

import pytest

from anrot_lib.core.errors import UserError
from anrot_lib.course import checklist, lesson
from anrot_lib.course.checklist import Answer, Checklist, Form, load_checklist, show_form
from anrot_lib.reports.review import QUESTIONS


def test_an_answer_changes_one_question_of_a_copy():
    empty = Checklist("a paper")
    changed = empty.set_answer(2, "yes", "section 3\nand its appendix")
    assert empty.count("open") == len(QUESTIONS) == changed.count("open") + 1
    text = changed.write_markdown()
    assert f"- [x] {QUESTIONS[1]} **yes**\n  section 3\n  and its appendix\n- [ ] {QUESTIONS[2]} **open**" in text
    assert text.startswith(f"# Checklist: a paper\n\n{len(QUESTIONS) - 1} open, 1 yes.\n")
    for number in (0, len(QUESTIONS) + 1):
        with pytest.raises(UserError, match=f"numbered from 1 to {len(QUESTIONS)}"):
            empty.set_answer(number, "yes")
    with pytest.raises(UserError, match="unknown verdict 'perhaps'"):
        empty.set_answer(1, "perhaps")


def test_a_list_is_saved_once_and_read_again(tmp_path):
    filled = Checklist("a paper").set_answer(1, "no", "nowhere")
    assert filled.save(tmp_path / "mine.md").read_text("utf-8") == filled.write_markdown()
    path = filled.save(str(tmp_path / "mine.json"))
    assert load_checklist(path) == filled
    before = path.read_bytes()
    with pytest.raises(UserError, match="there already, and nothing is overwritten"):
        Checklist("another").save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "message"),
    [("mine.txt", "ends in .md or .json"), (".md", "ends in .md or .json"), ("nowhere/mine.md", "there is no folder")],
)
def test_other_names_of_files_are_refused(name, message, tmp_path):
    with pytest.raises(UserError, match=message):
        Checklist().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", json.dumps({"paper": "", "answers": [{"question": "?", "verdict": "x"}]})]
)
def test_what_is_no_list_is_refused(text, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"not a checklist|unknown verdict"):
        load_checklist(path)


def test_the_form_saves_what_stands_in_it(tmp_path):
    form = Form(Checklist("a paper").set_answer(3, "yes", "here"))
    assert form.read() == Checklist("a paper").set_answer(3, "yes", "here")
    form.verdicts[0].value, form.notes[0].value, form.paper.value = "no", "not said", "mine"
    form.file.value = str(tmp_path / "mine.json")
    form.button.click()
    expected = Checklist("mine").set_answer(1, "no", "not said").set_answer(3, "yes", "here")
    assert form.message.value.startswith("written: ") and load_checklist(tmp_path / "mine.json") == expected
    form.verdicts[0].value = "yes"
    form.button.click()
    assert "nothing is overwritten" in form.message.value and load_checklist(tmp_path / "mine.json") == expected


def test_without_widgets_the_questions_are_printed(capsys, monkeypatch):
    assert show_form() is None
    printed = capsys.readouterr().out
    assert all(question in printed for question in QUESTIONS) and printed.startswith(" 1. ")
    monkeypatch.setattr(lesson, "is_headless", lambda: False)
    assert isinstance(show_form(), Form) and checklist.VERDICTS[0] == Answer("?").verdict
