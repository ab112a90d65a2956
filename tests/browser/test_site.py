"""The static site in a real browser: every page opens offline, its links lead somewhere, in light and in dark."""

import pytest

from anrot_lib.course import catalogue
from anrot_lib.publish import pages, website

WAIT = 120_000  # milliseconds; the machine may be busy with other tests
pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built from this repository's records, which a test run otherwise does not see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANROT_HOME", str(website.ROOT / "data"))
        return website.build(tmp_path_factory.mktemp("site") / "site").parent


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_offline(browser, site, screenshots, scheme):
    context = browser.new_context(color_scheme=scheme, offline=True, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    asked, broken = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: broken.append(request.url))
    texts = [website.name_page(website.ROOT / listed.path).removesuffix(".html") for listed in pages.PAGES]
    assert {"index", "results", "results-cifar-fs", "your_own", "design", "glossary", "contributing"} <= set(texts)
    for name in [*texts, *(n.stem for n in catalogue.list_ready())]:
        page.goto((site / f"{name}.html").as_uri())
        assert page.locator("main h1").count() >= 1, name
        paper, ink = (page.evaluate(f"getComputedStyle(document.body).{what}") for what in ("backgroundColor", "color"))
        assert sum(map(int, paper[4:-1].split(","))) > 600 if scheme == "light" else paper != "rgb(255, 255, 255)"
        assert paper != ink
        for link in page.locator("a[href]").evaluate_all("all => all.map(a => a.getAttribute('href'))"):
            target = link.split("#")[0]
            if target and "://" not in target and not target.startswith("mailto:"):
                assert (site / target).exists(), f"{name}: the link to {target} leads nowhere"
        if name in ("index", "results-cifar-fs", "06_hellinger_distance"):
            page.screenshot(path=screenshots / f"site-{name}-{scheme}.png")
    assert not broken and all(url.startswith(("file:", "data:")) for url in asked)
    context.close()


def test_formulas_are_mathml_and_solutions_fold(browser, site):
    page = browser.new_page()
    page.goto((site / "06_hellinger_distance.html").as_uri())
    assert page.locator("math").count() > 10
    solution = page.locator("details").first
    inside = solution.locator("pre").first
    assert not inside.is_visible()
    solution.locator("summary").click()
    assert inside.is_visible()
    page.close()


def test_results_hold_every_kind_of_record(browser, site):
    page = browser.new_page()
    words = {"cifar-fs": "ANROT, trained clean", "levels": "minus pixels", "ranking": "fashion HM[S,LGA]"}
    for name, word in (words | {"speed": "median, ms", "reconstruction": "paper says, FID"}).items():
        page.goto((site / f"results-{name}.html").as_uri())
        assert word in page.locator("main").inner_text()
    page.close()


def test_the_reference_knows_the_library(browser, site):
    page = browser.new_page()
    page.goto((site / "api" / "anrot_lib" / "divergences.html").as_uri())
    assert page.locator("#pairwise").count() == 1
    page.close()
