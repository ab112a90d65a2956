"""What records of each kind say beside their columns, held against the counts in them: verdicts, gaps, certificates."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from anrot_lib.audit.recompute.arithmetic import Recomputation, compute_difference, recompute_column
from anrot_lib.audit.recompute.checks import recompute_checks
from anrot_lib.audit.recompute.ranking import recompute_score
from anrot_lib.audit.recompute.reconstruction import recompute_reconstruction
from anrot_lib.audit.recompute.times import recompute_growth, recompute_timing
from anrot_lib.core.units import format_pixels
from anrot_lib.records.schema import Record


def recompute_record(record: Record, where: str, again: Recomputation) -> None:
    """All numbers of a record that follow from counts it holds."""
    columns: dict[str, Any] = {}
    manifest: Mapping[str, Any] | None = None
    if record["kind"] == "accuracy":
        columns, manifest = dict(record["columns"]), record["manifest"]
    elif record["kind"] == "ranking":
        recompute_score(record, where, again)
        if "few_shot" in record:
            columns = dict(record["few_shot"]["columns"])
    elif record["kind"] == "rescore":
        columns = {str(name): column for name, column in record["columns"].items()}
        recompute_challenge(record, where, again)
    elif record["kind"] == "judges":
        columns = {str(name): column for name, column in record["columns"].items()}
        for judged in record["judges"]:
            recompute_judge(judged, where, again)
    elif record["kind"] == "card" or record["kind"] == "ranking-checks":
        recompute_checks(record, where, again)
    elif record["kind"] == "poisoning":
        recompute_poisoning(record, where, again)
    elif record["kind"] == "smoothing":
        recompute_smoothing(record, where, again)
    elif record["kind"] == "reconstruction":
        recompute_reconstruction(record, where, again)
    elif record["kind"] == "growth":
        recompute_growth(record, where, again)
    elif record["kind"] == "timing":
        recompute_timing(record, where, again)
    for name, column in columns.items():
        recompute_column(name, column, where, again, manifest)
        recompute_attack(name, column, where, again)


def recompute_attack(name: str, column: Mapping[str, Any], where: str, again: Recomputation) -> None:
    """What a column says of its attack: its radius stands in its name, each beaten query fell to one attack once, and
    the mean over kinds of corruption is that of its counts."""
    if "threat" in column:
        radius = format_pixels(column["threat"]["eps"])
        named = radius if f" {radius} " in f"{name} " else "another"
        again.compare_exactly(where, f"name of {name}", radius, named)
    queries = column["queries"] * len(column["correct"])
    if "beaten" in column:
        beaten, left = sum(column["beaten"].values()), queries - sum(column["correct"])
        again.compare_exactly(where, f"count of beaten queries of {name}", beaten, left)
    if "kinds" in column:
        values = [value for by_severity in column["kinds"].values() for value in by_severity]
        mean = sum(values) / len(values)
        again.compare(where, f"mean of all corruptions of {name}", mean, 100 * sum(column["correct"]) / queries, 0.0051)


def recompute_challenge(record: Mapping[str, Any], where: str, again: Recomputation) -> None:
    """Whether a row falls, and by how much, from the counts before and after."""
    before, after = (record["columns"][name] for name in ("recorded", "challenged"))
    mean, half = compute_difference(before, after)
    again.compare(where, "difference of a challenge", record["difference"]["value"], mean)
    again.compare(where, "half-width of a challenge", record["difference"]["half_width"], half)
    falls = sum(after["correct"]) < sum(before["correct"])
    again.compare_exactly(where, "verdict of a challenge", record["falls"], falls)


def recompute_judge(judged: Mapping[str, Any], where: str, again: Recomputation) -> None:
    """What a judge leaves more than our attack, and that the queries which only one beats make up the difference."""
    name, ours, theirs = f"{judged['attack']}, {judged['library']}", judged["ours"], judged["judge"]
    for side, column in (("ours", ours), ("judge", theirs)):
        recompute_column(f"{name}, {side}", column, where, again)
    mean, half = compute_difference(ours, theirs)
    again.compare(where, f"difference of {name}", judged["difference"]["value"], mean)
    again.compare(where, f"half-width of {name}", judged["difference"]["half_width"], half)
    alone = judged["ours_alone"] - judged["judge_alone"]
    again.compare_exactly(where, f"count of queries of {name}", alone, sum(theirs["correct"]) - sum(ours["correct"]))


def recompute_poisoning(record: Mapping[str, Any], where: str, again: Recomputation) -> None:
    """Certificates and attacks on them: their numbers of queries, and that no certified answer was turned."""
    shots, queries = record["protocol"]["shot"], record["queries"]
    radii = {kind: np.array(record[kind]) for kind in ("one_class", "every_class")}
    sane = bool((radii["every_class"] <= radii["one_class"]).all() and radii["one_class"].max() <= shots)
    again.compare_exactly(where, "order of the certificates", sane, True)
    for attack in record["attacks"]:
        for kind, values in radii.items():
            part, what = attack[kind], f"{attack['replaced']} shots, {kind}"
            tasks = (part["certified"] + part["others"]) // queries
            certified = int((values[:tasks] >= attack["replaced"]).sum())
            again.compare_exactly(where, f"count of certified queries of {what}", part["certified"], certified)
            again.compare_exactly(
                where, f"count of queries of {what}", part["certified"] + part["others"], tasks * queries
            )
            again.compare_exactly(where, f"count of broken certificates of {what}", part["broken"], 0)


def recompute_smoothing(record: Mapping[str, Any], where: str, again: Recomputation) -> None:
    """Votes and attacks: no more hits than draws, and of certified queries no more broken than attacked."""
    settings, hits = record["smoothing"], np.array(record["hits"])
    again.compare_exactly(where, "range of the votes", bool(hits.max() <= settings["draws"]), True)
    for attack in record["attacks"]:
        most = min(attack["queries"], attack["broken"])
        again.compare_exactly(where, "count of broken queries of an attack", attack["broken"], most)
