"""The reviewer's report as a page to print: one file that asks for nothing, in Chromium and as PDF."""

import re
import shutil

import pytest

from anrot_lib.audit import defects
from anrot_lib.cli import main
from anrot_lib.publish import print_form
from anrot_lib.records import results
from tests.browser.conftest import ROOT

FOLDERS = ("cifar-fs-32px-5way-5shot-laptop", "cifar-fs-32px-5way-5shot-laptop-consequences")
pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture
def report(tmp_path, monkeypatch):
    """The report of two folders of records, as the command writes it. The demos of defects have tests of their own."""
    for name in FOLDERS:
        shutil.copytree(ROOT / "data" / "results" / name, tmp_path / "results" / name)
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    monkeypatch.setattr(defects, "show_defect", lambda defect: defects.Shown(defect, {"shown": 1}, None, 0.0))
    assert main.main(["report", "--review", str(tmp_path / "review.html")]) == 0
    return tmp_path / "review.html"


def test_the_report_prints_to_pdf_and_asks_for_nothing(browser, report):
    context = browser.new_context(viewport={"width": 390, "height": 900}, offline=True)
    page, asked, faults = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: faults.append(message.text))
    page.goto(report.as_uri())
    assert page.title() == print_form.TITLE and faults == []
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}
    column = results.read(ROOT / "data" / "results" / FOLDERS[0] / "anrot.json", "accuracy")["columns"]["clean"]
    cell = f"{column['mean']:.1f} ± {column['half_width']:.1f} ({FOLDERS[0]}/anrot)"
    numbers = page.locator("td", has_text=re.compile(f"^{re.escape(cell)}$"))
    assert numbers.count() == 1, "a measured cell of the claims"
    assert page.locator("table").count() >= 5 and page.locator("input[type=checkbox]").count() > 12
    drawn = page.locator("img").evaluate_all("images => images.map(i => [i.naturalWidth, i.alt.length, i.src.length])")
    assert len(drawn) >= 3 and all(width > 300 and words > 60 and size > 5_000 for width, words, size in drawn)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('thead')).display") == "table-header-group"
    assert page.evaluate("getComputedStyle(document.querySelector('tr')).breakInside") == "avoid"
    pdf = page.pdf(format="A4")
    pages = [int(n) for n in re.findall(rb"/Type\s*/Pages\b[^>]*?/Count (\d+)|/Count (\d+)", pdf)[0] if n]
    assert pdf.startswith(b"%PDF-") and 4 <= max(pages) <= 40
    context.close()


def test_no_table_is_wider_than_the_paper(browser, report):
    context = browser.new_context(viewport={"width": 690, "height": 900}, offline=True)  # 182 mm, between the margins
    page = context.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
    context.close()
