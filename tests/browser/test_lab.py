"""JupyterLab in a real browser: a notebook runs to its end, a slider moves by keyboard, the figure changes."""

import json
import time
import urllib.request

import pytest

WAIT = 120_000  # milliseconds; the machine may be busy with other tests
pytestmark = [pytest.mark.slow, pytest.mark.browser]


def wait_for_kernel(lab: str, notebook: str) -> None:
    """Until the notebook's kernel is connected and idle: cells run before that lose their output.

    Asked by session, because the kernel of a page that was closed before lives on.
    """
    for _ in range(WAIT // 500):
        with urllib.request.urlopen(f"{lab}/api/sessions", timeout=10) as answer:
            sessions = json.load(answer)
        kernels = [session["kernel"] for session in sessions if session["path"].endswith(notebook)]
        if kernels and all(k["execution_state"] == "idle" and k["connections"] > 0 for k in kernels):
            return
        time.sleep(0.5)
    pytest.fail(f"no kernel became idle: {sessions}")


def run_all(page, lab: str, name: str) -> None:
    page.goto(f"{lab}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.locator(".jp-NotebookPanel .jp-CodeCell").first.wait_for()
    wait_for_kernel(lab, name)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Edit", exact=True).click()
    page.get_by_role("menuitem", name="Clear Outputs of All Cells", exact=True).click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator(".noUi-handle").first.wait_for(state="attached")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()


@pytest.mark.parametrize("name", ["03_adversarial_examples", "06_hellinger_distance"])
def test_a_slider_moves_the_only_figure_of_its_cell(browser, lab, screenshots, name, capsys):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(WAIT)
    run_all(page, lab, f"{name}.ipynb")
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    page.locator(".noUi-handle").first.scroll_into_view_if_needed()
    widget = page.locator(".jupyter-widgets:has(.noUi-handle)").first
    figure = (
        "() => { const all = document.querySelectorAll('.jupyter-widgets img'); return all.length ? all[0].src : '' }"
    )
    page.wait_for_function(figure)
    before = page.evaluate(figure)
    handle = widget.locator(".noUi-handle").first
    handle.focus()
    started = time.perf_counter()
    handle.press("ArrowRight")
    page.wait_for_function(f"old => {{ const now = ({figure})(); return now && now !== old }}", arg=before)
    figures = page.locator(".jp-OutputArea-output img")
    texts = figures.evaluate_all("all => all.map(figure => figure.alt)")
    assert len(texts) > 2 and all(len(text) > 20 for text in texts), "a figure without an alternative text"
    with capsys.disabled():
        print(f"\n{name}: {time.perf_counter() - started:.2f} s from the key to the new figure", end="")
    cell = page.locator(".jp-CodeCell:has(.noUi-handle)").first
    assert cell.locator("img").count() == 1, "a copy of the figure that does not move stands beside it"
    readouts = cell.locator(".widget-readout").evaluate_all("all => all.map(r => r.scrollWidth <= r.clientWidth)")
    assert readouts and all(readouts), "a readout is cut"
    page.screenshot(path=screenshots / f"{name}.png")
    page.close()
