"""The kinds of records as types, and their validation: exact keys, exact types, ranges of numbers."""

import functools
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, get_args, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from anrot_lib.core.configs import check_type
from anrot_lib.records import answers, measures, parts, settings

SCHEMA_VERSION: Literal[1] = 1
EXACT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Head(TypedDict):
    schema: Literal[1]
    run: parts.RunRecord


@with_config(EXACT)
class _Training(measures.TrainingRecord):
    """What a checkpoint says of the training of its net."""


def check_training(training: Any, what: str) -> measures.TrainingRecord:
    """The training of a checkpoint, if a record can hold it; UserError if not."""
    checked: measures.TrainingRecord = check_type(training, _Training, what)
    return checked


@with_config(EXACT)
class AccuracyRecord(_Head):
    """Accuracies of a trained net on stored episodes."""

    kind: Literal["accuracy"]
    row: str
    data: parts.DataRecord
    protocol: settings.ProtocolRecord
    recipe: settings.RecipeRecord
    budget: settings.BudgetRecord
    manifest: parts.ManifestRecord
    parameters: int
    transductive: bool
    training: measures.TrainingRecord
    columns: dict[str, parts.ColumnRecord]
    seen: NotRequired[measures.SeenRecord]  # only where a net was tested on what it has seen, on purpose
    close: NotRequired[list[str]]  # test classes whose kind the net may have seen under another name, with that name
    unknown_origin: NotRequired[bool]  # only true: nobody knows what the net was trained on
    left_out: NotRequired[dict[str, str]]  # columns that were asked for and say nothing here, and why


@with_config(EXACT)
class ReconstructionRecord(_Head):
    """An autoencoder, and how far its reconstructions are from the test images."""

    kind: Literal["reconstruction"]
    row: str
    data: parts.DataRecord
    vae: settings.VaeRecord
    test: measures.VaeTestRecord
    parameters: int
    training: measures.VaeTrainingRecord
    extractor: measures.ExtractorRecord
    divergences: dict[str, float]
    decoded: Annotated[dict[str, measures.DecodedRecord], Field(min_length=1)]
    floor: measures.FloorRecord


@with_config(EXACT)
class RankingTrainingRecord(_Head):
    """The training of a ranking model."""

    kind: Literal["ranking-training"]
    row: str
    data: parts.DataRecord
    recipe: settings.RankingRecipeRecord
    parameters: int
    training: measures.RankingStepsRecord


class RankingHead(_Head):
    """What every test of a ranking model says first."""

    row: str
    name: str
    data: parts.DataRecord
    checkpoint: measures.CheckpointRecord
    protocol: measures.RankingProtocolRecord
    other_data: NotRequired[Literal[True]]  # other images or another split than it was trained with, on purpose


@with_config(EXACT)
class RankingRecord(RankingHead):
    """Retrieval on clean images, the attacked numbers, and the robustness score of every query."""

    kind: Literal["ranking"]
    recipe: settings.RankingRecipeRecord
    parameters: int
    clean: dict[str, float]
    numbers: Annotated[dict[str, measures.AttackedRecord], Field(min_length=10)]
    ers: measures.ErsRecord
    queries: Annotated[list[float], Field(min_length=2)]
    few_shot: NotRequired[measures.FewShotRecord]


@with_config(EXACT)
class RankingChecksRecord(RankingHead):
    """Checks whether a robustness score rests on a masked gradient; scores under PGD and the worst attack."""

    kind: Literal["ranking-checks"]
    pgd: float
    worst: float
    passed: bool
    checks: dict[str, measures.CheckRecord]
    seconds: float
    other: NotRequired[measures.NetRecord]


class NetHead(_Head):
    """What a record of the tests of one net says first."""

    row: str
    data: parts.DataRecord
    protocol: settings.ProtocolRecord
    manifest: parts.ManifestRecord
    net: measures.NetRecord
    seconds: float
    seen: NotRequired[measures.SeenRecord]  # only where a net was tested on what it has seen, on purpose


@with_config(EXACT)
class CardRecord(NetHead):
    """The masking card of a few-shot net: whether its accuracy under attack rests on a useless gradient."""

    kind: Literal["card"]
    tasks: int
    checks: Annotated[dict[str, measures.CheckRecord], Field(min_length=4)]
    passed: bool
    surface: list[list[float]]


class CertificateHead(NetHead):
    """What every certificate says first; queries are those of an episode, as many of each class, class by class."""

    queries: int


@with_config(EXACT)
class SmoothingRecord(CertificateHead):
    """Randomised smoothing of an episode classifier: of each query its class on the clean image, the class that the
    first draws chose, and how many of the other draws agreed; answers and radii follow from these."""

    kind: Literal["smoothing"]
    smoothing: settings.SmoothingSettingsRecord
    plain: measures.Counts
    chosen: measures.Counts
    hits: measures.Counts
    attacks: list[measures.SmoothedAttackRecord]


