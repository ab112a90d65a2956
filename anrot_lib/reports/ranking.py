"""Scores as tables: the columns of the papers, published and measured rows apart."""

from collections.abc import Sequence

from anrot_lib.core import statistics
from anrot_lib.core.units import format_pixels
from anrot_lib.ranking import names
from anrot_lib.ranking.score import ers
from anrot_lib.records.measures import CheckRecord
from anrot_lib.records.schema import RankingChecksRecord, RankingRecord
from anrot_lib.reports import tables
from anrot_lib.reports.tables import Table

Record = RankingRecord
COLUMNS = ("R@1", "R@2", "mAP", "mAP@10", "NMI")
ARROWED = [f"{name}{ers.BETTER[name]}" for name in ers.NUMBERS]


def format_number(name: str, value: float | None) -> str:
    """As the papers print it: TMA and ES:D with three digits, others with one; "-" for nothing."""
    return "-" if value is None else f"{value:.3f}" if name in ("TMA", "ES:D") else f"{value:.1f}"


def list_published(name: str | None = None) -> Table:
    """Published rows, of one data set if named; where the score was not printed, it is computed, and marked with *."""
    rows = []
    for row in ers.read_published()["rows"]:
        if name is not None and row["set"].lower() != name:
            continue
        numbers = row.get("numbers", {})
        score = f"{row['ERS']:.1f}" if "ERS" in row else f"{ers.ers(numbers):.1f}*"
        means = [format_number(column, row.get(column)) for column in COLUMNS]
        rows.append([ers.title(row), *means, *(format_number(n, numbers.get(n)) for n in ers.NUMBERS), score])
    return ["published", *COLUMNS, *ARROWED, "ERS"], rows


def list_measured(records: Sequence[Record]) -> Table:
    """Rows of records: the numbers after the attacks, the score with its interval, its ceiling, the other GTM.

    If any record has few-shot accuracies, they stand at the end, clean and under attack.
    """
    rows, few = [], any("few_shot" in record for record in records)
    for record in records:
        clean, numbers, score = record["clean"], record["numbers"], record["ers"]
        other = next(name for name in numbers if name not in ers.NUMBERS)
        half = statistics.compute_share_half_width(clean["R@1"], record["protocol"]["gallery"])
        rows.append(
            [
                title(record),
                f"{format_number('R@1', clean['R@1'])} ± {half:.1f}",
                *(format_number(column, clean.get(column)) for column in COLUMNS[1:]),
                *(format_number(name, numbers[name]["attacked"]) for name in ers.NUMBERS),
                f"{score['value']:.1f} ± {score['half_width']:.1f}" + (" collapsed" if score["collapsed"] else ""),
                f"{score['ceiling']:.1f}",
                f"{other.removeprefix('GTM ')} {numbers[other]['attacked']:.1f}",
                *(format_few_shot(record) if few else ()),
            ]
        )
    headings = ["measured", *COLUMNS, *ARROWED, "ERS", "at eps = 0", "GTM as"]
    return headings + (["few-shot", "few-shot, attacked"] if few else []), rows


def format_few_shot(record: Record) -> list[str]:
    """Few-shot accuracy of the same net, clean and under the threat model of the score; "-" if it was not asked for."""
    if "few_shot" not in record:
        return ["-", "-"]
    columns = record["few_shot"]["columns"]
    (attacked,) = (column for name, column in columns.items() if name != "clean")
    return [tables.format_column(columns["clean"]), tables.format_column(attacked)]


def title(record: Record) -> str:
    """ "fashion HM[S,LGA], 1 epoch with 8 steps of 12/255, 2000 queries": what a measured row is about."""
    metric = names.parse(record["name"]).loss.metric
    parts = [f"{record['data']['name']} {record['row']}", *([] if metric == "N" else [f"metric {metric}"])]
    parts += [_training(record), f"{len(record['queries'])} queries"]
    if record["protocol"]["parity"] != "fixed":
        parts.append(record["protocol"]["parity"])
    parts += ["OTHER IMAGES THAN IT WAS TRAINED WITH"] if "other_data" in record else []
    return ", ".join(parts)


def _training(record: Record) -> str:
    recipe = record["recipe"]
    if not recipe["epochs"]:
        start = record["checkpoint"]["start"]
        if "classifier" in start:
            return f"classifier for {recipe['pretrain_epochs']} epochs"
        return "untrained" if start == "scratch" else start
    epochs = f"{recipe['epochs']} epoch{'s' if recipe['epochs'] > 1 else ''}"
    defended = names.parse(record["name"]).defense
    return f"{epochs} with {recipe['eta']} steps of {format_pixels(recipe['step'])}" if defended else epochs


def list_numbers(record: Record) -> Table:
    """One record in full: each number before and after its attack."""
    rows = [
        [
            f"{name}{ers.BETTER.get(name, '')}",
            format_number(name, values["benign"]),
            format_number(name, values["attacked"]),
            f"± {format_number(name, values['half_width'])}",
            f"{values['seconds']:.0f} s",
        ]
        for name, values in sorted(record["numbers"].items(), key=lambda pair: _place(pair[0]))
    ]
    return ["number", "benign", "attacked", "95 %", "time"], rows


def _place(name: str) -> int:
    return ers.NUMBERS.index(name) if name in ers.NUMBERS else len(ers.NUMBERS)


def score_line(record: Record) -> str:
    """The score with what belongs beside it, in one line."""
    score, clean = record["ers"], record["clean"]
    name = "robrank" if "with GTM robrank" in score else "fixed"
    other = score["with GTM robrank"] if "with GTM robrank" in score else score["with GTM fixed"]
    line = (
        f"{title(record)}: ERS {score['value']:.1f} ± {score['half_width']:.1f} "
        f"(bootstrap {score['bootstrap'][0]:.1f} to {score['bootstrap'][1]:.1f}), at eps = 0 {score['ceiling']:.1f}, "
        f"with GTM {name} {other:.1f}; R@1 {clean['R@1']:.1f}, chance {clean['chance']:.1f}, "
        f"mean cosine {clean['mean cosine']:.3f}"
    )
    return line + ("; COLLAPSED: the score means nothing" if score["collapsed"] else "")


def list_checks(record: RankingChecksRecord) -> Table:
    """A record of checks: what was asked, and whether it was passed."""
    rows = [
        [name, _describe_check(name, check), "passed" if check["passed"] else "FAILED"]
        for name, check in record["checks"].items()
    ]
    scores = f"score by PGD {record['pgd']:.1f}, by the worst of all in its ball {record['worst']:.1f}"
    return ["check", f"found on {record['protocol']['queries']} queries ({scores})", ""], rows


def _describe_check(name: str, check: CheckRecord) -> str:
    if name == "gradient":
        return f"no gradient at {max(check['dead'].values()):.1f} % of images"
    if name == "eps":
        return "score " + ", ".join(f"{score:.1f} at {eps}" for eps, score in check["scores"].items())
    return f"score {check['score']:.1f}, {check['difference']:+z.1f} ± {check['half_width']:.1f} to PGD"
