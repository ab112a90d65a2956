"""Rows that were challenged by adversarial images of others: a table, and the verdict in words."""

from collections.abc import Sequence

from anrot_lib.core.units import format_pixels
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.records.schema import RescoreRecord
from anrot_lib.reports.tables import Table, format_column


def make_table(records: Sequence[RescoreRecord]) -> Table:
    """One line a challenge: accuracy of the column as recorded and as challenged, and their paired difference."""
    lines = []
    for record in records:
        columns, gap = record["columns"], record["difference"]
        lines.append(
            [
                title_method(record["row"]),
                record["column"],
                record["images"]["attack"],
                format_column(columns["clean"]),
                format_column(columns["recorded"]),
                format_column(columns["challenged"]),
                f"{gap['value']:+z.1f} ± {gap['half_width']:.1f}",
                ("falls" if record["falls"] else "stands") + describe_part(record),
            ]
        )
    return ["row", "column", "challenger", "clean", "recorded", "challenged", "difference", ""], lines


def describe_part(record: RescoreRecord) -> str:
    """ " on 4 of 40 episodes", where a challenger did not send images of all, and so may have chosen."""
    sent, of = len(record["tasks"]), record.get("of", 0)
    return f" on {sent} of {of} episodes" if of > sent else ""


def measure_whole(record: RescoreRecord) -> float:
    """Challenged - recorded over all episodes of the column, in points: those that were not sent stay as recorded."""
    before, after = (record["columns"][name] for name in ("recorded", "challenged"))
    episodes = max(record.get("of", 0), len(record["tasks"]))
    return 100 * (sum(after["correct"]) - sum(before["correct"])) / (before["queries"] * episodes)


def write_verdict(record: RescoreRecord) -> str:
    """Whether the row falls, on how many episodes, and in which ball all images were found to lie."""
    images, columns, gap = record["images"], record["columns"], record["difference"]
    ball = f"{images['norm']} {format_pixels(images['eps'])}"
    how = (
        f"falls from {columns['recorded']['mean']:.1f} to {columns['challenged']['mean']:.1f} %"
        if record["falls"]
        else f"stands: {columns['recorded']['mean']:.1f} % recorded, {columns['challenged']['mean']:.1f} % now"
    )
    part = describe_part(record)
    if part:
        part = f"; images came{part}, chosen by the challenger: over all of them {measure_whole(record):+z.2f} points"
    same = "; they are the images of the record itself" if record["from_record"] else ""
    seen = "SEEN CLASSES, no few-shot accuracy; " if "seen" in record else ""
    return (
        f"{seen}the column {record['column']!r} of {record['row']} {how}, paired {gap['value']:+z.2f} ± "
        f"{gap['half_width']:.2f} points on {len(record['tasks'])} episodes of {columns['clean']['queries']} queries; "
        f"all images lie in the ball {ball}; {record['ties']} answers are ties and count as right{part}{same}"
    )
