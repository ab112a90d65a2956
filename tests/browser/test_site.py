"""The static site in a real browser, opened from its folder: offline, light and dark, wide and narrow, accessible."""

import os
import subprocess
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe

from anrot_lib.course import catalogue
from anrot_lib.course.exercises.checking import get_exercise, judge
from anrot_lib.publish import quizzes, website

WAIT = 120_000  # milliseconds; the machine may be busy with other tests
NAMES = [website.name_page(path) for path in website.list_sources()]
SHOWN = ("index.html", "docs/results/cifar-fs.html", "notebooks/06_hellinger_distance.html", "api/divergences.html")
OPTIONS = {"preload": False}  # axe-core would ask for style sheets again, which a page from a folder may not
COLOUR_RULES = ["color-contrast", "link-in-text-block"]  # the others do not depend on the scheme
pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture
def open_page(browser):
    """Opens a page of the site: a function of the file and of the options of a browser's context."""
    contexts = []

    def open_one(file, **options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "offline": True} | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        page.goto(file.as_uri())
        return page

    yield open_one
    for context in contexts:
        context.close()


def list_pages(site):
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_every_page_opens_offline_and_is_accessible(open_page, site, screenshots, scheme, width):
    """axe-core finds nothing on any page; every page asks for files of the site only.

    In dark, which changes colours alone, axe-core applies its rules on colours. Structure does not depend on the width,
    and what a telephone cuts off has a test of its own, so two of the four pairs are enough, and half the time.
    """
    page = open_page(site / "index.html", color_scheme=scheme, viewport={"width": width, "height": 900})
    asked, broken, faults = [], [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: broken.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    axe = Axe()
    options = OPTIONS if scheme == "light" else OPTIONS | {"runOnly": {"type": "rule", "values": COLOUR_RULES}}
    for name in list_pages(site):
        page.goto((site / name).as_uri())
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(",")[:3])) > 600) == (scheme == "light"), name
        answer = axe.run(page, options=options).response
        assert answer["passes"], f"{name}: axe-core looked at nothing"
        faults += [f"{name}: {v['id']}: {v['nodes'][0]['html'][:200]}" for v in answer["violations"]]
        if name in SHOWN:
            page.screenshot(path=screenshots / f"site-{name.replace('/', '-')}-{scheme}-{width}.png")
    assert not faults, "\n".join(faults)
    assert set(NAMES) <= set(list_pages(site))
    assert not broken and all(url.startswith(("file:", "data:")) for url in asked)


def test_nothing_is_cut_off_on_a_telephone(open_page, site, screenshots):
    """The page itself does not scroll sideways; wide tables, code and formulas scroll in their boxes."""
    page = open_page(site / "index.html", viewport={"width": 390, "height": 844})
    for name in list_pages(site):
        page.goto((site / name).as_uri())
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= 390, f"{name} is {width} pixels wide"
        if name in SHOWN:
            page.screenshot(path=screenshots / f"site-{name.replace('/', '-')}-narrow.png")
    page.goto((site / "docs/results/cifar-fs.html").as_uri())
    table = page.locator(".table-wrapper").first
    assert table.evaluate("e => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX === 'auto'")
    table.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


@pytest.mark.parametrize("width", [1280, 390])
def test_letters_in_figures_are_at_least_9_points_high(open_page, site, width):
    """Figures are drawn with letters of 9 points at 110 pixels an inch; a page may shrink them only so far."""
    page = open_page(site / "index.html", viewport={"width": width, "height": 900})
    shares = {}
    for notebook in catalogue.list_ready():
        page.goto((site / "notebooks" / f"{notebook.stem}.html").as_uri())
        page.wait_for_load_state("load")
        shares[notebook.stem] = page.locator(".cell_output img").evaluate_all(
            "all => all.map(figure => (figure.clientWidth - 8) / figure.naturalWidth)"
        )
    assert sum(map(len, shares.values())) > 100
    assert {stem: min(found) for stem, found in shares.items() if min(found) * 9 * 110 / 72 < 9 * 96 / 72} == {}


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A site with the frames of one notebook's sliders, and with the smallest reference."""
    folder = tmp_path_factory.mktemp("played")
    environment = {"ANROT_PRESET": "smoke", "ANROT_HEADLESS": "1", "ANROT_DATA": "embedded"}
    command = [sys.executable, "notebooks/sweep.py", "--frames", f"--to={folder / 'frames'}", "06"]
    inherited = {name: value for name, value in os.environ.items() if name != "ANROT_HOME"}  # the records are needed
    subprocess.run(command, cwd=website.ROOT, env=inherited | environment, check=True)
    return website.build(folder / "site", ["settings"], folder / "frames").parent


