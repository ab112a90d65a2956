"""The action attack of the verb retrieve: a ranking model under attack, and its record."""

import argparse
import contextlib
import dataclasses
import time
from typing import Any

import numpy as np

from anrot_lib.cli.commands.arguments import choose_bar, read_options, start_ranks
from anrot_lib.cli.options.retrieve import (
    AttackOptions,
    CheckOptions,
    FewShotOptions,
    ImageOptions,
)
from anrot_lib.cli.options.shared import RunOptions
from anrot_lib.core import checkpoints, devices, paths
from anrot_lib.core.configs import check_type, from_dict, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import counting_bar, shorten
from anrot_lib.core.units import format_minutes
from anrot_lib.experiments.former import check_former_ranking
from anrot_lib.experiments.ranking import (
    Tested,
    draw_episodes,
    find_checkpoint,
    measure_few_shot_columns,
)
from anrot_lib.ranking import embedders, few_shot, names
from anrot_lib.ranking.attacks import names as attack_names
from anrot_lib.ranking.attacks import suite
from anrot_lib.ranking.attacks.suite import Subject
from anrot_lib.ranking.data import sets
from anrot_lib.ranking.data.sets import RankingSet
from anrot_lib.ranking.recipe import RankingRecipe
from anrot_lib.ranking.score import masking, testing
from anrot_lib.ranking.score.testing import ScoreProtocol
from anrot_lib.ranking.shards import Shard
from anrot_lib.records import results, schema
from anrot_lib.records.describe import count_parameters, describe_run
from anrot_lib.records.journal import Journal, open_journal, remove_journals
from anrot_lib.records.parts import DataRecord
from anrot_lib.reports import ranking, tables

TRIAL_QUERIES = 16


@dataclasses.dataclass(frozen=True)
class TestRun:
    """A net under test: this process's shard of its gallery, what is asked of it, and the rows that are attacked."""

    tested: Tested
    gallery: Shard
    protocol: ScoreProtocol
    rows: np.ndarray

    @property
    def bar(self) -> testing.Bar:
        return choose_bar(self.gallery.ranks)

    def gather(self) -> Subject:
        """The net with its whole gallery."""
        return testing.gather_subject(self.tested.net, self.gallery, self.tested.data.test)


def load_images(options: ImageOptions, dataset: str, size: int | None, stored: int) -> RankingSet:
    """The images of a data set's name; a bar, where they may have to be packed first."""
    small = dataset in names.DATASETS_28
    with contextlib.nullcontext() if small else counting_bar(f"prepare {dataset}") as progress:
        return sets.load(
            dataset,
            size,
            stored,
            options.data,
            options.download,
            options.split,
            limit=options.limit_images,
            progress=progress,
        )


def open_checkpoint(options: AttackOptions, images: ImageOptions) -> Tested:
    """The net that -C or --checkpoint means, and its images."""
    path, name = options.checkpoint, options.config
    if path is None:
        if name is None:
            raise UserError("name a model by -C, or give its file by --checkpoint")
        path = find_checkpoint(name)
    net, about = embedders.load(path)
    if {"name", "recipe", "data", "steps", "of", "start"} - set(about):
        raise UserError(f"{path} does not say how it was trained; give a checkpoint of anrot retrieve train")
    if name is not None and about["name"] != str(names.parse(name)):
        raise UserError(f"{path} is a model of {about['name']}, not of {name}")
    recipe, dataset = from_dict(RankingRecipe, about["recipe"]), names.parse(about["name"]).dataset
    check_type(about["data"], DataRecord, f"the data in {path}")
    about = about | {"recipe": to_dict(recipe)}  # older files know fewer settings
    return Tested(path, net, about, load_images(images, dataset, recipe.size, recipe.stored))


