"""Tables of few-shot rows, computed again from their counts: main tables, seeds, attacks, other image sets."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from anrot_lib.audit.recompute.arithmetic import compute_difference, compute_mean
from anrot_lib.audit.recompute.checks import name_verdict
from anrot_lib.audit.recompute.printed import (
    Cell,
    Cells,
    Shelf,
    compute_gap,
    find_column,
    find_row,
    format_counts,
    format_gap,
    list_accuracies,
    read_cells,
    read_lines,
    round_like,
)
from anrot_lib.fewshot.row_names import split_row, title_method

OVERSTATES = re.compile(r"\(PGD overstates by ([\d.]+)\)")
WEAK = 16 / 255  # up to here the mean of a curve goes
SUITES = {"aa-lite": "AA-lite", "aa": "AA"}


def list_main_cells(shelf: Shelf, text: str, name: str, _: str = "") -> Cells:
    """Every cell of a main table, and how much PGD overstates a row."""
    rows = shelf.read_rows(name)
    for title, heading, cell in read_cells(text):
        record, what = rows[find_row(title, rows)], f"{title}, {heading}"
        if column := find_column(record, heading):
            yield Cell(what, cell, format_counts(record["columns"].get(column)))
        elif heading == "step cost":
            yield Cell(what, cell, format_cost(record, rows), cell.startswith("("))
        elif heading == "training":
            yield Cell(what, cell, f"{count_seconds(record):.0f} s" if "seconds" in record["training"] else "-", True)
        elif heading == "card":
            yield Cell(what, cell, find_card(shelf, name, record))
        yield from list_overstatements(title, heading, record)


def list_overstatements(title: str, heading: str, record: Mapping[str, Any]) -> Cells:
    """What a title says of PGD, once a line."""
    if (printed := OVERSTATES.search(title)) and heading == "clean":
        yield Cell(f"{title}, overstatement", printed[1], round_like(measure_overstatement(record), printed[1]))


def measure_overstatement(record: Mapping[str, Any]) -> float:
    """PGD minus the worst of strong attacks on the same episodes, in points."""
    strong = record["columns"][find_column(record, "PGD")]
    worst = [c for n, c in record["columns"].items() if "suite" in c and n.endswith(" query")]
    return max(-compute_difference(strong, one)[0] for one in worst)


def find_card(shelf: Shelf, name: str, record: Mapping[str, Any]) -> str:
    """The verdict of the card of a record's net, "-" without one."""
    cards = {card["net"]["sha256"]: card["checks"].values() for card in shelf.read_all(name, "card")}
    checkpoint = record["training"].get("checkpoint")
    return name_verdict(*cards[checkpoint]) if checkpoint in cards else "-"


def count_seconds(record: Mapping[str, Any]) -> float:
    training = record["training"]
    return float(training.get("seconds", 0.0) + training.get("pretraining_seconds", 0.0))


