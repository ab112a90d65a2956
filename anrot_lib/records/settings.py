"""Types of settings in records: the fields of the dataclasses Protocol, Recipe, Budget, ThreatModel, Smoothing,
VaeRecipe and RankingRecipe as JSON keeps them, with lists in place of tuples.
"""

from typing import NotRequired

from typing_extensions import TypedDict


class ProtocolRecord(TypedDict):
    way: int
    shot: int
    seed: int
    eps: float
    step: float
    steps: int
    sigma: float
    curve_eps: list[float]
    curve_sigma: list[float]
    restarts: NotRequired[int]  # older records lack these two
    norm: NotRequired[str]


class RecipeRecord(TypedDict):
    method: str
    clean: float
    adversarial: float
    noisy: float
    eps: float
    attack_steps: int
    sigma_low: float
    sigma_high: float
    hesim: float
    temperature: float
    learning_rate: float
    schedule: str
    clip: float
    augment: list[str]
    two_views: bool
    mix: str | None
    attention: bool | None
    seed: int
    pretrain: bool
    # older records lack these
    attack: NotRequired[str]
    attack_eval: NotRequired[bool]
    trades: NotRequired[float]
    label_smoothing: NotRequired[float]
    optimizer: NotRequired[str]
    weight_decay: NotRequired[float]
    averaging: NotRequired[float]
    pretrain_rate: NotRequired[float | None]
    pretrain_as: NotRequired[str | None]
    episodic: NotRequired[float]
    heads: NotRequired[list[str]]


class BudgetRecord(TypedDict):
    preset: str
    size: int
    encoder: str
    episodes: int
    train_query: int
    episodes_per_step: int
    pretrain_steps: int
    validate_every: int
    validation_tasks: int
    clean_tasks: int
    clean_query: int
    attacked_tasks: int
    attacked_query: int
    curve_tasks: int
    surrogate_epochs: int
    precision: str
    classes: int
    per_class: int
    pretrain_batch: NotRequired[int]  # older records lack it, and the next
    groups: NotRequired[int]


class ThreatRecord(TypedDict):
    name: str
    norm: str
    eps: float
    step: float
    steps: int
    restarts: int
    start: str
    target: str


class SmoothingSettingsRecord(TypedDict):
    sigma: float
    noisy: str
    first_draws: int
    draws: int
    alpha: float


class VaeRecord(TypedDict):
    divergence: str
    beta: float
    seed: int
    model: str
    batch: int
    learning_rate: float
    train_images: int
    validation_images: int
    epochs: int
    subset_seed: int


class RankingRecipeRecord(TypedDict):
    name: str
    eps: float
    step: float
    eta: int
    margin: float
    learning_rate: float
    weight_decay: float
    batch: int
    epochs: int
    size: int
    stored: int
    flip: bool
    embedding: int
    freeze_bn: bool
    pretrain_epochs: int
    destination: str
    limit: float
    boost: float
    structure_weight: float
    structure_margin: float
    shift_weight: float
    barlow_weight: float
    beta: float
    beta_rate: float
    parity: str
    attack_precision: str
    seed: int