def test_a_slider_plays_by_keyboard_from_a_folder(open_page, played):
    page = open_page(played / "notebooks" / "06_hellinger_distance.html")
    controls = page.locator(".play").first
    slider, shown = controls.locator("input").first, controls.locator("output").first
    figure = page.locator(".cell:has(+ .play) img").last
    before, text = figure.get_attribute("src"), figure.get_attribute("alt")
    slider.focus()
    slider.press("ArrowRight")
    assert shown.text_content() == slider.get_attribute("aria-valuetext") == "3"
    assert figure.get_attribute("src") != before and figure.get_attribute("alt") != text
    page.wait_for_function("e => e.complete && e.naturalWidth > 0", arg=figure.element_handle())
    assert not Axe().run(page, options=OPTIONS).response["violations"]


@pytest.fixture
def questions(tmp_path):
    """A page with two questions as they stand on the site, with its script and style."""
    static = website.SETTINGS / "static"
    forms = [quizzes.write_form(k, get_exercise(k), ["hellinger", "kl", "wasserstein2"]) for k in ("6.2", "6.4")]
    head = f'<title>questions</title><link rel="stylesheet" href="{(static / "site.css").as_uri()}">'
    script = f'<script src="{(static / "site.js").as_uri()}"></script>'
    page = f'<!DOCTYPE html><html lang="en"><head>{head}{script}</head><body><main><h1>6</h1>{"".join(forms)}</main>'
    (tmp_path / "page.html").write_text(page, "utf-8")
    return tmp_path / "page.html"


def test_a_question_is_checked_in_the_page_by_keyboard(open_page, questions):
    page = open_page(questions)
    number, choice = page.locator(".quiz").all()
    field, said = number.locator("input"), number.locator("[role=status]")
    asked = get_exercise("6.2")
    wrong = {f"{value}": judge("6.2", value) for value in asked.wrong}
    refused = {"": "not attempted yet", "a lot": "expected a number, got a lot", "1/0": "expected a number, got 1/0"}
    right = dict.fromkeys((f" {asked.solution} ", "0,99999", "99999/100000"), judge("6.2", asked.solution))
    field.focus()
    for answer, expected in (refused | wrong | right).items():
        field.fill(answer)
        field.press("Enter")
        assert said.text_content() == expected
    choice.locator("button").press("Enter")
    assert choice.locator("[role=status]").text_content() == "not attempted yet"
    choice.locator("input").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert choice.locator("[role=status]").text_content() == judge("6.4", "kl").replace("'", "")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert choice.locator("[role=status]").text_content() == judge("6.4", "hellinger")
    assert not Axe().run(page, options=OPTIONS).response["violations"]


def test_solutions_fold(open_page, site):
    page = open_page(site / "notebooks" / "06_hellinger_distance.html")
    solution = page.locator("details:has(> summary:text-is('Solution'))").first
    inside = solution.locator("pre").first
    assert not inside.is_visible()
    solution.locator("summary").click()
    assert inside.is_visible()


def test_the_search_finds_a_word_from_a_folder(open_page, site):
    page = open_page(site / "search.html")
    page.locator("input[name=q]").first.fill("Bhattacharyya")
    page.keyboard.press("Enter")
    page.locator("#search-results li a").first.wait_for()
    links = page.locator("#search-results li a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert any("06_hellinger_distance" in link for link in links)


def test_results_hold_every_kind_of_record(open_page, site):
    page = open_page(site / "index.html")
    words = {"cifar-fs": "ANROT, trained clean", "levels": "minus pixels", "ranking": "fashion HM[S,LGA]"}
    for name, word in (words | {"speed": "median, ms", "reconstruction": "paper says, FID"}).items():
        page.goto((site / "docs" / "results" / f"{name}.html").as_uri())
        assert word in page.locator("article").inner_text()
