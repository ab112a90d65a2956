"""Certificates that pages print, computed again: shots that may be replaced, radii of randomised smoothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtri

from anrot_lib.audit.recompute.arithmetic import compute_mean
from anrot_lib.audit.recompute.printed import Cell, Cells, Shelf, find_row, read_cells, read_lines
from anrot_lib.fewshot.row_names import title_method


def find_right(record: Mapping[str, Any], answers: str) -> np.ndarray:
    """Which queries (E, n) a certificate's answers name rightly: they stand class by class."""
    way, queries = record["protocol"]["way"], record["queries"]
    right: np.ndarray = np.array(record[answers]) == np.arange(queries) // (queries // way)
    return right


def format_share(hits: np.ndarray) -> str:
    """ "58.4 ± 1.9" of hits (E, n)."""
    mean, half = compute_mean((100 * hits.mean(1)).tolist())
    return f"{mean:.1f} ± {half:.1f}"


def find_held(record: Mapping[str, Any], kind: str, replaced: int) -> np.ndarray:
    """Which queries (E, n) are right and stay so."""
    held: np.ndarray = find_right(record, "answers") & (np.array(record[f"{kind}_class"]) >= replaced)
    return held


def compute_held(shelf: Shelf, file: str, kind: str, replaced: str) -> str:
    return format_share(find_held(shelf.read_file(file), kind, int(replaced)))


def format_part(record: Mapping[str, Any], kind: str, replaced: int) -> str:
    """ "69": what is held, in per cent of what is right."""
    return f"{100 * find_held(record, kind, replaced).sum() / max(find_right(record, 'answers').sum(), 1):.0f}"


def compute_held_part(shelf: Shelf, file: str, kind: str, replaced: str) -> str:
    return format_part(shelf.read_file(file), kind, int(replaced))


def compute_certified(shelf: Shelf, file: str, radius: str) -> str:
    return format_certified(shelf.read_file(file), float(radius))


def find_limits(record: Mapping[str, Any]) -> np.ndarray:
    """The exact lower limit of the share of draws that agree, of each query (E, n): the root of the incomplete beta
    function at alpha."""
    settings, hits = record["smoothing"], np.array(record["hits"], float)
    limits: np.ndarray = betaincinv(np.maximum(hits, 1), settings["draws"] - hits + 1, settings["alpha"]) * (hits > 0)
    return limits


def format_certified(record: Mapping[str, Any], radius: float) -> str:
    """ "64.0 ± 5.9": right queries whose radius is at least so large."""
    limit = find_limits(record)
    radii = np.where(limit > 0.5, record["smoothing"]["sigma"] * ndtri(limit), 0.0)
    return format_share(find_right(record, "chosen") & (radii > 0) & (radii >= radius))


def compute_broken(shelf: Shelf, file: str) -> str:
    attack = shelf.read_file(file)["attacks"][0]
    return f"{attack['broken']} of {attack['queries']}"


def list_poisoning(shelf: Shelf, text: str, name: str) -> Cells:
    """Certified accuracies of each number of replaced shots, the part of what is right that they are, and attacks."""
    rows = {record["row"]: record for record in shelf.read_all(name, "poisoning")}
    for title, line in ((line[""], line) for line in read_lines(text)):
        record = rows[find_row(title, rows)]
        shots = int(line["replaced"].split()[0])
        (attack,) = (one for one in record["attacks"] if one["replaced"] == shots)
        parts = [attack["one_class"], attack["every_class"]]
        broken, certified, turned, others = (
            sum(part[what] for part in parts) for what in ("broken", "certified", "turned", "others")
        )
        computed = {
            "usual head": format_share(find_right(record, "plain")),
            "this head": format_share(find_right(record, "answers")),
            "replaced": f"{shots} of {record['protocol']['shot']}",
            "certified, in one class": format_held(record, "one", shots),
            "in every class": format_held(record, "every", shots),
            "certified and broken": f"{broken} of {certified}",
            "others broken": f"{turned} of {others}",
        }
        for heading, value in computed.items():
            taken = heading.endswith("broken")
            yield Cell(f"{record['row']}, {shots} shots, {heading}", line[heading], value, taken)


def format_held(record: Mapping[str, Any], kind: str, replaced: int) -> str:
    """ "37.9 ± 2.1 (59 %)": what is certified, and what part of what is right that is."""
    return f"{format_share(find_held(record, kind, replaced))} ({format_part(record, kind, replaced)} %)"


def list_smoothing(shelf: Shelf, text: str, name: str) -> Cells:
    """Certified accuracies at each radius, abstentions, and the broken ones of attacked certificates."""
    carries = {"query": "query", "both": "support and query"}
    records = {}
    for record in shelf.read_all(name, "smoothing"):
        settings = record["smoothing"]
        noise = f"sigma {settings['sigma']:g}, noise on {carries[settings['noisy']]}"
        records[f"{title_method(record['row'])}, {noise}"] = record
    for title, heading, cell in read_cells(text):
        record = records[title]
        if heading.startswith("broken"):
            attack = record["attacks"][heading == "broken beyond"]
            yield Cell(f"{title}, {heading}", cell, f"{attack['broken']} of {attack['queries']}", taken=True)
        elif heading == "not smoothed":
            yield Cell(f"{title}, {heading}", cell, format_share(find_right(record, "plain")))
        elif heading == "abstains":
            yield Cell(f"{title}, {heading}", cell, format_share(find_limits(record) <= 0.5))
        else:
            radius = float(heading.removeprefix("at ")) if heading != "certified" else 0.0
            yield Cell(f"{title}, {heading}", cell, format_certified(record, radius))
