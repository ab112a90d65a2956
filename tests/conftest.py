"""What every test has: a separate data root, one thread, hypothesis without chance, small images."""

import os

# One thread a process, unless the caller sets another number: two workers do not get in each other's way.
# The variable is also for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from pathlib import Path

import hypothesis
import pytest
import torch
from filelock import FileLock

from anrot_lib.fewshot import methods

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
hypothesis.settings.register_profile("anrot", deadline=None, derandomize=True)
hypothesis.settings.load_profile("anrot")

SHARED_DATA = "ANROT_SHARED_DATA"
NO_SHARED_DATA = f"{SHARED_DATA} does not name a folder with the real image sets"


def shared_folder() -> Path | None:
    folder = os.environ.get(SHARED_DATA)
    return Path(folder) if folder and Path(folder).is_dir() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run."""
    obstacles = {}
    if not torch.cuda.is_available():
        obstacles["gpu"] = pytest.mark.skip(reason="no CUDA device")
    if shared_folder() is None:
        obstacles["realdata"] = pytest.mark.skip(reason=NO_SHARED_DATA)
    for item in items:
        for mark in obstacles.keys() & {mark.name for mark in item.iter_markers()}:
            item.add_marker(obstacles[mark])


@pytest.fixture(scope="session", autouse=True)
def anrot_home(tmp_path_factory: pytest.TempPathFactory):
    """The data root of the test run: nothing is ever written into the checkout."""
    home = tmp_path_factory.mktemp("anrot_home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANROT_HOME", str(home))
        yield home


@pytest.fixture(autouse=True)
def registry_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers, a notebook's code that it runs included, no other test meets."""
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))


@pytest.fixture
def home_with_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root of its own that holds the records of this repository, as notebooks and the site read them."""
    home = tmp_path / "home"
    shutil.copytree(Path(__file__).resolve().parent.parent / "data" / "results", home / "results")
    monkeypatch.setenv("ANROT_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static site, built once in a test run, whichever worker asks first. Read only."""
    pytest.importorskip("sphinx", reason="the site needs the extra 'site'")
    from anrot_lib.publish import website

    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder
    with FileLock(folder / "site.lock"):
        if not (folder / "site" / "index.html").is_file():
            website.build(folder / "site")
    return folder / "site"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real image sets, read-only."""
    folder = shared_folder()
    if folder is None:
        pytest.skip(NO_SHARED_DATA)
    return folder


@pytest.fixture(scope="session")
def small_set():
    """25 synthetic classes (15 train, 5 val, 5 test) of 24 images, 16 x 16 pixels. Read only."""
    from anrot_lib.data.synthetic.figures import synthetic

    return synthetic(n_classes=25, per_class=24, size=16)


@pytest.fixture(scope="session")
def small_budget():
    """The smoke budget at lengths that a unit test can wait for."""
    from anrot_lib.core.configs import change
    from anrot_lib.settings import SMOKE

    lengths = {
        "episodes": 8,
        "train_query": 2,
        "validate_every": 3,
        "validation_tasks": 4,
        "pretrain_steps": 8,
        "pretrain_batch": 16,
    }
    tests = {"clean_tasks": 12, "clean_query": 4, "attacked_tasks": 4, "attacked_query": 2, "curve_tasks": 2}
    return change(SMOKE, size=16, surrogate_epochs=1, **lengths, **tests)


@pytest.fixture(scope="session")
def small_training(small_set, small_budget):
    """40 clean episodes of a tiny net with ANROT's head: well above chance, and helpless under attack."""
    from anrot_lib.core.configs import change
    from anrot_lib.fewshot.training import train
    from anrot_lib.settings import Protocol, Recipe

    budget = change(small_budget, episodes=40, train_query=5, validate_every=20)
    return train(small_set, Recipe(), budget, Protocol(way=5, shot=5))


@pytest.fixture
def small_net(small_training):
    """The net of `small_training`, in eval mode; nothing may change it."""
    import copy

    return copy.deepcopy(small_training.net)
