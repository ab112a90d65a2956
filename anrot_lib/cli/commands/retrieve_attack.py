"""`anrot retrieve attack`, `score`, `table`: a ranking model under attack, its record, published rows beside it."""

import argparse
import contextlib
import time
from typing import Any

import numpy as np
import torch

from anrot_lib.core import checkpoints, devices, paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import bar, counting_bar, shown
from anrot_lib.experiments.ranking import Tested, few_shot_columns, find_checkpoint, records_of
from anrot_lib.ranking import embedders, few_shot, names
from anrot_lib.ranking.attacks import names as attack_names
from anrot_lib.ranking.attacks import suite
from anrot_lib.ranking.attacks.suite import Subject
from anrot_lib.ranking.data import sets
from anrot_lib.ranking.data.sets import RankingSet
from anrot_lib.ranking.score import ers, masking, testing
from anrot_lib.ranking.score.testing import Protocol
from anrot_lib.records import results, schema
from anrot_lib.records.describe import describe_run, parameter_count
from anrot_lib.records.journal import Journal
from anrot_lib.reports import ranking, tables

TRIAL_QUERIES = 16


def load_images(arguments: argparse.Namespace, dataset: str, size: int | None, stored: int) -> RankingSet:
    """The images of a data set's name; a bar, where they may have to be packed first."""
    small = dataset in names.DATASETS_28
    with contextlib.nullcontext() if small else counting_bar(f"prepare {dataset}") as progress:
        return sets.load(
            *(dataset, size, stored, arguments.data, arguments.download, arguments.split),
            limit=arguments.limit_images,
            progress=progress,
        )


def open_checkpoint(arguments: argparse.Namespace) -> Tested:
    """The net that -C or --checkpoint means, and its images."""
    if arguments.checkpoint is None and arguments.config is None:
        raise UserError("name a model by -C, or give its file by --checkpoint")
    path = arguments.checkpoint or find_checkpoint(arguments.config)
    net, about = embedders.load(path)
    if "recipe" not in about:
        raise UserError(f"{path} does not say how it was trained; give a checkpoint of anrot retrieve train")
    if arguments.config is not None and about["name"] != str(names.parse(arguments.config)):
        raise UserError(f"{path} is a model of {about['name']}, not of {arguments.config}")
    recipe, dataset = about["recipe"], names.parse(about["name"]).dataset
    return Tested(path, net, about, load_images(arguments, dataset, recipe["size"], recipe["stored"]))


def attack_action(arguments: argparse.Namespace) -> int:
    """Attack a model and write its record; or run the checks of its gradient."""
    tested = open_checkpoint(arguments)
    device = devices.resolve_device(arguments.device)
    profile = arguments.profile or ("rob28" if tested.name.small else "rob224")
    attacks = attack_names.profile(profile, arguments.eps, arguments.steps)
    protocol = Protocol(attacks, arguments.queries, arguments.seed, arguments.parity)
    _say(tested, profile, protocol, device)
    subject = testing.subject_of(tested.net, tested.net.metric, tested.data.test, device, bar)
    rows = suite.queries_of(subject.gallery, protocol.queries, protocol.seed)
    if arguments.dry_run:
        return _dry_run(subject, protocol, rows)
    checking = arguments.checks is not None
    file = tested.record_path(f"{profile}{'.checks' if checking else ''}", arguments.tag, arguments.reference)
    belongs_to = {"checkpoint": checkpoints.sha256(tested.path), "data": tested.data.about} | protocol.describe()
    if checking:
        belongs_to["other"] = checkpoints.sha256(arguments.other) if arguments.other else ""
    else:
        belongs_to["few_shot"] = [arguments.few_shot, arguments.way, arguments.shot, arguments.head, arguments.maps]
    work = paths.checkpoints_dir() / "ranking" / file.parent.name  # a checkpoint may lie where nothing can be written
    journal = Journal(work / f"{file.stem}.jsonl", belongs_to)
    head = _head(tested, protocol, profile, device)
    make = _checks if checking else _score
    record = make(arguments, tested, subject, protocol, rows, journal, head)
    results.write(file, record)
    journal.remove()
    print(f"record: {shown(file)}")
    return 0


def _say(tested: Tested, profile: str, protocol: Protocol, device: torch.device) -> None:
    about, attack = tested.about, protocol.attacks[0]
    print(
        f"{about['name']}: {tested.name.title}, {len(tested.data.test)} test images of {tested.data.test.classes} "
        f"classes; profile {profile}, {attack.threat().name.removesuffix(' query')}, parity {protocol.parity}, "
        f"{devices.device_kind(device)}"
    )
    if about["steps"] < about["of"]:
        print(f"note: its training stands at step {about['steps']} of {about['of']}")
    if any(about["data"][key] != tested.data.about[key] for key in ("sha256", "split_hash")):
        print("note: these are other images, or another split, than it was trained with")
    if tested.net.metric == "E":
        raise UserError("the robustness score has no meaning under the metric E, whose distances have no bound")


