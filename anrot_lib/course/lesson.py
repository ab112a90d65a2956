"""What the notebooks start with: `set_up`, `explore` (a figure, in a live notebook under controls), `track`."""

import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

from anrot_lib import settings
from anrot_lib.core import paths, randomness
from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue, displays
from anrot_lib.data import image_set as image_sets
from anrot_lib.data.embedded.names import open_embedded
from anrot_lib.data.episodes import Episode, EpisodeManifest
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.records import results
from anrot_lib.records.schema import Record
from anrot_lib.reports import figures
from anrot_lib.settings import Budget, Radii

LAPTOP_DATA = "cifar-fs"  # what the larger presets work on where it has been prepared


@dataclass(frozen=True)
class Lesson:
    """A notebook's surroundings: its preset, its images, the course's nets, its random streams.

    data    the image set that a laptop or paper preset trains and tests on: `image_set`.
    images  the set of the kit that the figures and the course's nets are of: `embedded`.
    """

    number: str
    budget: Budget
    data: str
    images: str = settings.FIGURES
    seed: int = 0

    @property
    def smoke(self) -> bool:
        return self.budget.preset == "smoke"

    def pick(self, smoke: Any, laptop: Any, paper: Any) -> Any:
        """The value for the preset at hand; for sizes and lengths only, never for an algorithm."""
        return {"smoke": smoke, "laptop": laptop, "paper": paper}[self.budget.preset]

    @cached_property
    def characters(self) -> ImageSet:
        """300 handwritten characters of Omniglot, 20 images each: 28 px, black on white."""
        return open_embedded(settings.CHARACTERS)

    @cached_property
    def figures(self) -> ImageSet:
        """100 classes of 60 drawn figures: 32 px, in colour."""
        return open_embedded(settings.FIGURES)

    @property
    def embedded(self) -> ImageSet:
        """The images of the notebook, on which its nets were trained: `characters` or `figures`."""
        return self.characters if self.images == settings.CHARACTERS else self.figures

    @property
    def radii(self) -> Radii:
        """How far an attack and noise change the notebook's images."""
        return settings.get_radii(self.images)

    @cached_property
    def image_set(self) -> ImageSet:
        """The images of the preset: the embedded ones at smoke, a prepared set beyond."""
        if self.data == settings.CHARACTERS:
            return self.characters
        if self.data == settings.FIGURES:
            return self.figures if self.smoke else synthetic(per_class=self.budget.per_class)
        return image_sets.load(paths.packed_dir() / self.data)

    def generator(self, name: str) -> torch.Generator:
        """A separate random stream for each name, the same in every run."""
        return randomness.make_generator(self.seed, f"notebook-{self.number}/{name}")

    def net(self, name: str | Path = "mixture") -> FewShotNet:
        """A trained net: "clean" or "mixture" of the notebook's images, another of the course's by its whole name
        (`catalogue.open_net`), or your own by the path of its checkpoint.
        """
        of_figures = self.images == settings.FIGURES and name in ("clean", "mixture")
        return catalogue.open_net(f"figures-{name}" if of_figures else name)

    def episodes(
        self,
        tasks: int = 1,
        way: int = 5,
        shot: int = 5,
        query: int = 3,
        split: str = "test",
        image_set: ImageSet | None = None,
    ) -> Episode:
        """Some episodes with their images; on the embedded set unless another is given."""
        image_set = self.embedded if image_set is None else image_set
        return self.manifest(tasks, way, shot, query, split, image_set).rows.to_episode(image_set)

    def manifest(
        self,
        tasks: int,
        way: int = 5,
        shot: int = 5,
        query: int = 15,
        split: str = "test",
        image_set: ImageSet | None = None,
    ) -> EpisodeManifest:
        image_set = self.embedded if image_set is None else image_set
        return EpisodeManifest.make(image_set, split, way, shot, query, tasks, self.seed)

    def records(self, experiment: str, kind: str = "accuracy") -> list[Record]:
        """The records of an experiment, by the name of its folder: the reference ones in data/results, else those of
        your runs in data/runs; none if there are none.

        kind  accuracy, reconstruction, ranking or timing.
        """
        folders = (paths.results_dir(), paths.runs_dir())
        return next(filter(None, (results.read_all(folder / experiment, kind) for folder in folders)), [])


