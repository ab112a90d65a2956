"""The verb `levels`: what pixels, parts and distributions add to each other on one encoder."""

import argparse
import time
from dataclasses import replace

from anrot_lib.cli.commands.prepare import load_data
from anrot_lib.core import configs, devices
from anrot_lib.core.progress import bar, shown
from anrot_lib.experiments import levels as level_study
from anrot_lib.experiments.setting import Setting, experiment_folder, make_manifest
from anrot_lib.fewshot import evaluation, training
from anrot_lib.fewshot.classifier import FewShotNet, create_net, folded
from anrot_lib.reports import tables
from anrot_lib.settings import Protocol


def settings_of(arguments: argparse.Namespace) -> list[Setting]:
    """A setting for each number of shots."""
    budget = configs.change(
        level_study.make_budget(arguments.preset),
        size=arguments.size,
        encoder=arguments.encoder,
        episodes=arguments.episodes,
        precision=arguments.compute,
        clean_tasks=arguments.tasks,
        attacked_tasks=arguments.attacked_tasks,
    )
    budget = replace(
        budget,
        validate_every=max(1, min(budget.validate_every, budget.episodes)),
        curve_tasks=budget.attacked_tasks,
    )
    device = devices.resolve_device(arguments.device)
    precision = devices.resolve_precision(budget.precision, device)
    image_set = load_data(arguments, budget)
    found = []
    for shot in arguments.shots or level_study.SHOTS[budget.preset]:
        protocol = Protocol(way=arguments.way, shot=shot, seed=arguments.seed)
        step = None if arguments.eps is None else arguments.eps / 4
        protocol = configs.change(protocol, eps=arguments.eps, step=step)
        tag = "-".join(word for word in ("levels", arguments.tag) if word)
        folder = experiment_folder(image_set, protocol, budget, tag, arguments.reference)
        found.append(Setting(image_set, protocol, budget, device, precision, bar, folder))
    return found


def levels(arguments: argparse.Namespace) -> int:
    """Train an encoder a shot and seed, test all variants on it, print a table and its verdict for each shot."""
    from anrot_lib.reports import levels as level_report

    variants = level_study.check_variants(arguments.variants or list(level_study.VARIANTS))
    chosen = settings_of(arguments)
    first = chosen[0]
    print(
        f"{first.image_set.name}: {len(variants)} combinations of levels on {len(chosen) * len(arguments.seeds)} "
        f"encoder(s) {first.budget.encoder}, training in {first.precision}, {devices.device_kind(first.device)}"
    )
    if arguments.dry_run:
        return dry_run(chosen, arguments.seeds, variants)
    for setting in chosen:
        started = time.perf_counter()
        records = [record for seed in arguments.seeds for record in level_study.run(setting, seed, variants)]
        print(f"\n{tables.as_text(*level_report.table(records))}\n\n{level_report.caption(records)}")
        print(f"\n{level_report.verdict(records)}")
        print(f"records: {shown(setting.folder)}   {time.perf_counter() - started:.0f} s")
    return 0


def dry_run(chosen: list[Setting], seeds: list[int], variants: list[str]) -> int:
    """What a run would take, from two training steps, two episodes of every level, and one attack step of one task."""
    total = 0.0
    for setting in chosen:
        budget, recipe = setting.budget, level_study.make_recipe(seeds[0])
        trial = configs.change(
            budget, episodes=2 * budget.episodes_per_step, validate_every=10**9, validation_tasks=2, clean_tasks=2
        )
        step = training.train(
            *(setting.image_set, recipe, trial, setting.protocol), device=setting.device, precision=setting.precision
        ).seconds_per_step
        train = step * budget.episodes / budget.episodes_per_step
        score, attack = _timed(replace(setting, budget=trial), variants)
        tasks = budget.clean_tasks + budget.validation_tasks
        queries = budget.attacked_tasks * setting.protocol.way * budget.attacked_query
        steps = sum(column.threat.steps for column in level_study.list_attacks(setting.protocol, budget))
        parts = {"training": train, "levels": score * tasks, "attacks, at most": attack * queries * steps}
        total += len(seeds) * sum(parts.values())
        said = ", ".join(f"{name} {seconds / 60:.1f} min" for name, seconds in parts.items())
        print(f"{setting.protocol.shot}-shot, each seed: {said}; records would go to {shown(setting.folder)}")
    print(f"together about {total / 60:.1f} min")
    return 0


def _timed(setting: Setting, variants: list[str]) -> tuple[float, float]:
    """Seconds of all levels for one episode, and of one attack step for one query, summed over the variants."""
    image_set, protocol = setting.image_set, setting.protocol
    manifest = level_study.make_manifests(setting, make_manifest(setting))["test"]
    net = folded(create_net(setting.budget.encoder, "dn4", image_set.images.shape[-1]).to(setting.device))
    names = [name for name in level_study.LEVELS if any(name in v.split("+") for v in variants)]
    started = time.perf_counter()
    scores = dict(level_study.measure_levels(setting, net, manifest, names))
    score = (time.perf_counter() - started) / manifest.n_tasks
    labels = level_study.make_query_labels(manifest)
    few = manifest.rows[:1].with_queries(2)
    threat = level_study.list_attacks(protocol, setting.budget)[-2].threat
    started = time.perf_counter()
    for variant in variants:
        head = level_study.fit_head(variant, net.backbone.out_channels, scores, labels)
        fused = FewShotNet(net.backbone, head).eval().to(setting.device)
        evaluation.count_attacked(fused, image_set, few, threat, protocol.seed, setting.device)
    return score, (time.perf_counter() - started) / few.query.size


VERBS = {"levels": levels}
