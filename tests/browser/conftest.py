"""A real Chromium, a real JupyterLab on a copy of the notebooks, and the static site."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def drive():
    """notebooks/drive.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("notebooks_drive", ROOT / "notebooks" / "drive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def browser(drive):
    path = drive.find_chromium()
    if path is None:
        pytest.skip("browser tests left out: no Chromium on this machine (Debian: apt install chromium)")
    with drive.open_browser(path) as browser:
        yield browser


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where screenshots are left, to be looked at."""
    folder = ROOT / "tests" / "browser" / "screenshots"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def lab(drive, lab_folder):
    """The address of a JupyterLab that serves a copy of the notebooks from `lab_folder`."""
    with drive.start_lab(lab_folder) as address:
        yield address
