"""Drive notebooks as a learner does, in a real Chromium under JupyterLab: `python notebooks/drive.py [NUMBER ...]`.

Each notebook is run from the first cell to the last; every slider is moved to both ends, every list and pair of buttons
to its first and last choice; the first exercise is answered wrongly and then rightly; a solution is unfolded. What goes
wrong is printed, and the exit code is 1. Screenshots at 1280 and 390 pixels, light and dark, go to data/runs/drive, or
to the folder of --to=FOLDER. The seconds from a key to the new figure go to bench/drive.json in data/runs, with
--reference in data/results (only if all notebooks are driven).
"""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from anrot_lib.core import paths
from anrot_lib.course import catalogue
from anrot_lib.course.exercises.checking import Fill, get_exercise, get_exercises
from anrot_lib.records import timing
from anrot_lib.records.parts import QuartilesRecord

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lab_server import WAIT, find_chromium, open_browser, start_lab, stop_kernels, wait_for_kernel

PATIENCE = 60_000  # milliseconds, until a key or an answer has shown its effect
BOXES = ".widget-vbox:has(.widget-output)"  # controls with the figure that they redraw
CHANGED = "([box, old]) => { const figure = box.querySelector('img'); return figure && figure.src !== old; }"
ERRORS = """() => jupyterapp.shell.currentWidget.content.model.toJSON().cells.flatMap(cell => cell.outputs || [])
  .filter(output => output.output_type === "error").map(output => `${output.ename}: ${output.evalue}`)"""
SIZES = {"1280": (1280, 900), "390": (390, 844)}
CUT = """boxes => boxes.filter(box => {
  const edge = box.closest(".jp-OutputArea-output").getBoundingClientRect().right + 1;
  return [...box.querySelectorAll(".widget-readout, select, button")].some(p => p.getBoundingClientRect().right > edge);
}).length"""
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


