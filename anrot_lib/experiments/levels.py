"""The experiment on levels: one encoder a (shot, seed), trained on pixels alone, and every combination of levels on it.

All variants work on the same feature maps and the same episodes, and so differ in nothing but their levels. The fusion
of a variant is fitted to validation episodes with the maps frozen. What an end-to-end training with several levels
gives is another question:
`anrot run --rows levels:pixel levels:pixel+part mml mml-wasserstein2`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anrot_lib import settings
from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.core import checkpoints, configs
from anrot_lib.core.configs import make_key
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.core.progress import accumulate
from anrot_lib.core.ranks import ALONE
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.experiments import rows as pipeline
from anrot_lib.experiments.columns import Column
from anrot_lib.experiments.former import check_former_rows, matches
from anrot_lib.experiments.setting import Setting, make_manifest
from anrot_lib.experiments.testing import evaluate_row, find_journal
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import FewShotNet, fold_net
from anrot_lib.fewshot.levels import combine
from anrot_lib.fewshot.levels.fusion import fit, measure_shares
from anrot_lib.fewshot.levels.head import Level, MultiLevelHead, compute_divergences, fit_levels
from anrot_lib.fewshot.levels.pixel import PixelLevel
from anrot_lib.fewshot.passes import cut_blocks
from anrot_lib.records import results
from anrot_lib.records.journal import remove_journals
from anrot_lib.records.measures import TrainingRecord
from anrot_lib.records.parts import ColumnRecord, FusionRecord
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.settings import Budget, Protocol, Recipe

ENCODER = "conv64f"
DISTRIBUTIONS = ("kl", "wasserstein2", "hellinger")
LEVELS: dict[str, Callable[[], Level]] = {
    "pixel": lambda: PixelLevel(k=3),  # as the encoder was trained
    **{name: combine.LEVELS[name] for name in ("part", *DISTRIBUTIONS)},
}
REFERENCE = "pixel"
VARIANTS = (
    *("pixel", "part", "kl", "wasserstein2", "hellinger"),
    "pixel+part",
    *("pixel+kl", "pixel+wasserstein2", "pixel+hellinger"),
    *("part+kl", "part+wasserstein2", "part+hellinger"),
    *("pixel+part+kl", "pixel+part+wasserstein2", "pixel+part+hellinger"),
)
WEAK, WEAK_STEPS = (1 / 8, 1 / 4), 10  # of the protocol's eps, at which no level of a net trained clean may be left
VALIDATION_QUERY = 10
TASKS_PER_PASS = 16

# What the presets change beyond their own sizes: every variant is attacked, so there are fewer tasks.
SHOTS = {"smoke": (5,), "laptop": (5, 1), "paper": (5, 1)}
LENGTHS: dict[str, dict[str, int]] = {
    "smoke": {"episodes": 40, "validation_tasks": 20, "clean_tasks": 40, "attacked_tasks": 4, "attacked_query": 1},
    "laptop": {"attacked_tasks": 50, "attacked_query": 2},
    "paper": {"attacked_tasks": 200, "attacked_query": 5},
}


def make_budget(preset: str | None = None) -> Budget:
    """A preset's budget with the encoder and the lengths of this experiment."""
    standard = settings.preset(preset)
    budget: Budget = configs.change(standard, encoder=ENCODER, **LENGTHS[standard.preset])
    return budget


def make_recipe(seed: int) -> Recipe:
    """Training of the encoder: pixels alone, clean."""
    return Recipe(method="dn4", hesim=0.0, seed=seed)


def list_attacks(protocol: Protocol, budget: Budget) -> list[Column]:
    """From weak to strong: PGD at small radii, then FGSM and PGD at the protocol's."""
    weak = [pgd(part * protocol.eps, WEAK_STEPS, part * protocol.eps / 4, 1, target="query") for part in WEAK]
    strong = pgd(protocol.eps, protocol.steps, protocol.step, 1, target="query")
    threats = [*weak, fgsm(protocol.eps, target="query"), strong]
    return [Column(t.name, budget.attacked_tasks, budget.attacked_query, threat=t) for t in threats]


def check_variants(names: list[str]) -> list[str]:
    """The names in the order of VARIANTS, the reference always among them. UserError for an unknown one."""
    if unknown := [name for name in names if name not in VARIANTS]:
        raise UserError(f"unknown variant {unknown[0]!r}; choose from {', '.join(VARIANTS)}")
    return [name for name in VARIANTS if name in names or name == REFERENCE]


def get_study_file(setting: Setting) -> Path:
    return setting.folder / "study.json"


