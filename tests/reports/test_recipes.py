"""The study of the robust recipe: its table, its paired differences and its front."""

import numpy as np
import pytest

from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import compare_paired
from anrot_lib.records.results import compute_accuracies
from anrot_lib.reports import recipes, tables
from tests.reports.test_tables import MANIFEST, record

VALIDATION = {**MANIFEST, "split": "val"}
TRAINED = {"seconds": 30.0, "pretraining_seconds": 570.0, "pretraining_steps": 800, "seconds_per_step": 0.0}


def variant(row, shift=0, **changes):
    return record(row, shift, manifest=VALIDATION, training=TRAINED, **changes)


RECORDS = [variant("robust-trades", 4), variant("robust-classes"), variant("robust-cutmix", -3)]


def test_differences_are_those_to_the_unchanged_recipe_on_the_same_episodes():
    base, trades = RECORDS[1], RECORDS[0]
    headings, rows = recipes.make_table(RECORDS)
    assert headings == ["recipe", "clean", "PGD-20 8/255", "clean, difference", "PGD-20 8/255, difference", "minutes"]
    by_title = {row[0]: row[1:] for row in rows}
    assert by_title["robust classes"][2:] == ["-", "-", "10"], "the base, and 600 s with its pre-training"
    accuracies = [compute_accuracies(r["columns"]["clean"]) for r in (base, trades)]
    gain = compare_paired(*accuracies, bootstrap=False)
    assert by_title["TRADES, weight 6"][2] == f"{gain.mean:+.1f} ± {gain.half_width:.1f} *" and gain.mean > 0
    assert by_title["with CutMix"][2].startswith("-")


def test_a_difference_by_chance_has_no_star():
    noisy = variant("robust-trades")
    counts = np.array(noisy["columns"]["clean"]["correct"]) + np.array([3, -3, 2, -2, 1, 0])
    noisy["columns"]["clean"]["correct"] = counts.tolist()
    _, rows = recipes.make_table([RECORDS[1], noisy])
    assert rows[1][3].startswith("+0.2") and "*" not in rows[1][3]


def test_other_episodes_or_seeds_are_not_compared():
    other = variant("robust-trades", 4)
    other["manifest"] = {**VALIDATION, "hash": "1" * 64}
    assert recipes.make_table([RECORDS[1], other])[1][1][3:5] == ["-", "-"]
    assert recipes.make_table([RECORDS[1], variant("robust-trades-seed1", 4)])[1][1][3:5] == ["-", "-"]
    both = recipes.make_table([variant("robust-classes-seed1"), variant("robust-trades-seed1", 4)])
    assert both[1][1][0] == "TRADES, weight 6, seed 1" and "*" in both[1][1][3]


def test_the_caption_says_that_it_is_no_test_and_how_many_were_tried():
    caption = recipes.write_caption(RECORDS)
    assert "classes of the split val, for a choice: no test" in caption
    assert "3 recipes tried, 100 steps of 64 images each" in caption and ", pre-trained for 800 steps" in caption


def test_the_front_holds_what_no_other_beats_in_both():
    points = np.array([[1.0, 5.0], [2.0, 4.0], [1.5, 3.0], [2.0, 4.0], [0.5, 5.0]])
    assert recipes.find_front(points).tolist() == [True, True, False, True, False]


def test_the_figure_names_every_recipe():
    figure = recipes.draw(RECORDS)
    words = "".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert all(title in words for title in ("robust classes", "TRADES, weight 6", "with CutMix"))


def test_a_record_without_the_attack_is_refused():
    poor = variant("robust-classes")
    del poor["columns"]["PGD-20 8/255 query"]
    with pytest.raises(UserError, match="lacks the clean column or the strong attack"):
        recipes.get_columns(poor)


def test_the_main_table_counts_pretraining_and_gives_no_step_cost():
    headings, rows = tables.make_table([variant("robust-classes"), record("anrot-clean")])
    by_title = {row[0]: dict(zip(headings, row, strict=True)) for row in rows}
    assert by_title["robust classes"]["training"] == "600 s" and by_title["robust classes"]["step cost"] == "-"
    assert by_title["ANROT, trained clean"]["step cost"] == "1.00"
