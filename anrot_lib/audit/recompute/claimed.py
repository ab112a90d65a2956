"""The measured cells of the table of claims, computed again from the records that they name."""

import re
from collections.abc import Mapping

from anrot_lib.audit.claims.registry import Claim, select_claims
from anrot_lib.audit.recompute.printed import Cell, Cells, Shelf, format_counts, read_lines
from anrot_lib.audit.recompute.ranking import format_first_rank, format_score

MEASURED = re.compile(r"(?P<number>[^()]+) \((?P<where>.+?)/(?P<row>(?:N/)?[^/]+)\)")


def list_claims(shelf: Shelf, text: str, system: str) -> Cells:
    """Of a system what was measured beside each claim; of "all" the numbers of claims, which add up."""
    if system == "all":
        for line in read_lines(text):
            counts = [int(cell) for cell in list(line.values())[2:]]
            yield Cell(f"claims of {line['']}", line["number"], str(len(select_claims((line[""],)))))
            yield Cell(f"claims of {line['']} by status", line["number"], str(sum(counts)))
        return
    claims = {claim.text: claim for claim in select_claims((system,))}
    parts = text.strip().split("\n\n")
    for line in (line for part in parts[1:] for line in read_lines(part)):
        counted = [claim for claim in claims.values() if line[""] == claim.source or line[""] in claim.unstated]
        yield Cell(f"claims of {line['']}", line["claims"], str(len(counted)))
    for line in read_lines(parts[0]):
        claim = claims[line[""]]
        yield Cell(f"{line['']}, published", line["published"], str(claim))
        yield Cell(f"{line['']}, status", line["status"], find_status(claim, line))
        if line["measured, nearest setting"] == "-":
            continue
        match = MEASURED.fullmatch(line["measured, nearest setting"])
        if match is None:
            yield Cell(f"{line['']}, measured", line["measured, nearest setting"], "a number (of a record)")
            continue
        computed = list_measured(shelf, claim, match["where"], match["row"])
        nearest = match["number"] if match["number"] in computed else (computed or ["no record of that name"])[0]
        taken = claim.setting is not None and (claim.setting.kind, claim.setting.number) in TAKEN
        yield Cell(f"{line['']}, measured", match["number"], nearest, taken)


def find_status(claim: Claim, line: Mapping[str, str]) -> str:
    """What a line may say: in the same setting agreement where the two intervals overlap, elsewhere no judgement."""
    measured, status = line["measured, nearest setting"], line["status"]
    if claim.derived or claim.value is None:
        return "a difference of claims" if claim.derived else "no number claimed"
    if measured == "-":
        return "not run"
    numbers = [float(number) for number in re.findall(r"[\d.]+", measured.partition(" (")[0])]
    if not status.startswith("same setting") or len(numbers) < 2:
        return "other setting"
    gap = numbers[0] - claim.value
    if abs(gap) <= numbers[1] + (claim.half_width or 0.0):
        return "same setting, agrees"
    return "same setting, below" if gap < 0 else "same setting, above"


TAKEN = {("reconstruction", None), ("ranking", "R@1")}  # kind and number, of which the record holds the final number


def list_measured(shelf: Shelf, claim: Claim, where: str, row: str) -> list[str]:
    """The number of a claim in the records of a row. Several ranking models may have the name of one row."""
    setting = claim.setting
    if setting is None or not (shelf.folder / where).is_dir():
        return []
    records = [record for record in shelf.read_all(where, setting.kind) if record["row"] == row]
    if setting.kind == "accuracy":
        return [format_counts(record["columns"].get(setting.column)) for record in records]
    if setting.kind == "ranking":
        return [format_score(r) if setting.number == "ERS" else format_first_rank(r) for r in records]
    distances = [record["decoded"]["mean"]["frechet"] for record in records]
    return [f"{distance['value']:.1f} ± {distance['half_width']:.1f}" for distance in distances]
