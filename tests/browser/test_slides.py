"""The slides in a real browser, opened from their folder without a network: every slide fits and can be reached."""

import pytest

from anrot_lib.course import catalogue, copies
from anrot_lib.publish import slides

WAIT = 60_000  # milliseconds; the machine may be busy with other tests
LARGEST_SHARE = 0.05  # of slides that even the smallest letters do not fit
pytestmark = [pytest.mark.slow, pytest.mark.browser]
MEASURE = """() => Reveal.getSlides().map((slide) => {
  const { h, v } = Reveal.getIndices(slide);
  Reveal.slide(h, v);
  const box = slide.querySelector(":scope > .fit");
  const { width, height } = Reveal.getConfig();
  const shown = box.innerText.trim() !== "" || box.querySelector("img") !== null;
  return { shown, fits: box.scrollWidth <= width && box.scrollHeight <= height, text: box.innerText.slice(0, 60) };
})"""


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    """The slides of some notebooks: with formulas, with the largest figures, and with the longest tables."""
    folder = tmp_path_factory.mktemp("slides")
    for notebook in catalogue.list_ready():
        if notebook.number in (6, 8, 9):
            book = copies.read_notebook(copies.find_notebooks() / f"{notebook.stem}.ipynb")
            (folder / f"{notebook.stem}.html").write_text(slides.convert(book, notebook.title), "utf-8")
    slides.copy_reveal(folder / slides.REVEAL)
    return folder


def test_every_slide_is_shown_whole_without_a_network(browser, decks, screenshots):
    for path in sorted(decks.glob("*.html")):
        page = browser.new_context(viewport={"width": 960, "height": 700}, offline=True).new_page()
        page.set_default_timeout(WAIT)
        asked, faults = [], []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.on("requestfailed", lambda request, faults=faults: faults.append(request.url))
        page.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function("window.Reveal && Reveal.isReady()")
        found = page.evaluate(MEASURE)
        assert len(found) > 20 and all(slide["shown"] for slide in found), path.name
        large = [slide["text"] for slide in found if not slide["fits"]]
        assert len(large) <= LARGEST_SHARE * len(found), f"{path.name}: {large}"
        assert not faults and all(url.startswith(("file:", "data:")) for url in asked)
        page.evaluate("Reveal.slide(0, 0)")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("Reveal.getIndices().h === 1")
        page.screenshot(path=screenshots / f"slides-{path.stem}.png")
        page.context.close()


def test_what_is_said_stands_in_the_notes(browser, decks):
    page = browser.new_context(offline=True).new_page()
    page.set_default_timeout(WAIT)
    page.goto((decks / "06_hellinger_distance.html").as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    page.evaluate("Reveal.slide(1, 0)")
    notes = page.evaluate("Reveal.getSlideNotes()")
    assert "probability distributions" in notes
    assert not page.locator("aside.notes").first.is_visible()
    page.context.close()
