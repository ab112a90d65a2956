"""The README's numbers are what the committed records say, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from anrot_lib import readme

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def committed(monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(ROOT / "data"))


def test_the_tables_say_what_the_records_say(committed):
    text = (ROOT / "README.md").read_text("utf-8")
    marks = readme.MARK.findall(text)
    assert len(marks) >= 4
    assert readme.report(check=True) == 0, "out of date: run `anrot report`"


def test_a_changed_number_is_noticed(committed):
    text = (ROOT / "README.md").read_text("utf-8")
    number = re.search(r"\d+\.\d ± \d+\.\d", text)
    changed = text.replace(number[0], "99.9 ± 0.1", 1)
    drawn = readme.MARK.sub(lambda m: f"{m[1]}{readme.draw(m['what'])}\n{m[3]}", changed)
    assert drawn != changed and drawn == text


def test_every_link_to_a_file_leads_somewhere():
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        links = re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8"))
        missing = [link for link in links if not (document.parent / link).exists()]
        assert not missing, f"{document.name}: {missing}"
