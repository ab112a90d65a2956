"""A data root with one of everything, and a command that is watched: no traceback, no hang, no work, nothing astray."""

import contextlib
import io
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anrot_lib.attacks import transfer
from anrot_lib.cli import main
from anrot_lib.core import checkpoints, paths, resumable
from anrot_lib.core.configs import to_dict
from anrot_lib.data import image_set as image_sets
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.experiments.benchmarks import levels, ranking, steps
from anrot_lib.fewshot import evaluation, nets, smoothing
from anrot_lib.fewshot.training import train
from anrot_lib.ranking.data import sets
from anrot_lib.ranking.recipe import build_recipe
from anrot_lib.ranking.score import masking, testing
from anrot_lib.ranking.training.loop import train as train_ranking
from anrot_lib.reconstruction import autoencoders
from anrot_lib.settings import Protocol, Recipe
from tests.ranking.sets import write_digits

SECONDS = 10  # of one case, at most: a refusal takes a fraction of one
RANKED = "fashion:rc2f2:ptripletN"


class WorkStarted(BaseException):
    """A command trains, tests or attacks: it has accepted its input. Nothing in the library catches it."""


class Hangs(BaseException):
    pass


@dataclass(frozen=True)
class Outcome:
    """code: the exit code, or "work" where the command began to; text: what it printed on stderr."""

    code: int | str
    text: str

    @property
    def refused(self) -> bool:
        """Exit code 2, and one sentence in the last line of what was printed."""
        lines = self.text.rstrip().splitlines()
        one = sum(line.startswith("anrot: ") for line in lines) == 1 and lines[-1].startswith("anrot: ")
        usage = bool(lines) and "error: " in lines[-1]
        return self.code == 2 and "Traceback" not in self.text and (one or usage) and "\x1b" not in self.text


@contextlib.contextmanager
def time_limit(seconds: int = SECONDS) -> Iterator[None]:
    """Raise Hangs in the block after so long."""

    def stop(*_: object) -> None:
        raise Hangs

    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def call(*words: object) -> Outcome:
    """A command in this process, under the time limit."""
    err = io.StringIO()
    code: int | str
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()), time_limit():
        try:
            code = main.main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except WorkStarted:
            code = "work"
        except Hangs:
            code = "hangs"
        except Exception:
            code = 1
            err.write(traceback.format_exc())
    return Outcome(code, err.getvalue())


@pytest.fixture(scope="session")
def template(tmp_path_factory, small_set, small_budget, small_training):
    """home/ with the set "small"; net.pt, training.pt, embedder.pt, autoencoder.pt; digits/, photos/."""
    root = tmp_path_factory.mktemp("sabotage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANROT_HOME", str(root / "home"))
        image_sets.save(replace(small_set, name="small"), paths.packed_dir() / "small")
        image_sets.save(replace(synthetic(25, 100, 16), name="many"), paths.packed_dir() / "many")
        about = {"row": "anrot-clean", "size": 16, "recipe": to_dict(Recipe()), "training": {"seconds": 1.0}}
        nets.save_net(root / "net.pt", small_training.net, "anrot", **about)
        train(small_set, Recipe(), replace(small_budget, episodes=1), Protocol(), root / "training.pt")
        write_digits(root / "digits", 120, 60, compress=False)
        recipe = build_recipe(RANKED, epochs=0, batch=20)
        train_ranking(sets.load("fashion", 28, 28, str(root / "digits")), recipe, root / "embedder.pt")
        autoencoders.save(root / "autoencoder.pt", autoencoders.Vae("small", 16), asked={}, training={})
    for name, classes in (("support", ("cat", "dog")), ("query", ("",))):
        for at, folder in enumerate(classes):
            (root / name / folder).mkdir(parents=True, exist_ok=True)
            for k in range(2):
                pixels = np.random.default_rng([at, k]).integers(0, 256, (20, 20, 3), np.uint8)
                Image.fromarray(pixels).save(root / name / folder / f"{k}.png")
    return root


@contextlib.contextmanager
def silent(title: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar that shows nothing."""
    yield lambda *_: None


@pytest.fixture
def home(template, tmp_path, monkeypatch):
    """A copy of the template, which is also the working directory."""
    root = tmp_path / "place"
    shutil.copytree(template, root)
    monkeypatch.setenv("ANROT_HOME", str(root / "home"))
    monkeypatch.delenv("ANROT_PRESET", raising=False)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def no_work(monkeypatch):
    """Training, testing, attacking and timing raise WorkStarted: a refusal comes before them."""

    def start(*_: object, **__: object) -> None:
        raise WorkStarted

    monkeypatch.setattr(resumable.ResumableTraining, "advance", start)
    monkeypatch.setattr(evaluation, "describe", start)
    monkeypatch.setattr(transfer, "train_surrogate", start)
    for module, names in (
        (smoothing, ("count_votes",)),
        (testing, ("attack_all",)),
        (masking, ("check",)),
        (steps, ("time_training_step", "time_clean_episodes", "time_reconstruction_step", "time_frechet_distance")),
        (levels, ("measure",)),
        (ranking, ("measure",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, start)


def files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of all that is in a folder, but for notes of the hashes that were compared."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".verified" not in path.parts)
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def rewrite(path: Path, content: dict[str, object]) -> None:
    """A checkpoint as a stranger writes it: whole by its hash, whatever it holds."""
    content.pop("format", None)
    checkpoints.save(path, content)


def read(path: Path) -> dict[str, object]:
    return torch.load(path, weights_only=True)
