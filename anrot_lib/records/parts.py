"""Types of what records hold: what ran, on what data, with which settings, and the measured columns.

The settings mirror the dataclasses Protocol, Recipe, Budget, ThreatModel, EpisodeManifest, VaeRecipe and RankingRecipe
as JSON keeps them: lists in place of tuples.
"""

from typing import Annotated, Literal, NotRequired, Required

from pydantic import Field
from typing_extensions import TypedDict

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Positive = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class CommandRecord(TypedDict):
    command: str
    commit: str


class RunRecord(CommandRecord):
    """What ran; `also` names former commands that measured other columns of the same record."""

    versions: dict[str, str]
    device: str
    peak_gib: NotRequired[float]
    also: NotRequired[list[CommandRecord]]


class DataRecord(TypedDict):
    name: str
    sha256: Hash
    split_hash: Hash
    size: int
    images: int
    classes: dict[str, int]
    licence: NotRequired[str]
    left_out: NotRequired[int]
    rows_hash: NotRequired[Hash]


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


class ManifestRecord(TypedDict):
    image_set_hash: Hash
    split: str
    n_way: int
    n_shot: int
    n_query: int
    n_tasks: int
    seed: int
    hash: Hash


class ThreatRecord(TypedDict):
    name: str
    norm: str
    eps: float
    step: float
    steps: int
    restarts: int
    start: str
    target: str


SurrogateRecord = TypedDict(
    "SurrogateRecord",
    {
        "loss": str,
        "trained on": str,
        "label": str,
        # of the surrogate on held-out images of its own classes; records until November 2026 do not have it
        "accuracy": NotRequired[Share],
        "images": NotRequired[int],
        "classes": NotRequired[int],
    },
)


class ColumnAbout(TypedDict, total=False):
    """How the images of a column were changed, if they were."""

    threat: ThreatRecord
    objective: Literal["beaten queries"]  # of attacks whose queries share one perturbation; older records lack it
    sigma: float
    surrogate: SurrogateRecord


class ColumnRecord(ColumnAbout):
    """Correct answers of every episode, of `queries` each; mean and 95 % intervals in per cent."""

    correct: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2)]
    queries: Annotated[int, Field(ge=1)]
    mean: Annotated[float, Field(ge=0, le=100)]
    half_width: Positive
    bootstrap: Annotated[list[float], Field(min_length=2, max_length=2)]
    seconds: Positive


class FusionRecord(TypedDict):
    """Levels on a trained encoder: weight x scale of each, and its share of the logits on the test episodes."""

    mode: str
    weights: dict[str, float]
    shares: dict[str, Share]


class ValidationRecord(TypedDict, total=False):
    """A validation during training: accuracies of the versions of the queries in [0, 1]."""

    step: Required[int]
    clean: float
    view: float
    noisy: float
    adversarial: float
    fgsm: float
    shares: dict[str, Share]


class OriginRecord(TypedDict):
    """The image set that a net was trained on, its hashes, and how many classes and images of it the net has seen."""

    data: str
    sha256: Hash
    split_hash: Hash
    classes: int
    images: int


class SeenRecord(TypedDict):
    """How much of the test split trained or selected the net: such a number is no few-shot accuracy."""

    trained_classes: int
    selected_classes: int
    images: int


class TrainingRecord(TypedDict, total=False):
    """What is known of a training; all of it may be missing, for a net that was trained elsewhere."""

    checkpoint: Hash
    seconds: float
    seconds_per_step: float
    pretraining_seconds: float
    cost_limit: float
    best_step: int
    precision: str
    alarms: list[str]
    loss: str  # the name of a metric loss in the place of Hesim
    history: list[ValidationRecord]
    fusion: FusionRecord
    origin: OriginRecord  # older records lack it


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


class EpochRecord(TypedDict):
    """A validation of an autoencoder: loss = error + beta x divergence, means over images."""

    loss: float
    error: float
    divergence: float


