"""Time to accuracy: curves over minutes, and who reaches an accuracy first."""

import pytest

from anrot_lib.core.errors import UserError
from anrot_lib.reports import lengths
from tests.reports.test_tables import MANIFEST, record

VALIDATION = {**MANIFEST, "split": "val"}


def trained(row, minutes, shift, steps=None, **changes):
    about = {"seconds": 60.0 * minutes, "seconds_per_step": 0.1}
    if steps is not None:
        about = {"seconds": 0.0, "pretraining_seconds": 60.0 * minutes, "pretraining_steps": steps}
    return record(row, shift, manifest=VALIDATION, training=about, **changes)


# The slow one ends higher; the quick one has a longer training that is worse than its shorter one.
SLOW = [trained("anrot", 4, 2), trained("anrot", 8, 10)]
QUICK = [
    trained("robust-classes", 1, 4, 100),
    trained("robust-classes", 2, 2, 200),
    trained("robust-classes", 3, 5, 400),
]


def test_a_curve_runs_from_the_shortest_training_to_the_longest():
    curves = lengths.sort_curves([QUICK[2], *SLOW, QUICK[0], QUICK[1]])
    assert [lengths.count_length(r) for r in curves["robust classes"]] == [100, 200, 400]
    assert list(curves) == ["ANROT, trained on the mixture", "robust classes"], "in the order of tables"


def test_the_first_time_is_that_of_the_shortest_training_that_reached_it():
    accuracy = QUICK[0]["columns"]["clean"]["mean"]
    assert lengths.find_first(QUICK, 0, accuracy) == 1, "a later, worse training does not take it back"
    assert lengths.find_first(QUICK, 0, accuracy + 0.1) == 3
    assert lengths.find_first(QUICK, 0, 99) is None


def test_targets_end_at_the_best_that_was_reached():
    assert lengths.choose_targets([31.2, 44.9]) == [30, 35, 40]
    assert lengths.choose_targets([7.0, 3.0]) == [5], "0 % is no target"


def test_the_quickest_stands_in_bold_and_who_did_not_reach_it_has_a_dash():
    headings, rows = lengths.make_targets_table([*SLOW, *QUICK])
    assert headings == ["minutes to reach", "ANROT, trained on the mixture", "robust classes"]
    assert len(rows) == 2 * lengths.TARGETS and rows[0][0].endswith(" %, clean") and "PGD-20 8/255" in rows[-1][0]
    for _, slow, quick in rows:
        assert (slow == "**8.0**" and quick == "-") or quick.startswith("**")
    best = lengths.make_targets_table([*SLOW, *QUICK])[1][lengths.TARGETS - 1]
    mean = SLOW[1]["columns"]["clean"]["mean"]
    assert best[0] == f"{int(mean // 5) * 5} %, clean"


def test_the_table_says_steps_or_episodes_and_minutes():
    headings, rows = lengths.make_table([*SLOW, *QUICK])
    assert headings == ["recipe", "length", "minutes", "clean", "PGD-20 8/255"]
    assert rows[0][:3] == ["ANROT, trained on the mixture", "450", "4.0"] and rows[2][:3] == [
        "robust classes",
        "100",
        "1.0",
    ]


def test_the_caption_is_no_test_and_names_no_length_of_its_own():
    caption = lengths.write_caption(QUICK)
    assert "no test" in caption and "pre-trained for" not in caption and "without packing the images" in caption


@pytest.mark.parametrize(
    "change",
    [
        {"manifest": {**VALIDATION, "hash": "1" * 64}},
        {"run": {"command": "anrot run", "commit": "c", "versions": {}, "device": "CPU, 1 threads"}},
    ],
)
def test_minutes_or_episodes_of_other_kinds_are_no_curve(change):
    with pytest.raises(UserError, match="cannot be compared"):
        lengths.sort_curves([*SLOW, {**QUICK[0], **change}])


def test_a_net_from_elsewhere_has_no_minutes():
    with pytest.raises(UserError, match="does not say how long"):
        lengths.count_minutes(record("anrot", training={}))


def test_both_panels_show_every_recipe():
    figure = lengths.draw([*SLOW, *QUICK])
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert words == ["ANROT, trained on the mixture", "robust classes"]
    assert [len(axes.containers) for axes in figure.axes] == [2, 2]
