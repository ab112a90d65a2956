"""JupyterLab in a real browser: a notebook runs to its end, sliders move by keyboard, answers are checked."""

import nbformat
import pytest

from anrot_lib.course import catalogue

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.mark.parametrize("number", [3, 6])
def test_a_learner_runs_a_notebook_moves_its_sliders_and_answers(drive, browser, lab, number, capsys):
    notebook = catalogue.list_ready()[number]
    driven = drive.drive_notebook(browser, lab, notebook)
    with capsys.disabled():
        shown = {label: f"{max(seconds):.2f}" for label, seconds in driven.seconds.items()}
        print(f"\n{notebook.stem}: seconds from the key to the new figure, at most: {shown}", end="")
    assert driven.faults == []
    assert len(driven.seconds) >= 2 and all(driven.seconds.values())


BROKEN = """import matplotlib.pyplot as plt
from anrot_lib.course import check, lesson

P = lesson.set_up("03")


def draw(eps, net):
    plt.plot([0, 1 if eps < 3 else net])
    plt.show()


lesson.explore(draw, net=[1, 2], eps=[1, 2, 3])"""


def test_what_is_broken_in_a_notebook_is_found_out(drive, browser, lab, lab_folder, monkeypatch):
    """Buttons that change nothing, and a cell that raises."""
    cells = [nbformat.v4.new_code_cell(code) for code in (BROKEN, 'check("3.1", ...)', "1 / 0")]
    folded = "<details><summary>Solution</summary>\n\n```python\nx = 1\n```\n\n</details>"
    book = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_markdown_cell(folded)])
    book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(book, lab_folder / "03_broken.ipynb")
    monkeypatch.setattr(drive, "PATIENCE", 3_000)
    driven = drive.drive_notebook(browser, lab, catalogue.Notebook(3, "broken", "What is broken?"))
    faults = "\n".join(driven.faults)
    assert "an error: ZeroDivisionError" in faults
    assert "net at End: no new figure" in faults and len(driven.seconds["eps"]) == 3
    assert "exercise" not in faults and "solution" not in faults
