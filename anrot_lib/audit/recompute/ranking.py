"""Ranking records and their tables, computed again: the score from its ten numbers and from its queries."""

from collections.abc import Mapping
from typing import Any

from anrot_lib.audit.recompute.arithmetic import Recomputation, compute_bootstrap, compute_mean
from anrot_lib.audit.recompute.checks import describe_difference, name_verdict
from anrot_lib.audit.recompute.printed import Cell, Cells, Shelf, format_counts, read_lines

QUERY_ROUNDING = 0.005  # records keep two decimals of the score of each query
SHARES = ("R@1", "R@2")  # of the images of a gallery: whole counts
MEANS = ("R@2", "mAP", "mAP@10", "NMI")
TURNED = {"CA-": "down", "QA-": "down", "CA+": "double", "QA+": "double", "TMA": "cosine", "ES:D": "distance"}
PLAIN = ("ES:R", "LTM", "GTM", "GTT")
COLLAPSED = 0.98  # mean cosine of two embeddings


def compute_score(numbers: Mapping[str, Any], side: str, gtm: str = "GTM") -> float:
    """(2 CA+ + (100 - CA-) + 2 QA+ + (100 - QA-) + 100 (1 - TMA) + 50 (2 - ES:D) + ES:R + LTM + GTM + GTT) / 10."""
    value = {name: numbers[gtm if name == "GTM" else name][side] for name in (*TURNED, *PLAIN)}
    turn = {
        "down": lambda v: 100 - v,
        "double": lambda v: 2 * v,
        "cosine": lambda v: 100 * (1 - v),
        "distance": lambda v: 50 * (2 - v),
    }
    return float(sum(turn[how](value[name]) for name, how in TURNED.items()) + sum(value[n] for n in PLAIN)) / 10


def recompute_score(record: Mapping[str, Any], where: str, again: Recomputation) -> None:
    """The robustness score of a ranking model from the scores of its queries, which are kept to two decimals, and from
    its ten numbers; its ceiling; the score with the other GTM; whether the net has collapsed."""
    score, numbers, clean = record["ers"], record["numbers"], record["clean"]
    mean, half = compute_mean(record["queries"])
    again.compare(where, "mean of ERS", score["value"], mean, QUERY_ROUNDING)
    again.compare(where, "half-width of ERS", score["half_width"], half, QUERY_ROUNDING)
    for stored, computed in zip(score["bootstrap"], compute_bootstrap(record["queries"]), strict=True):
        again.compare(where, "bootstrap limit of ERS", stored, computed, 0.1 * half + QUERY_ROUNDING)  # rounded draws
    batches = record["protocol"]["parity"] == "robrank"  # its means are means over batches
    digits = 0.01 if batches else 1e-3
    again.compare(where, "score of ten numbers", score["value"], compute_score(numbers, "attacked"), digits)
    again.compare(
        where, "score of ten numbers before attacks", score["ceiling"], compute_score(numbers, "benign"), digits
    )
    for name in (name for name in score if name.startswith("with ")):
        computed = compute_score(numbers, "attacked", name.removeprefix("with "))
        again.compare(where, f"score of ten numbers {name}", score[name], computed, digits)
    again.compare_exactly(where, "verdict of a collapse", score["collapsed"], has_collapsed(clean))
    for name in SHARES:
        hits = clean[name] * record["protocol"]["gallery"] / 100
        again.compare(where, f"count of hits of {name}", hits, round(hits), record["protocol"]["gallery"] * 1e-6)


def has_collapsed(clean: Mapping[str, float]) -> bool:
    """R@1 below twice that of a random ranking, or embeddings that nearly all have one direction."""
    return clean["R@1"] < min(2 * clean["chance"], 50) or clean["mean cosine"] > COLLAPSED


def compute_printed_score(shelf: Shelf, file: str) -> str:
    """ "43.6 ± 0.8": from the ten numbers, and from the spread of the queries."""
    return format_score(shelf.read_file(file))


