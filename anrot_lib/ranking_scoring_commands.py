"""`anrot retrieve attack`, `score`, `table`: a ranking model under attack, its record, published rows beside it."""

import argparse
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anrot_lib import checkpoints, devices, embedders, paths, results, tables
from anrot_lib.console import bar, counting_bar, shown
from anrot_lib.embedders import Embedder
from anrot_lib.encoders import parameter_count
from anrot_lib.errors import UserError
from anrot_lib.ranking import attack_names, bridge, config, ers, masking, score_tables, scoring, suite
from anrot_lib.ranking import data as ranking_data
from anrot_lib.ranking.data import RankingSet
from anrot_lib.ranking.scoring import Protocol
from anrot_lib.ranking.suite import Subject

TRIAL_QUERIES = 16


@dataclass(frozen=True)
class Tested:
    """A checkpoint, opened: the net, what its file says, and the images it is tested on."""

    path: Path
    net: Embedder
    about: dict[str, Any]
    data: RankingSet

    @property
    def name(self) -> config.Name:
        return config.parse(self.about["name"])

    def record_path(self, kind: str, tag: str) -> Path:
        """results/ranking/<data>-<size>px/<checkpoint's name>[-tag].<kind>.json"""
        folder = f"{self.data.name}-{self.data.test.size}px"
        stem = self.path.stem + (f"-{tag}" if tag else "")
        return paths.results_dir() / "ranking" / folder / f"{stem}.{kind}.json"


def find_checkpoint(name: str) -> Path:
    """The one checkpoint of a name; UserError if there is none, or more than one to choose from."""
    parsed = config.parse(name)
    _, model, loss = str(parsed).split(":")
    root = paths.checkpoints_dir() / "ranking"
    files = sorted(root.glob(f"{parsed.dataset}-*px/{model}-{loss}-*.pt"))
    if not files:
        raise UserError(f"there is no checkpoint of {name}; train one: anrot retrieve train -C {name}")
    if len(files) > 1:
        raise UserError(f"choose one by --checkpoint: {', '.join(shown(path) for path in files)}")
    return files[0]


def load_images(arguments: argparse.Namespace, dataset: str, size: int | None, stored: int) -> RankingSet:
    """The images of a data set's name; a bar, where they may have to be packed first."""
    small = dataset in config.DATASETS_28
    with contextlib.nullcontext() if small else counting_bar(f"prepare {dataset}") as progress:
        return ranking_data.load(
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
    if arguments.config is not None and about["name"] != str(config.parse(arguments.config)):
        raise UserError(f"{path} is a model of {about['name']}, not of {arguments.config}")
    recipe, dataset = about["recipe"], config.parse(about["name"]).dataset
    return Tested(path, net, about, load_images(arguments, dataset, recipe["size"], recipe["stored"]))


def attack_action(arguments: argparse.Namespace) -> int:
    """Attack a model and write its record; or run the checks of its gradient."""
    tested = open_checkpoint(arguments)
    device = devices.resolve_device(arguments.device)
    profile = arguments.profile or ("rob28" if tested.name.small else "rob224")
    attacks = attack_names.profile(profile, arguments.eps, arguments.steps)
    protocol = Protocol(attacks, arguments.queries, arguments.seed, arguments.parity)
    _say(tested, profile, protocol, device)
    subject = scoring.subject_of(tested.net, tested.net.metric, tested.data.test, device, bar)
    rows = suite.queries_of(subject.gallery, protocol.queries, protocol.seed)
    if arguments.dry_run:
        return _dry_run(subject, protocol, rows)
    checking = arguments.checks is not None
    file = tested.record_path(f"{profile}{'.checks' if checking else ''}", arguments.tag)
    belongs_to = {"checkpoint": checkpoints.sha256(tested.path), "data": tested.data.about} | protocol.describe()
    if checking:
        belongs_to["other"] = checkpoints.sha256(arguments.other) if arguments.other else ""
    else:
        belongs_to["few_shot"] = [arguments.few_shot, arguments.way, arguments.shot, arguments.head, arguments.maps]
    work = paths.checkpoints_dir() / "ranking" / file.parent.name  # a checkpoint may lie where nothing can be written
    journal = results.Journal(work / f"{file.stem}.jsonl", belongs_to)
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
        "schema": results.SCHEMA_VERSION,
        "row": tested.name.title,
        "name": tested.about["name"],
        "run": results.describe_run(devices.device_kind(device)),
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
    journal: results.Journal,
    head: dict[str, Any],
) -> dict[str, Any]:
    clean = scoring.benign_numbers(subject, bar, not arguments.no_nmi, protocol.seed)
    found = scoring.attack_all(subject, protocol, rows, bar, journal)
    record = head | {
        "kind": "ranking",
        "recipe": tested.about["recipe"],
        "parameters": parameter_count(tested.net),
        "clean": {name: round(float(value), 4) for name, value in clean.items()},
        **scoring.summarise(protocol, *found, clean),
    }
    if arguments.few_shot:
        record["few_shot"] = _few_shot(arguments, tested, protocol, journal)
    print(f"\n{tables.as_text(*score_tables.numbers(record))}\n\n{score_tables.score_line(record)}")
    if "few_shot" in record:
        values = [f"{name} {tables.value(column)}" for name, column in record["few_shot"]["columns"].items()]
        print(f"{record['few_shot']['settings']['said']}: {', '.join(values)}")
    return record


