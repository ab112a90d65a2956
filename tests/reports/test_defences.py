"""The study of defences: its table, and what a training is said to cost."""

import numpy as np
import pytest

from anrot_lib.core.configs import to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.methods import DEFENCES, get_method, list_variants
from anrot_lib.records import results
from anrot_lib.reports import defences
from anrot_lib.reports.studies import REPORTS
from anrot_lib.settings import Recipe
from tests.reports.test_tables import record

WORST = "AA-lite 8/255 query"


def defend(row, shift=0, recipe=None, **training):
    made = record(row, shift, recipe=to_dict(recipe or Recipe()))
    made["training"] |= {"cost_limit": 1.0} | training
    counts = np.array([20, 10, 30, 10, 10, 20]) + shift
    made["columns"][WORST] = results.make_column(counts, 80, 1.0, suite="aa-lite")
    made["columns"]["corruptions query"] = results.make_column(counts + 5, 80, 1.0, changed="query", kinds={})
    made["columns"]["clean"]["calibration_error"] = 0.123
    return made


def test_a_line_holds_every_measure_of_a_defence():
    headings, rows = defences.make_table([defend("anrot", 4, cost_limit=2.5), defend("anrot-clean")])
    cells = dict(zip(headings, rows[0], strict=True))
    assert cells["defence"].startswith("ANROT, trained clean (PGD overstates by ")
    assert cells["AA-lite 8/255"].startswith("20.8") and cells["corruptions"].startswith("27.1")
    assert cells["worst 5 %, clean"] == "37.5", "30 of 80, one episode of six"
    assert cells["calibration error"] == "12.3"
    assert [row[headings.index("cost, episodes")] for row in rows] == ["450", "1125"]
    missing = defend("anrot")
    del missing["columns"][WORST]
    with pytest.raises(UserError, match="lacks the clean column or the strong attacks"):
        defences.make_table([missing])


def test_the_worst_episodes_are_a_twentieth_of_all():
    counts = np.array([*range(10, 50), 1, 3])  # 42 episodes: two of them
    assert defences.measure_worst_episodes(results.make_column(counts, 100, 1.0)) == pytest.approx(2.0)


def test_pre_training_costs_its_passes_in_those_of_an_episode():
    recipe = Recipe(method="cosine", pretrain=True, episodic=0.0, hesim=0.0, adversarial=1.0)
    made = defend("robust-classes", recipe=recipe, pretraining_steps=300)
    images = 5 * (5 + made["budget"]["train_query"])  # of an episode, at 3 passes each; half a batch is attacked
    assert defences.count_clean_steps(made) == pytest.approx(300 * 64 * (3 + 0.5 * 2) / (3 * images))


def test_the_figure_and_the_caption_name_the_strong_attacks():
    records = [defend("anrot", 4), defend("anrot-clean")]
    axes = defences.draw(records).axes[0]
    assert axes.get_xlabel() == "accuracy under AA-lite 8/255, %"
    assert "on 6 episodes" in defences.write_caption(records)
    assert REPORTS[DEFENCES].draw is defences.draw


def test_the_defences_are_trained_on_equally_many_episodes_or_classify():
    variants = list_variants(DEFENCES)
    assert next(iter(variants)) == "anrot-clean" and len(variants) >= 8
    episodic = {name: recipe for name, recipe in variants.items() if not recipe.pretrain}
    assert {recipe.episodic for recipe in episodic.values()} == {1.0}
    assert len({get_method(name).title for name in variants}) == len(variants) == len(set(variants.values()))