def run(setting: Setting, seed: int, variants: list[str]) -> list[AccuracyRecord]:
    """Train the encoder of a seed, then test and record every variant that has no record yet; all their records.

    A kill loses at most a level's divergences, or a part of a column; the same call goes on. Several processes take
    turns at levels and at parts of columns.
    """
    manifest, recipe = make_manifest(setting), make_recipe(seed)
    rows = {variant: f"{variant}-seed-{seed}" for variant in variants}
    check_former_rows(get_study_file(setting), rows.values(), setting, recipe)
    net, trained = load_encoder(setting, seed)
    net = fold_net(net.to(setting.device))
    check_former_rows(get_study_file(setting), rows.values(), setting, recipe, trained["checkpoint"])
    records = find_finished(setting, rows.values(), recipe, manifest, trained)
    wanted = [variant for variant, row in rows.items() if row not in records]
    needed = [name for name in LEVELS if any(name in variant.split("+") for variant in wanted)]
    manifests = make_manifests(setting, manifest)
    scores = {
        split: load_level_scores(setting, net, split, episodes, trained["checkpoint"], seed, needed)
        for split, episodes in manifests.items()
    }
    for variant in wanted:
        row = rows[variant]
        record = test(setting, variant, net, recipe, trained, manifests, scores)
        if setting.ranks.is_first:
            results.write_row(get_study_file(setting), row, record)
            remove_journals(find_journal(setting, row))
        setting.ranks.wait()
    records = find_finished(setting, rows.values(), recipe, manifest, trained)
    return [records[row] for row in rows.values()]


def load_encoder(setting: Setting, seed: int) -> tuple[FewShotNet, TrainingRecord]:
    """The encoder of a seed and its training, which several processes share if its groups allow it.

    One that a single process has trained is tested by any number of them; UserError if there is none yet.
    """
    row, ranks = f"encoder-seed-{seed}", setting.ranks
    if setting.budget.groups % ranks.count and (setting.work / f"{row}.pt").is_file():
        with ranks.first():
            return pipeline.train_row(replace(setting, ranks=ALONE), row, make_recipe(seed))[:2]
    return pipeline.train_row(setting, row, make_recipe(seed))[:2]


def make_manifests(setting: Setting, manifest: EpisodeManifest) -> dict[str, EpisodeManifest]:
    """The episodes that fusions are fitted to, and those that are tested on."""
    protocol, tasks = setting.protocol, setting.budget.validation_tasks
    sizes = (protocol.way, protocol.shot, VALIDATION_QUERY, tasks, protocol.seed)
    return {"val": EpisodeManifest.make(setting.image_set, "val", *sizes), "test": manifest}


def find_finished(
    setting: Setting, rows: Iterable[str], recipe: Recipe, manifest: EpisodeManifest, trained: TrainingRecord
) -> dict[str, AccuracyRecord]:
    """Row -> its record, of the rows that were measured on this very encoder with all columns."""
    study = results.read_rows(get_study_file(setting))
    columns = {"clean", "clean, attacked tasks"} | {a.name for a in list_attacks(setting.protocol, setting.budget)}
    return {
        row: record
        for row in rows
        if (record := study.get(row)) is not None
        and record["kind"] == "accuracy"
        and matches(record, setting, recipe, manifest, trained)
        and columns <= record["columns"].keys()
    }


def load_level_scores(
    setting: Setting,
    net: FewShotNet,
    split: str,
    manifest: EpisodeManifest,
    checkpoint: str,
    seed: int,
    levels: list[str],
) -> dict[str, Tensor]:
    """Divergences of a split's episodes by level, each kept in a file beside the encoder and read from there."""
    asked = {"net": checkpoint, "rows": manifest.hash}
    files = {name: setting.work / f"levels-seed-{seed}-{split}-{name}.pt" for name in levels}
    kept = {name: checkpoints.load(path) for name, path in files.items() if path.is_file()}
    scores = {name: content["divergences"] for name, content in kept.items() if content["asked"] == asked}
    ranks, measured = setting.ranks, dict[str, Tensor]()
    missing = ranks.gather([name for name in levels if name not in scores])[0]  # all have read before one writes
    for name, divergences in measure_levels(setting, net, manifest, missing[ranks.number :: ranks.count], split):
        if divergences.isfinite().all():
            checkpoints.save(files[name], {"asked": asked, "divergences": divergences})
        measured[name] = divergences
    for theirs in ranks.gather(measured):
        scores |= theirs
    for name, divergences in scores.items():
        if not divergences.isfinite().all():
            raise NotFinite(
                f"the divergences of the level {name} on {split} episodes are not finite, so no accuracy of them means "
                f"anything; train the encoder anew, or remove {files[name]} if it was changed"
            )
    return scores