def run_all(page: Any, lab: str, name: str) -> None:
    """Open a notebook file, forget its outputs and run it to its end."""
    page.goto(f"{lab}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.locator(".jp-NotebookPanel .jp-CodeCell").first.wait_for()
    wait_for_kernel(lab, name)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    commands = ("application:toggle-left-area", "notebook:clear-all-cell-outputs", "notebook:run-all-cells")
    for command in commands:  # the last ends with the run
        page.evaluate("command => jupyterapp.commands.execute(command).then(() => null)", command)


@dataclass
class Drive:
    """What became of a notebook: seconds from a key to the new figure, by the name of the control, and faults."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def move_controls(page: Any, box: Any, drive: Drive) -> None:
    """Move every control of a figure to both ends, by keyboard where it is a slider or a list."""
    for control in box.locator(".widget-slider, .widget-hslider, .widget-dropdown, .widget-toggle-buttons").all():
        label = control.locator(".widget-label").first.inner_text()
        for end in ("End", "Home", "End"):  # at its end it leaves the other controls an effect
            before = box.locator("img").first.get_attribute("src")
            started = time.perf_counter()
            if not _press(control, end):
                continue
            try:
                page.wait_for_function(CHANGED, arg=[box.element_handle(), before], timeout=PATIENCE)
            except Exception as error:
                drive.faults.append(f"{label} at {end}: no new figure ({type(error).__name__})")
                continue
            drive.seconds.setdefault(label, []).append(time.perf_counter() - started)
    if (count := box.locator("img").count()) != 1:
        drive.faults.append(f"{count} figures below the controls, where one should be")


def _press(control: Any, end: str) -> bool:
    """Move a control to its end; False if it stands there."""
    buttons = control.locator("button")
    if buttons.count():
        button = buttons.last if end == "End" else buttons.first
        if "mod-active" in (button.get_attribute("class") or ""):
            return False
        button.press("Enter")
        return True
    handle = control.locator(".noUi-handle")
    if handle.count():
        at, last = (
            handle.get_attribute("aria-valuenow"),
            handle.get_attribute(f"aria-value{'max' if end == 'End' else 'min'}"),
        )
        if float(at) == float(last):
            return False
        handle.focus()
        handle.press(end)
        return True
    options = control.locator("select")
    places = options.locator("option").count()
    index = places - 1 if end == "End" else 0
    if options.evaluate("list => list.selectedIndex") == index:
        return False
    options.select_option(index=index)
    return True


def write_answers(number: str) -> dict[str, str]:
    """What `check` has to say of an exercise -> code that answers it so: with its first usual mistake, and rightly."""
    exercise = get_exercise(number)
    if not isinstance(exercise, Fill):
        values = {"not yet": repr(exercise.wrong[0]), "passed": repr(exercise.solution)}
        return {said: f'check("{number}", {value})' for said, value in values.items()}
    given = f'from anrot_lib.course.exercises.checking import get_exercise\n\nasked = get_exercise("{number}")\n'
    return {
        "not yet": f'{given}check("{number}", next(iter(asked.wrong.values())))',
        "passed": f'{given}check("{number}", asked.solution)',
    }


def answer_exercise(page: Any, number: str, drive: Drive) -> None:
    """Type a wrong and then a right answer into the cell of an exercise, and read what `check` says."""
    cell = page.locator(f".jp-CodeCell:has-text('check(\"{number}\"')").first
    cell.scroll_into_view_if_needed()
    for expected, answer in write_answers(number).items():
        cell.locator(".cm-content").first.click()
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(answer)
        page.keyboard.press("Control+Enter")
        said = cell.locator(".jp-OutputArea-output", has_text=f"Exercise {number}: {expected}")
        try:
            said.first.wait_for(timeout=PATIENCE)
        except Exception:
            text = cell.locator(".jp-OutputArea").first.inner_text()
            drive.faults.append(f"exercise {number}: expected {expected!r}, said {text[:200]!r}")


def unfold_solution(page: Any, drive: Drive) -> Any:
    """Open the first solution; returns its element."""
    solution = page.locator(".jp-RenderedMarkdown details:has(> summary:text-is('Solution'))").first
    solution.scroll_into_view_if_needed()
    solution.locator("> summary").click()
    if not solution.evaluate("e => e.open && [...e.children].slice(1).some(part => part.offsetHeight > 0)"):
        drive.faults.append("a solution does not unfold")
    return solution


def take_pictures(page: Any, places: dict[str, Any], folder: Path, stem: str) -> None:
    """Screenshots of some places, at each size in each theme."""
    for theme, title in THEMES.items():
        page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme}).then(() => null)", title)
        page.wait_for_function(f"document.body.dataset.jpThemeLight === '{str(theme == 'light').lower()}'")
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            for name, place in places.items():
                for _ in range(3):  # what is drawn on the way moves the place
                    place.evaluate("place => place.scrollIntoView({block: 'center'})")
                    page.wait_for_timeout(400)
                page.screenshot(path=folder / f"{stem}-{name}-{theme}-{size}.png")


def drive_notebook(browser: Any, lab: str, notebook: catalogue.Notebook, folder: Path | None = None) -> Drive:
    """Do with a notebook what a learner does. folder: where screenshots go; None takes none."""
    drive = Drive()
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(WAIT)
    try:
        run_all(page, lab, f"{notebook.stem}.ipynb")
        drive.faults += [f"an error: {said}" for said in page.evaluate(ERRORS)]
        boxes = page.locator(BOXES).all()
        for box in boxes:
            box.locator("img").first.wait_for(state="attached")
            box.scroll_into_view_if_needed()
            move_controls(page, box, drive)
            readouts = box.locator(".widget-readout")
            cut = readouts.evaluate_all("all => all.filter(r => r.scrollWidth > r.clientWidth).length")
            drive.faults += ["a readout is cut"] * bool(cut)
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(1000)  # the page arranges itself anew
        if cut := page.locator(BOXES).evaluate_all(CUT):
            drive.faults.append(f"at 390 pixels the controls of {cut} figures are cut")
        page.set_viewport_size({"width": 1280, "height": 900})
        if not drive.seconds:
            drive.faults.append("no slider was moved")
        mute = page.locator(".jp-OutputArea-output img").evaluate_all(
            "all => all.filter(i => i.alt.length < 20).length"
        )
        drive.faults += [f"{mute} figures without an alternative text"] * bool(mute)
        answer_exercise(page, next(iter(get_exercises(notebook.number))), drive)
        solution = unfold_solution(page, drive)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            places = {"figure": boxes[-1], "solution": solution} if boxes else {"solution": solution}
            take_pictures(page, places, folder, notebook.stem)
    finally:
        page.close()
        stop_kernels(lab)
    return drive


def main(arguments: list[str]) -> int:
    chromium = find_chromium()
    if chromium is None:
        print("there is no Chromium on this machine (Debian: apt install chromium)", file=sys.stderr)
        return 2
    numbers = [argument for argument in arguments if not argument.startswith("--")]
    chosen = [n for n in catalogue.list_ready() if not numbers or f"{n.number:02d}" in numbers]
    to = next((Path(a.partition("=")[2]) for a in arguments if a.startswith("--to=")), paths.runs_dir() / "drive")
    found: dict[str, QuartilesRecord] = {}
    faulty = False
    with tempfile.TemporaryDirectory() as home, start_lab(Path(home)) as lab, open_browser(chromium) as browser:
        for notebook in chosen:
            drive = drive_notebook(browser, lab, notebook, to)
            moves = [seconds for values in drive.seconds.values() for seconds in values]
            low, median, high = statistics.quantiles(moves, n=4) if len(moves) > 1 else (moves or [0.0]) * 3
            found[f"{notebook.number:02d} {notebook.title}"] = {
                "low": low,
                "median": median,
                "high": high,
                "largest": max(moves, default=0.0),
            }
            print(
                f"{notebook.stem}: {len(moves)} moves, median {1000 * median:.0f} ms",
                *drive.faults,
                sep="\n  ",
                flush=True,
            )
            faulty |= bool(drive.faults)
    if not numbers:
        what = "from a key to the new figure, in Chromium"
        timing.write_timing("drive", what, {}, found, torch.device("cpu"), "--reference" in arguments)
    return int(faulty)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
