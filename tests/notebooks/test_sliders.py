"""Every slider's draw function over all its places: it shows exactly one figure each time."""

import pytest

from anrot_lib.course import catalogue


def test_each_slider_is_timed_at_both_ends_with_the_others_at_their_start(sweep):
    states = sweep.find_ends({"eps": [0, 1, 2], "net": {"one": "a", "two": "b"}}, {"eps": 1})
    ends = [{"eps": 0, "net": "a"}, {"eps": 2, "net": "a"}, {"eps": 1, "net": "a"}, {"eps": 1, "net": "b"}]
    assert states == ends * sweep.REPEATS


@pytest.mark.slow
@pytest.mark.parametrize("notebook", catalogue.list_ready(), ids=lambda n: n.stem)
def test_all_places_of_all_sliders(notebook, sweep, home_with_results, monkeypatch, capsys):
    monkeypatch.setenv("ANROT_PRESET", "smoke")
    monkeypatch.setenv("ANROT_HEADLESS", "1")
    monkeypatch.setenv("ANROT_DATA", "embedded")
    seconds = sweep.sweep(notebook)
    assert seconds
    with capsys.disabled():
        for name, values in seconds.items():
            print(f"\n{notebook.stem} {name}: {len(values)} redraws, slowest {1000 * max(values):.0f} ms", end="")
