"""Sizes and lengths of the trainings of one table: which rows differ, and that the nets of a study do not."""

from collections.abc import Sequence

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.row_names import sort_methods, title_method
from anrot_lib.records.schema import AccuracyRecord

SIZES = ("size", "encoder", "episodes", "episodes_per_step", "train_query", "pretrain_steps", "pretrain_batch")


def describe_lengths(records: Sequence[AccuracyRecord]) -> str:
    """Which rows had another pre-training, encoder or number of training steps than the first, of which the caption
    is written."""
    first, by_row = records[0], {record["row"]: record for record in records}
    pretrained, others = dict[str, list[str]](), dict[str, list[str]]()
    for record in (by_row[row] for row in sort_methods(by_row)):
        title = title_method(record["row"])
        if (steps := count_pretrained(record)) and steps != count_pretrained(first):
            pretrained.setdefault(f"pre-trained for {steps} steps", []).append(title)
        if (encoder := record["budget"]["encoder"]) != first["budget"]["encoder"]:
            others.setdefault(f"encoder {encoder}", []).append(title)
        if (steps := count_trained(record)) and steps != count_trained(first):
            others.setdefault(f"trained for {steps} steps", []).append(title)
    return "".join(f"; {what}: {', '.join(rows)}" for what, rows in {**pretrained, **others}.items())


def count_pretrained(record: AccuracyRecord) -> int:
    """Steps of pre-training; 0 where there was none."""
    return record["training"].get("pretraining_steps", 0)


def count_trained(record: AccuracyRecord) -> int:
    """Training steps after any pre-training; 0 where there were none, or where an older record does not say it."""
    history = record["training"].get("history")
    return history[-1]["step"] if history else 0


def check_one_size(records: Sequence[AccuracyRecord]) -> None:
    """UserError unless all nets of a study were trained at one size: one factor at a time is changed, and not two."""
    for name in SIZES:
        first, *rest = ((record["row"], record["budget"].get(name)) for record in records)
        for row, size in rest:
            if size != first[1]:
                raise UserError(
                    f"{first[0]!r} and {row!r} stand in one study and differ in {name}: {first[1]} and {size}; give "
                    "one of them another --tag"
                )
