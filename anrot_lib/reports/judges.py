"""Our attacks beside those of other libraries, as a table and a caption."""

from anrot_lib.core.units import format_pixels
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.records.schema import JudgesRecord
from anrot_lib.reports.tables import Table, format_column

CLOSE = 0.5  # points: attacks of equal strength differ by no more


def make_table(record: JudgesRecord) -> Table:
    """One line a judge: accuracy that each of the two leaves, their paired difference, what only one of them beats."""
    lines = [
        [
            judged["attack"],
            f"{judged['library']} {judged['version']}",
            format_column(judged["ours"]),
            format_column(judged["judge"]),
            f"{judged['difference']['value']:+z.1f} ± {judged['difference']['half_width']:.1f}",
            str(judged["ours_alone"]),
            str(judged["judge_alone"]),
        ]
        for judged in record["judges"]
    ]
    return [
        "attack",
        "judge",
        "ours leaves",
        "judge leaves",
        "judge - ours",
        "only ours beats",
        "only judge beats",
    ], lines


def write_caption(record: JudgesRecord) -> str:
    """On what they were compared, and where the judge is stronger by more than `CLOSE`."""
    protocol, clean = record["protocol"], record["columns"]["clean"]
    weaker = [j["attack"] for j in record["judges"] if j["difference"]["value"] < -CLOSE]
    verdict = f"no judge is stronger by more than {CLOSE} points"
    if weaker:
        verdict = f"WEAKER than a judge by more than {CLOSE} points: {', '.join(dict.fromkeys(weaker))}"
    missing = "".join(f"; {name} was not asked ({why})" for name, why in record["missing"].items())
    seen = "SEEN CLASSES, no few-shot accuracy; " if "seen" in record else ""
    episodes = f"{record['data']['name']}, {protocol['way']}-way {protocol['shot']}-shot"
    return (
        f"{seen}{title_method(record['row'])}, {episodes}, eps {format_pixels(protocol['eps'])}, "
        f"{len(clean['correct'])} episodes of {clean['queries']} queries, "
        f"{clean['mean']:.1f} % right on clean images; {verdict}{missing}; manifest {record['manifest']['hash'][:10]}; "
        f"{record['run']['device']}, {record['seconds']:.0f} s"
    )