def measure_levels(
    setting: Setting, net: FewShotNet, manifest: EpisodeManifest, levels: list[str], title: str = "test"
) -> Iterator[tuple[str, Tensor]]:
    """(level, its divergences (tasks, queries, way)) of a manifest's episodes; every image is encoded once."""
    if not levels:
        return
    rows = manifest.rows
    used = np.unique(np.concatenate([rows.support.ravel(), rows.query.ravel()]))
    with setting.progress(f"{title} images", len(used)) as bar:
        maps = evaluation.describe(net, setting.image_set, used, setting.device, progress=accumulate(bar))
    labels = evaluation.make_support_labels(manifest.n_way, manifest.n_shot, 1).to(setting.device)
    for name in levels:
        level, parts = {name: LEVELS[name]()}, list[Tensor]()
        with setting.progress(f"{title} episodes, {name}", len(rows)) as bar, torch.no_grad():
            for block in cut_blocks(len(rows), TASKS_PER_PASS):
                e = len(rows.classes[block])
                model = fit_levels(level, maps.select(rows.support[block].reshape(e, -1)), labels.expand(e, -1), None)
                queries = maps.select(rows.query[block].reshape(e, -1))
                parts.append(compute_divergences(level, model, queries)[name].cpu())
                bar(block.stop)
        yield name, torch.cat(parts)


def make_query_labels(manifest: EpisodeManifest) -> Tensor:
    """(tasks, way x queries): queries stand in the order of their classes."""
    labels = torch.arange(manifest.n_way).repeat_interleave(manifest.n_query)
    return labels.expand(manifest.n_tasks, len(labels))


def fit_head(variant: str, channels: int, validation: Mapping[str, Tensor], labels: Tensor) -> MultiLevelHead:
    """The head of a variant with its fusion fitted to divergences (tasks, n, way) of validation queries."""
    head = MultiLevelHead(channels, {name: LEVELS[name]() for name in variant.split("+")})
    fit(head.fusion, validation, labels)
    return head


@torch.no_grad()
def measure_clean(
    budget: Budget, manifest: EpisodeManifest, head: MultiLevelHead, divergences: Mapping[str, Tensor]
) -> tuple[dict[str, ColumnRecord], dict[str, float]]:
    """Columns of all episodes, and of the attacked ones with their queries, from test divergences; and the shares."""
    started = time.perf_counter()
    contributions = head.fusion(*(divergences[name] for name in head.levels))
    right = torch.stack(list(contributions.values())).sum(0).argmax(-1) == make_query_labels(manifest)
    group_by_class = torch.unflatten(right, 1, (manifest.n_way, manifest.n_query))
    few = group_by_class[: budget.attacked_tasks, :, : budget.attacked_query]
    seconds = time.perf_counter() - started
    return {
        "clean": results.make_column(group_by_class.sum((1, 2)).numpy(), right.shape[1], seconds),
        "clean, attacked tasks": results.make_column(few.sum((1, 2)).numpy(), few[0].numel(), 0.0),
    }, measure_shares(contributions)


def test(
    setting: Setting,
    variant: str,
    net: FewShotNet,
    recipe: Recipe,
    trained: TrainingRecord,
    manifests: dict[str, EpisodeManifest],
    scores: dict[str, dict[str, Tensor]],
) -> AccuracyRecord:
    """The record of a variant on a trained, folded encoder, from its levels' divergences on both splits."""
    manifest = manifests["test"]
    head = fit_head(variant, net.backbone.out_channels, scores["val"], make_query_labels(manifests["val"]))
    head.load_state_dict(setting.ranks.gather(head.state_dict())[0])  # one fit for all, whatever rounding did
    columns, shares = measure_clean(setting.budget, manifest, head, scores["test"])
    fused = FewShotNet(net.backbone, head).eval().to(setting.device)
    journal = make_key(trained["checkpoint"], {k: v.tolist() for k, v in head.fusion.state_dict().items()})
    row = f"{variant}-seed-{recipe.seed}"
    columns |= evaluate_row(setting, row, fused, manifest, journal, list_attacks(setting.protocol, setting.budget))
    weights = (head.fusion.weights * head.fusion.log_scale.exp()).tolist()
    fusion: FusionRecord = {
        "mode": head.fusion.mode,
        "weights": dict(zip(head.levels, [float(f"{w:.5g}") for w in weights], strict=True)),
        "shares": {name: round(share, 5) for name, share in shares.items()},
    }
    about: TrainingRecord = {**trained, "fusion": fusion}
    return pipeline.make_record(setting, f"levels:{variant}", recipe, fused, manifest, about, columns)
