"""The page to print, without a browser: what it holds, and that no text of a record becomes HTML."""

import re

import pytest
from matplotlib.figure import Figure

from anrot_lib.core.errors import UserError
from anrot_lib.publish import print_form
from anrot_lib.reports import review


def test_tables_and_boxes_are_html_and_what_looks_like_it_is_not():
    text = f"{review.TITLE}\n\n| row | PGD |\n| --- | ---: |\n| <script>a()</script> | < 0.6 |\n\n"
    text += f"## {review.CHECKLIST}\n\n- [ ] Which classes?\n"
    page = print_form.render_page(text, f"## Figures\n\n{print_form.embed_figure(Figure(figsize=(1, 1)))}\n\n")
    assert page.startswith(print_form.START) and page.count("<table>") == 1
    assert "<script" not in page and "&lt;script&gt;" in page and "&lt; 0.6" in page
    assert page.index("<h2>Figures") < page.index("data:image/png;base64,") < page.index("<h2>Checklist")
    assert 'type="checkbox"' in page and "An empty figure." in page
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
    assert len(sources) == 1 and sources[0].startswith("data:"), "nothing is asked for from elsewhere"
    assert "url(" not in page and "@import" not in page


def test_no_other_file_is_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "review.html"
    path.write_text("<!DOCTYPE html>\n<title>the site of somebody</title>")
    with pytest.raises(UserError, match="holds no review to print"):
        print_form.save_page(path)
    monkeypatch.setattr(review, "write_review", lambda progress: f"{review.TITLE}\n\n## {review.CHECKLIST}\n")
    monkeypatch.setattr(print_form, "draw_figures", lambda: "")
    path.unlink()
    for _ in range(2):
        assert print_form.save_page(path) == path
    assert path.read_text("utf-8").count("<h2>") == 1