@with_config(EXACT)
class PoisoningRecord(CertificateHead):
    """How many shots may be replaced: of each query its class by the net's usual head and by that of shots, and how
    many shots of one class, or of every class, may be replaced by anything."""

    kind: Literal["poisoning"]
    head: str
    trimmed: int
    plain: measures.Counts
    answers: measures.Counts
    one_class: measures.Counts
    every_class: measures.Counts
    attacks: list[measures.PoisonAttackRecord]


@with_config(EXACT)
class JudgesRecord(NetHead):
    """Our attacks and those of other libraries on the same queries; missing: libraries that were not asked, and why."""

    kind: Literal["judges"]
    columns: dict[Literal["clean"], parts.ColumnRecord]
    judges: Annotated[list[measures.JudgeRecord], Field(min_length=1)]
    missing: dict[str, str]


@with_config(EXACT)
class RescoreRecord(_Head):
    """Whether a row falls: a challenger's adversarial queries, scored on the episodes of a recorded column."""

    kind: Literal["rescore"]
    row: str
    data: parts.DataRecord
    manifest: parts.ManifestRecord
    net: measures.NetRecord
    images: measures.ChallengerRecord
    column: str  # of the record that was challenged
    tasks: Annotated[list[int], Field(min_length=2)]
    of: NotRequired[int]  # episodes of that column; the challenger chose which of them to send; older records lack it
    columns: dict[Literal["clean", "recorded", "challenged"], parts.ColumnRecord]
    difference: measures.IntervalRecord  # challenged - recorded, paired, in points
    ties: int  # queries right or wrong by rounding alone; they count as right
    from_record: bool  # whether they are the images that the column itself names
    falls: bool
    seconds: float
    seen: NotRequired[measures.SeenRecord]


@with_config(EXACT)
class TimingRecord(_Head):
    """Seconds of variants measured in turn. Only ratios within one record mean anything."""

    kind: Literal["timing"]
    what: str
    settings: parts.TimingSettingsRecord
    seconds: dict[str, parts.QuartilesRecord]


@with_config(EXACT)
class GrowthRecord(_Head):
    """What pieces of work take at several sizes, and by which power of the size they grow."""

    kind: Literal["growth"]
    what: str
    settings: parts.GrowthSettingsRecord
    rows: dict[str, parts.GrowthRowRecord]


Record: TypeAlias = (
    AccuracyRecord
    | ReconstructionRecord
    | RankingTrainingRecord
    | RankingRecord
    | RankingChecksRecord
    | CardRecord
    | SmoothingRecord
    | PoisoningRecord
    | RescoreRecord
    | JudgesRecord
    | TimingRecord
    | GrowthRecord
)
KINDS: dict[str, type] = {get_args(get_type_hints(cls)["kind"])[0]: cls for cls in get_args(Record)}


@functools.cache
def _build_adapter(kind: str) -> TypeAdapter[Record]:
    return TypeAdapter(KINDS[kind])


def _check_answers(where: str, column: Any) -> None:
    """ValueError unless the answers of a column are as many as its counts say."""
    try:
        right = answers.unpack_answers(column["answers"], len(column["correct"]), column["queries"])
    except ValueError as error:
        raise ValueError(f"{where} has answers that cannot be read: {error}") from error
    if right.sum(1).tolist() != column["correct"]:
        raise ValueError(f"{where} has answers that are not those that were counted")


def validate(record: Any, where: str = "the record") -> Record:
    """The record itself, if it is of the type of its kind; ValueError with the place of the first fault if not."""
    if not isinstance(record, dict):
        raise ValueError(f"{where}: a record is a JSON object, not {type(record).__name__}")
    if not isinstance(record.get("kind"), str) or record["kind"] not in KINDS:
        raise ValueError(f"{where}: unknown kind {record.get('kind')!r}; known are {', '.join(KINDS)}")
    if type(record.get("schema")) is not int:  # for Python, True == 1
        raise ValueError(f"{where}: the schema of a record is the number {SCHEMA_VERSION}")
    try:
        _build_adapter(record["kind"]).validate_python(record)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in fault["loc"])
        raise ValueError(f"{where}: record{place}: {fault['msg']}") from error
    columns = record.get("columns", {}) | record.get("few_shot", {}).get("columns", {})
    for name, column in columns.items():
        if max(column["correct"]) > column["queries"]:
            raise ValueError(f"{where}: column {name!r} has more correct answers than queries in an episode")
        if "answers" in column:
            _check_answers(f"{where}: column {name!r}", column)
    valid: Record = record  # type: ignore[assignment]  # checked above; the parsed copy would turn 1 into 1.0
    return valid
