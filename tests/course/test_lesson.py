"""setup, explore and track: quiet and static without a notebook, sliders, buttons and lists in one."""

import sys
import types

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.course import lesson as nb
from anrot_lib.reports import figures

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    for name in ("ANROT_PRESET", "ANROT_DATA", "ANROT_HEADLESS"):
        monkeypatch.delenv(name, raising=False)
    with matplotlib.rc_context():
        yield


def test_setup_says_one_line_and_sets_the_style(capsys):
    lesson = nb.set_up("03")
    assert capsys.readouterr().out == "preset=smoke data=synthetic seed=0: a mechanism to look at, not a result\n"
    assert lesson.smoke and lesson.pick(1, 2, 3) == 1
    assert plt.rcParams["font.size"] == figures.STYLE["font.size"]


def test_the_preset_comes_from_the_argument_then_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ANROT_PRESET", "laptop")
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    assert nb.set_up("08").budget.preset == "laptop"
    assert nb.set_up("08").data == "synthetic", "no prepared CIFAR-FS here"
    assert nb.set_up("08", preset="paper").pick(1, 2, 3) == 3
    (tmp_path / "packed" / "cifar-fs").mkdir(parents=True)
    (tmp_path / "packed" / "cifar-fs" / "set.json").touch()
    assert nb.set_up("08").data == "cifar-fs"
    assert nb.set_up("08", preset="smoke").data == "synthetic"
    monkeypatch.setenv("ANROT_DATA", "omniglot")
    assert nb.set_up("08").data == "omniglot"
    with pytest.raises(UserError, match="smoke, laptop, paper"):
        nb.set_up("08", preset="huge")


def test_a_lesson_is_on_the_figures_or_on_the_characters(monkeypatch):
    figures, letters = nb.set_up("03"), nb.set_up("03", images="omniglot-300")
    assert figures.embedded is figures.figures is figures.image_set and figures.embedded.name == "synthetic"
    assert letters.embedded is letters.characters is letters.image_set and letters.embedded.name == "omniglot-300"
    assert (figures.radii.eps, letters.radii.eps) == (2 / 255, 0.10)
    for name in ("clean", "mixture"):
        assert figures.net(name).origin.data == "synthetic" and letters.net(name).origin.data == "omniglot-300"
        assert letters.net(f"figures-{name}").origin.data == "synthetic"
    assert letters.episodes(1, way=5, shot=1, query=2).query.shape == (1, 10, 1, 28, 28)
    monkeypatch.setenv("ANROT_DATA", "embedded")
    assert nb.set_up("03", images="omniglot-300", preset="laptop").data == "omniglot-300"
    assert nb.set_up("03").data == "synthetic"
    monkeypatch.setenv("ANROT_DATA", "omniglot-300")
    assert nb.set_up("03").image_set.name == "omniglot-300"


def test_streams_are_named_and_repeat():
    lesson = nb.set_up("03")
    draws = [torch.rand(3, generator=lesson.generator(name)) for name in ("a", "a", "b")]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    episode = lesson.episodes(2, way=5, shot=1, query=2)
    assert episode.query.shape == (2, 10, 3, 32, 32)
    assert torch.equal(episode.query_rows, lesson.episodes(2, way=5, shot=1, query=2).query_rows)


def test_explore_draws_once_at_the_start_values_without_a_notebook():
    seen = []
    nb.explore(lambda **values: seen.append(values), {"eps": 2}, eps={"none": 0, "two": 2}, sigma=[0.1, 0.5])
    assert seen == [{"eps": 2, "sigma": 0.1}]


def test_options_have_short_labels():
    assert nb.options([0.1234567, 3, "a"]) == [("0.123", 0.1234567), ("3", 3), ("a", "a")]
    assert nb.options({"8/255": 8 / 255}) == [("8/255", 8 / 255)]


def test_numbers_have_to_ascend():
    with pytest.raises(UserError, match="the places 10, 5, 15 do not ascend"):
        nb.options([10, 5, 15])
    with pytest.raises(UserError, match="the places low, low again do not ascend"):
        nb.options({"low": 1, "low again": 1})


@pytest.mark.parametrize(
    ("choices", "kind"),
    [
        ([0, 1], "toggle"),
        (["clean", "mixture"], "toggle"),
        ([0.0, 0.1, 0.2], "slider"),
        ({"-0.2 (weak)": -0.2, "0": 0.0, "2 (min-max)": 2.0}, "slider"),
        (["1:1:1", "1:0:0", "0:1:0"], "list"),
        ({"row 1, column 1": 9, "row 1, column 4": 12, "row 4, column 4": 36}, "list"),
    ],
)
def test_a_control_fits_its_choices(choices, kind):
    assert nb.choose_control(choices) == kind


@pytest.fixture
def live(monkeypatch):
    """As in a notebook with a front end: what is displayed is collected."""
    shown = []
    import IPython
    import IPython.display

    monkeypatch.setattr(IPython, "get_ipython", lambda: types.SimpleNamespace(kernel=object()))
    monkeypatch.setattr(IPython.display, "display", shown.append)
    return shown


def test_explore_in_a_notebook_draws_one_figure_under_its_controls(live):
    import ipywidgets as widgets

    seen, places = [], {"eps": {"none": 0, "two": 2}, "sigma": [0.1, 0.3, 0.5], "net": ["a", "b", "c"]}
    nb.explore(lambda **values: seen.append(values), {"eps": 2, "sigma": 0.5}, **places)
    (box,) = live
    eps, sigma, net, _figure = box.children
    kinds = widgets.ToggleButtons, widgets.SelectionSlider, widgets.Dropdown, widgets.Output
    assert tuple(map(type, box.children)) == kinds, "one place for a figure, and no static copy before it"
    assert seen == [{"eps": 2, "sigma": 0.5, "net": "a"}]
    assert (eps.label, sigma.label, sigma.continuous_update) == ("two", "0.5", False)
    eps.value, net.value = 0, "c"
    assert seen[1:] == [{"eps": 0, "sigma": 0.5, "net": "a"}, {"eps": 0, "sigma": 0.5, "net": "c"}]


def test_headless_wins_over_a_notebook(live, monkeypatch):
    assert not nb.is_headless()
    monkeypatch.setenv("ANROT_HEADLESS", "1")
    assert nb.is_headless()
    nb.explore(lambda eps: None, eps=[1, 2])
    assert live == [] and list(nb.track([1, 2])) == [1, 2]


def test_without_widgets_a_notebook_stays_static(live, monkeypatch):
    real = nb.importlib.util.find_spec
    monkeypatch.setattr(nb.importlib.util, "find_spec", lambda name: None if name == "ipywidgets" else real(name))
    assert nb.is_headless()
    assert "IPython" in sys.modules


def test_records_are_read_by_their_kind(home_with_results):
    lesson = nb.set_up("10", preset="smoke")
    assert {r["kind"] for r in lesson.records("bench", kind="timing")} == {"timing"}
    assert lesson.records("bench") == [] == lesson.records("no-such-experiment", kind="reconstruction")
