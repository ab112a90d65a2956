"""Links of the site: pages and notebooks lead to their pages, other files are copied, strangers stay."""

import re

import pytest

from anrot_lib.course import catalogue
from anrot_lib.publish import pages, website

ROOT = pages.CHECKOUT


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("README.md", "index.html"),
        ("docs/results/README.md", "results.html"),
        ("docs/results/cifar-fs.md", "results-cifar-fs.html"),
        ("docs/your_own.md", "your_own.html"),
        ("CONTRIBUTING.md", "contributing.html"),
        ("notebooks/06_hellinger_distance.ipynb", "06_hellinger_distance.html"),
    ],
)
def test_a_page_has_a_name(path, name):
    assert website.name_page(ROOT / path) == name


def test_no_two_pages_have_one_name():
    names = [website.name_page(ROOT / page.path) for page in pages.PAGES]
    assert len(set(names)) == len(names)


def test_links_lead_to_pages_of_the_site_and_to_copies(tmp_path):
    text = (
        '<a href="../glossary.md">a</a> <a href="README.md#how">b</a> <a href="../../notebooks/09_testing.ipynb">c</a> '
        '<img src="../images/robustness.png"> <a href="https://arxiv.org">d</a> <a href="#here">e</a> '
        '<a href="gone.md">f</a>'
    )
    linked = website._link(tmp_path, ROOT / "docs" / "results" / "levels.md", text)
    targets = re.findall(r'(?:href|src)="([^"]*)"', linked)
    copy = "files/docs-images-robustness.png"
    assert targets == [
        *("glossary.html", "results.html#how", "09_testing.html", copy),
        *("https://arxiv.org", "#here", "gone.md"),
    ]
    assert (tmp_path / copy).read_bytes() == (ROOT / "docs" / "images" / "robustness.png").read_bytes()


@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_file_of_the_site(tmp_path, monkeypatch):
    """Without the API reference, which takes longest; tests/browser opens that, too."""

    def write_reference(folder):
        folder.mkdir()
        (folder / "index.html").touch()

    monkeypatch.setattr(website, "_write_reference", write_reference)
    site = website.build(tmp_path / "site").parent
    assert len(list(site.glob("*.html"))) == len(pages.PAGES) + len(catalogue.list_ready())
    anchors = {page.name: re.findall(r'id="([^"]+)"', page.read_text("utf-8")) for page in site.glob("*.html")}
    for page in site.glob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"]+)"', page.read_text("utf-8")):
            if "://" in link or link.startswith("data:"):
                continue
            target, _, anchor = link.partition("#")
            target = target or page.name
            assert (site / target).is_file(), f"{page.name}: the link to {target} leads nowhere"
            assert not anchor or anchor in anchors[target], f"{page.name}: there is no {link}"
    assert (site / "06_hellinger_distance.html").read_text("utf-8").count("<math") > 10, "formulas are MathML"