def _few_shot(
    arguments: argparse.Namespace, tested: Tested, protocol: Protocol, journal: results.Journal
) -> dict[str, Any]:
    """Few-shot accuracy of the same net, on its test classes, under the threat model of the score."""
    net = bridge.few_shot_net(tested.net, arguments.head, arguments.maps)
    device = next(tested.net.parameters()).device
    with bar("few-shot episodes", arguments.few_shot) as progress:
        columns = bridge.few_shot_columns(
            *(net.to(device), tested.data.test, protocol.attacks[0].threat()),
            *(arguments.way, arguments.shot, arguments.few_shot),
            seed=protocol.seed,
            device=device,
            progress=progress,
            journal=journal,
        )
    seen = tested.name.dataset in config.DATASETS_28  # their test classes are those of training
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
    journal: results.Journal,
    head: dict[str, Any],
) -> dict[str, Any]:
    other, about = None, {}
    if arguments.other is not None:
        net, known = embedders.load(arguments.other)
        device = subject.gallery.labels.device
        other = scoring.subject_of(net, net.metric, tested.data.test, device, bar)
        about = {"other": {"sha256": checkpoints.sha256(arguments.other), "name": known.get("name", "")}}
    elif "transfer" in arguments.checks:
        raise UserError("the check 'transfer' needs another net: give its checkpoint by --other")
    started = time.perf_counter()
    found = masking.check(
        *(subject, protocol, rows, bar), names=arguments.checks or masking.CHECKS, other=other, journal=journal
    )
    record = head | found | about | {"kind": "ranking-checks", "seconds": round(time.perf_counter() - started, 2)}
    print(f"\n{tables.as_text(*score_tables.checks(record))}\n")
    return record


def _dry_run(subject: Subject, protocol: Protocol, rows: np.ndarray) -> int:
    started = time.perf_counter()
    trial = rows[:TRIAL_QUERIES]
    scoring.attack_all(subject, protocol, trial, bar)
    each = (time.perf_counter() - started) / len(trial)
    print(f"{each:.2f} s a query, {len(rows)} queries: about {each * len(rows) / 60:.0f} min")
    return 0


def records_of(name: str | None, files: list[Path] | None = None, dataset: str | None = None) -> list[dict[str, Any]]:
    """Records of attacks: of some files, or all, of a name or of a data set if given. UserError if there are none."""
    if files:
        found = [results.read(file) for file in files]
        if wrong := [file for file, record in zip(files, found, strict=True) if record["kind"] != "ranking"]:
            raise UserError(f"{wrong[0]} is no record of anrot retrieve attack")
        return found
    wanted = str(config.parse(name)) if name else None
    found = results.read_all(paths.results_dir() / "ranking", "ranking")
    found = [r for r in found if wanted in (None, r["name"]) and dataset in (None, r["data"]["name"])]
    if wanted and not found:
        raise UserError(f"there is no record of {name}; make one: anrot retrieve attack -C {name}")
    return found


def score_action(arguments: argparse.Namespace) -> int:
    """Print scores: of ten numbers, or of records."""
    if arguments.numbers:
        print(f"ERS {ers.ers(dict(zip(ers.NUMBERS, arguments.numbers, strict=True))):.2f}")
        return 0
    found = records_of(arguments.config, arguments.records)
    if not found:
        raise UserError("there is no record yet; make one: anrot retrieve attack -C NAME")
    for record in found:
        print(score_tables.score_line(record))
    return 0


def table_action(arguments: argparse.Namespace) -> int:
    """Print published and measured rows, apart from each other."""
    name = config.parse(arguments.config).dataset if arguments.config else arguments.set
    style = tables.as_markdown if arguments.markdown else tables.as_text
    headings, rows = score_tables.published(name)
    if rows:
        print(style(headings, rows))
        print("* computed here from the printed numbers")
        print(f"mAP: {ers.published()['about']['mAP']}\n")
    found = records_of(arguments.config, dataset=None if arguments.config else arguments.set)
    print(style(*score_tables.measured(found)) if found else "nothing measured here yet")
    return 0


ACTIONS = {"attack": attack_action, "score": score_action, "table": table_action}