def format_cost(record: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    """ "2.89": seconds of a step in those of ANROT trained clean, if one command wrote both; else "(2.89)", the limit
    of the record; "-" for a net with another training."""
    training, base = record["training"], rows.get("anrot-clean")
    if training.get("pretraining_steps"):
        return "-"
    runs = [(r["run"]["command"], r["run"]["commit"], r["run"]["device"]) for r in (record, base) if r]
    one_run = len(runs) == 2 and runs[0] == runs[1] and not any("also" in r["run"] for r in (record, base) if r)
    if one_run and base and all("seconds_per_step" in r["training"] for r in (record, base)):
        return f"{training['seconds_per_step'] / base['training']['seconds_per_step']:.2f}"
    return f"({training['cost_limit']:.2f})" if "cost_limit" in training else "-"


def list_differences(shelf: Shelf, text: str, name: str, reference: str) -> Cells:
    rows = shelf.read_rows(name)
    for title, heading, cell in read_cells(text):
        if cell != "-":
            row = find_row(title, rows)
            yield Cell(f"{row} - {reference}, {heading}", cell, compute_gap(rows, row, reference, heading))


def list_seeds(shelf: Shelf, text: str, name: str) -> Cells:
    """Means, intervals and standard deviations over the nets of each method."""
    for title, heading, cell in read_cells(text):
        group = [r for r in shelf.read_all(name) if title_method(split_row(r["row"])[0]) == title]
        computed = str(len(group))
        if heading != "seeds":
            columns = [r["columns"].get(find_column(r, heading)) for r in group]
            means = [math.fsum(list_accuracies(c)) / len(c["correct"]) for c in columns if c]
            computed = format_spread(means)
        yield Cell(f"{title}, {heading}", cell, computed)


def format_spread(values: Sequence[float]) -> str:
    """ "65.9 ± 0.9 (0.4)": mean, half-width and standard deviation of some numbers."""
    if len(values) < 2:
        return "-"
    mean, half = compute_mean(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"{mean:.1f} ± {half:.1f} ({deviation:.1f})"


# Curves


def read_curve(record: Mapping[str, Any], kind: str) -> list[tuple[float, float]]:
    """(eps or sigma, accuracy in per cent), ascending; [] without such columns."""
    columns = record["columns"]
    if kind == "eps":
        points = {c["threat"]["eps"]: c for name, c in columns.items() if name.startswith("curve ")}
    else:
        points = {c["sigma"]: c for c in columns.values() if "sigma" in c}
        points |= {0.0: columns["clean, attacked tasks"]} if "clean, attacked tasks" in columns else {}
    curve = [(x, math.fsum(list_accuracies(c)) / len(c["correct"])) for x, c in sorted(points.items())]
    return curve if len(curve) > 1 and (kind == "eps" or curve[0][0] == 0) else []


def format_height(curve: Sequence[tuple[float, float]]) -> str:
    """ "36.9": the mean height of a curve."""
    area = math.fsum((b - a) * (y + z) / 2 for (a, y), (b, z) in itertools.pairwise(curve))
    return f"{area / (curve[-1][0] - curve[0][0]):.1f}"


def format_halving(curve: Sequence[tuple[float, float]], kind: str) -> str:
    """ "10.2/255": where straight lines between the points first come down to half of the start."""
    half = curve[0][1] / 2
    for (a, y), (b, z) in itertools.pairwise(curve):
        if z <= half:
            x = b if y == z else a + (b - a) * (y - half) / (y - z)
            return f"{255 * x:.1f}/255" if kind == "eps" else f"{x:.2f}"
    return f"above {curve[-1][0]:g}"


def list_robustness(shelf: Shelf, text: str, name: str) -> Cells:
    """Attacks on support and on both sets, and what the curves come to."""
    rows = shelf.read_rows(name)
    for title, heading, cell in read_cells(text):
        record = rows[find_row(title, rows)]
        if heading.startswith("mean over ") or heading.endswith(" halves"):
            kind = "eps" if "eps" in heading else "sigma"
            curve = read_curve(record, kind)
            near = [point for point in curve if kind == "sigma" or point[0] <= WEAK]
            computed = "-"
            if curve:
                computed = format_height(near) if heading.startswith("mean") else format_halving(curve, kind)
        else:
            computed = format_counts(record["columns"].get(heading.replace(" on ", " ")))
        yield Cell(f"{title}, {heading}", cell, computed)


# Suites of strong attacks, other image sets


def select_suites(record: Mapping[str, Any]) -> dict[str, Any]:
    """Title of a suite -> its column on queries."""
    columns = record["columns"].values()
    return {SUITES[c["suite"]]: c for c in columns if "suite" in c and c["threat"]["target"] == "query"}


def list_suites(shelf: Shelf, text: str, name: str) -> Cells:
    """AA beside AA-lite, their difference, and what the caption says of the attacks that beat a query first."""
    rows = shelf.read_rows(name)
    for line in read_lines(text):
        title = line[""]
        record = rows[find_row(title, rows)]
        suites = select_suites(record)
        strong = next(heading for heading in line if heading.startswith("PGD"))
        lite, whole = suites["AA-lite"], suites["AA"]
        computed = {
            "queries": f"{len(whole['correct']) * whole['queries']:,}",
            strong: format_counts(record["columns"].get(find_column(record, strong))),
            "AA-lite": format_counts(lite),
            "AA": format_counts(whole),
            "AA - AA-lite": format_gap(lite, whole),
            "seconds of each": f"{lite['seconds']:.0f}, {whole['seconds']:.0f}",
        }
        if "card" in line:
            computed["card"] = find_card(shelf, name, record)
        for heading, value in computed.items():
            yield Cell(f"{title}, {heading}", line[heading], value, heading.startswith("seconds"))
        yield from list_overstatements(title, "clean", record)
        for suite, column in suites.items():
            kinds: dict[str, int] = {}
            for attack, n in column.get("beaten", {}).items():
                kind = attack.split(" target ")[0]
                kinds[kind] = kinds.get(kind, 0) + n
            start = f"{suite} beats {title_method(record['row'])} first by "
            counts = re.search(rf"[;\n] ?{re.escape(start)}([^;]*)", text)
            order = ["clean", *sorted(kinds.keys() - {"clean"})] if kinds else []
            if counts:
                yield Cell(start, counts[1], ", ".join(f"{kind} {kinds[kind]}" for kind in order), taken=True)


def list_cross_domain(shelf: Shelf, text: str) -> Cells:
    """Nets of another image set beside those of the tested one, and their paired differences."""
    folders = sorted(path.name for path in shelf.folder.glob("*-from-*") if path.is_dir())
    nets: dict[tuple[str, str, str], Any] = {}
    for folder in dict.fromkeys([f.partition("-from-")[0] for f in folders] + folders):
        for record in shelf.read_all(folder) if (shelf.folder / folder).is_dir() else []:
            tested = record["data"]["name"]
            trained = record["training"].get("origin", {}).get("data", tested)
            nets[tested, trained, title_method(record["row"])] = record
    for line in read_lines(text):
        tested, trained, net = line[""], line["trained on"], line["net"]
        title = net.partition(" (")[0] if (tested, trained, net) not in nets else net
        record, native = nets[tested, trained, title], nets.get((tested, tested, title))
        for heading, cell in list(line.items())[3:]:
            column = find_column(record, heading.removesuffix(", difference"))
            computed = format_counts(record["columns"].get(column))
            if heading.endswith(", difference"):
                pair = [r["columns"].get(column) for r in (native, record) if r and trained != tested]
                same = native is not None and native["manifest"]["hash"] == record["manifest"]["hash"]
                computed = format_gap(*pair) if same and len(pair) == 2 and all(pair) else "-"
            yield Cell(f"{net} of {trained} on {tested}, {heading}", cell, computed)