def attack(arguments: argparse.Namespace) -> int:
    """Attack a model and write its record; or run the checks of its gradient."""
    run, options = read_options(RunOptions, arguments), read_options(AttackOptions, arguments)
    checks, episodes = read_options(CheckOptions, arguments), read_options(FewShotOptions, arguments)
    if checks.checks is not None and checks.other is None and "transfer" in checks.checks:
        raise UserError("the check 'transfer' needs another net: give its checkpoint by --other")
    together, device = start_ranks(arguments)
    with together.first():  # it packs the images, the others find them
        tested = open_checkpoint(options, read_options(ImageOptions, arguments))
    profile = options.profile or ("rob28" if tested.name.small else "rob224")
    attacks = attack_names.make_profile(profile, options.eps, options.steps)
    protocol = ScoreProtocol(attacks, options.queries, options.seed, options.parity)
    where = together.describe(devices.describe_device(device))
    _describe(tested, profile, protocol, where)
    other = is_other_data(tested)
    if other and not options.allow_seen:
        raise UserError(
            f"{shorten(tested.path)} was trained with other images or another split, and may have seen some of "
            "these; give its images by --data and --split, or add --allow-seen to have every number marked"
        )
    if episodes.few_shot is not None:
        few_shot.build_few_shot_net(tested.net, episodes.head, episodes.maps)  # now, and not after hours of attacks
        draw_episodes(tested.data.test, episodes.way, episodes.shot, episodes.few_shot, seed=protocol.seed)
    gallery = testing.embed_part(
        tested.net, tested.net.metric, tested.data.test, device, choose_bar(together), together
    )
    test = TestRun(tested, gallery, protocol, suite.choose_queries(gallery, protocol.queries, protocol.seed))
    if run.dry_run:
        return _print_plan(test)
    kind = profile if checks.checks is None else f"{profile}.checks"
    file = tested.record_path(kind, run.tag, run.reference)
    check_former_ranking(file, tested.data.about, None, checkpoints.sha256(tested.path))
    belongs_to = {"checkpoint": checkpoints.sha256(tested.path), "data": tested.data.about} | protocol.describe()
    if checks.checks is None:
        belongs_to["few_shot"] = list(dataclasses.astuple(episodes))
    else:
        belongs_to["other"] = checkpoints.sha256(checks.other) if checks.other else ""
    work = paths.checkpoints_dir() / "ranking" / file.parent.name  # a checkpoint may lie where nothing can be written
    journal = open_journal(work / f"{file.stem}.jsonl", belongs_to, together)
    head = _describe_record(tested, protocol, profile, where) | ({"other_data": True} if other else {})
    if checks.checks is None:
        record = head | _score(test, journal, nmi=not options.no_nmi)
        if episodes.few_shot is not None:
            record["few_shot"] = _measure_few_shot(episodes, episodes.few_shot, test, journal)
    else:
        record = head | _check(checks, test, journal)
    if together.is_first:
        results.write(file, schema.validate(record))
        remove_journals(work / f"{file.stem}.jsonl")
    together.wait()
    if checks.checks is None:
        _print_score(results.read(file, "ranking"))
    else:
        print(f"\n{tables.format_text(*ranking.list_checks(results.read(file, 'ranking-checks')))}\n")
    print(f"record: {shorten(file)}")
    return 0


def is_other_data(tested: Tested) -> bool:
    """Whether a net is tested on other images, or another split, than it was trained with."""
    return any(tested.about["data"][key] != tested.data.about[key] for key in ("sha256", "split_hash"))


def _describe(tested: Tested, profile: str, protocol: ScoreProtocol, where: str) -> None:
    about, attack = tested.about, protocol.attacks[0]
    print(
        f"{about['name']}: {tested.name.title}, {len(tested.data.test)} test images of {tested.data.test.classes} "
        f"classes; profile {profile}, {attack.threat().name.removesuffix(' query')}, parity {protocol.parity}, "
        f"{where}"
    )
    if about["steps"] < about["of"]:
        print(f"note: its training stands at step {about['steps']} of {about['of']}")
    if tested.net.metric == "E":
        raise UserError("the robustness score has no meaning under the metric E, whose distances have no bound")


