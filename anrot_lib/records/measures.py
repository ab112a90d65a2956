"""Types of what records of reconstruction and ranking hold: trainings, tests, measured numbers and checks."""

from typing import Annotated, Literal, NotRequired, Required

from pydantic import Field
from typing_extensions import TypedDict

from anrot_lib.records.parts import ColumnRecord, FusionRecord, Hash, OriginRecord, Positive, ValidationRecord


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
    pretraining_steps: int
    pretraining_seconds_per_step: float
    heads: dict[str, float]  # validation score of each head that was tried after training
    cost_limit: float
    best_step: int
    precision: str
    alarms: list[str]
    loss: str  # the name of a metric loss in the place of Hesim
    history: list[ValidationRecord]
    fusion: FusionRecord
    origin: OriginRecord  # older records lack it
    size: int  # side of the training images, where the net was tested on others
    shot: int  # support images of a class in training, where the net was tested with another number


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
    draws: int
    changed: int
    dead: dict[str, float]
    scores: dict[str, float]


class NetRecord(TypedDict):
    sha256: Hash
    name: str


Counts = list[list[Annotated[int, Field(ge=0)]]]  # a list for each episode, in the order of its queries


class SmoothedAttackRecord(TypedDict):
    """Certified queries, attacked within `factor` of their radii; the broken ones of them are shown to have lost."""

    factor: Positive
    steps: int
    samples: int
    draws: int
    queries: int
    broken: int


class TurnedRecord(TypedDict):
    """Attacked queries: certified ones and those of them whose answer was turned, and the same of the others."""

    certified: int
    broken: int
    others: int
    turned: int


class PoisonAttackRecord(TypedDict):
    """Attacks with so many replaced shots in one class, whichever is best, and in every class at once."""

    replaced: int
    one_class: TurnedRecord
    every_class: TurnedRecord


class JudgeRecord(TypedDict):
    """An attack of another library beside ours, by right queries; alone: queries that only one of the two beats."""

    attack: str
    library: str
    version: str
    ours: ColumnRecord
    judge: ColumnRecord
    difference: IntervalRecord  # judge - ours, paired, in points: above 0 where ours is the stronger
    ours_alone: int
    judge_alone: int


class ChallengerRecord(TypedDict):
    """A file of adversarial images: its hash, what it says made them, and the ball that all were found to lie in."""

    sha256: Hash
    attack: str
    norm: str
    eps: float
