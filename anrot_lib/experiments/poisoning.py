"""Certificates against replaced shots as a record: exact numbers of shots, and attacks by images."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from anrot_lib.core.paths import make_file_stem
from anrot_lib.core.progress import accumulate
from anrot_lib.data.episodes import EpisodeManifest, EpisodeRows
from anrot_lib.experiments.net_records import count_attacked_tasks, describe_former, describe_head, keep_former
from anrot_lib.experiments.setting import Setting
from anrot_lib.fewshot import poisoning
from anrot_lib.fewshot.classifier import FewShotNet, change_head
from anrot_lib.fewshot.evaluation import Evaluator, make_support_labels
from anrot_lib.fewshot.heads.prototypes import MirroredPrototypes
from anrot_lib.fewshot.heads.shots import ShotHead, count_trimmed
from anrot_lib.fewshot.passes import count_images_per_pass
from anrot_lib.records import results
from anrot_lib.records.measures import PoisonAttackRecord, TurnedRecord
from anrot_lib.records.schema import PoisoningRecord

TASKS_PER_PART = 8  # episodes whose replaced shots are attacked together


def choose_head(net: FewShotNet, method: str) -> str:
    """The method whose head of shots stands for that of a net: its own, or the median over Gaussians or cosines, of
    features that are averaged with those of mirror images where those of the net are."""
    if isinstance(net.head, ShotHead):
        return method
    if isinstance(net.head, MirroredPrototypes):
        return "median-cosine-mirror"
    return "median-gaussian" if net.head.embedding_kind == "gaussian" else "median-cosine"


def run_poisoning(
    setting: Setting, row: str, net: FewShotNet, net_hash: str, manifest: EpisodeManifest, head: str
) -> Path:
    """Certify queries against replaced shots, under the head of a method on the encoder of a net; attack; record.

    A record that says the same is kept.
    """
    path = setting.folder / f"{make_file_stem(row)}-poisoning-{make_file_stem(head)}.json"
    rows = manifest.rows[: setting.budget.attacked_tasks].with_queries(setting.budget.attacked_query)
    asked = {"net": net_hash, "rows": manifest.hash, "tasks": len(rows), "head": head}
    if path.is_file():
        former = results.read(path, "poisoning")
        stands = {"head": former["head"], **describe_former(former, len(former["answers"]))}
        return keep_former(path, stands, asked)
    started = time.perf_counter()
    certified_net = change_head(net, head).to(setting.device)
    poisoning.get_shot_head(certified_net)
    evaluators = [
        Evaluator(one, setting.image_set, setting.device, None, setting.allow_seen, setting.split)
        for one in (net, certified_net)
    ]
    tasks, passes = count_attacked_tasks(setting.budget), count_poisoning_passes(setting)
    with setting.progress(f"replace shots of {row}", passes) as bar:
        progress = accumulate(bar)
        plain = classify_queries(evaluators[0], rows, progress)
        certified = certify_queries(evaluators[1], rows, progress)
        attacks = _attack_shots(setting, evaluators[1], rows[:tasks], certified, progress)
        bar(passes)
    record: PoisoningRecord = {
        **describe_head(setting, row, net_hash, manifest, evaluators[1], time.perf_counter() - started),
        "queries": rows.query[0].size,
        "kind": "poisoning",
        "head": head,
        "trimmed": _count_trimmed(evaluators[1].net, rows),
        "plain": plain.tolist(),
        "answers": certified.answers.tolist(),
        "one_class": certified.one_class.tolist(),
        "every_class": certified.every_class.tolist(),
        "attacks": attacks,
    }
    results.write(path, record)
    return path


def _count_trimmed(net: FewShotNet, rows: EpisodeRows) -> int:
    return int(count_trimmed(torch.tensor(rows.support.shape[2]), poisoning.get_shot_head(net).rule))


@torch.no_grad()
def classify_queries(evaluator: Evaluator, rows: EpisodeRows, progress: Callable[[int], None]) -> Tensor:
    """The classes (E, n) that a net gives the queries."""
    described, head, answers = evaluator.describe_images(progress), evaluator.net.head, []
    for part in _split(rows):
        e, way, shot = part.support.shape
        labels = make_support_labels(way, shot, e).to(evaluator.device)
        model = head.fit_described(described.select(part.support.reshape(e, -1)), labels)
        logits = head.score_described(model, described.select(part.query.reshape(e, -1))).logits
        answers.append(logits.argmax(-1))
    return torch.cat(answers)


def certify_queries(
    evaluator: Evaluator, rows: EpisodeRows, progress: Callable[[int], None]
) -> poisoning.PoisonedAnswers:
    """The certificates of the queries against replaced shots, (E, n)."""
    described, head = evaluator.describe_images(progress), poisoning.get_shot_head(evaluator.net)
    parts = [
        poisoning.certify_shots(poisoning.measure_shots(evaluator.net, part, described), head.rule, head.largest)
        for part in _split(rows)
    ]
    return poisoning.PoisonedAnswers(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _split(rows: EpisodeRows) -> Iterator[EpisodeRows]:
    return (rows[start : start + TASKS_PER_PART] for start in range(0, len(rows), TASKS_PER_PART))


def _attack_shots(
    setting: Setting,
    evaluator: Evaluator,
    rows: EpisodeRows,
    certified: poisoning.PoisonedAnswers,
    progress: Callable[[int], None],
) -> list[PoisonAttackRecord]:
    """Attacks on the certificates of some episodes, up to one shot more than can be left out."""
    net, described = evaluator.net, evaluator.describe_images()
    most = min(_count_trimmed(net, rows) + 1, rows.support.shape[2])
    limit = count_images_per_pass(setting.image_set.images.shape[1], setting.device)
    turned: list[list[poisoning.PoisonAttack]] = []
    for start in range(0, len(rows), TASKS_PER_PART):
        part = slice(start, start + TASKS_PER_PART)
        answers = certified.answers[part][: len(rows[part])]
        turned.append(poisoning.attack_poisoned(net, setting.image_set, rows[part], described, answers, most, limit))
        progress(answers.numel() * _count_search_passes())
    records: list[PoisonAttackRecord] = []
    for replaced in range(1, most + 1):
        some = [attacks[replaced - 1] for attacks in turned]
        one, every = (torch.cat([getattr(attack, kind) for attack in some]) for kind in ("one_class", "every_class"))
        records.append(
            {
                "replaced": replaced,
                "one_class": _count_turned(one, certified.one_class[: len(rows)] >= replaced),
                "every_class": _count_turned(every, certified.every_class[: len(rows)] >= replaced),
            }
        )
    return records


def _count_turned(turned: Tensor, holds: Tensor) -> TurnedRecord:
    return {
        "certified": int(holds.sum()),
        "broken": int((turned & holds).sum()),
        "others": int((~holds).sum()),
        "turned": int((turned & ~holds).sum()),
    }


def _count_search_passes() -> int:
    return 3 * poisoning.PoisonEffort().steps + 2


def count_poisoning_passes(setting: Setting) -> int:
    """Passes of the encoder over an image, forward = 1."""
    attacked = count_attacked_tasks(setting.budget) * setting.protocol.way * setting.budget.attacked_query
    return 2 * len(setting.image_set.rows(setting.split)) + attacked * _count_search_passes()