class VaeTrainingRecord(TypedDict):
    epochs: int
    best_epoch: int
    seconds: float
    images_per_second: float
    precision: str
    history: list[EpochRecord]
    settled: NotRequired[bool]  # only older records have it


class VaeTestRecord(TypedDict):
    images: int
    subset_seed: int
    resamples: int
    torchmetrics: str


class ExtractorRecord(TypedDict):
    name: str
    sha256: Hash
    features: int
    resize: str


class IntervalRecord(TypedDict):
    value: float
    half_width: float


class ResampledRecord(IntervalRecord):
    resampled: list[float]


class DistanceRecord(TypedDict):
    """A Frechet distance of so many images, and that of two sets of real images of the same number."""

    images: int
    distance: float
    floor: float


class DecodedRecord(TypedDict):
    """Measures of one way of decoding: from a sample or from the mean of the posterior."""

    squared_error: IntervalRecord
    psnr: IntervalRecord
    ssim: IntervalRecord
    kernel: IntervalRecord
    frechet: ResampledRecord
    over_images: list[DistanceRecord]
    seconds: Positive


class FloorPointRecord(IntervalRecord):
    images: int


class FloorRecord(TypedDict):
    """Distance of two sets of real images: measured at this number, or by the line over 1/n through `points`."""

    images: int
    value: float
    measured: bool
    points: list[FloorPointRecord]


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


class RankingStepsRecord(TypedDict):
    """The training of a ranking model."""

    steps: int
    seconds: float
    seconds_per_step: float
    precision: str
    start: str
    note: str
    history: list[dict[str, float]]


class CheckpointRecord(TypedDict):
    sha256: Hash
    steps: int
    of: int
    start: NotRequired[str]  # older records lack it


class RankingProtocolRecord(TypedDict):
    attacks: list[str]
    queries: int | None
    seed: int
    parity: Literal["fixed", "robrank"]
    profile: str
    gallery: int


class AttackedRecord(TypedDict):
    """A number of the robustness score before and under its attack."""

    attack: str
    benign: float
    attacked: float
    half_width: float
    seconds: float


ErsRecord = TypedDict(
    "ErsRecord",
    {
        "value": float,
        "half_width": float,
        "bootstrap": Annotated[list[float], Field(min_length=2, max_length=2)],
        "ceiling": float,
        "collapsed": bool,
        "with GTM robrank": NotRequired[float],  # the score if GTM is measured as the other parity does
        "with GTM fixed": NotRequired[float],
    },
)


class FewShotSettingsRecord(TypedDict):
    way: int
    shot: int
    head: str
    maps: str
    classes_seen: bool
    said: str


class FewShotRecord(TypedDict):
    settings: FewShotSettingsRecord
    columns: dict[str, ColumnRecord]


class CheckRecord(TypedDict, total=False):
    """A check of the gradient: the score under another attack, and its difference to PGD."""

    passed: Required[bool]
    score: float
    difference: float
    half_width: float
    queries: int
    restarts: int
    times: int
    population: int
    dead: dict[str, float]
    scores: dict[str, float]


class NetRecord(TypedDict):
    sha256: Hash
    name: str


class QuartilesRecord(TypedDict):
    """Seconds of a variant: quartiles, and of some the largest."""

    low: float
    median: float
    high: float
    largest: NotRequired[float]


Limit = Annotated[tuple[str, float], Field(strict=False)]  # the variant and factor that a variant cannot go below
TimingSettingsRecord = TypedDict(
    "TimingSettingsRecord",
    {
        "load_average": float,
        "repeats": int,
        "reference": str | dict[str, str],  # the variant that others are compared with, or one for each variant
        "reference_title": str,
        "limits": dict[str, Limit],
        "peak MiB above the features": dict[str, float],
        "images timed": int,
        "images counted": int,
        "batch": int,
        "model": str,
        "eta": int,
        "pairs": int,
        "precision": str,
        "queries": int,
        "gallery": int,
    },
    total=False,
)
