"""Settings in records have the fields of the dataclasses that they are written from."""

import dataclasses
import types
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.fewshot.certificates import Smoothing
from anrot_lib.ranking.recipe import RankingRecipe
from anrot_lib.reconstruction.recipe import VaeRecipe
from anrot_lib.records import settings
from anrot_lib.settings import Budget, Protocol, Recipe


def as_json(kind: Any) -> Any:
    """The type of a field as JSON keeps it: lists for tuples."""
    if get_origin(kind) is tuple:
        return list[get_args(kind)[0]]
    return kind


# Fields that older records lack: reading them, `core.configs.add_defaults` takes the default.
ADDED = {
    settings.ProtocolRecord: {"restarts", "norm"},
    settings.RecipeRecord: {
        *("attack", "attack_eval", "trades", "label_smoothing", "optimizer", "weight_decay", "averaging"),
        *("pretrain_rate", "pretrain_as", "episodic", "heads"),
    },
    settings.BudgetRecord: {"pretrain_batch", "groups"},
}


@pytest.mark.parametrize(
    ("settings", "record"),
    [
        (Protocol, settings.ProtocolRecord),
        (Recipe, settings.RecipeRecord),
        (Budget, settings.BudgetRecord),
        (Smoothing, settings.SmoothingSettingsRecord),
        (VaeRecipe, settings.VaeRecord),
        (RankingRecipe, settings.RankingRecipeRecord),
    ],
)
def test_a_record_of_settings_has_their_fields_and_types(settings, record):
    hints = get_type_hints(settings)
    fields = {field.name: as_json(hints[field.name]) for field in dataclasses.fields(settings)}
    assert get_type_hints(record) == fields
    assert record.__optional_keys__ == ADDED.get(record, set()), "only what was added later may be missing"


def test_a_threat_has_its_fields_and_a_name():
    hints = get_type_hints(ThreatModel)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(ThreatModel)}
    assert get_type_hints(settings.ThreatRecord) == fields | {"name": str}
    assert isinstance(hints["eps"], type) and not isinstance(hints["eps"], types.UnionType)
