"""The registry of methods: what is registered is known everywhere, and what breaks the contract is refused."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from anrot_lib.cli.options.fewshot import list_default_rows
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot import builders, methods, recipes
from anrot_lib.fewshot.heads.contract import Head, Scores
from anrot_lib.fewshot.heads.prototypes import Prototypes
from anrot_lib.fewshot.methods import (
    build_head,
    get_method,
    list_heads,
    list_methods,
    list_rows,
    register_method,
)
from anrot_lib.fewshot.row_names import name_row, sort_methods, split_row, title_method
from anrot_lib.reports import figures, tables
from anrot_lib.settings import Recipe


class Manhattan(Prototypes):
    def score_described(self, model, query, generator=None):
        return Scores(self._logits(torch.cdist(query, model, p=1)), {}, query)


def test_names_titles_and_colours_are_unique_and_recipes_name_a_head():
    known = list_methods()
    assert len({m.title for m in known}) == len(known)
    colours = [m.colour for m in known if m.colour]
    assert len(set(colours)) == len(colours)
    assert {m.recipe.method for m in known} == set(list_heads())
    assert all(isinstance(m.build(4), Head) for m in known)
    assert all(m.publication and m.colour for m in known if m.in_table)


def test_a_registered_method_is_known_to_nets_tables_figures_and_help():
    method = register_method("manhattan", Manhattan, title="Manhattan", colour="#123456", recipe=Recipe(hesim=0.25))
    assert get_method("manhattan") is method and "manhattan" not in list_rows()
    assert method.recipe == Recipe(method="manhattan", hesim=0.25)
    assert isinstance(build_head("manhattan", 4), Manhattan)
    assert title_method("manhattan") == "Manhattan" and figures.pick_colour("manhattan") == "#123456"
    assert [r["row"] for r in tables.sort_records([{"row": "zzz"}, {"row": "manhattan"}, {"row": "anrot"}])] == [
        "anrot",
        "manhattan",
        "zzz",
    ]
    assert "manhattan" in methods.describe_names()


def test_a_name_is_taken_once_unless_replacing_is_asked_for():
    with pytest.raises(UserError, match="there is a method 'anrot' already"):
        register_method("anrot", Manhattan)
    register_method("anrot", Manhattan, replace=True)
    assert isinstance(build_head("anrot", 4), Manhattan)
    for name in ("", "easyfsl:mine", "a b", "levels:pixel"):
        with pytest.raises(UserError, match="is a word without"):
            register_method(name, Manhattan)


class Standardised(Prototypes):
    def describe(self, maps):
        features = super().describe(maps)
        return (features - features.mean(-2, keepdim=True)) / features.std(-2, keepdim=True)


class Transposed(Prototypes):
    def score_described(self, model, query, generator=None):
        scores = super().score_described(model, query, generator)
        return scores._replace(logits=scores.logits.mT)


class Unfinished(Head):
    def __init__(self, channels):
        super().__init__()


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (torch.nn.Flatten, "must return a Head, got Flatten"),
        (lambda: None, "built from the number of channels alone"),
        (Unfinished, "fails on feature maps"),
        (Transposed, r"finite logits of shape \(1, 4, 3\), got shape \(1, 3, 4\)"),
        (Standardised, "depend on the other queries"),
    ],
)
def test_a_head_that_breaks_the_contract_is_refused(build, reason):
    with pytest.raises(UserError, match=f"method 'mine': .*{reason}"):
        register_method("mine", build)
    assert "mine" not in list_heads()


def test_a_head_that_says_that_it_is_transductive_is_taken():
    class Honest(Standardised):
        batch_dependent = True

    assert register_method("mine", Honest).build(4).batch_dependent


def test_the_names_are_known_without_torch():
    code = "import sys, anrot_lib.fewshot.methods as m; m.describe_names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_of_other_seeds_have_the_title_and_place_of_their_method():
    assert (name_row("anrot", 0, first=0), name_row("anrot", 2, first=0)) == ("anrot", "anrot-seed2")
    assert split_row("anrot-seed2") == ("anrot", 2) and split_row("anrot") == ("anrot", None)
    assert split_row("unknown-seed2") == ("unknown-seed2", None), "a name of somebody's own"
    assert title_method("anrot-seed2") == f"{title_method('anrot')}, seed 2"
    assert title_method("published-ae5425d038ab") == "as published, net ae5425d038ab"
    assert title_method("stranger-ae5425d038ab") == "stranger-ae5425d038ab"
    names = ["anrot-seed10", "zzz", "anrot-seed2", "anrot", "prototypes"]
    assert sort_methods(names) == ["prototypes", "anrot", "anrot-seed2", "anrot-seed10", "zzz"]


PARTS = {"clean": "shares", "adversarial": "shares", "noisy": "shares", "hesim": "head", "episodic": "head"}
PARTS |= {"method": "head", "learning_rate": "optimizer", "weight_decay": "optimizer"}


def test_the_recipes_of_the_study_differ_from_their_base_in_one_part():
    base, *others = methods.list_variants(methods.RECIPES).values()
    assert len(others) >= 14 and len(set(others)) == len(others)
    for recipe in others:
        changed = {f for f in vars(base) if getattr(base, f) != getattr(recipe, f)}
        if recipe.episodic:  # episodes take a rate of their own
            assert recipe.pretrain_rate == base.learning_rate
            changed -= {"learning_rate", "pretrain_rate"}
        assert len({PARTS.get(f, f) for f in changed}) == 1, changed


def test_the_variants_of_the_ablation_differ_from_their_reference_in_one_part():
    by_name = {variant.name: variant for variant in recipes.ABLATION}
    assert list(by_name) == list(methods.list_variants(methods.ABLATION)) and len(by_name) >= 20
    whole, *others = recipes.ABLATION
    assert (whole.name, whole.reference) == (recipes.WHOLE, "") and len({v.title for v in others}) == len(others)
    for variant in others:
        base = by_name[variant.reference].recipe
        changed = {PARTS.get(f, f) for f in vars(base) if getattr(base, f) != getattr(variant.recipe, f)}
        assert len(changed) == 1, (variant.name, changed)
        assert get_method(variant.name).recipe == variant.recipe


def test_the_constant_hesim_is_the_released_one_and_trains_nothing():
    released = get_method(recipes.CONSTANT_HESIM)
    assert released.metric_loss is builders.compute_released_hesim
    embeddings = torch.randn(12, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = released.metric_loss(embeddings, torch.arange(12) % 3)
    loss.backward()
    assert loss.item() == pytest.approx(126 * np.log(2)) and not embeddings.grad.any()


def test_longer_presets_also_train_the_recipe_that_is_robust_first():
    assert list_default_rows("smoke") == tuple(list_rows())
    for preset in ("laptop", "paper"):
        clean, robust = (get_method(name).recipe for name in list_default_rows(preset)[-2:])
        assert replace(robust, clean=1.0, adversarial=0.0) == clean, "twins but for the attack"
        assert robust.adversarial > 0
