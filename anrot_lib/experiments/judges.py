"""Our attacks beside those of other libraries on the same queries, paired, as a record."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from anrot_lib.attacks.external import fork_generators
from anrot_lib.attacks.judges import Judge, attack_as_judged, find_version, list_judges
from anrot_lib.attacks.suite import classify
from anrot_lib.core import randomness
from anrot_lib.core.errors import UserError
from anrot_lib.core.paths import make_file_stem
from anrot_lib.core.statistics import compare_paired
from anrot_lib.data.episodes import Episode, EpisodeManifest
from anrot_lib.experiments.net_records import describe_former, describe_head, keep_former
from anrot_lib.experiments.setting import Setting
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.fewshot.passes import count_images_per_pass
from anrot_lib.records import results
from anrot_lib.records.measures import JudgeRecord
from anrot_lib.records.schema import JudgesRecord

QUERIES = 1  # of each class of an episode


def run_judges(setting: Setting, row: str, net: FewShotNet, net_hash: str, manifest: EpisodeManifest) -> Path:
    """Attack the first queries of as many episodes as are attacked, and write the record `<row>-judges.json`.

    A record that says the same is kept, and one of another net or eps is never overwritten.
    UserError where no library is installed, for another norm than linf, and for a head without single queries.
    """
    started = time.perf_counter()
    protocol = setting.protocol
    judges, missing = list_judges(protocol.eps)
    if not judges:
        raise UserError(f"there is no judge: {'; '.join(f'{name}: {why}' for name, why in missing.items())}")
    if protocol.norm != "linf":
        raise UserError(f"the judges compare attacks in the norm linf, not {protocol.norm}")
    rows = manifest.rows[: setting.budget.attacked_tasks].with_queries(QUERIES)
    path = setting.folder / f"{make_file_stem(row)}-judges.json"
    asked = {"net": net_hash, "rows": manifest.hash, "tasks": len(rows), "eps": protocol.eps}
    asked["libraries"] = {judge.library for judge in judges}
    if path.is_file():
        former = results.read(path, "judges")
        stands = describe_former(former, len(former["columns"]["clean"]["correct"]))
        stands |= {"eps": former["protocol"]["eps"], "libraries": {judge["library"] for judge in former["judges"]}}
        return keep_former(path, stands, asked)
    evaluator = Evaluator(net, setting.image_set, setting.device, allow_seen=setting.allow_seen)
    episode = rows.to_episode(setting.image_set, setting.device)
    queries, limit = episode.labels.shape[1], count_images_per_pass(episode.query.shape[-1], setting.device)
    clean = classify(evaluator.net, episode, episode.query, limit)
    ours: dict[str, tuple[np.ndarray, float]] = {}
    compared: list[JudgeRecord] = []
    names = list(dict.fromkeys(judge.attack for judge in judges))
    with setting.progress(f"judge {row}", len(names) + len(judges) * len(rows)) as bar:
        done = 0

        def show(attack: str) -> None:
            nonlocal done
            bar(done, {"attack": attack})
            done += 1

        for name in names:
            show(name)
            begun = time.perf_counter()
            generator = randomness.make_generator(protocol.seed, f"judges/{name}")
            right = attack_as_judged(evaluator.net, episode, name, protocol.eps, generator, limit)
            ours[name] = right.cpu().numpy(), time.perf_counter() - begun
        for judge in judges:
            begun = time.perf_counter()
            theirs = attack_by_judge(evaluator.net, episode, clean, judge, protocol.seed, show)
            compared.append(compare(judge, ours[judge.attack], theirs, time.perf_counter() - begun))
        bar(done, {})
    record: JudgesRecord = {
        **describe_head(setting, row, net_hash, manifest, evaluator, started),
        "kind": "judges",
        "columns": {"clean": results.make_column(clean.sum(1).cpu().numpy(), queries, 0.0)},
        "judges": compared,
        "missing": missing,
    }
    results.write(path, record)
    return path


def attack_by_judge(
    net: FewShotNet, episode: Episode, clean: torch.Tensor, judge: Judge, seed: int, progress: Callable[[str], None]
) -> np.ndarray:
    """Which queries (E, n) are right after a judge's attack, one episode at a time; those wrong as they are stay wrong.

    A library answers with one image for each query; only that one counts.
    """
    right = clean.clone()
    for k in range(len(clean)):
        progress(f"{judge.attack}, {judge.library}")
        some = clean[k].nonzero().flatten()
        if not len(some):
            continue
        model = net.bind(episode.support[k].flatten(0, 1), episode.support_labels[k])
        images, labels = episode.query[k, some], episode.labels[k, some]
        with fork_generators(seed + k):
            points = judge.generate(model, images, labels)
        with torch.no_grad():
            right[k, some] = model(points).argmax(-1) == labels
    return right.cpu().numpy()


def compare(judge: Judge, measured: tuple[np.ndarray, float], theirs: np.ndarray, their_seconds: float) -> JudgeRecord:
    """A judge beside our attack: right queries (E, n) and seconds of each, and the paired difference of episodes."""
    ours, seconds = measured
    queries = ours.shape[1]
    gap = compare_paired(ours.mean(1), theirs.mean(1))
    return {
        "attack": judge.attack,
        "library": judge.library,
        "version": find_version(judge.library),
        "ours": results.make_column(ours.sum(1), queries, seconds),
        "judge": results.make_column(theirs.sum(1), queries, their_seconds),
        "difference": {"value": round(gap.mean, 4), "half_width": round(gap.half_width, 4)},
        "ours_alone": int((theirs & ~ours).sum()),
        "judge_alone": int((ours & ~theirs).sum()),
    }
