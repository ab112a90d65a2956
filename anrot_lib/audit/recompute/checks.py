"""Cards, judges and challenges that pages print, held against their records."""

from collections.abc import Mapping
from typing import Any

from anrot_lib.audit.recompute.arithmetic import Recomputation, compute_difference
from anrot_lib.audit.recompute.printed import Cell, Cells, Shelf, format_counts, format_gap, read_lines
from anrot_lib.fewshot.row_names import title_method

TOLERANCE = 2.0  # points that another attack may find beyond noise
DEAD = 1.0  # per cent of images without a gradient


def recompute_checks(record: Mapping[str, Any], where: str, again: Recomputation) -> None:
    """Verdicts of single checks from what was measured, and that of all; scores minus that of PGD."""
    for name, check in record["checks"].items():
        if "difference" in check:
            lower = check["difference"] + check["half_width"] < 0 and check["difference"] < -TOLERANCE
            again.compare_exactly(where, f"verdict of the check {name}", check["passed"], not lower)
        elif "changed" in check:
            again.compare_exactly(where, f"verdict of the check {name}", check["passed"], check["changed"] == 0)
        elif "dead" in check:
            again.compare_exactly(
                where, f"verdict of the check {name}", check["passed"], max(check["dead"].values()) <= DEAD
            )
        if "pgd" in record and "difference" in check and check["queries"] == record["protocol"]["queries"]:
            again.compare(
                where, f"difference of the check {name}", check["difference"], check["score"] - record["pgd"], 2e-4
            )
    passed = all(check["passed"] for check in record["checks"].values())
    again.compare_exactly(where, "verdict of all checks", record["passed"], passed)


def describe_difference(check: Mapping[str, Any]) -> str:
    return f"{check['difference']:+z.1f} ± {check['half_width']:.1f}"


def describe_check(name: str, check: Mapping[str, Any]) -> str:
    """What a check of a card measured."""
    if name == "alone":
        return f"{check['changed']} of {check['queries']} predictions change beside other queries"
    if name == "gradient":
        return f"no gradient at {max(check['dead'].values()):.1f} % of {check['queries']} right queries"
    if name == "eps":
        return ", ".join(f"{score:.1f} % at {eps}" for eps, score in check["scores"].items())
    against = f"one draw in place of {check['draws']}" if name == "eot" else "the attack of the table"
    return f"{check['score']:.1f} %, {describe_difference(check)} to {against}"


def name_verdict(*checks: Mapping[str, Any]) -> str:
    """Whether all of some checks are passed, in the words of a table."""
    return "passed" if all(check["passed"] for check in checks) else "FAILED"


def list_card(shelf: Shelf, text: str, file: str) -> Cells:
    """What each check of a card measured, of which the record holds the final numbers, and its verdict."""
    record = shelf.read_file(file)
    for line in read_lines(text):
        check = record["checks"][line[""]]
        yield Cell(f"check {line['']}", line["measured"], describe_check(line[""], check), taken=True)
        yield Cell(f"verdict of check {line['']}", line["verdict"], name_verdict(check), taken=True)


def list_judges(shelf: Shelf, text: str, file: str) -> Cells:
    """What both attacks leave and their difference; the queries that only one beats stand in the record."""
    judges = {(j["attack"], f"{j['library']} {j['version']}"): j for j in shelf.read_file(file)["judges"]}
    for line in read_lines(text):
        judged = judges[line[""], line["judge"]]
        computed = {
            "ours leaves": format_counts(judged["ours"]),
            "judge leaves": format_counts(judged["judge"]),
            "judge - ours": format_gap(judged["ours"], judged["judge"]),
            "only ours beats": str(judged["ours_alone"]),
            "only judge beats": str(judged["judge_alone"]),
        }
        for heading, value in computed.items():
            yield Cell(f"{line['']}, {line['judge']}, {heading}", line[heading], value, heading.startswith("only"))


def list_challenges(shelf: Shelf, text: str, name: str) -> Cells:
    """Accuracies before and after a challenge, their difference, and the verdict."""
    records = {(title_method(r["row"]), r["column"], r["images"]["attack"]): r for r in shelf.read_all(name, "rescore")}
    for line in read_lines(text):
        record = records[line[""], line["column"], line["challenger"]]
        columns = record["columns"]
        before, after = columns["recorded"], columns["challenged"]
        verdict = "falls" if sum(after["correct"]) < sum(before["correct"]) else "stands"
        if (of := record.get("of", 0)) > len(record["tasks"]):
            verdict += f" on {len(record['tasks'])} of {of} episodes"
        computed = {name: format_counts(columns[name]) for name in ("clean", "recorded", "challenged")}
        computed |= {"difference": format_gap(before, after), "verdict": verdict}
        for heading, value in computed.items():
            yield Cell(f"{line['']}, {line['challenger']}, {heading}", line[heading], value)


def compute_judge_gap(shelf: Shelf, file: str, attack: str, library: str) -> str:
    judges = shelf.read_file(file)["judges"]
    (judged,) = (one for one in judges if (one["attack"], one["library"]) == (attack, library))
    mean, half = compute_difference(judged["ours"], judged["judge"])
    return f"{mean:+z.1f} ± {half:.1f}"
