"""Our attacks beside those of other libraries on the same queries, paired, as a record."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anrot_lib.attacks.external import fork_generators
from anrot_lib.attacks.judges import Judge, attack_as_judged, count_passes, find_version, list_judges
from anrot_lib.attacks.queries import TaggedClassifier, list_queries
from anrot_lib.attacks.suite import classify
from anrot_lib.core import randomness
from anrot_lib.core.errors import UserError
from anrot_lib.core.paths import make_file_stem
from anrot_lib.core.statistics import compare_paired
from anrot_lib.data.episodes import Episode, EpisodeManifest, EpisodeRows
from anrot_lib.experiments.net_records import describe_former, describe_head, keep_former
from anrot_lib.experiments.setting import Setting
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.fewshot.passes import count_images_per_pass, cut_blocks
from anrot_lib.records import results
from anrot_lib.records.journal import Journal
from anrot_lib.records.measures import JudgeRecord
from anrot_lib.records.schema import JudgesRecord

QUERIES = 1  # of each class of an episode


def run_judges(setting: Setting, row: str, net: FewShotNet, net_hash: str, manifest: EpisodeManifest) -> Path:
    """Attack the first queries of as many episodes as are attacked, and write the record `<row>-judges.json`.

    A record that says the same is kept, and one of another net or eps is never overwritten. A killed run goes on with
    the next part: an attack on as many episodes as one pass of the encoder holds queries.
    UserError where no library is installed, for another norm than linf, and for a head without single queries.
    """
    protocol = setting.protocol
    judges, missing = list_judges(protocol.eps)
    if not judges:
        raise UserError(f"there is no judge: {'; '.join(f'{name}: {why}' for name, why in missing.items())}")
    if protocol.norm != "linf":
        raise UserError(f"the judges compare attacks in the norm linf, not {protocol.norm}")
    rows = manifest.rows[: setting.budget.attacked_tasks].with_queries(QUERIES)
    path = setting.folder / f"{make_file_stem(row)}-judges.json"
    asked = {
        "net": net_hash,
        "rows": manifest.hash,
        "tasks": len(rows),
        "eps": protocol.eps,
        "judges": sorted(_name_judge(judge) for judge in judges),
    }
    if path.is_file():
        former = results.read(path, "judges")
        stands = describe_former(former, len(former["columns"]["clean"]["correct"]))
        named = sorted(f"{judged['attack']}, {judged['library']}" for judged in former["judges"])
        stands |= {"eps": former["protocol"]["eps"], "judges": named}
        return keep_former(path, stands, asked)
    evaluator = Evaluator(net, setting.image_set, setting.device, allow_seen=setting.allow_seen)
    if evaluator.net.head.batch_dependent:
        raise UserError("the scores of this head depend on the other queries, so no library can attack them one by one")
    versions = {library: find_version(library) for library in sorted({judge.library for judge in judges})}
    journal = Journal(setting.work / f"{path.stem}.jsonl", asked | {"seed": protocol.seed, "versions": versions})
    with setting.progress(f"judge {row}", count_all_passes(judges, protocol.way, len(rows))) as bar:
        clean = _attack_all(setting, evaluator, rows, judges, journal, bar)
    ours = {name: _join(journal, name) for name in _name_attacks(judges)}
    compared = [compare(judge, ours[judge.attack], *_join(journal, _name_judge(judge))) for judge in judges]
    seconds = sum(took for _, took in ours.values()) + sum(judged["judge"]["seconds"] for judged in compared)
    record: JudgesRecord = {
        **describe_head(setting, row, net_hash, manifest, evaluator, seconds),
        "kind": "judges",
        "columns": {"clean": results.make_column(clean.sum(1).cpu().numpy(), clean.shape[1], 0.0)},
        "judges": compared,
        "missing": missing,
    }
    results.write(path, record)
    journal.remove()
    return path


def _name_attacks(judges: list[Judge]) -> list[str]:
    return list(dict.fromkeys(judge.attack for judge in judges))


def _name_judge(judge: Judge) -> str:
    return f"{judge.attack}, {judge.library}"


def count_all_passes(judges: list[Judge], way: int, tasks: int) -> int:
    """Passes of the encoder over an image that our attacks and the judges take at most, forward = 1."""
    ours = sum(count_passes(name, way) for name in _name_attacks(judges))
    return way * QUERIES * tasks * (ours + sum(count_passes(judge.attack, way, judge.library) for judge in judges))


def _attack_all(
    setting: Setting,
    evaluator: Evaluator,
    rows: EpisodeRows,
    judges: list[Judge],
    journal: Journal,
    bar: Callable[..., None],
) -> torch.Tensor:
    """Write what is left after each attack, ours and theirs, part by part, to the journal. Returns the queries (E, n)
    that are right as they are."""
    net, seed, eps = evaluator.net, setting.protocol.seed, setting.protocol.eps
    limit = count_images_per_pass(setting.image_set.images.shape[1], setting.device)
    parts = list(cut_blocks(len(rows), max(1, limit // (setting.protocol.way * QUERIES))))
    episodes = [rows[part].to_episode(setting.image_set, setting.device) for part in parts]
    clean = [classify(net, episode, episode.query, limit) for episode in episodes]
    todo: list[tuple[str, int, Callable[[int], np.ndarray]]] = []

    def attack(name: str, k: int) -> np.ndarray:
        generator = randomness.make_generator(seed, f"judges/{name}/{parts[k].start}")
        right: np.ndarray = attack_as_judged(net, episodes[k], name, eps, generator, limit).cpu().numpy()
        return right

    def ask(judge: Judge, k: int) -> np.ndarray:
        return attack_by_judge(net, episodes[k], clean[k], judge, eps, seed + parts[k].start, limit)

    for name in _name_attacks(judges):
        todo.append((name, count_passes(name, setting.protocol.way), partial(attack, name)))
    for judge in judges:
        passes = count_passes(judge.attack, setting.protocol.way, judge.library)
        todo.append((_name_judge(judge), passes, partial(ask, judge)))
    done = 0
    for name, passes, run in todo:
        for k, part in enumerate(parts):
            bar(done, {"attack": name})
            if (key := _name_part(name, k)) not in journal:
                begun = time.perf_counter()
                right = run(k)
                journal[key] = {"right": right.astype(int).tolist(), "seconds": time.perf_counter() - begun}
            done += passes * setting.protocol.way * QUERIES * (part.stop - part.start)
    bar(done, {})
    return torch.cat(clean)


def _name_part(name: str, k: int) -> str:
    return f"{name} / {k}"


def _join(journal: Journal, name: str) -> tuple[np.ndarray, float]:
    """Queries (E, n) that are right after an attack, and the seconds it took, from its parts in a journal."""
    parts: list[dict[str, Any]] = []
    while (key := _name_part(name, len(parts))) in journal:
        parts.append(journal[key])
    return np.concatenate([part["right"] for part in parts]).astype(bool), sum(part["seconds"] for part in parts)


def attack_by_judge(
    net: FewShotNet,
    episode: Episode,
    clean: torch.Tensor,
    judge: Judge,
    eps: float,
    seed: int,
    max_images: int | None = None,
) -> np.ndarray:
    """Which queries (E, n) are right after a judge's attack within eps; those wrong as they are stay wrong.

    All queries are one batch of the library, which answers with one image for each; only that one counts.
    """
    right, some = clean.flatten(), clean.flatten().nonzero().flatten()
    if len(some):
        single = list_queries(net, episode, max_images)
        classifier, labels = TaggedClassifier(net, single, "linf", eps), single.labels[some]
        tagged = classifier.tag(single.images[some], single.owners[some])
        with fork_generators(seed):
            points = judge.generate(classifier, tagged, labels)
        with torch.no_grad():
            right = right.index_copy(0, some, classifier(points).argmax(-1) == labels)
    return right.view(clean.shape).cpu().numpy()


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