def format_score(record: Mapping[str, Any]) -> str:
    _, half = compute_mean(record["queries"])
    return f"{compute_score(record['numbers'], 'attacked'):.1f} ± {half:.1f}"


def read_first_rank(shelf: Shelf, file: str) -> str:
    """ "83.7": R@1, of which the record holds the final number."""
    return f"{shelf.read_file(file)['clean']['R@1']:.1f}"


def read_checked_score(shelf: Shelf, file: str, which: str) -> str:
    return f"{shelf.read_file(file)[which]:.1f}"


def format_first_rank(record: Mapping[str, Any]) -> str:
    """ "83.7 ± 0.7": R@1 and 1.96 standard deviations of a share."""
    share = record["clean"]["R@1"] / 100
    deviation = (share * (1 - share) / record["protocol"]["gallery"]) ** 0.5
    return f"{100 * share:.1f} ± {196 * deviation:.1f}"


def list_ranking(shelf: Shelf, text: str, name: str) -> Cells:
    """Scores and attacked numbers; the tables have one line a record, in the order of the files."""
    records = shelf.read_all(name, "ranking")
    for part in text.strip().split("\n\n"):
        if not part.startswith("| "):
            continue
        lines = read_lines(part)
        yield Cell("number of rows", str(len(lines)), str(len(records)))
        for line, record in zip(lines, records, strict=False):
            title = f"{record['data']['name']} {record['row']}"
            printed = line[""] if line[""].endswith(f", {len(record['queries'])} queries") else "another record"
            yield Cell("title of a row", printed[: len(title)], title)
            for heading, cell in list(line.items())[1:]:
                computed, taken = compute_cell(record, heading)
                yield Cell(f"{line['']}, {heading}", cell, computed, taken)


def compute_cell(record: Mapping[str, Any], heading: str) -> tuple[str, bool]:
    """(the cell of a heading, whether the record holds its final number alone)."""
    numbers = record["numbers"]
    if heading == "ERS":
        return format_score(record) + (" collapsed" if has_collapsed(record["clean"]) else ""), False
    if heading == "at eps = 0":
        return f"{compute_score(numbers, 'benign'):.1f}", False
    if heading == "R@1":
        return format_first_rank(record), True
    if heading in MEANS:
        return f"{record['clean'][heading]:.1f}", True
    if heading.startswith("few-shot"):
        columns = record.get("few_shot", {}).get("columns", {})
        wanted = [c for n, c in columns.items() if (n == "clean") == (heading == "few-shot")]
        return format_counts(wanted[0] if wanted else None), False
    if heading == "GTM as":
        (other,) = (one for one in numbers if one not in (*TURNED, *PLAIN))
        return f"{other.partition(' ')[2]} {numbers[other]['attacked']:.1f}", True
    short = heading.rstrip("↑↓")
    return f"{numbers[short]['attacked']:.{3 if short in ('TMA', 'ES:D') else 1}f}", True


def list_checks(shelf: Shelf, text: str, file: str) -> Cells:
    """The checks of a ranking model: what was measured, and which are passed."""
    record = shelf.read_file(file)
    for line in read_lines(text):
        (asked_of,) = (heading for heading in line if heading.startswith("found on "))
        scores = f"score by PGD {record['pgd']:.1f}, by the worst of all in its ball {record['worst']:.1f}"
        asked = f"found on {record['protocol']['queries']} queries ({scores})"
        check = record["checks"][line[""]]
        if line[""] == "gradient":
            computed = f"no gradient at {max(check['dead'].values()):.1f} % of images"
        elif line[""] == "eps":
            computed = "score " + ", ".join(f"{score:.1f} at {eps}" for eps, score in check["scores"].items())
        else:
            computed = f"score {check['score']:.1f}, {describe_difference(check)} to PGD"
        yield Cell("heading of the checks", asked_of, asked, taken=True)
        yield Cell(f"check {line['']}", line[asked_of], computed, taken=True)
        yield Cell(f"verdict of check {line['']}", line["verdict"], name_verdict(check), taken=True)