def _head(tested: Tested, protocol: Protocol, profile: str, device: torch.device) -> dict[str, Any]:
    return {
        "schema": schema.SCHEMA_VERSION,
        "row": tested.name.title,
        "name": tested.about["name"],
        "run": describe_run(devices.device_kind(device)),
        "data": tested.data.about,
        "checkpoint": {
            "sha256": checkpoints.sha256(tested.path),
            "steps": tested.about["steps"],
            "of": tested.about["of"],
            "start": tested.about["start"],
        },
        "protocol": protocol.describe() | {"profile": profile, "gallery": len(tested.data.test)},
    }


def _score(
    arguments: argparse.Namespace,
    tested: Tested,
    subject: Subject,
    protocol: Protocol,
    rows: np.ndarray,
    journal: Journal,
    head: dict[str, Any],
) -> dict[str, Any]:
    clean = testing.benign_numbers(subject, bar, not arguments.no_nmi, protocol.seed)
    found = testing.attack_all(subject, protocol, rows, bar, journal)
    record = head | {
        "kind": "ranking",
        "recipe": tested.about["recipe"],
        "parameters": parameter_count(tested.net),
        "clean": {name: round(float(value), 4) for name, value in clean.items()},
        **testing.summarise(protocol, *found, clean),
    }
    if arguments.few_shot:
        record["few_shot"] = _few_shot(arguments, tested, protocol, journal)
    print(f"\n{tables.as_text(*ranking.numbers(record))}\n\n{ranking.score_line(record)}")
    if "few_shot" in record:
        values = [f"{name} {tables.value(column)}" for name, column in record["few_shot"]["columns"].items()]
        print(f"{record['few_shot']['settings']['said']}: {', '.join(values)}")
    return record


def _few_shot(arguments: argparse.Namespace, tested: Tested, protocol: Protocol, journal: Journal) -> dict[str, Any]:
    """Few-shot accuracy of the same net, on its test classes, under the threat model of the score."""
    net = few_shot.few_shot_net(tested.net, arguments.head, arguments.maps)
    device = next(tested.net.parameters()).device
    with bar("few-shot episodes", arguments.few_shot) as progress:
        columns = few_shot_columns(
            *(net.to(device), tested.data.test, protocol.attacks[0].threat()),
            *(arguments.way, arguments.shot, arguments.few_shot),
            seed=protocol.seed,
            device=device,
            progress=progress,
            journal=journal,
        )
    seen = tested.name.dataset in names.DATASETS_28  # their test classes are those of training
    said = f"{arguments.way}-way {arguments.shot}-shot, {arguments.head} on the {arguments.maps}"
    said += ", classes seen in training" if seen else ", classes not seen in training"
    settings = {"way": arguments.way, "shot": arguments.shot, "head": arguments.head, "maps": arguments.maps}
    return {"settings": settings | {"classes_seen": seen, "said": said}, "columns": columns}


def _checks(
    arguments: argparse.Namespace,
    tested: Tested,
    subject: Subject,
    protocol: Protocol,
    rows: np.ndarray,
    journal: Journal,
    head: dict[str, Any],
) -> dict[str, Any]:
    other, about = None, {}
    if arguments.other is not None:
        net, known = embedders.load(arguments.other)
        device = subject.gallery.labels.device
        other = testing.subject_of(net, net.metric, tested.data.test, device, bar)
        about = {"other": {"sha256": checkpoints.sha256(arguments.other), "name": known.get("name", "")}}
    elif "transfer" in arguments.checks:
        raise UserError("the check 'transfer' needs another net: give its checkpoint by --other")
    started = time.perf_counter()
    found = masking.check(
        *(subject, protocol, rows, bar), names=arguments.checks or masking.CHECKS, other=other, journal=journal
    )
    record = head | found | about | {"kind": "ranking-checks", "seconds": round(time.perf_counter() - started, 2)}
    print(f"\n{tables.as_text(*ranking.checks(record))}\n")
    return record


def _dry_run(subject: Subject, protocol: Protocol, rows: np.ndarray) -> int:
    started = time.perf_counter()
    trial = rows[:TRIAL_QUERIES]
    testing.attack_all(subject, protocol, trial, bar)
    each = (time.perf_counter() - started) / len(trial)
    print(f"{each:.2f} s a query, {len(rows)} queries: about {each * len(rows) / 60:.0f} min")
    return 0


def score_action(arguments: argparse.Namespace) -> int:
    """Print scores: of ten numbers, or of records."""
    if arguments.numbers:
        print(f"ERS {ers.ers(dict(zip(ers.NUMBERS, arguments.numbers, strict=True))):.2f}")
        return 0
    found = records_of(arguments.config, arguments.records)
    if not found:
        raise UserError("there is no record yet; make one: anrot retrieve attack -C NAME")
    for record in found:
        print(ranking.score_line(record))
    return 0


def table_action(arguments: argparse.Namespace) -> int:
    """Print published and measured rows, apart from each other."""
    name = names.parse(arguments.config).dataset if arguments.config else arguments.set
    style = tables.as_markdown if arguments.markdown else tables.as_text
    headings, rows = ranking.published(name)
    if rows:
        print(style(headings, rows))
        print("* computed here from the printed numbers")
        print(f"mAP: {ers.published()['about']['mAP']}\n")
    found = records_of(arguments.config, dataset=None if arguments.config else arguments.set)
    print(style(*ranking.measured(found)) if found else "nothing measured here yet")
    return 0


ACTIONS = {"attack": attack_action, "score": score_action, "table": table_action}
