"""The strict comparison can fail: on a changed number, and on a broken library function."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = "06_hellinger_distance.ipynb"
pytestmark = pytest.mark.slow


def validate(notebook: Path, **environment: str) -> subprocess.CompletedProcess:
    """nbval over one notebook, exactly as `make nbval` calls it."""
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=120", "-p", "no:cacheprovider", "-q"]
    options += ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval.cfg"), "--rootdir", str(notebook.parent)]
    settings = {"ANROT_PRESET": "smoke", "ANROT_HEADLESS": "1", "ANROT_DATA": "embedded"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", os.devnull, str(notebook)],
        env=os.environ | settings | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def copy(tmp_path, home_with_results):
    return Path(shutil.copy(ROOT / "notebooks" / NOTEBOOK, tmp_path))


def test_an_unchanged_copy_passes(copy):
    done = validate(copy)
    assert done.returncode == 0, done.stdout[-3000:]


def test_one_changed_number_is_found(copy):
    text = copy.read_text("utf-8")
    changed = re.sub(r"H = 0\.54120", "H = 0.54121", text, count=1)
    assert changed != text
    copy.write_text(changed, "utf-8")
    done = validate(copy)
    assert done.returncode == 1 and "0.54121" in done.stdout


def test_a_broken_library_function_is_found(copy, tmp_path):
    library = tmp_path / "broken" / "anrot_lib"
    shutil.copytree(ROOT / "anrot_lib", library, ignore=shutil.ignore_patterns("__pycache__"))
    module = library / "divergences" / "diagonal.py"
    text = module.read_text("utf-8")
    assert "mul_(4)" in text
    module.write_text(text.replace("mul_(4)", "mul_(8)"), "utf-8")  # the classic slip: half of the means' term
    done = validate(copy, PYTHONPATH=str(library.parent))
    assert done.returncode == 1 and "AssertionError" in done.stdout, done.stdout[-3000:]
