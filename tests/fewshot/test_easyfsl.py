"""Every method of easyfsl can be trained, tested and attacked."""

import pytest
import torch

from anrot_lib.attacks.gradient import pgd
from anrot_lib.core.configs import change
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot import evaluation, training
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.heads.easyfsl import list_builders
from anrot_lib.settings import Protocol, Recipe

SLOW = ("PTMAP", "Finetune", "TIM")  # hundreds of inner steps a call


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in list_builders()]
)
def test_it_is_trained_tested_and_attacked(name, small_set, small_budget):
    budget = change(small_budget, episodes=3, validate_every=3, validation_tasks=2)
    recipe = Recipe(method=f"easyfsl:{name}", hesim=0.0, adversarial=1.0)
    found = training.train(small_set, recipe, budget, Protocol(way=3, shot=2))
    before = create_net("tiny", recipe.method, generator=torch.Generator().manual_seed(0)).backbone.state_dict()
    moved = [k for k, w in found.net.backbone.state_dict().items() if w.is_floating_point() and not w.equal(before[k])]
    assert len(moved) > 10 and all(torch.isfinite(w).all() for w in found.net.state_dict().values())
    rows = EpisodeManifest.make(small_set, "test", 3, 2, 2, 4, 0).rows
    clean = evaluation.count_clean(found.net, small_set, rows)
    attacked = evaluation.count_attacked(found.net, small_set, rows, pgd(0.3, 2, 0.15, 1, target="query"), 0)
    assert clean.shape == attacked.shape == (4,) and attacked.sum() < clean.sum()
