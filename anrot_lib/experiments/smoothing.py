"""Randomised smoothing of a net as a record: votes, and attacks on the certified queries."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from anrot_lib.core import randomness
from anrot_lib.core.configs import to_dict
from anrot_lib.core.paths import make_file_stem
from anrot_lib.core.progress import accumulate
from anrot_lib.data.episodes import EpisodeManifest, EpisodeRows
from anrot_lib.experiments.net_records import count_attacked_tasks, describe_former, describe_head, keep_former
from anrot_lib.experiments.setting import Setting
from anrot_lib.fewshot import smoothing
from anrot_lib.fewshot.certificates import Smoothing
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.fewshot.passes import count_images_per_pass
from anrot_lib.records import results
from anrot_lib.records.journal import Journal
from anrot_lib.records.measures import SmoothedAttackRecord
from anrot_lib.records.schema import SmoothingRecord
from anrot_lib.records.settings import SmoothingSettingsRecord

EFFORT = smoothing.SmoothedEffort()
WITHIN, BEYOND = 1.0, 4.0  # of the certified radius: the check, and an attack that has to find something
SHARE_BEYOND = 8  # one episode in so many is attacked beyond its radii, too


def run_smoothing(
    setting: Setting, row: str, net: FewShotNet, net_hash: str, manifest: EpisodeManifest, settings: Smoothing
) -> Path:
    """Certify the queries of some episodes by randomised smoothing, attack the certified ones, and write the record.

    A record that says the same is kept. A killed run goes on with the next episode.
    """
    path = setting.folder / f"{make_file_stem(row)}-smoothing-{settings.noisy}-{settings.sigma:g}.json"
    rows = manifest.rows[: count_attacked_tasks(setting.budget)].with_queries(setting.budget.attacked_query)
    asked = {"net": net_hash, "rows": manifest.hash, "tasks": len(rows), "smoothing": to_dict(settings)}
    if path.is_file():
        former = results.read(path, "smoothing")
        stands = {"smoothing": dict(former["smoothing"]), **describe_former(former, len(former["hits"]))}
        return keep_former(path, stands, asked)
    evaluator = Evaluator(net, setting.image_set, setting.device, None, setting.allow_seen, setting.split)
    journal = Journal(setting.work / f"{path.stem}.jsonl", asked)
    passes = count_smoothing_passes(setting, settings)
    with setting.progress(f"smooth {row}", passes) as bar:
        for task in range(len(rows)):
            if (key := f"task {task}") not in journal:
                started = time.perf_counter()
                within = partial(_show, bar, passes * task // len(rows), passes * (task + 1) // len(rows))
                part = _smooth_task(setting, evaluator, rows, task, settings, accumulate(within))
                journal[key] = part | {"seconds": time.perf_counter() - started}
            bar(passes * (task + 1) // len(rows))
    parts = [journal[f"task {task}"] for task in range(len(rows))]
    record: SmoothingRecord = {
        **describe_head(setting, row, net_hash, manifest, evaluator, sum(part["seconds"] for part in parts)),
        "queries": rows.query[0].size,
        "kind": "smoothing",
        "smoothing": cast(SmoothingSettingsRecord, to_dict(settings)),
        "plain": [part["plain"] for part in parts],
        "chosen": [part["chosen"] for part in parts],
        "hits": [part["hits"] for part in parts],
        "attacks": [_sum_attacks(factor, parts) for factor in (WITHIN, BEYOND)],
    }
    results.write(path, record)
    journal.remove()
    return path


def _show(bar: Callable[..., None], start: int, end: int, done: int) -> None:
    bar(min(start + done, end))


def _smooth_task(
    setting: Setting,
    evaluator: Evaluator,
    rows: EpisodeRows,
    task: int,
    settings: Smoothing,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """The part of a record that one episode gives."""
    net, episode = evaluator.net, rows[task : task + 1].to_episode(setting.image_set, setting.device)
    limit = count_images_per_pass(episode.query.shape[-1], setting.device)
    stream = f"smoothing/{settings.noisy}/{settings.sigma:g}/{task}"

    def make_generator(purpose: str) -> torch.Generator:
        return randomness.make_generator(setting.protocol.seed, f"{stream}/{purpose}")

    with torch.no_grad():
        plain = net.scores(episode).logits[0].argmax(-1).tolist()
    certified = smoothing.certify_episode(net, episode, settings, make_generator("votes"), limit, progress)
    factors = [WITHIN, BEYOND] if task % SHARE_BEYOND == 0 else [WITHIN]
    attacks = {
        str(factor): smoothing.attack_certified(
            net, episode, certified, settings, make_generator(f"attack/{factor:g}"), limit, EFFORT, factor, progress
        )
        for factor in factors
    }
    chosen = certified.chosen.tolist()
    return {"plain": plain, "chosen": chosen, "hits": certified.hits.tolist(), "attacks": attacks}


def _sum_attacks(factor: float, parts: list[dict[str, Any]]) -> SmoothedAttackRecord:
    some = [part["attacks"][str(factor)] for part in parts if str(factor) in part["attacks"]]
    queries, broken = (sum(int(attack[k]) for attack in some) for k in range(2))
    return {
        "factor": factor,
        "steps": EFFORT.steps,
        "samples": EFFORT.samples,
        "draws": EFFORT.draws,
        "queries": queries,
        "broken": broken,
    }


def count_smoothing_passes(setting: Setting, settings: Smoothing) -> int:
    """Passes of the encoder over an image, forward = 1, if all queries are certified."""
    budget, protocol = setting.budget, setting.protocol
    queries = protocol.way * budget.attacked_query
    support = protocol.way * protocol.shot if settings.noisy == "both" else 0
    votes = (settings.first_draws + settings.draws) * (queries + support)
    attack = queries * 3 * EFFORT.steps * EFFORT.samples + EFFORT.draws * (queries + support)
    tasks = count_attacked_tasks(budget)
    return tasks * (votes + attack) + -(-tasks // SHARE_BEYOND) * attack