def set_up(number: str, preset: str | None = None, data: str | None = None, images: str = settings.FIGURES) -> Lesson:
    """Set the figures' style, give every figure an alternative text, and say what the notebook runs on.

    number  of the notebook, "03".
    preset  smoke, laptop or paper; None takes $ANROT_PRESET, or smoke if that is unset.
    data    the name of a prepared or embedded image set, or "embedded" for `images`; None takes $ANROT_DATA, or, beyond
            smoke, CIFAR-FS if it has been prepared, else `images`.
    images  the embedded set of the notebook's figures and nets: "synthetic" or "omniglot-300".
    """
    matplotlib.rcParams.update(figures.STYLE)
    if "IPython" in sys.modules:
        displays.add_alternatives(live=not is_headless())
    budget = settings.preset(preset)
    name = data or os.environ.get("ANROT_DATA")
    if name is None:
        prepared = (paths.packed_dir() / LAPTOP_DATA / "set.json").is_file()
        name = LAPTOP_DATA if prepared and budget.preset != "smoke" else images
    elif name == "embedded":
        name = images
    what = "a mechanism to look at, not a result" if budget.preset == "smoke" else "results of this machine"
    print(f"preset={budget.preset} data={name} seed=0: {what}")
    return Lesson(number, budget, name, images)


def is_headless() -> bool:
    """Whether figures stay static: $ANROT_HEADLESS is 1, there are no widgets, or this is no notebook."""
    if os.environ.get("ANROT_HEADLESS", "0") not in ("", "0"):
        return True
    if importlib.util.find_spec("ipywidgets") is None or "IPython" not in sys.modules:
        return True
    from IPython import get_ipython

    shell = get_ipython()
    return shell is None or not hasattr(shell, "kernel")


Choices = list[Any] | dict[str, Any]
LONGEST_READOUT = 14  # characters that stand beside a slider without being cut


def options(choices: Choices) -> list[tuple[str, Any]]:
    """(label, value) pairs of a control: a dict gives the labels, a list shows its values.

    UserError for numbers that do not ascend: their slider would jump back and forth.
    """
    if isinstance(choices, dict):
        pairs = list(choices.items())
    else:
        pairs = [(f"{v:.3g}" if isinstance(v, float | np.floating) else str(v), v) for v in choices]
    values = [value for _, value in pairs]
    if _are_numbers(values) and any(a >= b for a, b in itertools.pairwise(values)):
        raise UserError(f"the places {', '.join(label for label, _ in pairs)} do not ascend; sort them")
    return pairs


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values)


def choose_control(choices: Choices) -> str:
    """The kind of control for these choices: "toggle" for two, "slider" for ascending numbers, else "list".

    A label that is too long to be read beside a slider makes it a list, too.
    """
    pairs = options(choices)
    if len(pairs) == 2:
        return "toggle"
    is_short = max(len(label) for label, _ in pairs) <= LONGEST_READOUT
    return "slider" if is_short and _are_numbers([value for _, value in pairs]) else "list"


def explore(draw: Callable[..., None], start: dict[str, Any] | None = None, **choices: Choices) -> None:
    """Show a figure, in a live notebook under controls that redraw it: sliders, buttons for two values, lists of names.

    draw     called with one value of every control by its name; shows a figure and returns nothing.
    start    values of the first figure; what it leaves out starts at its first choice.
    choices  the values of each control, a list, or a dict from label to value (`options`).
    """
    values = {name: options(v)[0][1] for name, v in choices.items()} | (start or {})
    if is_headless():
        draw(**values)
        return
    import ipywidgets as widgets
    from IPython.display import display

    kinds = {"toggle": widgets.ToggleButtons, "slider": widgets.SelectionSlider, "list": widgets.Dropdown}
    controls = {
        name: kinds[choose_control(v)](
            options=options(v),
            value=values[name],
            description=name.replace("_", " "),
            style={"description_width": "8em"} | ({"button_width": "auto"} if choose_control(v) == "toggle" else {}),
            layout={"width": "32em", "max_width": "calc(100% - 8px)", "display": "flex", "flex_flow": "row"},
            **({"continuous_update": False} if choose_control(v) == "slider" else {}),
        )
        for name, v in choices.items()
    }
    display(widgets.VBox([*controls.values(), widgets.interactive_output(draw, controls)]))


def track(items: Iterable[Any], title: str = "", total: int | None = None) -> Iterator[Any]:
    """The same items with a progress bar in a live notebook; silent otherwise."""
    if is_headless():
        return iter(items)
    from tqdm.auto import tqdm

    return iter(tqdm(items, desc=title, total=total))
