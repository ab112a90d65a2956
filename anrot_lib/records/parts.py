"""Types of what records hold: what ran, on what data, the columns and trainings of few-shot nets, and timings."""

from typing import Annotated, Literal, NotRequired, Required

from pydantic import Field
from typing_extensions import TypedDict

from anrot_lib.records.settings import ThreatRecord

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
    without: NotRequired[list[str]]  # test classes that were left out, because the net has seen them
    rows_hash: NotRequired[Hash]


class ManifestRecord(TypedDict):
    image_set_hash: Hash
    split: str
    n_way: int
    n_shot: int
    n_query: int
    n_tasks: int
    seed: int
    hash: Hash
    layout: NotRequired[list[int]]  # number of images of each class, in the order of labels; older records lack it


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
    suite: str  # of strong attacks, whose worst case was counted
    rule: Literal["adaptive", "hasty"]  # of its adaptive steps; older records lack it
    beaten: dict[
        str, int
    ]  # queries that each attack of it was the first to beat, in their order; older records lack it
    images: Hash  # of the file of its adversarial queries, where they were stored
    kinds: dict[str, list[float]]  # of corruptions: accuracy in per cent by severity; counts are sums over all of them
    changed: Literal["query", "support", "both"]  # which images were corrupted
    answers: str  # which queries are right, see `records.answers`; columns of many episodes and older ones lack it
    open_half_width: Positive  # of the 95 % interval over other classes and query images, where there are answers
    calibration_error: Share  # of unchanged queries, over all episodes of the column; older records lack it


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
        "episodes timed": dict[str, int],
        "peers": dict[str, str],  # library -> version
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


class GrowthRowRecord(TypedDict):
    """A piece of work at ascending sizes. A list has a number for each size."""

    unit: str  # of the size, such as "images"
    sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2)]
    seconds: list[Positive]  # of the processor, which others on the machine do not lengthen
    exponent: float  # of the line through the logarithms of sizes and seconds
    minutes: NotRequired[list[Positive]]  # of the clock
    peak_gib: NotRequired[list[Positive]]  # of memory that the process holds, without mapped files
    disk_gib: NotRequired[list[Positive]]  # that it leaves on the disk


class PlantedRecord(TypedDict):
    """Near copies that were planted across splits, and those of them that the guard detected."""

    planted: int
    detected: int


class GrowthAboutRecord(TypedDict, total=False):
    repeats: int
    size: int
    encoder: str
    episodes: int
    copies: dict[str, dict[str, PlantedRecord]]  # number of images -> kind of change
    sha256: dict[str, Hash]  # of the prepared set of each number of images


class GrowthSettingsRecord(GrowthAboutRecord):
    load_average: float