def _describe_record(tested: Tested, protocol: ScoreProtocol, profile: str, where: str) -> dict[str, Any]:
    return {
        "schema": schema.SCHEMA_VERSION,
        "row": tested.name.title,
        "name": tested.about["name"],
        "run": describe_run(where),
        "data": tested.data.about,
        "checkpoint": {
            "sha256": checkpoints.sha256(tested.path),
            "steps": tested.about["steps"],
            "of": tested.about["of"],
            "start": tested.about["start"],
        },
        "protocol": protocol.describe() | {"profile": profile, "gallery": len(tested.data.test)},
    }


def _score(test: TestRun, journal: Journal, nmi: bool) -> dict[str, Any]:
    """The parts of a record that retrieval and attacks give."""
    tested, protocol = test.tested, test.protocol
    clean = testing.measure_benign(test.gallery, test.bar, nmi, protocol.seed)
    values = testing.attack_all(test.gather(), protocol, test.rows, test.bar, journal, ranks=test.gallery.ranks)
    return {
        "kind": "ranking",
        "recipe": tested.about["recipe"],
        "parameters": count_parameters(tested.net),
        "clean": {name: round(float(value), 4) for name, value in clean.items()},
        **testing.summarise(protocol, *values, clean),
    }


def _print_score(record: schema.RankingRecord) -> None:
    print(f"\n{tables.format_text(*ranking.list_numbers(record))}\n\n{ranking.score_line(record)}")
    if "few_shot" in record:
        values = [f"{name} {tables.format_column(column)}" for name, column in record["few_shot"]["columns"].items()]
        print(f"{record['few_shot']['settings']['said']}: {', '.join(values)}")


def _measure_few_shot(options: FewShotOptions, tasks: int, test: TestRun, journal: Journal) -> dict[str, Any]:
    """Few-shot accuracy of the same net, on its test classes, under the threat model of the score."""
    net = few_shot.build_few_shot_net(test.tested.net, options.head, options.maps)
    device = test.gallery.labels.device
    with test.bar("few-shot episodes", tasks) as progress:
        columns = measure_few_shot_columns(
            net.to(device),
            test.tested.data.test,
            test.protocol.attacks[0].threat(),
            options.way,
            options.shot,
            tasks,
            seed=test.protocol.seed,
            device=device,
            progress=progress,
            journal=journal,
            ranks=test.gallery.ranks,
        )
    seen = test.tested.name.dataset in names.DATASETS_28  # their test classes are those of training
    text = f"{options.way}-way {options.shot}-shot, {options.head} on the {options.maps}"
    text += ", classes seen in training" if seen else ", classes not seen in training"
    settings = {"way": options.way, "shot": options.shot, "head": options.head, "maps": options.maps}
    return {"settings": settings | {"classes_seen": seen, "said": text}, "columns": columns}


def _check(options: CheckOptions, test: TestRun, journal: Journal) -> dict[str, Any]:
    """The parts of a record that the checks of the gradient give."""
    subject, together = test.gather(), test.gallery.ranks
    other, about = None, {}
    if options.other is not None:
        net, known = embedders.load(options.other)
        device = subject.gallery.labels.device
        other = testing.build_subject(net, net.metric, test.tested.data.test, device, test.bar, together)
        about = {"other": {"sha256": checkpoints.sha256(options.other), "name": known.get("name", "")}}
    started = time.perf_counter()
    checks = masking.check(
        subject,
        test.protocol,
        test.rows,
        test.bar,
        names=options.checks or masking.CHECKS,
        other=other,
        journal=journal,
        ranks=together,
    )
    return checks | about | {"kind": "ranking-checks", "seconds": round(time.perf_counter() - started, 2)}


def _print_plan(test: TestRun) -> int:
    subject, trial = test.gather(), test.rows[:TRIAL_QUERIES]
    started = time.perf_counter()
    testing.attack_all(subject, test.protocol, trial, test.bar)
    each = (time.perf_counter() - started) / len(trial)
    print(f"{each:.2f} s a query, {len(test.rows)} queries: about {format_minutes(each * len(test.rows))}")
    return 0
